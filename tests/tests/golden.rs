//! The golden vectors of the producers' formulas, in the WebAssembly plugin as the host runs it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tiergate::market::{Document, Signal, ViewRequest};
use tiergate::plugin::{Config, Plugins};
use tiergate::record::{Digest, Key, Kind, Origin, Record, Time, Version};
use tokio::runtime::Runtime;

#[path = "../../plugins/aggregator/tests/support/golden_vectors.rs"]
mod golden_vectors;

use golden_vectors::{Body, Driver, Micros};

/// The aggregator behind its host.
struct Hosted {
    runtime: Runtime,
    aggregator: Arc<dyn tiergate::market::Aggregator>,
    seq: u64,
    _plugins: Plugins,
}

/// Where the components' native code is kept, so that each is compiled once.
static COMPILED: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

fn documents(now: Micros, bodies: &[Body]) -> Vec<Document> {
    let one = |(key, body): &Body| {
        let bytes = Bytes::copy_from_slice(body);
        let record = Record {
            digest: Digest::of(&bytes),
            bytes,
            foreign: None,
            kind: Kind::Real,
            version: Version(now),
            rank: 0,
            schema: "test".into(),
            produced_at: Time::from_micros(now),
            soft_expiry: Time::NEVER,
            lifetime_end: Time::NEVER,
            hard_expiry: Time::NEVER,
            origin: Origin::Gateway("test".into()),
            repairs: Arc::default(),
        };
        Document { key: Key::new(key).expect("a key"), record: Arc::new(record), fresh: true }
    };
    bodies.iter().map(one).collect()
}

impl Driver for Hosted {
    fn fresh() -> Self {
        let plugins =
            Plugins::load(Config::default(), &COMPILED.path().join("compiled")).expect("the default plugins load");
        let aggregator = plugins.aggregator.clone();
        Self { runtime: Runtime::new().expect("a runtime"), aggregator, seq: 0, _plugins: plugins }
    }

    fn ingest(&mut self, now: Micros, signals: &[Vec<u8>]) -> usize {
        let now = Time::from_micros(now);
        let batch = signals
            .iter()
            .map(|body| {
                self.seq += 1;
                Signal { seq: self.seq, received_at: now, body: Bytes::copy_from_slice(body) }
            })
            .collect();
        self.runtime.block_on(self.aggregator.ingest(now, batch)).expect("ingested").len()
    }

    fn observe(&mut self, now: Micros, bodies: &[Body]) {
        let call = self.aggregator.observe(Time::from_micros(now), documents(now, bodies));
        self.runtime.block_on(call).expect("observed");
    }

    fn documents(&mut self, now: Micros) -> Vec<Body> {
        let published = self.runtime.block_on(self.aggregator.documents(Time::from_micros(now))).expect("documents");
        published.into_iter().map(|one| (one.key.to_string(), one.body.to_vec())).collect()
    }

    fn compose(&mut self, now: Micros, view: &str, limit: u32, bodies: &[Body]) -> Vec<u8> {
        let request = ViewRequest { name: view.to_owned(), limit };
        let call = self.aggregator.compose(Time::from_micros(now), vec![request], documents(now, bodies).into());
        self.runtime.block_on(call).expect("composed")[0].to_vec()
    }
}

#[test]
fn every_golden_vector_holds_in_the_component_but_for_the_outputs_that_incidents_forbid() {
    golden_vectors::all::<Hosted>(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden"));
}
