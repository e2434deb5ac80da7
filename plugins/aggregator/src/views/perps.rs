//! The perpetuals, as far as `coingecko:derivatives` tells. Shares of long and short, of exchange kinds, and the basis have
//! no source, so they are `null` under their names.

use serde::Serialize;
use serde_json::Value;

use super::section::Fields;
use crate::number;
use crate::statistics::mean;

/// A usual funding rate, in percent, by which the page's score divides.
const USUAL_RATE_PERCENT: f64 = 0.03;

/// The section, under the names of the page.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Perps {
    /// Percent, as the source quotes it: the mean of Bitcoin's contracts.
    pub funding_rate: Option<f64>,
    /// The rate in usual rates.
    pub funding_zscore: Option<f64>,
    pub long_pct: Option<f64>,
    pub short_pct: Option<f64>,
    pub ls_entropy: Option<f64>,
    pub open_interest: Option<f64>,
    pub volume_24h: Option<f64>,
    pub cex_pct: Option<f64>,
    pub dex_pct: Option<f64>,
    pub basis_pct: Option<f64>,
}

impl Perps {
    /// Reads the derivatives, if there are any.
    pub fn of(derivatives: Option<&Fields>) -> Self {
        let Some(fields) = derivatives else { return Self::default() };
        let funding_rate = funding_rate(fields);
        Self {
            funding_rate,
            funding_zscore: funding_rate.map(|rate| rate / USUAL_RATE_PERCENT),
            open_interest: number::first(fields, &["total_open_interest"]),
            volume_24h: number::first(fields, &["total_volume_24h"]),
            ..Self::default()
        }
    }
}

fn funding_rate(fields: &Fields) -> Option<f64> {
    let contracts = fields.get("contracts")?.as_array()?;
    let rate = |contract: &Value| {
        let contract = contract.as_object()?;
        let text = |name| contract.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
        let is_btc = text("index_id") == "BTC" || text("symbol").starts_with("BTC");
        number::first(contract, &["funding_rate"]).filter(|_| is_btc)
    };
    mean(contracts.iter().filter_map(rate))
}
