//! What stands where nothing is: a document that says of itself that it is made up.
//!
//! A placeholder has the shape that the readers of its key expect, and not one plausible number (B37): counts are 0, lists
//! are empty, and the old warmer's 57 percent of dominance and 50 percent of breadth are gone.

use serde_json::{Map, Value, json};

use crate::contract::Micros;
use crate::time;

/// The field that carries the mark.
pub const MARK_FIELD: &str = "status";

/// The mark by which every reader knows a placeholder.
pub const MARK: &str = "cache_warmer_generated";

/// The keys that have a placeholder of their own.
pub const KEYS: [&str; 4] = ["market:tickers", "analysis:market_regime", "market:breadth", "market:btc_dominance"];

/// The fields of a key's own placeholder.
pub fn built_in(key: &str) -> Option<Map<String, Value>> {
    let fields = match key {
        "market:tickers" => json!({"tickers": {}, "total_count": 0}),
        "analysis:market_regime" => json!({"regime": "Initializing", "confidence": 0.0, "indicators": {}}),
        "market:breadth" => json!({
            "up_count": 0, "down_count": 0, "flat_count": 0, "breadth_percentage": 0.0, "market_sentiment": "unknown",
        }),
        "market:btc_dominance" => json!({"dominance": 0.0, "change_24h": 0.0}),
        _ => return None,
    };
    match fields {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The payload: the fields, the time, and the mark.
pub fn body(fields: &Map<String, Value>, now: Micros) -> Vec<u8> {
    let mut fields = fields.clone();
    fields.insert("last_updated".to_owned(), json!(time::seconds(now)));
    if let Some(text) = time::iso(now) {
        fields.insert("datetime".to_owned(), Value::String(text));
    }
    fields.insert(MARK_FIELD.to_owned(), Value::String(MARK.to_owned()));
    Value::Object(fields).to_string().into_bytes()
}
