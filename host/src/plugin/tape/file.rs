//! The file of a tape: JSON, a line for each entry, so that a person can read it and `jq` can cut it.
//!
//! The first line names the format, the slot and its world, and the configuration of each generation that answered; each other
//! line is `{"state": ...}` or a call with its answer. Bytes are text where they are text, else `{"base64": ...}`.

use serde_json::{Map, Value, json};

use super::{Entry, json as words};
use crate::plugin::call::{Question, Taken};

/// The format that is written and read.
const FORMAT: u64 = 1;

/// A tape that was read from a file.
pub(in crate::plugin) struct Recorded {
    /// The world of the plugin.
    pub(in crate::plugin) world: String,
    pub(in crate::plugin) lines: Vec<Line>,
    /// By the number of the generation. None in files of earlier gateways.
    configs: Map<String, Value>,
}

/// A line of a tape.
pub(in crate::plugin) enum Line {
    State(Vec<u8>),
    Call { question: Question, answer: Value, by: By },
}

/// Who answered a call.
pub(in crate::plugin) struct By {
    sha256: String,
    generation: String,
}

/// Writes a tape.
pub(in crate::plugin) fn write(slot: &str, world: &str, entries: &[Entry]) -> Vec<u8> {
    let config = |entry: &Entry| match entry {
        Entry::Call(taken) => Some((taken.generation.to_string(), (*taken.identity.config).clone())),
        Entry::State(_) => None,
    };
    let configs: Map<_, _> = entries.iter().filter_map(config).collect();
    let head = json!({ "tape": FORMAT, "slot": slot, "world": world, "configs": configs });
    let mut file = format!("{head}\n").into_bytes();
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
    let configs = match &head["configs"] {
        Value::Null => Map::new(),
        Value::Object(configs) => configs.clone(),
        _ => return Err("line 1: `configs` is no object".to_owned()),
    };
    let read =
        |(at, line): (usize, &[u8])| entry(&parse((at, line))?).map_err(|error| format!("line {}: {error}", at + 1));
    Ok(Recorded { world, lines: lines.map(read).collect::<Result<_, _>>()?, configs })
}

// === impl Recorded ===

impl Recorded {
    /// The configuration with which the component of this digest answered last, or else, as for a candidate, that of the
    /// plugin which answered last.
    pub(in crate::plugin) fn config(&self, sha256: Option<&str>) -> Value {
        let answered = || {
            self.lines.iter().rev().filter_map(|line| match line {
                Line::Call { by, .. } => Some(by),
                Line::State(_) => None,
            })
        };
        let by = answered().find(|by| sha256 == Some(&*by.sha256)).or_else(|| answered().next());
        by.and_then(|by| self.configs.get(&by.generation)).cloned().unwrap_or_default()
    }
}

fn entry(line: &Value) -> Result<Line, String> {
    if let Some(state) = line.get("state") {
        return words::read_bytes(state)
            .map(|state| Line::State(state.to_vec()))
            .ok_or_else(|| "`state` is neither text nor base64".to_owned());
    }
    let question = words::read_question(line.get("question").ok_or("it has neither `state` nor `question`")?)?;
    let by = By {
        sha256: line["sha256"].as_str().unwrap_or_default().to_owned(),
        generation: line["generation"].to_string(),
    };
    Ok(Line::Call { question, answer: line.get("answer").cloned().ok_or("it has no `answer`")?, by })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::plugin::call::Answer;
    use crate::plugin::slot::{Generation, Identity};
    use crate::record::Time;

    /// A call that this generation answered, with that digest and configuration.
    fn call(number: u64, sha256: &str, config: Value) -> Entry {
        let identity = Identity { sha256: sha256.into(), config: Arc::new(config), ..Identity::named("p") };
        let by = Generation { number, loaded_at: Time::default(), identity: Arc::new(identity), plugin: Arc::new(()) };
        let question = Question::Documents { now: Time::default() };
        Entry::Call(Arc::new(Taken::new(&by, question, (Answer::Published(Vec::new()), Vec::new()), Duration::ZERO)))
    }

    #[test]
    fn a_tape_tells_the_configuration_of_each_version_that_answered() {
        let entries = [
            call(1, "aa", json!({ "n": 1 })),
            call(2, "bb", json!({ "n": 2 })),
            call(3, "aa", json!({ "n": 3 })),
            call(4, "cc", Value::Null),
            Entry::State(Arc::from(*b"state")),
        ];
        let file = write("slot", "aggregator-plugin", &entries);
        let recorded = read(&file).unwrap();
        assert_eq!(recorded.lines.len(), entries.len());
        for (sha256, expected) in
            [("aa", json!({ "n": 3 })), ("bb", json!({ "n": 2 })), ("cc", Value::Null), ("dd", Value::Null)]
        {
            assert_eq!(recorded.config(Some(sha256)), expected, "{sha256}");
        }
        assert_eq!(read(&write("slot", "w", &entries[..2])).unwrap().config(None), json!({ "n": 2 }), "the last one's");
    }

    #[test]
    fn a_tape_of_an_earlier_gateway_tells_no_configuration_and_is_read() {
        let file = write("slot", "aggregator-plugin", &[call(1, "aa", json!({ "n": 1 }))]);
        let earlier = String::from_utf8(file).unwrap().replace(r#""configs":{"1":{"n":1}},"#, "");
        assert!(!earlier.contains("configs"), "{earlier}");
        let recorded = read(earlier.as_bytes()).unwrap();
        assert_eq!((recorded.lines.len(), recorded.config(Some("aa"))), (1, Value::Null));
    }
}
