//! Numbers out of JSON, and rounding as the producers round.

use serde_json::{Map, Value};

/// Rounds to `places` decimals, exact ties to the even digit: the rule of the producers' language.
pub fn round(number: f64, places: usize) -> f64 {
    // Adding zero turns a negative zero into zero, which is what a reader expects to see.
    format!("{number:.places$}").parse().unwrap_or(number) + 0.0
}

/// A finite number, or text that holds one: exchanges quote prices as text.
pub fn read(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// The number under the first of `names` that holds one.
pub fn first(object: &Map<String, Value>, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| object.get(*name).and_then(read))
}

/// Takes all of `names` out of `object` and returns the first number among them.
pub fn take(object: &mut Map<String, Value>, names: &[&str]) -> Option<f64> {
    let found = first(object, names);
    for name in names {
        object.remove(*name);
    }
    found
}

/// Prices and highs of 0 are what a producer writes when it has none.
pub fn positive(number: &f64) -> bool {
    *number > 0.0
}

/// Volumes may be 0 and never less.
pub fn not_negative(number: &f64) -> bool {
    *number >= 0.0
}

/// A share of 1. Producers write 0 to 1 or 0 to 100 (B18); anything else is nothing.
pub fn share(number: f64) -> Option<f64> {
    match number {
        n if (0.0..=1.0).contains(&n) => Some(n),
        n if (1.0..=100.0).contains(&n) => Some(n / 100.0),
        _ => None,
    }
}
