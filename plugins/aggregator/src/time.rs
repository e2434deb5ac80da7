//! Times: microseconds inside, float seconds and ISO text in JSON, seconds or milliseconds from producers.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::contract::Micros;

/// One second.
pub const SECOND: Micros = 1_000_000;
/// One day.
pub const DAY: Micros = 86_400 * SECOND;
/// How far a producer's clock may run ahead of ours.
pub const CLOCK_SKEW: Micros = SECOND;

/// Unix seconds as the documents carry them.
pub fn seconds(at: Micros) -> f64 {
    at as f64 / SECOND as f64
}

/// ISO text with the offset that the producers write, or nothing for a year that has no four digits.
pub fn iso(at: Micros) -> Option<String> {
    let mut text = String::with_capacity(32);
    write!(text, "{}", humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(at))).ok()?;
    text.pop();
    text.push_str("+00:00");
    Some(text)
}

/// Reads a producer's number as seconds, milliseconds or microseconds: the ranges cannot meet before the year 5138.
pub fn instant(number: f64) -> Option<Micros> {
    let micros = match number {
        n if n <= 0.0 => return None,
        n if n < 1e11 => n * 1e6,
        n if n < 1e14 => n * 1e3,
        n if n < 1e17 => n,
        _ => return None,
    };
    Some(micros.round() as Micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first second of 2001 and of 2100: what lies outside is no time of a document.
    const CENTURY: std::ops::Range<Micros> = 978_307_200 * SECOND..4_102_444_800 * SECOND;

    proptest! {
        #[test]
        fn the_seconds_of_a_document_keep_the_microsecond(at in CENTURY) {
            let text = |at| serde_json::to_string(&seconds(at)).unwrap();
            prop_assert_ne!(text(at), text(at + 1));
            prop_assert_eq!(instant(serde_json::from_str(&text(at)).unwrap()), Some(at));
        }
    }
}
