//! `overview`: the summary, the ten best signals, and the movers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::SOURCE;
use super::board::Board;
use super::entry::Shown;
use super::movers::{self, Movers};
use super::opportunity::Opportunity;
use super::section::{Fields, Sections};
use crate::documents::Mover;
use crate::time::{iso, seconds};

/// Signals in this view.
const SIGNALS: usize = 10;
/// Opportunities in this view.
const OPPORTUNITIES: usize = 5;

#[derive(Serialize)]
pub struct Overview<'a> {
    status: &'static str,
    source: &'static str,
    data_source: &'static str,
    timestamp: u64,
    summary: Fields,
    market_regime: &'a Value,
    signals: Vec<Signal<'a>>,
    top_gainers: &'a [Mover],
    top_losers: &'a [Mover],
    momentum: Momentum,
    volatility: Volatility<'a>,
    opportunities: &'a [Opportunity],
    sections: Sections,
    left_out: usize,
    debug_info: DebugInfo,
}

/// How many of the movers rose and fell.
#[derive(Serialize)]
struct Momentum {
    gainers: usize,
    losers: usize,
}

/// The dispersion of the market and the word for it (B41).
#[derive(Serialize)]
struct Volatility<'a> {
    value: &'a Value,
    level: Option<&'static str>,
}

/// A record as its document holds it, with what its breakdown adds.
#[derive(Serialize)]
struct Signal<'a> {
    #[serde(flatten)]
    extra: Fields,
    symbol: &'a str,
    confluence_score: f64,
    signal_type: &'a str,
    reliability: Option<f64>,
    sentiment: &'a str,
    components: &'a BTreeMap<String, f64>,
    price: f64,
    change_24h: f64,
    volume_24h: Option<f64>,
    turnover_24h: Option<f64>,
    high_24h: Option<f64>,
    low_24h: Option<f64>,
    timestamp: f64,
    datetime: Option<String>,
    has_breakdown: bool,
    sub_components: Fields,
    interpretations: Fields,
    overall_score: Option<f64>,
}

/// What the view was made from, for whoever looks into it.
#[derive(Serialize)]
struct DebugInfo {
    cache_keys_found: BTreeMap<&'static str, bool>,
    data_counts: BTreeMap<&'static str, usize>,
    breakdown_enhancement: BTreeMap<&'static str, usize>,
}

/// The view.
pub fn of(board: &Board, limit: usize) -> Overview<'_> {
    let signals: Vec<Signal<'_>> = board.shown(limit.min(SIGNALS)).map(signal).collect();
    let (gainers, losers) = (&board.movers.gainers, &board.movers.losers);
    let mut summary = board.facts.some(&["total_symbols", "total_volume", "total_volume_24h", "average_change"]);
    summary.insert("timestamp".to_owned(), board.timestamp().into());
    Overview {
        status: board.source().status(),
        source: SOURCE,
        data_source: board.source().real(),
        timestamp: board.timestamp(),
        summary,
        market_regime: board.facts.get("market_regime"),
        top_gainers: Movers::first(gainers, limit.min(movers::TOP)),
        top_losers: Movers::first(losers, limit.min(movers::TOP)),
        momentum: Momentum { gainers: gainers.len(), losers: losers.len() },
        volatility: Volatility { value: board.facts.get("volatility"), level: board.facts.volatility_level() },
        opportunities: board.opportunities(limit.min(OPPORTUNITIES)),
        sections: board.sections,
        left_out: board.left_out,
        debug_info: debug_info(board, &signals),
        signals,
    }
}

fn signal(shown: Shown<'_>) -> Signal<'_> {
    let record = &shown.entry.record;
    let mut extra = record.extra.clone();
    // Names that the record has of its own; a name must not be written twice.
    extra.remove("overall_score");
    Signal {
        extra,
        symbol: &record.symbol,
        confluence_score: record.score,
        signal_type: record.signal_type.as_str(),
        reliability: record.reliability,
        sentiment: record.sentiment.as_str(),
        components: &record.components,
        price: shown.price,
        change_24h: shown.change,
        volume_24h: record.volume_24h,
        turnover_24h: record.quote_turnover(),
        high_24h: record.high_24h,
        low_24h: record.low_24h,
        timestamp: seconds(record.timestamp),
        datetime: iso(record.timestamp),
        has_breakdown: shown.entry.has_breakdown,
        sub_components: record.sub_components.clone().unwrap_or_default(),
        interpretations: record.interpretations.clone().unwrap_or_default(),
        overall_score: shown.entry.overall_score,
    }
}

fn debug_info(board: &Board, signals: &[Signal<'_>]) -> DebugInfo {
    let with = signals.iter().filter(|signal| signal.has_breakdown).count();
    DebugInfo {
        cache_keys_found: board.found.into_iter().collect(),
        data_counts: BTreeMap::from([
            ("signals", signals.len()),
            ("symbols", board.shown(usize::MAX).count()),
            ("gainers", board.movers.gainers.len()),
            ("losers", board.movers.losers.len()),
        ]),
        breakdown_enhancement: BTreeMap::from([
            ("signals_with_breakdown", with),
            ("signals_without_breakdown", signals.len() - with),
        ]),
    }
}
