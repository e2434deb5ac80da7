//! `market:overview`: the market in numbers.
//!
//! What follows from the signals is computed, and `null` when it cannot be. What only others know is carried over while it
//! is young, and absent otherwise.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Scene;
use crate::btc::{self, BtcVolatility};
use crate::contract::Micros;
use crate::number;
use crate::observed::{CARRIED, Observed};
use crate::regime;
use crate::statistics::{mean, trend_strength};

/// What the overview needs beside the records of the window.
pub struct Inputs<'a> {
    /// The moment of the call.
    pub now: Micros,
    /// What others know.
    pub observed: &'a Observed,
    /// Mean of the remembered dispersions.
    pub avg_dispersion: Option<f64>,
    /// Bitcoin's volatility, once there are enough days.
    pub btc: Option<BtcVolatility>,
}

#[derive(Serialize)]
pub struct Overview {
    total_symbols: usize,
    total_volume_24h: Option<f64>,
    trend_strength: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    btc_dominance: Option<f64>,
    #[serde(flatten)]
    btc: Btc,
    market_dispersion: Option<f64>,
    avg_market_dispersion: Option<f64>,
    current_volatility: Option<f64>,
    avg_volatility: Option<f64>,
    average_change: Option<f64>,
    market_regime: Option<String>,
    total_volume: Option<f64>,
    gainers: u32,
    losers: u32,
    #[serde(flatten)]
    carried: Map<String, Value>,
}

#[derive(Serialize)]
struct Btc {
    btc_volatility: Option<f64>,
    btc_daily_volatility: Option<f64>,
    btc_price: Option<f64>,
    btc_vol_days: Option<u64>,
}

/// The document's fields.
pub fn of(scene: &Scene<'_>, inputs: &Inputs<'_>) -> Overview {
    let moves = &scene.moves;
    let (gainers, losers) = (f64::from(moves.up), f64::from(moves.down));
    let volume = volume(scene);
    Overview {
        total_symbols: scene.held.len(),
        total_volume_24h: volume,
        trend_strength: trend_strength(gainers, losers),
        btc_dominance: inputs.observed.dominance(inputs.now),
        btc: btc(scene, inputs),
        market_dispersion: moves.dispersion,
        avg_market_dispersion: inputs.avg_dispersion,
        current_volatility: moves.dispersion,
        avg_volatility: inputs.avg_dispersion,
        average_change: moves.average,
        market_regime: market_regime(scene, inputs),
        total_volume: volume,
        gainers: moves.up,
        losers: moves.down,
        carried: carried(inputs),
    }
}

/// The turnover of all symbols in quote units (B51).
fn volume(scene: &Scene<'_>) -> Option<f64> {
    scene.held.iter().filter_map(|held| held.record.quote_turnover()).reduce(|sum, turnover| sum + turnover)
}

fn btc(scene: &Scene<'_>, inputs: &Inputs<'_>) -> Btc {
    let price = scene.held.iter().find(|held| held.record.symbol == btc::SYMBOL).and_then(|held| held.record.price);
    let carried = |name| inputs.observed.carried_number(name, inputs.now);
    // The three numbers of the volatility belong together: all are computed, or all are carried.
    let (annual, daily, days) = match inputs.btc {
        Some(btc) => (Some(btc.annual), Some(btc.daily), Some(btc.days as u64)),
        None => (
            carried("btc_volatility"),
            carried("btc_daily_volatility"),
            carried("btc_vol_days").map(|days| days as u64),
        ),
    };
    Btc {
        btc_volatility: annual,
        btc_daily_volatility: daily,
        btc_price: price.or_else(|| carried("btc_price")),
        btc_vol_days: days,
    }
}

fn market_regime(scene: &Scene<'_>, inputs: &Inputs<'_>) -> Option<String> {
    let moves = &scene.moves;
    Some(regime::label(&regime::Inputs {
        score: mean(scene.held.iter().map(|held| held.record.score))?,
        gainers_losers: (moves.up + moves.down + moves.flat > 0).then(|| (f64::from(moves.up), f64::from(moves.down))),
        fear_greed: inputs.observed.carried("fear_greed_value", inputs.now).and_then(number::read),
        dispersion: moves.dispersion,
        dominance_change: inputs.observed.dominance_change(inputs.now),
    }))
}

fn carried(inputs: &Inputs<'_>) -> Map<String, Value> {
    CARRIED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), inputs.observed.carried(name, inputs.now)?.clone())))
        .collect()
}
