//! When a payload was made, according to itself.
//!
//! Producers write Unix seconds, as float or integer, some old records milliseconds, and ISO 8601 with an offset. A time
//! without an offset says nothing, and one outside of this century is a mistake: both count as absent.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::tree::{Json, Object};

/// The fields that may hold it, best first.
const FIELDS: [&str; 7] =
    ["timestamp", "last_updated", "unix_timestamp", "datetime", "cached_at", "updated_at", "generated_at"];

/// The start of 2001, in seconds.
const EARLIEST: f64 = 978_307_200.0;

/// The start of 2100, in seconds.
const LATEST: f64 = 4_102_444_800.0;

/// Numbers above this are milliseconds.
const MILLISECONDS: f64 = 1e11;

/// The time of a document in Unix microseconds.
pub(crate) fn of_document(root: &Json<'_>) -> Option<u64> {
    root.object().and_then(of_object)
}

/// The time of an object in Unix microseconds.
pub(crate) fn of_object(object: &Object<'_>) -> Option<u64> {
    FIELDS.iter().find_map(|name| of_value(object.get(name)?))
}

/// The time that a value gives in Unix microseconds.
pub(crate) fn of_value(value: &Json<'_>) -> Option<u64> {
    let seconds = match value {
        Json::Number(number) => number.as_f64()?,
        Json::Text(text) => return of_text(text),
        _ => return None,
    };
    let seconds_to_micros = if seconds > MILLISECONDS { 1e3 } else { 1e6 };
    within_century(seconds * seconds_to_micros)
}

fn of_text(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    let micros = moment.unix_timestamp_nanos() / 1000;
    // Exact: microseconds of this century need 52 bits.
    within_century(micros as f64)
}

fn within_century(micros: f64) -> Option<u64> {
    (EARLIEST * 1e6..LATEST * 1e6).contains(&micros).then_some(micros.round() as u64)
}

#[cfg(test)]
mod tests {
    use crate::tree::parse;

    fn of(text: &str) -> Option<u64> {
        super::of_document(&parse(text).unwrap().0)
    }

    #[test]
    fn seconds_may_be_float_or_integer_and_are_rounded_to_microseconds() {
        assert_eq!(of(r#"{"timestamp": 1795372662.191835}"#), Some(1_795_372_662_191_835));
        assert_eq!(of(r#"{"timestamp": 1795373301}"#), Some(1_795_373_301_000_000));
    }

    #[test]
    fn milliseconds_are_told_by_their_size() {
        assert_eq!(of(r#"{"timestamp": 1795372662191}"#), Some(1_795_372_662_191_000));
    }

    #[test]
    fn iso_8601_counts_with_an_offset_and_not_without() {
        assert_eq!(of(r#"{"datetime": "2026-11-22T18:37:42.193294+00:00"}"#), Some(1_795_372_662_193_294));
        assert_eq!(of(r#"{"updated_at": "2026-11-22T20:37:42+02:00"}"#), Some(1_795_372_662_000_000));
        assert_eq!(of(r#"{"updated_at": "2026-11-22T18:37:42Z"}"#), Some(1_795_372_662_000_000));
        assert_eq!(of(r#"{"updated_at": "2026-11-22T18:37:42"}"#), None);
    }

    #[test]
    fn the_first_usable_field_counts() {
        let text = r#"{"cached_at": "2026-11-22T18:38:07Z", "timestamp": null, "last_updated": 1795372938.5}"#;
        assert_eq!(of(text), Some(1_795_372_938_500_000));
    }

    #[test]
    fn absurd_times_count_as_absent() {
        for absurd in ["-1", "0", "12345", "900000000", "1e300", "9999999999", "true", r#""soon""#] {
            assert_eq!(of(&format!(r#"{{"timestamp": {absurd}}}"#)), None, "{absurd}");
        }
    }
}
