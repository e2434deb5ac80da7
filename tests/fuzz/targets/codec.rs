//! The boundary of the codecs, from both sides: any payload to the built-in codecs, and any answer of a codec to the host.
//! The first byte chooses.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use tiergate::plugin::built_in;
use tiergate::plugin::fuzzing::{Bench, Codec};
use tiergate::record::Key;
use tiergate_tests::hostile;

const KEYS: [&str; 8] = [
    "analysis:signals",
    "market:overview",
    "market:tickers",
    "market:movers",
    "analysis:market_regime",
    "confluence:breakdown:BTCUSDT",
    "coingecko:derivatives",
    "any:other",
];

static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);
static BUILT_IN: LazyLock<Codec> =
    LazyLock::new(|| BENCH.codec(built_in("codecs").expect("a built-in plugin")).expect("it loads"));
/// Answers whatever it is given, as it lies in memory.
static MIRROR: LazyLock<Codec> = LazyLock::new(|| BENCH.codec(&hostile("mirror")).expect("it loads"));

fuzz_target!(|data: &[u8]| {
    let Some((choice, payload)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    if choice >= 128 {
        let key = Key::new("hostile:x!").expect("a key");
        if let Ok(decoded) = MIRROR.decode(&key, payload, 0) {
            is_json(decoded.canonical.as_deref().unwrap_or(payload));
        }
        return;
    }
    let key = Key::new(KEYS[choice % KEYS.len()]).expect("a key");
    let Ok(first) = BUILT_IN.decode(&key, payload, 0) else { return };
    let canonical = first.canonical.as_deref().unwrap_or(payload);
    is_json(canonical);
    // What was mended once needs no mending.
    let again = BUILT_IN.decode(&key, canonical, 0).expect("its own answer is taken");
    assert_eq!(again.canonical.as_deref().unwrap_or(canonical), canonical);
    assert!(again.repairs.is_empty() && again.kind == first.kind);
});

fn is_json(bytes: &[u8]) {
    serde_json::from_slice::<IgnoredAny>(bytes).expect("canonical bytes are JSON");
}
