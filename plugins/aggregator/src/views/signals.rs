//! `signals`: a bare list of the scores with a trading word for each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::board::Board;
use super::entry::Shown;
use crate::number::round;

/// From this score up the word is `BUY`.
const BUY_MIN: f64 = 65.0;
/// From this score down the word is `SELL`.
const SELL_MAX: f64 = 35.0;

#[derive(Serialize)]
pub struct Signal<'a> {
    symbol: &'a str,
    confluence_score: f64,
    score: f64,
    price: f64,
    change_24h: f64,
    /// Base units.
    volume_24h: Option<f64>,
    /// Quote units (B51).
    turnover_24h: Option<f64>,
    components: &'a BTreeMap<String, f64>,
    sentiment: &'a str,
    signal_type: &'static str,
    has_breakdown: bool,
}

/// The view.
pub fn of(board: &Board, limit: usize) -> Vec<Signal<'_>> {
    board.shown(limit).map(signal).collect()
}

fn signal(shown: Shown<'_>) -> Signal<'_> {
    let record = &shown.entry.record;
    let score = round(record.score, 2);
    Signal {
        symbol: &record.symbol,
        confluence_score: score,
        score,
        price: shown.price,
        change_24h: round(shown.change, 2),
        volume_24h: record.volume_24h,
        turnover_24h: record.quote_turnover(),
        components: &record.components,
        sentiment: record.sentiment.as_str(),
        signal_type: match score {
            score if score >= BUY_MIN => "BUY",
            score if score <= SELL_MAX => "SELL",
            _ => "NEUTRAL",
        },
        has_breakdown: !record.components.is_empty(),
    }
}
