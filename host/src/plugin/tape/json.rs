//! Questions and answers as JSON, in the words of the contract: what a tape file holds, and what differences are found in.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::cache::Holding;
use crate::market::{Document, Publication, Signal, ViewRequest};
use crate::plugin::call::{Answer, Question};
use crate::record::{Digest, Key, Kind, Origin, Record, Time, Version};
use crate::source::SourceState;
use crate::warm::{Action, Attempt, Fate, KeyState, Step};

/// Bytes as a person reads them: a text where they are one, else `{"base64": ...}`.
pub(in crate::plugin) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// What a codec leaves as it was is the payload itself, whether or not it says so.
pub(in crate::plugin) fn whole(question: &Question, mut answer: Value) -> Value {
    if let (Question::Decode { payload, .. }, Some(canonical)) = (question, answer.pointer_mut("/decoded/canonical"))
        && canonical.is_null()
    {
        *canonical = text(payload);
    }
    answer
}

/// An answer. Documents and actions are told by their keys: in which order they come says nothing.
pub(in crate::plugin) fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Decoded(Ok(decoded)) => json!({ "decoded": {
            "canonical": decoded.canonical.as_deref().map(text),
            "kind": kind(decoded.kind),
            "produced_at": decoded.produced_at,
            "schema_version": decoded.schema_version,
            "repairs": decoded.repairs,
        } }),
        Answer::Decoded(Err(rejection)) => json!({ "rejection": rejection }),
        Answer::Ingested(rejected) => json!({ "rejected": rejected }),
        Answer::Observed => json!({ "observed": true }),
        Answer::Published(published) => {
            let one =
                |p: &Publication| (p.key.to_string(), json!({ "ttl_seconds": p.ttl_seconds, "body": text(&p.body) }));
            json!({ "published": published.iter().map(one).collect::<Map<_, _>>() })
        }
        Answer::Composed(bodies) => json!({ "views": bodies.iter().map(|body| text(body)).collect::<Vec<_>>() }),
        Answer::Planned(actions) => {
            let one = |action: &Action| {
                let told = json!({
                    "step": action.step.label(),
                    "body": if let Step::Placeholder(body) = &action.step { text(body) } else { Value::Null },
                    "priority": action.priority,
                    "next_at": action.next_at,
                    "reason": action.reason,
                });
                (action.key.to_string(), told)
            };
            json!({ "actions": actions.iter().map(one).collect::<Map<_, _>>() })
        }
        Answer::Failed(error) => json!({ "failed": error.cause.label(), "message": error.to_string() }),
    }
}

/// An answer whose bodies are read as the JSON that they are, so that differences are found field by field.
pub(super) fn opened(answer: &Value) -> Value {
    let open = |body: &Value| match body {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| body.clone()),
        other => other.clone(),
    };
    let mut answer = answer.clone();
    for body in answer.get_mut("views").and_then(Value::as_array_mut).into_iter().flatten() {
        *body = open(body);
    }
    for one in answer.get_mut("published").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        one["body"] = open(&one["body"]);
    }
    answer
}

/// A question.
pub(in crate::plugin) fn question(question: &Question) -> Value {
    let mut value = match question {
        Question::Decode { key, payload, flags, .. } => {
            json!({ "key": key.as_str(), "payload": text(payload), "flags": flags })
        }
        Question::Ingest { batch, .. } => {
            let one = |signal: &Signal| json!({ "seq": signal.seq, "received_at": signal.received_at, "body": text(&signal.body) });
            json!({ "batch": batch.iter().map(one).collect::<Vec<_>>() })
        }
        Question::Observe { changed, .. } => json!({ "changed": documents(changed) }),
        Question::Documents { .. } => json!({}),
        Question::Compose { views, documents: given, .. } => {
            let views: Vec<_> = views.iter().map(|view| json!({ "name": view.name, "limit": view.limit })).collect();
            json!({ "views": views, "documents": documents(given) })
        }
        Question::Plan { keys, actions_max, .. } => {
            json!({ "keys": keys.iter().map(state).collect::<Vec<_>>(), "actions_max": actions_max })
        }
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("call".to_owned(), question.call().into());
        fields.insert("now".to_owned(), question.now().micros().into());
    }
    value
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Placeholder => "placeholder",
        Kind::Negative => "negative",
        Kind::Real => "real",
    }
}

