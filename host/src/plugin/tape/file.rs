//! The file of a tape: JSON, a line for each entry, so that a person can read it and `jq` can cut it.
//!
//! The first line names the format, the slot and its world; each other line is `{"state": ...}` or a call with its answer.
//! Bytes are text where they are text, else `{"base64": ...}`.

use serde_json::{Value, json};

use super::{Entry, json as words};
use crate::plugin::call::{Question, Taken};

/// The format that is written and read.
const FORMAT: u64 = 1;

/// A tape that was read from a file.
pub(in crate::plugin) struct Recorded {
    /// The world of the plugin.
    pub(in crate::plugin) world: String,
    pub(in crate::plugin) lines: Vec<Line>,
}

/// A line of a tape.
pub(in crate::plugin) enum Line {
    State(Vec<u8>),
    Call { question: Question, answer: Value },
}

/// Writes a tape.
pub(in crate::plugin) fn write(slot: &str, world: &str, entries: &[Entry]) -> Vec<u8> {
    let mut file = format!("{}\n", json!({ "tape": FORMAT, "slot": slot, "world": world })).into_bytes();
    for entry in entries {
        let line = match entry {
            Entry::State(state) => json!({ "state": words::text(state) }),
            Entry::Call(taken) => call(taken),
        };
        file.extend_from_slice(line.to_string().as_bytes());
        file.push(b'\n');
    }
    file
}

fn call(taken: &Taken) -> Value {
    json!({
        "question": words::question(&taken.question),
        "answer": words::answer(&taken.answer),
        "took_us": u64::try_from(taken.took.as_micros()).unwrap_or(u64::MAX),
        "faults": taken.faults,
        "generation": taken.generation,
        "plugin": &*taken.identity.name,
        "version": taken.identity.version.as_deref(),
        "sha256": &*taken.identity.sha256,
    })
}

/// Reads a tape; an error names the line.
pub(in crate::plugin) fn read(file: &[u8]) -> Result<Recorded, String> {
    let mut lines = file.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let parse = |(at, line): (usize, &[u8])| {
        serde_json::from_slice::<Value>(line).map_err(|error| format!("line {}: {error}", at + 1))
    };
    let head = parse(lines.next().ok_or("the file is empty")?)?;
    if head["tape"] != FORMAT {
        return Err(format!("this is no tape of format {FORMAT}; `tiergate plugin tape` writes one"));
    }
    let world = head["world"].as_str().ok_or("line 1: `world` is no text")?.to_owned();
    let read =
        |(at, line): (usize, &[u8])| entry(&parse((at, line))?).map_err(|error| format!("line {}: {error}", at + 1));
    Ok(Recorded { world, lines: lines.map(read).collect::<Result<_, _>>()? })
}

fn entry(line: &Value) -> Result<Line, String> {
    if let Some(state) = line.get("state") {
        return words::read_bytes(state)
            .map(|state| Line::State(state.to_vec()))
            .ok_or_else(|| "`state` is neither text nor base64".to_owned());
    }
    let question = words::read_question(line.get("question").ok_or("it has neither `state` nor `question`")?)?;
    Ok(Line::Call { question, answer: line.get("answer").cloned().ok_or("it has no `answer`")? })
}
