//! [`Pool`]: a bounded number of instances of one codec, reused from call to call.
//!
//! Calls run where they are made. A free instance is taken, or a new one is made (20 us), up to the bound; beyond it a call
//! waits for at most [`WAIT_MAX`].

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Claim;
use crate::plugin::bindings::CodecPlugin;
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::Sandbox;

/// How long a call waits for a free instance. It is several deadlines, because calls that wait are not served in order.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// The instances of a codec.
pub(in crate::plugin) struct Pool {
    pub(in crate::plugin) codec: Loaded<CodecPlugin>,
    /// The keys that it is responsible for.
    pub(super) claims: Vec<Claim>,
    bound: NonZeroUsize,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    idle: Vec<Sandbox<CodecPlugin>>,
    /// Instances that exist, idle or in a call.
    alive: usize,
}

/// The right to one instance of the bound. It is given back however the call ends.
struct Permit<'a>(&'a Pool);

// === impl Pool ===

impl Pool {
    pub(in crate::plugin) fn new(codec: Loaded<CodecPlugin>, claims: Vec<Claim>, bound: NonZeroUsize) -> Self {
        Self { codec, claims, bound, state: Mutex::new(State { idle: Vec::new(), alive: 0 }), freed: Condvar::new() }
    }

    /// Makes a call on a free instance. The instance is used again if the call gives it back and it is not worn.
    pub(super) fn with<T>(
        &self,
        call: impl FnOnce(Sandbox<CodecPlugin>) -> Result<(Sandbox<CodecPlugin>, T), PluginError>,
    ) -> Result<T, PluginError> {
        let (permit, idle) = self.take()?;
        let sandbox = idle.map_or_else(|| self.codec.start(), Ok)?;
        let (sandbox, answer) = call(sandbox)?;
        if !sandbox.is_worn() {
            permit.keep(sandbox);
        }
        Ok(answer)
    }

    fn take(&self) -> Result<(Permit<'_>, Option<Sandbox<CodecPlugin>>), PluginError> {
        let is_full = |state: &mut State| state.idle.is_empty() && state.alive >= self.bound.get();
        let (mut state, wait) =
            self.freed.wait_timeout_while(self.lock(), WAIT_MAX, is_full).unwrap_or_else(PoisonError::into_inner);
        if let Some(sandbox) = state.idle.pop() {
            return Ok((Permit(self), Some(sandbox)));
        }
        if wait.timed_out() {
            return Err(self.codec.identity.error(None, Cause::Busy(WAIT_MAX)));
        }
        state.alive += 1;
        Ok((Permit(self), None))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Permit ===

impl Permit<'_> {
    /// Leaves the instance, with its place in the bound, for the next call.
    fn keep(self, sandbox: Sandbox<CodecPlugin>) {
        self.0.lock().idle.push(sandbox);
        self.0.freed.notify_one();
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().alive -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
impl Pool {
    /// Instances that exist.
    pub(super) fn alive(&self) -> usize {
        self.lock().alive
    }
}
