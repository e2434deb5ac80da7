//! [`Sandbox`]: one instance of a plugin in a store of its own, with every call bounded.
//!
//! Any error from a call (a trap, a limit, an answer that cannot be read) leaves a store that must not be entered again. So
//! a call takes the sandbox and gives it back only when all went well: a broken one cannot be used by mistake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};

use crate::record::Time;

use super::bindings::{Common, World, types};
use super::clock::{self, UnderWay};
use super::engine;
use super::error::{Cause, PluginError};
use super::imports::Host;
use super::limits::{Limits, START_DEADLINE};
use super::meter::Denied;
use super::overtime::Overtime;
use super::slot::{Identity, tell};

/// Calls that one instance answers before it is replaced: what a plugin leaks, it leaks for so long.
const CALLS_MAX: u32 = 10_000;

/// What a plugin's clock shows where no call of the gateway has a time that it could show: while it starts, and while it takes
/// a state back. It is the same in every run, and so is the randomness that it seeds, so that what a plugin makes of them can be
/// replayed.
pub(super) const BEGINNING: Time = Time::from_micros(0);

/// One instance of a plugin of world `W`.
pub(super) struct Sandbox<W> {
    pub(super) store: Store<Host>,
    pub(super) lifecycle: Common,
    pub(super) world: W,
    pub(super) identity: Arc<Identity>,
    pub(super) limits: Limits,
    calls: u32,
}

/// A call that is about to be made.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// Its name in the contract.
    pub(super) name: &'static str,
    /// What the plugin's clock shows.
    pub(super) now: Time,
    /// How long it may take.
    pub(super) deadline: Duration,
}

/// A sandbox that is still good, with what the plugin answered: a value, or an error that costs nothing but the call.
pub(super) type Answered<W, T> = (Sandbox<W>, Result<T, PluginError>);

// === impl Call ===

impl Call {
    /// A call of the time before a plugin serves.
    pub(super) fn at_start(name: &'static str) -> Self {
        Self { name, now: BEGINNING, deadline: START_DEADLINE }
    }
}

// === impl Sandbox ===

impl<W: World> Sandbox<W> {
    pub(super) fn new(
        store: Store<Host>,
        lifecycle: Common,
        world: W,
        identity: Arc<Identity>,
        limits: Limits,
    ) -> Self {
        Self { store, lifecycle, world, identity, limits, calls: 0 }
    }

    /// A call under the deadline of this kind of plugin.
    pub(super) fn within_limits(&self, name: &'static str, now: Time) -> Call {
        Call { name, now, deadline: self.limits.deadline }
    }

    /// Makes a call. `outcome` names what came of an answer that could be read, for metrics.
    pub(super) fn call<T>(
        mut self,
        call: Call,
        make: impl FnOnce(&mut Self) -> wasmtime::Result<T>,
        outcome: impl FnOnce(&T) -> &'static str,
    ) -> Result<(Self, T), PluginError> {
        self.calls += 1;
        let _under_way = arm(&mut self.store, call);
        let started = Instant::now();
        match make(&mut self) {
            Ok(answer) => {
                self.count(call, outcome(&answer), started.elapsed());
                Ok((self, answer))
            }
            Err(error) => {
                let cause = cause(&self.store, &self.limits, call, &error);
                self.count(call, cause.label(), started.elapsed());
                Err(lost(&self.identity, call, cause, Some(&error)))
            }
        }
    }

