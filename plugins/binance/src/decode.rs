//! From an answer of Binance to a map of tickers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::{Decoded, Kind, Rejection};
use crate::rows::Rows;

/// What Binance answers instead of tickers when it refuses.
#[derive(Deserialize)]
struct Refusal<'r> {
    code: i64,
    #[serde(borrow)]
    msg: Cow<'r, str>,
}

/// Reads a payload; `flags` are the memcached client flags of the item, of which only 0 is plain text.
pub fn decode(key: &str, payload: &[u8], flags: u32) -> Result<Decoded, Rejection> {
    if flags & 1 != 0 {
        return Err(Rejection::whole(
            "python-pickle",
            "the value is a Python pickle, which is never read; write JSON instead",
        ));
    }
    let text = std::str::from_utf8(payload)
        .map_err(|error| Rejection::whole("invalid-utf8", format!("byte {} is not UTF-8", error.valid_up_to())))?;
    let not_json = |error: serde_json::Error| Rejection::whole("not-json", format!("{key}: {error}"));
    let whole: &RawValue = serde_json::from_str(text).map_err(not_json)?;
    let mut rows = Rows::default();
    let came = if whole.get().starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(whole.get()).map_err(not_json)?;
        for (index, row) in list.iter().enumerate() {
            rows.add(|| format!("$[{index}]"), row);
        }
        list.len()
    } else if whole.get().starts_with('{') {
        if let Ok(Refusal { code, msg }) = serde_json::from_str(whole.get()) {
            return Err(Rejection::whole("upstream-error", format!("Binance refused with code {code}: {msg}")));
        }
        let map: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(whole.get()).map_err(not_json)?;
        // In a row the symbol is text; in a map it could only be the name of a ticker.
        if map.get("symbol").is_none_or(|symbol| symbol.get().starts_with('{')) {
            return canonical(&map);
        }
        rows.add(|| "$".to_owned(), whole);
        1
    } else {
        return Err(Rejection::whole("wrong-shape", "a list of tickers or one ticker belongs here"));
    };
    if came > 0 && rows.tickers.is_empty() {
        return Err(Rejection::whole(
            "no-valid-record",
            format!("none of the {came} rows is a ticker of a traded pair"),
        ));
    }
    let kind = if came == 0 { Kind::Placeholder } else { Kind::Real };
    let canonical = serde_json::to_vec(&rows.tickers).map_err(not_json)?;
    let produced_at = rows.closed_at.and_then(|millis| millis.checked_mul(1000));
    Ok(Decoded { canonical: Some(canonical), kind, produced_at, schema_version: None, repairs: rows.into_repairs() })
}

/// Accepts a map that is canonical already.
fn canonical(map: &BTreeMap<Cow<'_, str>, &RawValue>) -> Result<Decoded, Rejection> {
    for (symbol, ticker) in map {
        let wrong = |what: String| {
            Rejection::whole("wrong-shape", format!("neither a row nor a map of tickers: {symbol:?}: {what}"))
        };
        let numbers: BTreeMap<Cow<'_, str>, f64> =
            serde_json::from_str(ticker.get()).map_err(|error| wrong(error.to_string()))?;
        if !numbers.contains_key("price") {
            return Err(wrong("the price is missing".to_owned()));
        }
    }
    let kind = if map.is_empty() { Kind::Placeholder } else { Kind::Real };
    Ok(Decoded { canonical: None, kind, produced_at: None, schema_version: None, repairs: Vec::new() })
}
