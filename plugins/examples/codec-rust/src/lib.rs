//! A codec for records that came one JSON object a line: readers get one JSON array.
//!
//! A line that is no object costs itself, not the payload, and is reported. The records keep their bytes.

use serde_json::value::RawValue;
use tiergate::plugin::types::{Kind, PluginError};

use exports::tiergate::plugin::codec::{Claim, Decoded, Guest, Rejection, Repair};
use exports::tiergate::plugin::lifecycle;

wit_bindgen::generate!({ path: "wit", world: "codec-plugin" });

/// Lines that are reported one by one; the rest is summed up.
const REPAIRS_MAX: usize = 20;

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> lifecycle::Info {
        lifecycle::Info { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    fn init(config: Vec<u8>) -> Result<(), PluginError> {
        match serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(&config) {
            Ok(fields) if fields.is_empty() => Ok(()),
            Ok(fields) => Err(PluginError::InvalidInput(format!("unknown fields: {:?}", fields.keys()))),
            Err(error) => Err(PluginError::InvalidInput(error.to_string())),
        }
    }
}

impl Guest for Plugin {
    fn claims() -> Vec<Claim> {
        let pattern = "lines:*".to_owned();
        vec![Claim { pattern, schema: "record-list".to_owned(), schema_version: "1.0".to_owned() }]
    }

    fn decode(_key: String, payload: Vec<u8>, _flags: u32) -> Result<Decoded, Rejection> {
        // An array is what this codec answers, so it takes one, too.
        let array = serde_json::from_slice::<Vec<&RawValue>>(&payload).ok();
        let is_array = array.is_some();
        let candidates: Vec<Option<&RawValue>> = match array {
            Some(elements) => elements.into_iter().map(Some).collect(),
            None => payload
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.trim_ascii().is_empty())
                .map(|line| serde_json::from_slice(line).ok())
                .collect(),
        };

        let (mut records, mut dropped) = (Vec::new(), Vec::new());
        for (at, candidate) in candidates.into_iter().enumerate() {
            match candidate.map(RawValue::get).filter(|text| text.starts_with('{')) {
                Some(record) => records.push(record),
                None => dropped.push(at),
            }
        }
        if records.is_empty() && !(is_array && dropped.is_empty()) {
            return Err(Rejection {
                code: "no-valid-record".to_owned(),
                message: format!("none of {} lines is a JSON object; write one object a line", dropped.len()),
                path: "$".to_owned(),
            });
        }
        let canonical = (!is_array || !dropped.is_empty()).then(|| format!("[{}]", records.join(",")).into_bytes());
        Ok(Decoded { canonical, kind: Kind::Real, produced_at: None, schema_version: None, repairs: repairs(&dropped) })
    }
}

fn repairs(dropped: &[usize]) -> Vec<Repair> {
    let repair = |path: String, message: String| Repair { code: "dropped-record".to_owned(), path, message };
    let each = dropped.iter().take(REPAIRS_MAX).map(|at| repair(format!("$[{at}]"), "not a JSON object".to_owned()));
    let more = dropped.len().saturating_sub(REPAIRS_MAX);
    let sum = (more > 0).then(|| repair("$".to_owned(), format!("{more} more were dropped")));
    each.chain(sum).collect()
}

export!(Plugin);