    /// Makes a call that can answer the contract's `plugin-error`.
    pub(super) fn ask<T>(
        self,
        call: Call,
        make: impl FnOnce(&mut Self) -> wasmtime::Result<Result<T, types::PluginError>>,
    ) -> Result<Answered<W, T>, PluginError> {
        let (sandbox, answer) = self.call(call, make, |answer| match answer {
            Ok(_) => "ok",
            Err(types::PluginError::InvalidInput(_)) => "invalid-input",
            Err(types::PluginError::Unsupported(_)) => "unsupported",
            Err(types::PluginError::Internal(_)) => "internal",
        })?;
        let cause = match answer {
            Ok(value) => return Ok((sandbox, Ok(value))),
            Err(types::PluginError::Internal(text)) => {
                return Err(lost(&sandbox.identity, call, Cause::Internal(text), None));
            }
            Err(types::PluginError::InvalidInput(text)) => Cause::InvalidInput(text),
            Err(types::PluginError::Unsupported(text)) => Cause::Unsupported(text),
        };
        let error = sandbox.identity.error(Some(call.name), cause);
        Ok((sandbox, Err(error)))
    }

    /// Throws the instance away because what it answered to `call` breaks the contract.
    pub(super) fn condemn(self, call: Call, what: String) -> PluginError {
        lost(&self.identity, call, Cause::Contract(what), None)
    }

    /// Whether it has served long enough, or grown enough, to be replaced by a new one.
    pub(super) fn is_worn(&self) -> bool {
        self.calls >= CALLS_MAX || self.store.data().meter.is_nearly_full()
    }

    /// What it holds in memories and tables, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.store.data().meter.used()
    }

    fn count(&self, call: Call, outcome: &'static str, took: Duration) {
        self.identity.metrics().called(call.name, outcome, took);
    }
}

/// Sets the clock and the deadline of what the store does next. Time is counted as long as the answer is held.
pub(super) fn arm(store: &mut Store<Host>, call: Call) -> UnderWay {
    store.data_mut().begin(call.now, Overtime::begin(call.deadline));
    store.set_epoch_deadline(engine::epochs(call.deadline));
    clock::begin()
}

/// What becomes of a call at its deadline: it ends, unless it was given too little of the processor.
pub(super) fn overdue(store: StoreContextMut<'_, Host>) -> wasmtime::Result<UpdateDeadline> {
    let left = store.data().overtime.as_ref().and_then(Overtime::left);
    Ok(left.map_or(UpdateDeadline::Interrupt, |left| UpdateDeadline::Continue(engine::epochs(left))))
}

/// Why the store failed.
pub(super) fn cause(store: &Store<Host>, limits: &Limits, call: Call, error: &wasmtime::Error) -> Cause {
    // The engine has no type for this one. A test tells when the text changes.
    const OUTPUT: &str = "fuel allocated for hostcalls has been exhausted";

    let trap = error.downcast_ref::<Trap>();
    let text = error.root_cause().to_string();
    if trap == Some(&Trap::Interrupt) {
        Cause::Deadline(call.deadline)
    } else if let Some(denied) = store.data().meter.denied() {
        match denied {
            Denied::Memory => Cause::Memory(limits.memory),
            Denied::Table => Cause::Table(limits.table_elements),
        }
    } else if text.contains(OUTPUT) {
        Cause::Output(limits.output)
    } else if trap.is_some() {
        let frame = error.downcast_ref::<WasmBacktrace>().and_then(|trace| trace.frames().first());
        let function = frame.and_then(|frame| frame.func_name());
        Cause::Trap(function.map_or_else(|| text.clone(), |function| format!("{text} ({function})")))
    } else {
        Cause::Contract(text)
    }
}

/// Counts and reports an instance that is thrown away.
pub(super) fn lost(identity: &Identity, call: Call, cause: Cause, error: Option<&wasmtime::Error>) -> PluginError {
    identity.metrics().lost(cause.label());
    if let Some(error) = error {
        tell!(debug, identity, "{error:?}");
    }
    let error = identity.error(Some(call.name), cause);
    identity.losses.note(&error);
    error
}

#[cfg(test)]
mod tests {
    use super::super::bindings::{AggregatorPlugin, WarmerPlugin};
    use super::super::loaded::Loaded;
    use super::super::loader::Loader;
    use super::super::{engine, guest};
    use super::*;

    /// What a plugin that was told by a state what to take has saved, or why not.
    type Took = Result<usize, String>;

