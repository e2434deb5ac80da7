//! A signal joined with its symbol's breakdown and ticker, and the card that lists show of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::section::{Fields, Opened};
use crate::number::{self, round};
use crate::signal::{self, Record};
use crate::time::seconds;
use crate::word::Word;

/// A signal with everything that is known of its symbol.
pub struct Entry {
    /// The signal; what a newer breakdown says has replaced what it said.
    pub record: Record,
    /// Whether there is a breakdown.
    pub has_breakdown: bool,
    /// The breakdown's score.
    pub overall_score: Option<f64>,
}

impl Entry {
    /// Joins the three. A breakdown speaks where it is newer than the signal, or where the signal says nothing; a ticker
    /// speaks only where the signal says nothing.
    pub fn join(mut record: Record, breakdown: Opened, ticker: Option<&Fields>) -> Self {
        if let Some(ticker) = ticker {
            fill_from_ticker(&mut record, ticker);
        }
        let newer = breakdown.produced_at > record.timestamp;
        let Some(mut fields) = breakdown.fields else {
            return Self { record, has_breakdown: false, overall_score: None };
        };
        let overall_score = number::take(&mut fields, &["overall_score"]).filter(|score| (0.0..=100.0).contains(score));
        if newer {
            record.score = overall_score.unwrap_or(record.score);
            record.sentiment = Word::read(fields.remove("sentiment")).unwrap_or(record.sentiment);
            record.timestamp = breakdown.produced_at;
        }
        let reliability = number::take(&mut fields, &["reliability"]).and_then(number::share);
        prefer(newer, &mut record.reliability, reliability);
        prefer(newer, &mut record.sub_components, signal::object(fields.remove("sub_components")));
        prefer(newer, &mut record.interpretations, signal::object(fields.remove("interpretations")));
        let components = signal::components(fields.remove("components"));
        if !components.is_empty() && (newer || record.components.is_empty()) {
            record.components = components;
        }
        let history = signal::scores(fields.remove("score_history"));
        if !history.is_empty() && (newer || record.score_history.is_empty()) {
            record.score_history = history;
        }
        Self { record, has_breakdown: true, overall_score }
    }

    /// What the page formats without asking: price and change, beside the score (B34, B56).
    pub fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { entry: self, price: self.record.price?, change: self.record.change_24h? })
    }
}

fn prefer<T>(newer: bool, own: &mut Option<T>, other: Option<T>) {
    if other.is_some() && (newer || own.is_none()) {
        *own = other;
    }
}

fn fill_from_ticker(record: &mut Record, ticker: &Fields) {
    let fill = |own: &mut Option<f64>, names: &[&str], sound: fn(&f64) -> bool| {
        *own = own.or_else(|| number::first(ticker, names).filter(sound));
    };
    fill(&mut record.price, &["price"], number::positive);
    fill(&mut record.change_24h, &["change_24h"], |_| true);
    fill(&mut record.volume_24h, &["volume_24h"], number::not_negative);
    fill(&mut record.turnover_24h, &["turnover_24h"], number::not_negative);
    fill(&mut record.high_24h, &["high", "high_24h"], number::positive);
    fill(&mut record.low_24h, &["low", "low_24h"], number::positive);
}

/// An entry that may stand in a list which the page formats.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// Its price.
    pub price: f64,
    /// Its change in percent.
    pub change: f64,
}

/// A record of `confluence_scores` and `symbols`.
#[derive(Serialize)]
pub struct Card<'a> {
    symbol: &'a str,
    score: f64,
    sentiment: &'a str,
    signal_type: &'a str,
    /// 0 to 1.
    reliability: Option<f64>,
    /// 0 to 100 (B18).
    reliability_percent: Option<f64>,
    price: f64,
    change_24h: f64,
    /// Base units.
    volume_24h: Option<f64>,
    /// Quote units (B51).
    turnover_24h: Option<f64>,
    high_24h: Option<f64>,
    low_24h: Option<f64>,
    range_24h: Option<f64>,
    components: &'a BTreeMap<String, f64>,
    sub_components: Fields,
    interpretations: Fields,
    has_breakdown: bool,
    score_history: &'a [f64],
    timestamp: f64,
}

impl<'a> Shown<'a> {
    /// The card, with the decimals that the page shows.
    pub fn card(&self) -> Card<'a> {
        let record = &self.entry.record;
        let range = record.high_24h.zip(record.low_24h).map(|(high, low)| (high - low) / self.price * 100.0);
        Card {
            symbol: &record.symbol,
            score: round(record.score, 2),
            sentiment: record.sentiment.as_str(),
            signal_type: record.signal_type.as_str(),
            reliability: record.reliability,
            reliability_percent: record.reliability.map(|share| round(share * 100.0, 2)),
            price: self.price,
            change_24h: round(self.change, 2),
            volume_24h: record.volume_24h,
            turnover_24h: record.quote_turnover(),
            high_24h: record.high_24h,
            low_24h: record.low_24h,
            range_24h: range.filter(|range| range.is_finite()).map(|range| round(range, 2)),
            components: &record.components,
            sub_components: record.sub_components.clone().unwrap_or_default(),
            interpretations: record.interpretations.clone().unwrap_or_default(),
            has_breakdown: self.entry.has_breakdown,
            score_history: &record.score_history,
            timestamp: seconds(record.timestamp),
        }
    }
}