fn documents(documents: &[Document]) -> Vec<Value> {
    let one = |document: &Document| {
        json!({
            "key": document.key.as_str(),
            "kind": kind(document.record.kind),
            "fresh": document.fresh,
            "produced_at": document.record.produced_at,
            "version": document.record.version.0,
            "body": text(&document.record.bytes),
        })
    };
    documents.iter().map(one).collect()
}

fn state(state: &KeyState) -> Value {
    let holding = |holding: &Holding| match holding {
        Holding::Unknown => json!("unknown"),
        Holding::Absent => json!("absent"),
        Holding::Until(until) => json!(until),
    };
    json!({
        "key": state.key.as_str(),
        "kind": state.kind.map(kind),
        "produced_at": state.produced_at,
        "version": state.version,
        "fresh_until": state.fresh_until,
        "in_memory": state.in_memory,
        "tiers": state.tiers.iter().map(holding).collect::<Vec<_>>(),
        "hits": state.hits,
        "misses": state.misses,
        "source": state.source.as_ref().map(|source| json!({
            "name": &*source.name,
            "interval_seconds": source.interval.as_secs(),
            "not_before": source.not_before,
            "cost_us": u64::try_from(source.cost.as_micros()).unwrap_or(u64::MAX),
        })),
        "last_attempt": state.last_attempt.as_ref().map(|attempt| json!({
            "step": attempt.step, "at": attempt.at, "fate": attempt.fate.label(),
        })),
        "failures": state.failures,
    })
}

// === and back ===

/// The question that [`question`] wrote down; an error names the field.
pub(super) fn read_question(value: &Value) -> Result<Question, String> {
    let fields = value.as_object().ok_or("it is no object")?;
    let now = Time::from_micros(number(fields, "now")?);
    Ok(match string(fields, "call")? {
        "decode" => Question::Decode {
            now,
            key: key(fields)?,
            payload: bytes(fields, "payload")?,
            flags: small(fields, "flags")?,
        },
        "ingest" => Question::Ingest { now, batch: list(fields, "batch", read_signal)? },
        "observe" => Question::Observe { now, changed: list(fields, "changed", read_document)? },
        "documents" => Question::Documents { now },
        "compose" => Question::Compose {
            now,
            views: list(fields, "views", |view| {
                Ok(ViewRequest { name: string(view, "name")?.to_owned(), limit: small(view, "limit")? })
            })?,
            documents: list(fields, "documents", read_document)?,
        },
        "plan" => {
            Question::Plan { now, keys: list(fields, "keys", read_state)?, actions_max: small(fields, "actions_max")? }
        }
        other => return Err(format!("there is no call `{}`", other.escape_default())),
    })
}

fn read_signal(fields: &Map<String, Value>) -> Result<Signal, String> {
    let received_at = Time::from_micros(number(fields, "received_at")?);
    Ok(Signal { seq: number(fields, "seq")?, received_at, body: bytes(fields, "body")? })
}

/// A document with what a plugin can see of it.
fn read_document(fields: &Map<String, Value>) -> Result<Document, String> {
    let body = bytes(fields, "body")?;
    let produced_at = Time::from_micros(number(fields, "produced_at")?);
    let record = Record {
        digest: Digest::of(&body),
        bytes: body,
        foreign: None,
        kind: read_kind(string(fields, "kind")?)?,
        version: Version(number(fields, "version")?),
        rank: 0,
        schema: "tape".into(),
        produced_at,
        soft_expiry: Time::NEVER,
        lifetime_end: Time::NEVER,
        hard_expiry: Time::NEVER,
        origin: Origin::Gateway("tape".into()),
        repairs: Arc::from([]),
    };
    Ok(Document { key: key(fields)?, record: Arc::new(record), fresh: boolean(fields, "fresh")? })
}

