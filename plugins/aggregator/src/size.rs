//! How large a record is where it is saved and published.
//!
//! An estimate that costs next to nothing for a usual record: its free-form fields decide, and those it never takes for less
//! than they are.

use serde_json::{Map, Value};

use crate::signal::Record;

/// The fields of the schema with their names and usual values. A long history of scores adds a quarter.
const SCHEMA_BYTES: usize = 400;
/// The longest that a number is written.
const NUMBER_BYTES: usize = 24;
/// What stands around a name and between values.
const PUNCTUATION_BYTES: usize = 4;

/// The size of a record as JSON, in bytes.
pub fn of_record(record: &Record) -> usize {
    let components: usize = record.components.keys().map(|name| of_text(name) + NUMBER_BYTES).sum();
    let free = [record.sub_components.as_ref(), record.interpretations.as_ref(), Some(&record.extra)];
    SCHEMA_BYTES + record.symbol.len() + components + free.into_iter().flatten().map(of_object).sum::<usize>()
}

fn of_object(object: &Map<String, Value>) -> usize {
    PUNCTUATION_BYTES + object.iter().map(|(name, value)| of_text(name) + of_value(value)).sum::<usize>()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => PUNCTUATION_BYTES + 1,
        Value::Number(_) => NUMBER_BYTES,
        Value::String(text) => of_text(text),
        Value::Array(list) => PUNCTUATION_BYTES + list.iter().map(of_value).sum::<usize>(),
        Value::Object(object) => of_object(object),
    }
}

/// A control character is written with six bytes, a quote or a backslash with two.
fn of_text(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')).count();
    PUNCTUATION_BYTES + text.len() + 5 * escaped
}
