//! `market-overview`: the market in numbers, flat.

use serde::Serialize;
use serde_json::Value;

use super::SOURCE;
use super::board::Board;
use super::section::{Fields, Sections};

#[derive(Serialize)]
pub struct MarketOverview<'a> {
    status: &'static str,
    source: &'static str,
    data_source: &'static str,
    timestamp: u64,
    #[serde(flatten)]
    facts: &'a Fields,
    regime: &'a Value,
    trend_score: &'a Value,
    /// Symbols with a score that can be shown.
    active_symbols: usize,
    sections: Sections,
}

/// The view.
pub fn of(board: &Board) -> MarketOverview<'_> {
    MarketOverview {
        status: board.source().status(),
        source: SOURCE,
        data_source: board.source().real(),
        timestamp: board.timestamp(),
        facts: board.facts.all(),
        regime: board.facts.get("market_regime"),
        trend_score: board.facts.get("trend_strength"),
        active_symbols: board.shown(usize::MAX).count(),
        sections: board.sections,
    }
}
