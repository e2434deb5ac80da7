//! Bitcoin's volatility from daily snapshots of its price.

use serde::{Deserialize, Serialize};

use crate::contract::Micros;
use crate::number::round;
use crate::statistics::sample_deviation;
use crate::time::DAY;

/// The symbol whose price is watched.
pub const SYMBOL: &str = "BTCUSDT";
/// Days that are remembered.
const SNAPSHOTS_MAX: usize = 30;
/// Two returns are the least that deviate.
const SNAPSHOTS_MIN: usize = 3;

/// At most one price a day, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DailyPrices(Vec<(Micros, f64)>);

/// How much the price moves, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BtcVolatility {
    /// In a year.
    pub annual: f64,
    /// In a day.
    pub daily: f64,
    /// Daily returns that this is computed from.
    pub days: usize,
}

impl DailyPrices {
    /// Takes note of a price; keeps it if the last one is a day old.
    pub fn note(&mut self, now: Micros, price: f64) {
        if self.0.last().is_some_and(|(at, _)| now < at.saturating_add(DAY)) {
            return;
        }
        if self.0.len() >= SNAPSHOTS_MAX {
            self.0.drain(..=self.0.len() - SNAPSHOTS_MAX);
        }
        self.0.push((now, price));
    }

    /// The deviation of the logarithmic returns, or nothing until there are three snapshots.
    pub fn volatility(&self) -> Option<BtcVolatility> {
        if self.0.len() < SNAPSHOTS_MIN {
            return None;
        }
        let returns: Vec<f64> = self.0.windows(2).map(|pair| (pair[1].1 / pair[0].1).ln()).collect();
        let daily = sample_deviation(&returns)? * 100.0;
        let annual = daily * 365_f64.sqrt();
        annual.is_finite().then(|| BtcVolatility {
            annual: round(annual, 2),
            daily: round(daily, 2),
            days: returns.len(),
        })
    }
}
