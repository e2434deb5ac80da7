//! One key for one timeframe (B44).
//!
//! Some producers print the number of a timeframe as an integer and some as a float: one writes `virtuoso:beta_chart:4h`,
//! another asks for `virtuoso:beta_chart:4.0h`, and neither finds what the other wrote. Both mean the same, and here it has
//! one spelling, the shortest. A timeframe is a whole segment between colons: a decimal number and one of the [`UNITS`].
//! Numbers without a unit, such as versions, are left as they are.

use super::Key;

/// Seconds, minutes, hours, days, weeks.
const UNITS: [char; 5] = ['s', 'm', 'h', 'd', 'w'];

/// A segment that names a timeframe.
struct Timeframe<'a> {
    whole: &'a str,
    /// Without zeros at its end; empty for a whole number.
    fraction: &'a str,
    unit: char,
}

// === impl Key ===

impl Key {
    /// The same key with its timeframes in their one spelling: `4.0h` and `4.h` become `4h`, `0.50h` becomes `0.5h`.
    pub fn canonical(self) -> Self {
        self.respelled(|timeframe| timeframe.spelled("")).unwrap_or(self)
    }

    /// The key as a producer spells it whose numbers are floats: `4h` becomes `4.0h`. `None` where that is no other key.
    pub fn spelled_as_float(&self) -> Option<Self> {
        self.respelled(|timeframe| timeframe.spelled(".0"))
    }

    fn respelled(&self, spell: impl Fn(&Timeframe<'_>) -> String) -> Option<Self> {
        let segment = |text: &str| Timeframe::read(text).map_or_else(|| text.to_owned(), |timeframe| spell(&timeframe));
        let spelled = self.as_str().split(':').map(segment).collect::<Vec<_>>().join(":");
        // A float is longer, and may be too long for a key; then nobody wrote it.
        (spelled != self.as_str()).then(|| Self::new(spelled).ok()).flatten()
    }
}

// === impl Timeframe ===

impl<'a> Timeframe<'a> {
    fn read(segment: &'a str) -> Option<Self> {
        let unit = segment.chars().last().filter(|unit| UNITS.contains(unit))?;
        let number = segment.strip_suffix(unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = !whole.is_empty() && digits(whole) && digits(fraction);
        is_number.then(|| Self { whole, fraction: fraction.trim_end_matches('0'), unit })
    }

    /// With `no_fraction` in the place of a fraction that is not there.
    fn spelled(&self, no_fraction: &str) -> String {
        let Self { whole, fraction, unit } = self;
        if fraction.is_empty() { format!("{whole}{no_fraction}{unit}") } else { format!("{whole}.{fraction}{unit}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn b44_a_timeframe_has_one_spelling() {
        for (written, canonical) in [
            ("virtuoso:beta_chart:4.0h", "virtuoso:beta_chart:4h"),
            ("virtuoso:beta_chart:4h", "virtuoso:beta_chart:4h"),
            ("virtuoso:beta_chart:0.250h", "virtuoso:beta_chart:0.25h"),
            ("candles:1.0d:BTCUSDT", "candles:1d:BTCUSDT"),
        ] {
            assert_eq!(key(written).canonical(), key(canonical));
            assert_eq!(key(written).canonical().canonical(), key(canonical), "settled");
        }
    }

    #[test]
    fn b44_what_is_no_timeframe_is_left_as_it_is() {
        for text in
            ["schema:1.0", "model:v4.0h", "confluence:score:4.0", "a:.0h", "a:1.2.0h", "a:h", "a:1.0x", "a:-1.0h"]
        {
            assert_eq!(key(text).canonical(), key(text));
            assert_eq!(key(text).spelled_as_float(), None, "{text}");
        }
    }

    #[test]
    fn b44_a_whole_number_may_be_spelled_as_a_float_too() {
        assert_eq!(key("beta:12h").spelled_as_float(), Some(key("beta:12.0h")));
        assert_eq!(key("beta:0.5h").spelled_as_float(), None, "it is one already");
        let long = format!("{}:1h", "k".repeat(247));
        assert_eq!(key(&long).spelled_as_float(), None, "that would be too long for a key");
    }
}
