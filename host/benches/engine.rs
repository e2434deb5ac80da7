//! The engine without the network: a value that memory holds, and a payload on its way through the codec.
//!
//! `decode/*` do one work in four ways: the built-in codec as the gateway runs it, the same source compiled to native code,
//! and `serde_json` alone: reading into values and writing them again, or checking the syntax as the gateway does with every
//! answer of a plugin.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiergate::cache::{Builder, Codec as _, Config, KeyPolicy, Policy, PutOptions, TierTtls, Verdict};
use tiergate::plugin::Plugins;
use tiergate::record::{Key, ReadOutcome};
use tiergate::telemetry::metrics;

const SIGNALS: &str = "analysis:signals";

fn payload() -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(format!("{SIGNALS}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn plugins() -> (tempfile::TempDir, Plugins) {
    let dir = tempfile::tempdir().expect("a directory");
    let plugins = Plugins::load(tiergate::plugin::Config::default(), &dir.path().join("code")).expect("plugins");
    (dir, plugins)
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

fn get(criterion: &mut Criterion) {
    let (_dir, plugins) = plugins();
    // A value that stays fresh, so that every read is answered by memory.
    let (key, day) = (key("bench:value"), Duration::from_secs(24 * 3600));
    let default = Policy::default_for(key.as_str());
    let rule = KeyPolicy { ttl: TierTtls { memory: day, ..default.ttl }, fresh: day, ..default };
    let policy = Policy::with(vec![rule]).expect("a policy");
    let config = Config {
        policy,
        deadline: Duration::from_millis(250),
        memory_bytes_max: 64 << 20,
        recovery: Default::default(),
        verify_every: Duration::from_secs(5),
    };
    let cache = Builder::new(config, plugins.codecs.clone()).build(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = PutOptions { from: "bench".into(), ttl: Some(day), codec: None, as_of: None };
        let put = cache.put(&key, Bytes::from_static(b"[1, 2, 3]"), options).await.expect("a payload");
        assert_eq!(put.verdict(), Verdict::Stored);
        let read = cache.get(&key).await;
        assert!(matches!(read.outcome, ReadOutcome::Hit { .. }), "{:?}", read.outcome);
    });
    criterion.bench_function("get/memory", |bench| {
        bench.iter_custom(|times| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    black_box(cache.get(black_box(&key)).await);
                }
                begun.elapsed()
            })
        });
    });
}

fn decode(criterion: &mut Criterion) {
    let (_dir, plugins) = plugins();
    let (key, payload) = (key(SIGNALS), payload());
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("plugin", |bench| {
        bench.iter(|| plugins.codecs.decode(&key, black_box(&payload), 0).expect("a payload"));
    });
    group.bench_function("native", |bench| {
        bench.iter(|| tiergate_codecs::decode(SIGNALS, black_box(&payload), 0).expect("a payload"));
    });
    group.bench_function("serde_json", |bench| {
        bench.iter(|| {
            let value: serde_json::Value = serde_json::from_slice(black_box(&payload)).expect("JSON");
            serde_json::to_vec(&value).expect("JSON")
        });
    });
    group.bench_function("syntax", |bench| {
        bench.iter(|| serde_json::from_slice::<serde::de::IgnoredAny>(black_box(&payload)).expect("JSON"));
    });
    group.finish();
}

/// Counts are kept as in the gateway: a recorder that does nothing would flatter the engine.
fn recorded(criterion: &mut Criterion) {
    metrics::start().expect("no other recorder");
    get(criterion);
    decode(criterion);
}

criterion_group!(engine, recorded);
criterion_main!(engine);
