//! From a payload to an answer.

use std::borrow::Cow;

use crate::answer::{Decoded, Kind, Rejection};
use crate::layers::{self, Opened};
use crate::lenient::{self, Cleaned};
use crate::marks;
use crate::mend::{self, Mender};
use crate::schema::{self, Bare, Schema};
use crate::tree::{self, Fault, Json, MAX_DEPTH};
use crate::wire;

/// The greatest number of characters of bare words.
const MAX_WORDS: usize = 64;

/// Reads a payload of `key`; `flags` are the memcached client flags of the item.
pub fn decode(key: &str, payload: &[u8], flags: u32) -> Result<Decoded, Rejection> {
    let schema = schema::of(key);
    let mut mend = Mender::default();
    let text = wire::text(payload, flags, &mut mend)?;
    let Opened { text: opened, layers } = layers::open(text)?;

    // Both outlive the document, which borrows from the one that could be parsed.
    let cleaned;
    let root = match tree::parse(&opened) {
        Ok((root, replaced)) => accept(root, replaced, &mut mend),
        Err(Fault::TooDeep) => return Err(too_deep()),
        Err(Fault::Syntax(error)) => {
            cleaned = lenient::clean(&opened);
            match cleaned.as_ref().map(|cleaned| tree::parse(&cleaned.text)) {
                Some(Ok((root, replaced))) => {
                    note_non_finite(&opened, cleaned.as_ref(), &mut mend);
                    accept(root, replaced, &mut mend)
                }
                Some(Err(Fault::TooDeep)) => return Err(too_deep()),
                // Text that only looked like JSON inside of a string is text.
                _ if schema.any_text && layers > 0 => return finish(schema, as_written(text)?, mend),
                Some(Err(Fault::Syntax(error))) => return Err(not_json(&opened, &error, cleaned.as_ref(), layers)),
                None => match bare(schema.bare, text) {
                    Some(value) => {
                        mend.repaired("bare-text", "$", "the value was written without being encoded as JSON");
                        value
                    }
                    None => return Err(not_json(&opened, &error, None, layers)),
                },
            }
        }
    };
    if layers > 0 {
        let times = if layers == 1 { "layer" } else { "layers" };
        mend.repaired("peeled-encoding", "$", format!("{layers} extra {times} of encoding removed"));
    }
    finish(schema, root, mend)
}

fn accept<'a>(root: Json<'a>, replaced: usize, mend: &mut Mender) -> Json<'a> {
    if replaced > 0 {
        mend.repaired("duplicate-field", "$", format!("{replaced} fields were given twice; the last value counts"));
    }
    root
}

fn note_non_finite(text: &str, cleaned: Option<&Cleaned>, mend: &mut Mender) {
    for found in cleaned.iter().flat_map(|cleaned| &cleaned.found) {
        // A number of a thousand digits is cut.
        let token: String = text[found.range.clone()].chars().take(24).collect();
        mend.repaired("non-finite-number", &found.path, format!("{token} is not a JSON number; it is null now"));
    }
}

fn as_written(text: &str) -> Result<Json<'_>, Rejection> {
    match tree::parse(text) {
        Ok((root, _)) => Ok(root),
        Err(Fault::TooDeep) => Err(too_deep()),
        Err(Fault::Syntax(error)) => Err(not_json(text, &error, None, 0)),
    }
}

/// The value of a payload that is not JSON, for keys whose producers write some without encoding them.
fn bare(bare: Bare, text: &str) -> Option<Json<'_>> {
    let text = text.trim();
    match bare {
        Bare::Nothing => None,
        Bare::Number => mend::spelled(text).map(Json::Number),
        // Broken JSON starts with a bracket or a quote; words start with a letter.
        Bare::Words => {
            let few = text.chars().count() <= MAX_WORDS && !text.contains(char::is_control);
            (few && text.starts_with(char::is_alphabetic)).then_some(Json::Text(Cow::Borrowed(text)))
        }
    }
}

fn finish(schema: &Schema, root: Json<'_>, mut mend: Mender) -> Result<Decoded, Rejection> {
    if root == Json::Null {
        return Err(Rejection::whole("null-value", "null is no value; delete the key, or write nothing"));
    }
    let produced_at = (schema.moment)(&root);
    let schema_version = root.object().and_then(|root| root.get("__schema_version")?.text()).map(str::to_owned);
    let (root, kind) = (schema.read)(root, &mut mend)?;
    let kind = if marks::is_marked(&root) { Kind::Placeholder } else { kind };
    let canonical = match mend.is_changed() {
        true => Some(serde_json::to_vec(&root).map_err(|error| Rejection::whole("not-json", error.to_string()))?),
        false => None,
    };
    Ok(Decoded { canonical, kind, produced_at, schema_version, repairs: mend.into_repairs() })
}

fn too_deep() -> Rejection {
    Rejection::whole("too-deep", format!("lists and objects may lie at most {MAX_DEPTH} deep in each other"))
}

/// The refusal of a text that is not JSON. The place that it names is one of the text as it came.
fn not_json(text: &str, error: &serde_json::Error, cleaned: Option<&Cleaned>, layers: usize) -> Rejection {
    if text.trim().is_empty() {
        return Rejection::whole("not-json", "the payload is empty; write one JSON document");
    }
    let parsed = cleaned.map_or(text, |cleaned| &cleaned.text);
    let line_start: usize = parsed.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let offset = (line_start + error.column().saturating_sub(1)).min(parsed.len());
    let offset = cleaned.map_or(offset, |cleaned| cleaned.original(offset)).min(text.len());
    let before = &text.as_bytes()[..offset];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let whole = error.to_string();
    let what = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(what, _)| what);
    let place = if layers > 0 { " of the encoded document" } else { "" };
    let message =
        format!("{what} at line {line}, column {column}, byte {offset}{place}; write one JSON document in UTF-8");
    Rejection::whole("not-json", message)
}
