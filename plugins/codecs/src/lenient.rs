//! Numbers that JSON does not have (B31): the bare words `NaN`, `Infinity` and `-Infinity`, which Python writes, and numbers
//! too large for any reader. Each becomes null.
//!
//! This runs only over a text that strict parsing refused, so sound payloads do not pay for it.

use std::ops::Range;

use crate::mend::MAX_REPAIRS;
use crate::path::{Name, Path};
use crate::tree::MAX_DEPTH;

const NULL: &str = "null";

/// A text whose non-finite numbers are replaced by null.
pub(crate) struct Cleaned {
    pub(crate) text: String,
    pub(crate) found: Vec<Found>,
}

/// One number that was replaced.
pub(crate) struct Found {
    /// Where it stood, as a JSON path; left out beyond the number of repairs that an answer lists.
    pub(crate) path: String,
    /// Its place in the text as it came.
    pub(crate) range: Range<usize>,
}

impl Cleaned {
    /// The place in the text as it came of a place in the cleaned text.
    pub(crate) fn original(&self, offset: usize) -> usize {
        let (mut added, mut removed) = (0, 0);
        for Found { range, .. } in &self.found {
            if range.start + added - removed >= offset {
                break;
            }
            added += NULL.len();
            removed += range.len();
        }
        (offset + removed).saturating_sub(added)
    }
}

/// Where the scan stands within one list or object.
enum Step {
    Field(Range<usize>),
    Item(usize),
}

/// Replaces every non-finite number outside of strings; `None` where there is none to replace.
pub(crate) fn clean(text: &str) -> Option<Cleaned> {
    let bytes = text.as_bytes();
    let mut cleaned = Cleaned { text: String::new(), found: Vec::new() };
    let mut steps = Vec::new();
    let mut string = 0..0;
    let mut copied = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let mut next = at + 1;
        match byte {
            b'"' => {
                string = next..string_end(bytes, next);
                next = string.end + 1;
            }
            b'{' | b'[' if steps.len() == MAX_DEPTH as usize => return None,
            b'{' => steps.push(Step::Field(0..0)),
            b'[' => steps.push(Step::Item(0)),
            b'}' | b']' => drop(steps.pop()),
            b':' => {
                if let Some(Step::Field(name)) = steps.last_mut() {
                    *name = string.clone();
                }
            }
            b',' => {
                if let Some(Step::Item(index)) = steps.last_mut() {
                    *index += 1;
                }
            }
            b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                next += bytes[next..].iter().take_while(|byte| is_of_word(**byte)).count();
                if is_non_finite(&text[at..next]) {
                    let path = if cleaned.found.len() < MAX_REPAIRS { path(text, &steps) } else { String::new() };
                    cleaned.text.push_str(&text[copied..at]);
                    cleaned.text.push_str(NULL);
                    cleaned.found.push(Found { path, range: at..next });
                    copied = next;
                }
            }
            _ => {}
        }
        at = next;
    }
    if cleaned.found.is_empty() {
        return None;
    }
    cleaned.text.push_str(&text[copied..]);
    Some(cleaned)
}

/// The place of the quote that ends a string, or the end of the text.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn is_non_finite(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    matches!(word, "NaN" | "Infinity" | "-Infinity")
        || digits.starts_with(|c: char| c.is_ascii_digit()) && word.parse().is_ok_and(f64::is_infinite)
}

fn path(text: &str, steps: &[Step]) -> String {
    let mut path = Path::Root.to_string();
    for step in steps {
        path += &match step {
            Step::Field(name) => Name(&text[name.clone()]).to_string(),
            Step::Item(index) => format!("[{index}]"),
        };
    }
    path
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn bare_words_and_huge_numbers_become_null_where_they_stand() {
        let text = r#"{"a": NaN, "b": [1, -Infinity, {"c": Infinity}], "d": 1e999, "e": -1e999, "f": 1e9}"#;
        let cleaned = clean(text).unwrap();
        assert_eq!(cleaned.text, r#"{"a": null, "b": [1, null, {"c": null}], "d": null, "e": null, "f": 1e9}"#);
        let paths: Vec<&str> = cleaned.found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, ["$.a", "$.b[1]", "$.b[2].c", "$.d", "$.e"]);
    }

    #[test]
    fn strings_are_left_alone() {
        assert!(clean(r#"{"NaN": "NaN \" Infinity", "b": 1}"#).is_none());
        assert!(clean(r#""NaN"#).is_none());
        assert!(clean(r#""\"#).is_none());
    }

    #[test]
    fn a_place_in_the_cleaned_text_leads_back_to_the_original() {
        let text = r#"[NaN, -Infinity, x]"#;
        let cleaned = clean(text).unwrap();
        for mark in [",", "x", "]"] {
            let (here, there) = (cleaned.text.rfind(mark).unwrap(), text.rfind(mark).unwrap());
            assert_eq!(cleaned.original(here), there, "{mark}");
        }
    }
}
