//! The market in numbers, under one constant set of names: what `market_overview` holds and the flat fields repeat.

use serde_json::Value;

use super::section::Fields;
use crate::number;
use crate::regime::{self, Volatility};
use crate::statistics::trend_strength;

/// A number, and the names under which producers write it.
const NUMBERS: [(&str, &[&str]); 28] = [
    ("volatility", &["current_volatility", "market_dispersion", "volatility"]),
    ("current_volatility", &["current_volatility", "market_dispersion", "volatility"]),
    ("avg_volatility", &["avg_volatility", "avg_market_dispersion"]),
    ("market_dispersion", &["market_dispersion", "current_volatility", "volatility"]),
    ("avg_market_dispersion", &["avg_market_dispersion", "avg_volatility"]),
    ("btc_price", &["btc_price"]),
    ("btc_volatility", &["btc_volatility"]),
    ("btc_daily_volatility", &["btc_daily_volatility"]),
    ("btc_vol_days", &["btc_vol_days"]),
    ("total_symbols", &["total_symbols"]),
    ("total_volume", &["total_volume", "total_volume_24h"]),
    ("total_volume_24h", &["total_volume_24h", "total_volume"]),
    ("average_change", &["average_change", "average_change_24h", "avg_change_percent"]),
    ("gainers", &["gainers"]),
    ("losers", &["losers"]),
    ("total_market_cap", &["total_market_cap"]),
    ("market_cap_change_24h", &["market_cap_change_24h"]),
    ("coingecko_volume_24h", &["coingecko_volume_24h"]),
    ("volume_mcap_ratio", &["volume_mcap_ratio"]),
    ("active_cryptocurrencies", &["active_cryptocurrencies"]),
    ("fear_greed_value", &["fear_greed_value"]),
    ("defi_market_cap", &["defi_market_cap"]),
    ("defi_dominance", &["defi_dominance"]),
    ("defi_volume_24h", &["defi_volume_24h"]),
    ("eth_dominance", &["eth_dominance"]),
    ("stablecoin_dominance", &["stablecoin_dominance"]),
    ("altcoin_dominance", &["altcoin_dominance"]),
    ("top_defi_dominance", &["top_defi_dominance"]),
];

/// The names that overviews have for Bitcoin's share of the market.
pub const BTC_DOMINANCE: &[&str] = &["btc_dominance", "btc_dom"];

/// Texts of the overview.
const TEXTS: [&str; 3] = ["fear_greed_label", "altcoin_season", "top_defi_protocol"];

/// Texts that stand in a regime's place before there is one.
const NO_REGIME: [&str; 5] = ["", "initializing", "unknown", "null", "loading..."];

/// The canonical numbers of a call. Every name is always there.
pub struct Facts(Fields);

impl Facts {
    /// Reads the facts from the documents that are there.
    pub fn of(
        overview: Option<&Fields>,
        regime: Option<&Fields>,
        dominance: Option<&Fields>,
        signals: Option<&Fields>,
    ) -> Self {
        let number = |names: &[&str]| overview.and_then(|fields| given(fields, names)).unwrap_or(Value::Null);
        let mut facts: Fields = NUMBERS.iter().map(|(name, names)| ((*name).to_owned(), number(names))).collect();
        for name in TEXTS {
            let text = overview
                .and_then(|fields| fields.get(name))
                .filter(|text| text.as_str().is_some_and(|t| !t.is_empty()));
            facts.insert(name.to_owned(), text.cloned().unwrap_or(Value::Null));
        }
        let btc_dominance = overview
            .and_then(|fields| number::first(fields, BTC_DOMINANCE))
            .or_else(|| number::first(dominance?, &["dominance"]));
        facts.insert("btc_dominance".to_owned(), btc_dominance.into());
        facts.insert("trend_strength".to_owned(), overview.and_then(trend).into());
        let label = regime
            .and_then(regime_text)
            .or_else(|| overview.and_then(regime_text))
            .or_else(|| derived_regime(overview?, dominance, signals, btc_dominance));
        facts.insert("market_regime".to_owned(), label.into());
        Self(facts)
    }

    /// A fact by name; `null` when it is not known.
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// A fact as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        number::read(self.get(name))
    }

    /// All facts.
    pub fn all(&self) -> &Fields {
        &self.0
    }

    /// The facts under `names`, in a map of their own.
    pub fn some(&self, names: &[&str]) -> Fields {
        names.iter().map(|name| ((*name).to_owned(), self.get(name).clone())).collect()
    }

    /// The word for the volatility; nothing when it is not known.
    pub fn volatility_level(&self) -> Option<&'static str> {
        self.number("volatility").map(|dispersion| Volatility::of(dispersion).word())
    }
}

/// Whether a regime document names a regime.
pub fn names_a_regime(fields: &Fields) -> bool {
    regime_text(fields).is_some()
}

/// The first of `names` that holds a number, as it is written: a count stays an integer.
fn given(fields: &Fields, names: &[&str]) -> Option<Value> {
    names.iter().find_map(|name| {
        let value = fields.get(*name)?;
        if value.is_number() { Some(value.clone()) } else { number::read(value).map(Value::from) }
    })
}

/// The label under `regime` or `market_regime`, be it a text or an object around one (B13).
fn regime_text(fields: &Fields) -> Option<String> {
    ["regime", "market_regime"].iter().find_map(|name| match fields.get(*name)? {
        Value::String(text) if !NO_REGIME.contains(&text.trim().to_ascii_lowercase().as_str()) => Some(text.clone()),
        Value::Object(inner) => match inner.get("regime")? {
            Value::String(text) if !NO_REGIME.contains(&text.trim().to_ascii_lowercase().as_str()) => {
                Some(text.clone())
            }
            _ => None,
        },
        _ => None,
    })
}

/// The overview's own trend strength, or the one that follows from its counts: gainers and losers when both are given and
/// one of them is not null, else bullish and bearish signals.
fn trend(overview: &Fields) -> Option<f64> {
    if let Some(own) = number::first(overview, &["trend_strength"]) {
        return Some(own);
    }
    let count = |name| number::first(overview, &[name]);
    let pair = |up, down| Some((count(up).unwrap_or(0.0), count(down).unwrap_or(0.0)));
    let both_keys = overview.contains_key("gainers") && overview.contains_key("losers");
    let (up, down) = if both_keys && (count("gainers").is_some() || count("losers").is_some()) {
        pair("gainers", "losers")
    } else {
        pair("bullish_signals", "bearish_signals")
    }?;
    trend_strength(up, down)
}

fn derived_regime(
    overview: &Fields,
    dominance: Option<&Fields>,
    signals: Option<&Fields>,
    btc_dominance: Option<f64>,
) -> Option<String> {
    let score = |fields| number::first(fields, &["avg_confluence_score"]);
    let count = |name| number::first(overview, &[name]);
    let previous = dominance
        .and_then(|fields| Some(number::first(fields, &["dominance"])? - number::first(fields, &["change_24h"])?));
    Some(regime::label(&regime::Inputs {
        score: score(overview).or_else(|| score(signals?))?,
        gainers_losers: count("gainers").zip(count("losers")),
        fear_greed: count("fear_greed_value"),
        dispersion: number::first(overview, &["market_dispersion", "current_volatility", "volatility"]),
        dominance_change: regime::dominance_change(btc_dominance, previous),
    }))
}
