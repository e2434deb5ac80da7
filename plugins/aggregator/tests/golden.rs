//! The golden vectors against the plain Rust aggregator.

#[path = "support/golden_vectors.rs"]
mod golden_vectors;

use std::path::PathBuf;

use golden_vectors::{Body, Driver, Micros};
use tiergate_aggregator::{Aggregator, Document, Freshness, Kind, Signal, ViewRequest};

struct Plain {
    aggregator: Aggregator,
    seq: u64,
}

impl Driver for Plain {
    fn fresh() -> Self {
        Self { aggregator: Aggregator::new(b"{}").expect("the default configuration"), seq: 0 }
    }

    fn ingest(&mut self, now: Micros, signals: &[Vec<u8>]) -> usize {
        let mut seq = self.seq;
        let batch = signals
            .iter()
            .map(|body| {
                seq += 1;
                Signal { seq, received_at: now, body: body.clone() }
            })
            .collect();
        self.seq = seq;
        self.aggregator.ingest(now, batch).len()
    }

    fn observe(&mut self, now: Micros, documents: &[Body]) {
        self.aggregator.observe(&real(now, documents));
    }

    fn documents(&mut self, now: Micros) -> Vec<Body> {
        let published = self.aggregator.documents(now).expect("documents");
        published.into_iter().map(|document| (document.key.to_owned(), document.body)).collect()
    }

    fn compose(&mut self, now: Micros, view: &str, limit: u32, documents: &[Body]) -> Vec<u8> {
        let view = ViewRequest { name: view.to_owned(), limit };
        self.aggregator.compose(now, &[view], &real(now, documents)).expect("a view").remove(0)
    }
}

fn real(now: Micros, documents: &[Body]) -> Vec<Document> {
    documents
        .iter()
        .map(|(key, body)| Document {
            key: key.clone(),
            kind: Kind::Real,
            freshness: Freshness::Fresh,
            produced_at: now,
            version: now,
            body: body.clone(),
        })
        .collect()
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden")
}

#[test]
fn the_regime_label_is_that_of_the_producers() {
    golden_vectors::regime::<Plain>(&golden());
}

#[test]
fn the_trend_strength_is_that_of_the_producers() {
    golden_vectors::trend_strength::<Plain>(&golden());
}

#[test]
fn the_breadth_is_that_of_the_producers() {
    golden_vectors::breadth::<Plain>(&golden());
}

#[test]
fn the_statistics_of_the_market_are_those_of_the_producers() {
    golden_vectors::market_wide::<Plain>(&golden());
}

#[test]
fn the_volatility_of_bitcoin_is_that_of_the_producers() {
    golden_vectors::btc_volatility::<Plain>(&golden());
}

#[test]
fn the_opportunities_are_those_of_the_producers() {
    golden_vectors::opportunities::<Plain>(&golden());
}

#[test]
fn the_statistics_of_the_signals_are_those_of_the_producers() {
    golden_vectors::signals_schema::<Plain>(&golden());
}

#[test]
fn all_vectors_hold_in_one_go() {
    golden_vectors::all::<Plain>(&golden());
}
