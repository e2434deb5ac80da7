//! The breadth that a view shows (B42).

use serde::Serialize;
use serde_json::Value;

use super::entry::Entry;
use super::facts::Facts;
use super::section::Fields;
use crate::number;
use crate::statistics::{Moves, breadth_percentage, breadth_sentiment};

/// How many rose, fell and stood still; all `null` when nobody counted.
#[derive(Serialize)]
pub struct Breadth {
    up: Option<u64>,
    down: Option<u64>,
    flat: Option<u64>,
    breadth_percentage: Option<f64>,
    sentiment: Option<String>,
}

/// Whether a breadth document counted anything. All zeros are a default, not a count (B37).
pub fn counts_something(fields: &Fields) -> bool {
    ["up_count", "down_count", "flat_count"].iter().any(|name| number::first(fields, &[name]).is_some_and(|n| n > 0.0))
}

impl Breadth {
    /// The document's counts, else the overview's, else those of the signals themselves.
    pub fn of(document: Option<&Fields>, facts: &Facts, entries: &[Entry]) -> Self {
        document
            .and_then(Self::of_document)
            .or_else(|| Self::of_overview(facts))
            .unwrap_or_else(|| Self::of_entries(entries))
    }

    /// Whether anything was counted.
    pub fn is_known(&self) -> bool {
        self.up.is_some()
    }

    fn of_document(fields: &Fields) -> Option<Self> {
        let count = |name| number::first(fields, &[name]).filter(number::not_negative);
        let breadth = Self::counted(count("up_count")?, count("down_count")?, count("flat_count"));
        let sentiment = fields.get("market_sentiment").and_then(Value::as_str).map(str::to_owned);
        let percentage =
            number::first(fields, &["breadth_percentage"]).filter(|_| breadth.breadth_percentage.is_some());
        Some(Self {
            breadth_percentage: percentage.or(breadth.breadth_percentage),
            sentiment: sentiment.or(breadth.sentiment),
            ..breadth
        })
    }

    fn of_overview(facts: &Facts) -> Option<Self> {
        let (up, down) = facts.number("gainers").zip(facts.number("losers"))?;
        (up + down > 0.0).then(|| Self::counted(up, down, None))
    }

    fn of_entries(entries: &[Entry]) -> Self {
        let changes: Vec<f64> = entries.iter().filter_map(|entry| entry.record.change_24h).collect();
        if changes.is_empty() {
            return Self { up: None, down: None, flat: None, breadth_percentage: None, sentiment: None };
        }
        let moves = Moves::of(&changes);
        Self::counted(f64::from(moves.up), f64::from(moves.down), Some(f64::from(moves.flat)))
    }

    fn counted(up: f64, down: f64, flat: Option<f64>) -> Self {
        let percentage = breadth_percentage(up, down);
        Self {
            up: Some(up as u64),
            down: Some(down as u64),
            flat: flat.map(|flat| flat as u64),
            breadth_percentage: percentage,
            sentiment: Some(breadth_sentiment(percentage).to_owned()),
        }
    }
}
