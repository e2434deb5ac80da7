//! JSON in. Strict first; a body that holds the bare `NaN` and `Infinity` of Python's encoder is read with nulls there
//! (B31), so that one field without a value does not cost the record.

use serde_json::{Map, Value};

use crate::given::Given;

/// Reads the fields of one signal, or says why they are none.
pub fn given(body: &[u8]) -> Result<Given, NotAnObject> {
    let sound = str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
    // What is wrong, and whether it can be mended, is found by reading it again.
    sound.map_or_else(|| object(body).map(Given::from), Ok)
}

/// Reads one JSON object, or says why it is none.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, NotAnObject> {
    let value = serde_json::from_slice(body)
        .or_else(|error| serde_json::from_slice(&without_bare_words(body).ok_or(error)?))
        .map_err(|error| NotAnObject::NotJson(error.to_string()))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(NotAnObject::OtherJson),
    }
}

/// Why a body is not an object.
pub enum NotAnObject {
    /// It is not JSON; the parser's words.
    NotJson(String),
    /// It is JSON of another type.
    OtherJson,
}

/// The body with the bare words replaced by `null` outside of strings; `None` if it has none.
fn without_bare_words(body: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut out = Vec::with_capacity(body.len());
    let (mut at, mut in_string, mut found) = (0, false, false);
    while let Some(&byte) = body.get(at) {
        if in_string && byte == b'\\' {
            out.extend(body[at..].iter().take(2));
            at += 2;
            continue;
        }
        if byte == b'"' {
            in_string = !in_string;
        }
        if !in_string && let Some(word) = WORDS.iter().find(|word| body[at..].starts_with(word)) {
            out.extend_from_slice(b"null");
            at += word.len();
            found = true;
            continue;
        }
        out.push(byte);
        at += 1;
    }
    found.then_some(out)
}
