//! [`Sandbox`]: one instance of a plugin in a store of its own, with every call bounded.
//!
//! Any error from a call (a trap, a limit, an answer that cannot be read) leaves a store that must not be entered again. So
//! a call takes the sandbox and gives it back only when all went well: a broken one cannot be used by mistake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};

use crate::record::Time;

use super::aside::Grace;
use super::bindings::{Common, World, types};
use super::clock::{self, UnderWay};
use super::engine;
use super::error::{Cause, PluginError};
use super::imports::Host;
use super::limits::{Limits, START_DEADLINE};
use super::meter::Denied;
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
    store.data_mut().begin(call.now, Grace::begin(call.deadline));
    store.set_epoch_deadline(engine::epochs(call.deadline));
    clock::begin()
}

/// What becomes of a call at its deadline: it ends, unless it runs on a thread that gives way and was given too little of the
/// processor.
pub(super) fn overdue(store: StoreContextMut<'_, Host>) -> wasmtime::Result<UpdateDeadline> {
    let left = store.data().grace.as_ref().and_then(Grace::left);
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
