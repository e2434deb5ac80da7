//! What the tests of the plain Rust aggregator share: short ways to say a signal, a document and a view.

use serde_json::{Map, Value, json};
use tiergate_aggregator::{Aggregator, Document, Freshness, Kind, Publication, Rejected, Signal, ViewRequest};

/// The moment at which the tests begin.
pub const NOW: u64 = 1_795_373_000_000_000;
/// One second.
pub const SECOND: u64 = 1_000_000;

/// An aggregator with a configuration.
pub fn aggregator(config: Value) -> Aggregator {
    Aggregator::new(config.to_string().as_bytes()).expect("the configuration is sound")
}

/// Ingests records accepted at `now`; their `seq` counts up from `now`.
pub fn ingest(aggregator: &mut Aggregator, now: u64, records: &[Value]) -> Vec<Rejected> {
    let signal = |(index, record): (usize, &Value)| Signal {
        seq: now + index as u64,
        received_at: now,
        body: record.to_string().into_bytes(),
    };
    aggregator.ingest(now, records.iter().enumerate().map(signal).collect())
}

/// What is published, by key.
pub fn published(aggregator: &mut Aggregator, now: u64) -> Map<String, Value> {
    let documents = aggregator.documents(now).expect("documents");
    documents.into_iter().map(|Publication { key, body, .. }| (key.to_owned(), parsed(&body))).collect()
}

/// The record of a symbol in a published or composed list.
pub fn record<'a>(list: &'a Value, symbol: &str) -> &'a Value {
    let found = list.as_array().expect("a list").iter().find(|record| record["symbol"] == symbol);
    found.unwrap_or_else(|| panic!("{symbol} is in {list}"))
}

/// A real and fresh document, produced at [`NOW`].
pub fn document(key: &str, body: &Value) -> Document {
    Document {
        key: key.to_owned(),
        kind: Kind::Real,
        freshness: Freshness::Fresh,
        produced_at: NOW,
        version: NOW,
        body: body.to_string().into_bytes(),
    }
}

/// One view, composed at `now`.
pub fn view(aggregator: &Aggregator, now: u64, name: &str, documents: &[Document]) -> Value {
    let request = ViewRequest { name: name.to_owned(), limit: 100 };
    parsed(&aggregator.compose(now, &[request], documents).expect("a view")[0])
}

/// The documents that the real producers wrote, as the codecs hand them on.
pub fn captured() -> Vec<Document> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    let read = |name: &str| -> Value {
        let path = format!("{folder}/{name}.json");
        parsed(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
    };
    let mut documents: Vec<Document> = ["analysis:signals", "market:overview", "market:movers", "market:breadth"]
        .into_iter()
        .map(|key| document(key, &read(key)))
        .collect();
    documents.push(document("confluence:breakdown:BTCUSDT", &read("aggregator/confluence:breakdown:BTCUSDT")));
    documents.push(document("market:btc_dominance", &json!({"dominance": 57.2, "change_24h": 0.1})));
    documents.push(document("analysis:market_regime", &json!({"regime": "BULLISH"})));
    documents
}

/// The same documents as placeholders.
pub fn placeholders(documents: Vec<Document>) -> Vec<Document> {
    documents.into_iter().map(|document| Document { kind: Kind::Placeholder, ..document }).collect()
}

/// Strict JSON.
pub fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("strict JSON")
}

/// All names of all objects in a value, with the place of each; records of lists count once.
pub fn names(value: &Value) -> std::collections::BTreeSet<String> {
    fn walk(value: &Value, path: &str, names: &mut std::collections::BTreeSet<String>) {
        if let Value::Object(fields) = value {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                walk(value, &path, names);
                names.insert(path);
            }
        }
    }
    let mut names = std::collections::BTreeSet::new();
    walk(value, "$", &mut names);
    names
}
