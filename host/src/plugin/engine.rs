//! The engine: one per process, with the rules that hold for every plugin.
//!
//! Results are repeatable (no threads, no relaxed SIMD, one bit pattern for NaN), calls are synchronous, and time is
//! counted in epochs by its [`clock`].

use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::{Config, Engine, PoolingAllocationConfig};

use super::clock::{self, TICK};

/// Stack of one call. The threads that make calls keep at least four times as much.
const STACK_BYTES_MAX: usize = 512 << 10;

/// Core modules, tables and memories of one component. A component made from Python holds 38 core modules.
pub(super) const CORE_INSTANCES_MAX: usize = 48;
/// See [`CORE_INSTANCES_MAX`].
pub(super) const TABLES_MAX: usize = 16;
/// See [`CORE_INSTANCES_MAX`].
pub(super) const MEMORIES_MAX: usize = 4;

/// Elements of one table. A component made from JavaScript needs 7,691.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// What the host keeps for one component instance beside its memory.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// Memory that a slot keeps between two instances, so that the next one starts on warm pages.
const WARM_BYTES_MAX: usize = 1 << 20;

/// Makes the engine with room for `instances` at once, each with at most `memory` bytes, and starts its clock.
pub(super) fn start(instances: usize, memory: usize) -> wasmtime::Result<Engine> {
    let engine = Engine::new(&config(instances, memory)?)?;
    clock::start(engine.weak())?;
    Ok(engine)
}

/// An engine that makes the same code and runs nothing.
pub(super) fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(&config(1, 1 << 20)?)
}

fn config(instances: usize, memory: usize) -> wasmtime::Result<Config> {
    let instances = u32::try_from(instances)?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX as u32))
        // A memory slot reserves 4 GiB of addresses, and nearly every component has one: the few that have more share.
        .total_memories(instances.saturating_add(MEMORIES_MAX as u32))
        .total_tables(instances.saturating_mul(TABLES_MAX as u32))
        .max_core_instances_per_component(CORE_INSTANCES_MAX as u32)
        .max_memories_per_component(MEMORIES_MAX as u32)
        .max_tables_per_component(TABLES_MAX as u32)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(memory)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(WARM_BYTES_MAX)
        .max_unused_warm_slots(instances);

    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Three times cheaper calls; and components that wait are refused, which a repeatable host wants.
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20))
        .allocation_strategy(pool);
    Ok(config)
}

/// How many epochs cover `span`. The epoch that is running has partly passed, hence one more.
pub(super) fn epochs(span: Duration) -> u64 {
    let ticks = span.as_nanos().div_ceil(TICK.as_nanos());
    // Epochs are added to the engine's counter, which must not overflow.
    u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::from(u32::MAX)) + 1
}
