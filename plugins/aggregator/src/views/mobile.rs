//! `mobile-data`: everything that the mobile page shows, in one body.
//!
//! The page reads several lists under two or three names; the names exist here, at the edge, and nowhere else (B52).

use serde::Serialize;
use serde_json::Value;

use super::SOURCE;
use super::board::Board;
use super::breadth::Breadth;
use super::entry::Card;
use super::movers::{self, Movers};
use super::opportunity::{self, Opportunity};
use super::perps::Perps;
use super::section::{Fields, Sections};
use crate::documents::Mover;

/// Facts that stand at the top level too. The counts of gainers and losers do not: their names belong to the lists.
const FLAT: [&str; 13] = [
    "market_regime",
    "trend_strength",
    "btc_volatility",
    "btc_daily_volatility",
    "btc_price",
    "btc_vol_days",
    "btc_dominance",
    "market_dispersion",
    "avg_market_dispersion",
    "average_change",
    "current_volatility",
    "avg_volatility",
    "total_volume_24h",
];

#[derive(Serialize)]
pub struct Mobile<'a> {
    status: &'static str,
    source: &'static str,
    data_source: &'static str,
    timestamp: u64,
    market_overview: &'a Fields,
    market_breadth: &'a Breadth,
    confluence_scores: &'a [Card<'a>],
    top_movers: TopMovers<'a>,
    perps: Perps,
    opportunities: &'a [Opportunity],
    sections: Sections,
    left_out: usize,
    #[serde(flatten)]
    flat: Fields,
    regime: &'a Value,
    trend_score: &'a Value,
    gainers: &'a [Mover],
    top_gainers: &'a [Mover],
    losers: &'a [Mover],
    symbols: &'a [Card<'a>],
    top_symbols: &'a [Card<'a>],
    funding_rate: Option<f64>,
    funding_zscore: Option<f64>,
    long_pct: Option<f64>,
    short_pct: Option<f64>,
    ls_entropy: Option<f64>,
    total_open_interest: Option<f64>,
    cex_pct: Option<f64>,
    basis_pct: Option<f64>,
}

#[derive(Serialize)]
struct TopMovers<'a> {
    gainers: &'a [Mover],
    losers: &'a [Mover],
}

/// The view. `cards` are the board's, made once and shown under three names.
pub fn of<'a>(board: &'a Board, cards: &'a [Card<'a>], limit: usize) -> Mobile<'a> {
    let gainers = Movers::first(&board.movers.gainers, limit.min(movers::TOP));
    let losers = Movers::first(&board.movers.losers, limit.min(movers::TOP));
    let perps = board.perps;
    Mobile {
        status: board.source().status(),
        source: SOURCE,
        data_source: board.source().live(),
        timestamp: board.timestamp(),
        market_overview: board.facts.all(),
        market_breadth: &board.breadth,
        top_movers: TopMovers { gainers, losers },
        perps,
        opportunities: board.opportunities(limit.min(opportunity::TOP)),
        sections: board.sections,
        left_out: board.left_out,
        flat: board.facts.some(&FLAT),
        regime: board.facts.get("market_regime"),
        trend_score: board.facts.get("trend_strength"),
        gainers,
        top_gainers: gainers,
        losers,
        symbols: cards,
        top_symbols: cards,
        confluence_scores: cards,
        funding_rate: perps.funding_rate,
        funding_zscore: perps.funding_zscore,
        long_pct: perps.long_pct,
        short_pct: perps.short_pct,
        ls_entropy: perps.ls_entropy,
        total_open_interest: perps.open_interest,
        cex_pct: perps.cex_pct,
        basis_pct: perps.basis_pct,
    }
}
