//! What other producers know and this plugin cannot compute: dominance, market capitalisation, fear and greed, DeFi.
//!
//! It is carried over into `market:overview` as long as it is at most 600 s old. Only real documents of others count: what
//! an aggregator published carries [`PRODUCER`], so that a carried value is never taken for a new one, whoever's copy it is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contract::{Document, Kind, Micros};
use crate::number;
use crate::parse;
use crate::regime;
use crate::time::SECOND;

/// The metadata field by which an aggregator's own documents are told from others'. Readers drop fields that start with `__`.
pub const PRODUCER: &str = "__producer";
/// The key of the overview.
pub const OVERVIEW: &str = "market:overview";
/// The key of Bitcoin's dominance.
pub const DOMINANCE: &str = "market:btc_dominance";
/// How long a carried value stands.
const CARRIED_MAX: Micros = 600 * SECOND;

/// Fields of the overview that are carried over as they are, in the order of the schema.
pub const CARRIED: [&str; 20] = [
    "spot_volume_24h",
    "linear_volume_24h",
    "spot_symbols",
    "linear_symbols",
    "eth_dominance",
    "stablecoin_dominance",
    "altcoin_dominance",
    "altcoin_season",
    "total_market_cap",
    "market_cap_change_24h",
    "coingecko_volume_24h",
    "volume_mcap_ratio",
    "active_cryptocurrencies",
    "fear_greed_value",
    "fear_greed_label",
    "defi_market_cap",
    "defi_volume_24h",
    "defi_dominance",
    "top_defi_protocol",
    "top_defi_dominance",
];

/// Fields that this plugin computes when it can, and carries over when it cannot.
const FALLBACK: [&str; 4] = ["btc_price", "btc_volatility", "btc_daily_volatility", "btc_vol_days"];

/// The last real documents of other producers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    overview: Option<Overview>,
    dominance: Option<Dominance>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Overview {
    produced_at: Micros,
    fields: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Dominance {
    produced_at: Micros,
    value: f64,
    previous: Option<f64>,
}

impl Observed {
    /// Takes note of a document; answers whether something that is carried over changed.
    pub fn note(&mut self, document: &Document) -> bool {
        if document.kind != Kind::Real || ![OVERVIEW, DOMINANCE].contains(&document.key.as_str()) {
            return false;
        }
        let Ok(fields) = parse::object(&document.body) else { return false };
        if fields.contains_key(PRODUCER) {
            return false;
        }
        if document.key == OVERVIEW {
            self.note_overview(document.produced_at, fields)
        } else {
            let previous = |value| Some(value - number::first(&fields, &["change_24h"])?);
            number::first(&fields, &["dominance"])
                .is_some_and(|value| self.note_dominance(document.produced_at, value, previous(value)))
        }
    }

    /// A field that is to be carried over at `now`.
    pub fn carried(&self, name: &str, now: Micros) -> Option<&Value> {
        let overview = self.overview.as_ref().filter(|overview| stands(overview.produced_at, now))?;
        overview.fields.get(name)
    }

    /// A number that is to be carried over at `now`. A 0 in these fields is what a producer writes when it has none.
    pub fn carried_number(&self, name: &str, now: Micros) -> Option<f64> {
        self.carried(name, now).and_then(number::read).filter(number::positive)
    }

    /// Bitcoin's dominance at `now`.
    pub fn dominance(&self, now: Micros) -> Option<f64> {
        self.standing_dominance(now).map(|dominance| dominance.value)
    }

    /// How Bitcoin's dominance changed.
    pub fn dominance_change(&self, now: Micros) -> Option<f64> {
        let dominance = self.standing_dominance(now)?;
        regime::dominance_change(Some(dominance.value), dominance.previous)
    }

    fn standing_dominance(&self, now: Micros) -> Option<Dominance> {
        self.dominance.filter(|dominance| stands(dominance.produced_at, now))
    }

    fn note_overview(&mut self, produced_at: Micros, mut fields: Map<String, Value>) -> bool {
        if self.overview.as_ref().is_some_and(|known| known.produced_at > produced_at) {
            return false;
        }
        let dominance = number::first(&fields, &["btc_dominance", "btc_dom"]).filter(number::positive);
        let moved = dominance.is_some_and(|value| self.note_dominance(produced_at, value, None));
        fields.retain(|name, value| {
            !value.is_null() && (CARRIED.contains(&name.as_str()) || FALLBACK.contains(&name.as_str()))
        });
        let changed = self.overview.as_ref().is_none_or(|known| known.fields != fields);
        self.overview = Some(Overview { produced_at, fields });
        changed || moved
    }

    fn note_dominance(&mut self, produced_at: Micros, value: f64, previous: Option<f64>) -> bool {
        let known = self.dominance;
        if known.is_some_and(|known| known.produced_at > produced_at) {
            return false;
        }
        let before = known.and_then(|known| if known.value == value { known.previous } else { Some(known.value) });
        self.dominance = Some(Dominance { produced_at, value, previous: previous.or(before) });
        known.is_none_or(|known| known.value != value)
    }
}

fn stands(produced_at: Micros, now: Micros) -> bool {
    now.saturating_sub(produced_at) <= CARRIED_MAX
}