fn read_state(fields: &Map<String, Value>) -> Result<KeyState, String> {
    let time = |name: &str| optional(fields, name, number).map(|time| time.map(Time::from_micros));
    let holdings = fields.get("tiers").and_then(Value::as_array).ok_or("`tiers` is no list")?;
    let holding = |value: &Value| match value {
        Value::String(word) if word == "unknown" => Ok(Holding::Unknown),
        Value::String(word) if word == "absent" => Ok(Holding::Absent),
        value => {
            value.as_u64().map(|until| Holding::Until(Time::from_micros(until))).ok_or("`tiers` has an unknown holding")
        }
    };
    Ok(KeyState {
        key: key(fields)?,
        kind: optional(fields, "kind", string)?.map(read_kind).transpose()?,
        produced_at: time("produced_at")?,
        version: number(fields, "version")?,
        fresh_until: time("fresh_until")?,
        in_memory: boolean(fields, "in_memory")?,
        tiers: holdings.iter().map(holding).collect::<Result<_, _>>()?,
        hits: number(fields, "hits")?,
        misses: number(fields, "misses")?,
        source: optional(fields, "source", object)?.map(read_source).transpose()?,
        last_attempt: optional(fields, "last_attempt", object)?.map(read_attempt).transpose()?,
        failures: small(fields, "failures")?,
    })
}

fn read_source(fields: &Map<String, Value>) -> Result<SourceState, String> {
    Ok(SourceState {
        name: string(fields, "name")?.into(),
        interval: std::time::Duration::from_secs(number(fields, "interval_seconds")?),
        not_before: Time::from_micros(number(fields, "not_before")?),
        cost: std::time::Duration::from_micros(number(fields, "cost_us")?),
    })
}

fn read_attempt(fields: &Map<String, Value>) -> Result<Attempt, String> {
    let steps = [Step::PROMOTE, Step::REFRESH, Step::PLACEHOLDER, Step::LEAVE];
    let step = string(fields, "step")?;
    let fates = [Fate::Done, Fate::AlreadyThere, Fate::Refused, Fate::OverBudget, Fate::Failed];
    let fate = string(fields, "fate")?;
    Ok(Attempt {
        step: steps.into_iter().find(|known| *known == step).ok_or("`step` is none")?,
        at: Time::from_micros(number(fields, "at")?),
        fate: fates.into_iter().find(|known| known.label() == fate).ok_or("`fate` is none")?,
    })
}

fn read_kind(word: &str) -> Result<Kind, String> {
    [Kind::Placeholder, Kind::Negative, Kind::Real]
        .into_iter()
        .find(|known| kind(*known) == word)
        .ok_or_else(|| format!("there is no kind `{}`", word.escape_default()))
}

/// The bytes that [`text`] wrote down.
pub(super) fn read_bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(Bytes::from(text.clone())),
        value => STANDARD.decode(value.get("base64")?.as_str()?).ok().map(Bytes::from),
    }
}

fn bytes(fields: &Map<String, Value>, name: &str) -> Result<Bytes, String> {
    fields.get(name).and_then(read_bytes).ok_or_else(|| format!("`{name}` is neither text nor base64"))
}

fn key(fields: &Map<String, Value>) -> Result<Key, String> {
    Key::new(string(fields, "key")?).map_err(|error| error.to_string())
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<u64, String> {
    fields.get(name).and_then(Value::as_u64).ok_or_else(|| format!("`{name}` is no whole number"))
}

fn small(fields: &Map<String, Value>, name: &str) -> Result<u32, String> {
    u32::try_from(number(fields, name)?).map_err(|_| format!("`{name}` is too large"))
}

fn boolean(fields: &Map<String, Value>, name: &str) -> Result<bool, String> {
    fields.get(name).and_then(Value::as_bool).ok_or_else(|| format!("`{name}` is neither true nor false"))
}

fn string<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` is no text"))
}

fn object<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>, String> {
    fields.get(name).and_then(Value::as_object).ok_or_else(|| format!("`{name}` is no object"))
}

fn optional<'a, T>(
    fields: &'a Map<String, Value>,
    name: &str,
    read: impl FnOnce(&'a Map<String, Value>, &str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if fields.get(name).is_none_or(Value::is_null) { Ok(None) } else { read(fields, name).map(Some) }
}

fn list<T, L: FromIterator<T>>(
    fields: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Map<String, Value>) -> Result<T, String>,
) -> Result<L, String> {
    let items = fields.get(name).and_then(Value::as_array).ok_or_else(|| format!("`{name}` is no list"))?;
    let one = |(at, item): (usize, &Value)| {
        let fields = item.as_object().ok_or_else(|| format!("`{name}[{at}]` is no object"))?;
        read(fields).map_err(|error| format!("{name}[{at}]: {error}"))
    };
    items.iter().enumerate().map(one).collect()
}
