//! The engine: one per process, with the rules that hold for every plugin.
//!
//! Results are repeatable (no threads, no relaxed SIMD, one bit pattern for NaN), calls are synchronous, and time is
//! counted in epochs by its [`clock`].

use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::{Config, Engine, PoolingAllocationConfig};

use super::clock::{self, TICK};
use super::limits::STACK;

/// Core modules, tables and memories of one component. A component made from Python holds 38 core modules.
pub(super) const CORE_INSTANCES_MAX: usize = 48;
/// See [`CORE_INSTANCES_MAX`].
pub(super) const TABLES_MAX: usize = 16;
/// See [`CORE_INSTANCES_MAX`].
pub(super) const MEMORIES_MAX: usize = 4;

/// What the host keeps for one component instance beside its memory.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// Memory that a slot keeps between two instances, so that the next one starts on warm pages.
const WARM_BYTES_MAX: usize = 1 << 20;

/// Room of the engine for instances.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Instances that there can be at once.
    pub(super) instances: usize,
    /// Bytes of each memory, and elements of each table, at most; a limit of a kind of plugin may be lower.
    pub(super) memory: usize,
    /// See `memory`.
    pub(super) table_elements: usize,
}

/// Makes the engine and starts its clock.
pub(super) fn start(room: Room) -> wasmtime::Result<Engine> {
    let engine = Engine::new(&config(room)?)?;
    clock::start(engine.weak())?;
    Ok(engine)
}

/// An engine that makes the same code and runs nothing.
pub(super) fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(&config(Room { instances: 1, memory: 1 << 20, table_elements: 1 })?)
}

fn config(Room { instances, memory, table_elements }: Room) -> wasmtime::Result<Config> {
    let (instances, stack) = (u32::try_from(instances)?, usize::try_from(STACK.as_u64())?);
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
        .table_elements(table_elements)
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
        .max_wasm_stack(stack)
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

#[cfg(test)]
impl Room {
    /// Enough for the tests of this room.
    pub(super) const TEST: Self = Self { instances: 8, memory: 64 << 20, table_elements: 20_000 };
}
