//! `analysis:signals`: every record of the window, and what they come to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Scene;
use crate::config::Config;
use crate::statistics::mean;
use crate::table::Held;
use crate::time::{iso, seconds};

/// Symbols in `top_symbols`.
const TOP: usize = 10;

#[derive(Serialize)]
pub struct Signals<'a> {
    signals: Vec<Entry<'a>>,
    total_signals: usize,
    long_signals: usize,
    short_signals: usize,
    avg_confluence_score: Option<f64>,
    /// The mean of those that are known, all on the scale of 0 to 1 (B20).
    avg_reliability: Option<f64>,
    top_symbols: Vec<&'a str>,
}

/// A record; what is unknown is absent.
#[derive(Serialize)]
struct Entry<'a> {
    symbol: &'a str,
    confluence_score: f64,
    signal_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reliability: Option<f64>,
    sentiment: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    components: &'a BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_24h: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_24h: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turnover_24h: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_24h: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_24h: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_components: &'a Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interpretations: &'a Option<Map<String, Value>>,
    timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    datetime: Option<String>,
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    score_history: &'a [f64],
    high_quality: bool,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

/// The document's fields.
pub fn of<'a>(scene: &Scene<'a>) -> Signals<'a> {
    let records = || scene.held.iter().map(|held| &held.record);
    let count = |words: [&str; 2]| records().filter(|record| words.contains(&record.sentiment.as_str())).count();
    Signals {
        signals: scene.held.iter().map(|held| entry(held, scene.config)).collect(),
        total_signals: scene.held.len(),
        long_signals: count(["LONG", "BULLISH"]),
        short_signals: count(["SHORT", "BEARISH"]),
        avg_confluence_score: mean(records().map(|record| record.score)),
        avg_reliability: mean(records().filter_map(|record| record.reliability)),
        top_symbols: scene.held.iter().take(TOP).map(|held| held.record.symbol.as_str()).collect(),
    }
}

fn entry<'a>(held: &'a Held, config: &Config) -> Entry<'a> {
    let record = &held.record;
    Entry {
        symbol: &record.symbol,
        confluence_score: record.score,
        signal_type: record.signal_type.as_str(),
        reliability: record.reliability,
        sentiment: record.sentiment.as_str(),
        components: &record.components,
        price: record.price,
        change_24h: record.change_24h,
        volume_24h: record.volume_24h,
        turnover_24h: record.turnover_24h,
        high_24h: record.high_24h,
        low_24h: record.low_24h,
        sub_components: &record.sub_components,
        interpretations: &record.interpretations,
        timestamp: seconds(record.timestamp),
        datetime: iso(record.timestamp),
        score_history: &held.history,
        high_quality: record.score >= config.high_quality_score,
        extra: &record.extra,
    }
}
