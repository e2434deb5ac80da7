//! Any bytes as a component of any kind: loaded, or refused with a reason. The first byte chooses the kind.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tiergate::plugin::fuzzing::{Bench, Kind};

static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);

fuzz_target!(|data: &[u8]| {
    let Some((kind, component)) = data.split_first() else { return };
    let kind = [Kind::Codec, Kind::Aggregator, Kind::Warmer][usize::from(kind % 3)];
    if let Err(error) = BENCH.load(kind, component) {
        assert!(!error.to_string().is_empty());
    }
});
