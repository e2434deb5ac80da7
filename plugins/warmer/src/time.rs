//! Times: microseconds inside, float seconds and ISO text in placeholders, round numbers in reasons.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::contract::Micros;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// How long ago something was. A time that lies ahead was written before the clock was set back, and counts as long ago:
/// no pause may outlast such a correction.
pub fn since(at: Micros, now: Micros) -> Micros {
    now.checked_sub(at).unwrap_or(Micros::MAX)
}

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

/// A span as an operator says it: `48 s`, `12 min`, `3 h`; a begun unit counts as whole.
pub fn span(micros: Micros) -> String {
    const MINUTE: Micros = 60 * SECOND;
    match micros {
        0..=119_999_999 => format!("{} s", micros.div_ceil(SECOND)),
        120_000_000..=7_199_999_999 => format!("{} min", micros.div_ceil(MINUTE)),
        _ => format!("{} h", micros.div_ceil(60 * MINUTE)),
    }
}