    /// Gives one instance of a plugin these states, one after the other, and has it save.
    macro_rules! took {
        ($world:ty) => {
            |plugin: &Loaded<$world>, states: &[(u8, u32)]| -> Took {
                let mut instance = plugin.start().unwrap();
                for (what, how_much) in states {
                    let state = [&[*what][..], &how_much.to_le_bytes()].concat();
                    let call = instance.within_limits("restore", BEGINNING);
                    let restore =
                        |s: &mut Sandbox<$world>| s.world.tiergate_plugin_state().call_restore(&mut s.store, &state);
                    let (same, answer) = instance.ask(call, restore).map_err(|error| error.to_string())?;
                    answer.unwrap();
                    instance = same;
                }
                let call = instance.within_limits("save", BEGINNING);
                let save = |s: &mut Sandbox<$world>| s.world.tiergate_plugin_state().call_save(&mut s.store);
                let (_, saved) = instance.ask(call, save).map_err(|error| error.to_string())?;
                Ok(saved.unwrap().len())
            }
        };
    }

    /// Loads a guest that takes what it is told to, and lets it take as much as it may and more.
    fn is_held<W: World>(component: &[u8], limits: &Limits, took: impl Fn(&Loaded<W>, &[(u8, u32)]) -> Took) {
        let dir = tempfile::tempdir().unwrap();
        let memory = usize::try_from(Limits::AGGREGATOR.memory.as_u64()).unwrap();
        let engine = engine::start(engine::Room { instances: 2, memory, ..engine::Room::TEST }).unwrap();
        let loader = Loader::new(engine, &dir.path().join("code")).unwrap();
        let plugin = loader.load::<W>(&guest::spec(dir.path(), "greedy", component), limits).unwrap();
        let refused = |states: &[(u8, u32)], expected: &str| {
            let error = took(&plugin, states).unwrap_err();
            assert!(error.starts_with(&format!("plugin test-plugin 1.2.3: {expected}")), "{error}");
        };
        // It has a page before it takes any.
        let pages = u32::try_from(limits.memory.as_u64() >> 16).unwrap();
        assert_eq!(took(&plugin, &[(b'm', pages - 1)]), Ok(4));
        refused(&[(b'm', pages)], &format!("memory limit of {} exceeded in restore", limits.memory));
        refused(&[(b'm', pages - 1), (b'm', 1)], &format!("memory limit of {} exceeded in restore", limits.memory));

        assert_eq!(took(&plugin, &[(b't', limits.table_elements)]), Ok(4));
        let expected = format!("table limit of {} elements exceeded in restore", limits.table_elements);
        refused(&[(b't', limits.table_elements + 1)], &expected);
        // What a table holds is memory, too.
        let expected = format!("memory limit of {} exceeded in restore", limits.memory);
        refused(&[(b'm', pages - 1), (b't', 1)], &expected);

        assert_eq!(took(&plugin, &[(b's', 1_000)]), Ok(4));
        refused(&[(b's', u32::MAX)], "trap in restore: wasm trap: call stack exhausted");

        let output = u32::try_from(limits.output.as_u64()).unwrap();
        let room = (b'm', (output >> 16) + 1);
        assert_eq!(took(&plugin, &[room, (b'o', output)]), Ok(output as usize));
        refused(&[room, (b'o', output + 1)], &format!("answer larger than {} in save", limits.output));
    }

    #[test]
    fn an_aggregator_and_a_warmer_are_held_to_their_own_memory_table_stack_and_output() {
        is_held(&guest::greedy_aggregator(), &Limits::AGGREGATOR, took!(AggregatorPlugin));
        is_held(&guest::greedy_warmer(), &Limits::WARMER, took!(WarmerPlugin));
        // As an operator has set them.
        let set = Limits {
            memory: bytesize::ByteSize::mib(3),
            table_elements: 1_000,
            output: bytesize::ByteSize::mib(1),
            ..Limits::WARMER
        };
        is_held(&guest::greedy_aggregator(), &set, took!(AggregatorPlugin));
    }
}
