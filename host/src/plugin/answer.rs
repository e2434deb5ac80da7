//! What the host checks before it believes an answer.

use serde::de::IgnoredAny;

/// The longest name or code in bytes.
const WORDS_BYTES_MAX: usize = 64;

/// Whether `text` is lower-case words joined by `joint`: short enough and tame enough to be a label.
pub(super) fn is_words(text: &str, joint: u8) -> bool {
    text.len() <= WORDS_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == joint)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.as_bytes().split(|b| *b == joint).all(|word| !word.is_empty())
}

/// Checks that `bytes` are one JSON value in UTF-8.
pub(super) fn check_json(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| format!("not JSON: {error}"))
}

/// At most `bytes_max` bytes of `text` on one line, with an ellipsis where it was cut.
pub(super) fn one_line(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    let mut line: String = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_and_joined() {
        for good in ["not-json", "a", "v2-thing"] {
            assert!(is_words(good, b'-'), "{good}");
        }
        for bad in ["", "-", "a-", "a--b", "A", "a b", "a_b", "2a", &"a".repeat(65)] {
            assert!(!is_words(bad, b'-'), "{bad}");
        }
    }

    #[test]
    fn only_one_whole_json_value_in_utf8_passes() {
        assert!(check_json(br#"{"a":[1,"\u00e9"]}"#).is_ok());
        for bad in [&b"{"[..], b"{} {}", b"NaN", b"", b"\"\xff\""] {
            assert!(check_json(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(one_line("a\nb", 10), "a b");
        assert_eq!(one_line("aé", 2), "a…");
    }
}
