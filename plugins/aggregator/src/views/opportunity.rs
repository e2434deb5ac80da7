//! Opportunities: scores of 50 and more, weighed by how much the price moved.

use serde::Serialize;

use super::entry::Entry;
use crate::number::round;

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

/// The best opportunities among `entries`, best first; equal ones stay in their order.
pub fn best(entries: &[Entry]) -> Vec<Opportunity> {
    let mut opportunities: Vec<Opportunity> = entries.iter().filter_map(opportunity).collect();
    opportunities.sort_by(|a, b| b.opportunity_score.total_cmp(&a.opportunity_score));
    opportunities.truncate(TOP);
    opportunities
}

/// The opportunity in an entry. Without a change there is no momentum, and so none.
fn opportunity(entry: &Entry) -> Option<Opportunity> {
    let record = &entry.record;
    let score = round(record.score, 2);
    if score < SCORE_MIN || record.symbol.contains("SYSTEM") {
        return None;
    }
    let change = round(record.change_24h?, 2);
    let factor = (1.0 + change.abs() / 10.0).min(2.0);
    Some(Opportunity {
        symbol: record.symbol.replace("USDT", "").replace("USD", ""),
        full_symbol: record.symbol.clone(),
        score: score.round_ties_even(),
        momentum: if change > 0.0 { format!("+{change:.1}%") } else { format!("{change:.1}%") },
        // The quote turnover is what a dollar sign may stand before (B51); base units only where nothing else is known.
        volume: volume(record.quote_turnover().or(record.volume_24h)),
        direction: direction(change, record.sentiment.as_str()),
        opportunity_score: score * factor,
        price_change: change,
    })
}

fn direction(change: f64, sentiment: &str) -> String {
    match change {
        c if c > 0.0 => "bullish".to_owned(),
        c if c < 0.0 => "bearish".to_owned(),
        _ => sentiment.to_ascii_lowercase(),
    }
}

fn volume(volume: Option<f64>) -> String {
    match volume {
        Some(volume) if volume > 1e6 => format!("${:.1}M", volume / 1e6),
        Some(volume) if volume > 1e3 => format!("${:.0}K", volume / 1e3),
        _ => "N/A".to_owned(),
    }
}
