//! `market:overview`: the state of the market in one flat object. Fields of older producers get their present names.

use super::object;
use crate::answer::{Kind, Rejection};
use crate::mend::{self, Mender};
use crate::path::Path;
use crate::tree::{Json, Object};

/// Older names and what they are called now; the first that is there counts. `current_volatility` and `avg_volatility` are
/// names of the present schema and stay.
const RENAMED: [(&str, &str); 10] = [
    ("total_symbols_monitored", "total_symbols"),
    ("btc_dom", "btc_dominance"),
    ("volatility", "market_dispersion"),
    ("avg_change_percent", "average_change"),
    ("average_change_24h", "average_change"),
    ("market_state", "market_regime"),
    ("spot_volume", "spot_volume_24h"),
    ("linear_volume", "linear_volume_24h"),
    ("spot_count", "spot_symbols"),
    ("linear_count", "linear_symbols"),
];

/// Fields that readers calculate with or format.
const NUMBERS: [&str; 34] = [
    "total_symbols",
    "total_volume_24h",
    "total_volume",
    "trend_strength",
    "btc_dominance",
    "btc_volatility",
    "btc_daily_volatility",
    "btc_price",
    "btc_vol_days",
    "market_dispersion",
    "avg_market_dispersion",
    "current_volatility",
    "avg_volatility",
    "average_change",
    "spot_volume_24h",
    "linear_volume_24h",
    "spot_symbols",
    "linear_symbols",
    "gainers",
    "losers",
    "eth_dominance",
    "stablecoin_dominance",
    "altcoin_dominance",
    "total_market_cap",
    "coingecko_volume_24h",
    "market_cap_change_24h",
    "volume_mcap_ratio",
    "active_cryptocurrencies",
    "fear_greed_value",
    "defi_market_cap",
    "defi_volume_24h",
    "defi_dominance",
    "top_defi_dominance",
    "reliability",
];

/// Fields from 0 to 100.
const PERCENTAGES: [&str; 4] = ["trend_strength", "btc_dominance", "market_dispersion", "current_volatility"];

/// Fields that cannot be less than nothing.
const AMOUNTS: [&str; 7] =
    ["total_volume_24h", "total_volume", "spot_volume_24h", "linear_volume_24h", "total_symbols", "gainers", "losers"];

/// Fields that tell whether the overview was made from data. Other fields have defaults that look like data (B37).
const EVIDENCE: [&str; 5] = ["total_symbols", "total_volume_24h", "total_volume", "gainers", "losers"];

/// The trend of a market of which nothing is known.
const DEFAULT_TREND: f64 = 50.0;

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let mut root = object(root, "an object")?;
    for (old, new) in RENAMED {
        if root.rename(old, new) {
            mend.reshaped();
        }
    }
    regime_to_text(&mut root, mend);
    mend::numbers(&mut root, &NUMBERS, &Path::Root, mend);
    for name in PERCENTAGES {
        mend::within(&mut root, name, 0.0..=100.0, mend);
    }
    for name in AMOUNTS {
        mend::within(&mut root, name, 0.0..=f64::INFINITY, mend);
    }
    equal_volumes(&mut root, mend);
    let kind = if carries_data(&root) { Kind::Real } else { Kind::Placeholder };
    Ok((Json::Object(root), kind))
}

/// One type for the regime: its label (B13). What else an object says of it moves to `market_regime_details`.
fn regime_to_text(root: &mut Object<'_>, mend: &mut Mender) {
    let Some(value) = root.get_mut("market_regime") else { return };
    match value {
        Json::Text(_) | Json::Null => return,
        Json::Object(details) => {
            if let Some(label @ Json::Text(_)) = details.take("regime") {
                let details = std::mem::take(details);
                *value = label;
                if !details.is_empty() && root.get("market_regime_details").is_none() {
                    root.set("market_regime_details", Json::Object(details));
                }
                mend.reshaped();
                return;
            }
        }
        _ => {}
    }
    mend.repaired("wrong-type", Path::Root.field("market_regime"), "the regime has no label; it is null now");
    *value = Json::Null;
}

/// The volume has two names of equal standing; one that is there fills one that is not.
fn equal_volumes(root: &mut Object<'_>, mend: &mut Mender) {
    for (from, to) in [("total_volume_24h", "total_volume"), ("total_volume", "total_volume_24h")] {
        if is_some(root, from)
            && !is_some(root, to)
            && let Some(volume) = root.get(from).cloned()
        {
            root.set(to, volume);
            mend.reshaped();
        }
    }
}

fn carries_data(root: &Object<'_>) -> bool {
    let trend = root.get("trend_strength").and_then(Json::number);
    EVIDENCE.iter().any(|name| is_some(root, name)) || trend.is_some_and(|trend| trend != 0.0 && trend != DEFAULT_TREND)
}

/// Whether the field is a number other than zero.
fn is_some(root: &Object<'_>, name: &str) -> bool {
    root.get(name).and_then(Json::number).is_some_and(|number| number != 0.0)
}
