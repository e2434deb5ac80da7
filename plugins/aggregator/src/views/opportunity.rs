//! Opportunities: scores of 50 and more, weighed by how much the price moved.

use serde::Serialize;

use super::entry::Entry;
use crate::number::round;
use crate::signal::Record;

/// The most that any view shows.
pub const TOP: usize = 10;
/// The least score that counts.
const SCORE_MIN: f64 = 50.0;

/// One opportunity, with the texts that the page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Opportunity {
    symbol: String,
    full_symbol: String,
    score: f64,
    momentum: String,
    volume: String,
    direction: String,
    opportunity_score: f64,
    price_change: f64,
}

/// A record weighed, before its texts are written: of many few are shown.
struct Weighed<'a> {
    record: &'a Record,
    score: f64,
    change: f64,
    opportunity_score: f64,
}

/// The best opportunities among `entries`, best first; equal ones stay in their order.
pub fn best(entries: &[Entry]) -> Vec<Opportunity> {
    let mut weighed: Vec<Weighed<'_>> = entries.iter().filter_map(|entry| weigh(&entry.record)).collect();
    weighed.sort_by(|a, b| b.opportunity_score.total_cmp(&a.opportunity_score));
    weighed.truncate(TOP);
    weighed.into_iter().map(opportunity).collect()
}

/// Without a change there is no momentum, and so no opportunity.
fn weigh(record: &Record) -> Option<Weighed<'_>> {
    let score = round(record.score, 2);
    if score < SCORE_MIN || record.symbol.contains("SYSTEM") {
        return None;
    }
    let change = round(record.change_24h?, 2);
    let factor = (1.0 + change.abs() / 10.0).min(2.0);
    Some(Weighed { record, score, change, opportunity_score: score * factor })
}

fn opportunity(Weighed { record, score, change, opportunity_score }: Weighed<'_>) -> Opportunity {
    Opportunity {
        symbol: record.symbol.replace("USDT", "").replace("USD", ""),
        full_symbol: record.symbol.clone(),
        score: score.round_ties_even(),
        momentum: if change > 0.0 { format!("+{change:.1}%") } else { format!("{change:.1}%") },
        volume: volume(record.quote_turnover()),
        direction: direction(change, record.sentiment.as_str()),
        opportunity_score,
        price_change: change,
    }
}

fn direction(change: f64, sentiment: &str) -> String {
    match change {
        c if c > 0.0 => "bullish".to_owned(),
        c if c < 0.0 => "bearish".to_owned(),
        _ => sentiment.to_ascii_lowercase(),
    }
}

/// The day's volume in words. Only quote units may stand behind a dollar sign: coins without a price are `N/A` (B51).
fn volume(turnover: Option<f64>) -> String {
    match turnover {
        Some(turnover) if turnover > 1e6 => format!("${:.1}M", turnover / 1e6),
        Some(turnover) if turnover > 1e3 => format!("${:.0}K", turnover / 1e3),
        _ => "N/A".to_owned(),
    }
}
