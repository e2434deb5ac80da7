//! [`Tap`]: where the calls of a slot are heard: by its tape, and by a companion if there is one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::call::Taken;
use super::error::{Cause, PluginError};
use super::shadow::{Companion, Handover, Mode, Report, Runner};
use super::slot::{Beside, Generation, tell};
use super::tape::{Entry, Record, Room, Tape};

/// The tape and the companion of one slot.
pub(super) struct Tap<R: Runner> {
    tape: Mutex<Tape>,
    companion: Mutex<Option<Companion<R>>>,
}

// === impl Tap ===

impl<R: Runner> Tap<R> {
    pub(super) fn new(tape_bytes_max: usize) -> Self {
        Self { tape: Mutex::new(Tape::new(tape_bytes_max, R::STATEFUL)), companion: Mutex::new(None) }
    }

    /// Notes a call that was made.
    pub(super) fn heard(&self, taken: Taken) -> Room {
        let taken = Arc::new(taken);
        if let Some(companion) = &mut *self.companion() {
            companion.hear(&taken);
        }
        self.tape().push(taken)
    }

    /// Notes the state that all calls so far have led to.
    pub(super) fn state(&self, state: &Arc<[u8]>) {
        self.tape().state(state.clone());
        if let Some(companion) = &mut *self.companion() {
            companion.seed(state);
        }
    }

    /// See [`Tape::taken_over`].
    pub(super) fn taken_over(&self, state: &Handover) {
        self.tape().taken_over(state);
    }

    /// Notes that a state was asked for and could not be had.
    pub(super) fn no_state(&self) {
        self.tape().cut();
    }

    /// Lets `generation` hear what comes, in place of an earlier one. `make` also says how it came by its state.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(super) fn accompany<P>(
        &self,
        generation: &Generation<P>,
        mode: Mode,
        make: impl FnOnce() -> (R, String) + Send + 'static,
    ) -> Result<(), PluginError> {
        let no_thread = |error: io::Error| {
            generation.identity.error(None, Cause::Refused(format!("there is no thread for it: {error}")))
        };
        *self.companion() = Some(Companion::start(generation.status(), mode, make).map_err(no_thread)?);
        Ok(())
    }

    /// Lets `before`, which was active until now, go on beside `next` while that is on probation; whether it does.
    pub(super) fn watch<P>(
        &self,
        next: &Generation<P>,
        before: &Generation<P>,
        make: impl FnOnce() -> (R, String) + Send + 'static,
    ) -> bool {
        let unwatched = |error: &PluginError| tell!(warn, next.identity, %error, "there is no probation");
        self.accompany(before, Mode::Probation, make).inspect_err(unwatched).is_ok()
    }

    /// The version that goes on beside the active one on probation, if it is this generation and has missed nothing. It is
    /// fit to serve when it has heard what waits for it: see [`Companion::finish`].
    pub(super) fn come_back(&self, generation: u64) -> Option<Companion<R>> {
        let is_meant = |found: &mut Companion<R>| {
            found.mode() == Mode::Probation && found.generation() == generation && found.is_in_step()
        };
        self.companion().take_if(is_meant)
    }

    /// See [`Tape::record`].
    pub(super) fn record(&self) -> Record {
        self.tape().record()
    }

    /// See [`Tape::keep`].
    pub(super) fn keep(&self) {
        self.tape().keep();
    }

    /// See [`Tape::kept`].
    pub(super) fn kept(&self) -> Option<Vec<Arc<Taken>>> {
        self.tape().kept()
    }

    /// See [`Tape::keep_no_more`].
    pub(super) fn keep_no_more(&self) {
        self.tape().keep_no_more();
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn companion(&self) -> MutexGuard<'_, Option<Companion<R>>> {
        self.companion.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can be heard of a slot whatever kind of plugin it holds.
pub(super) trait AnyTap {
    /// What runs beside the active version, in short.
    fn beside(&self) -> Option<Beside>;

    /// What the companion has found so far.
    fn report(&self) -> Option<Report>;

    /// See [`Tape::entries`].
    fn entries(&self) -> Vec<Entry>;

    /// Whether the companion knows all that it needs to know, or there is none. One that does not makes haste from here on.
    fn has_caught_up(&self) -> bool;

    /// Lets the companion go, if it runs a generation that is meant.
    fn dismiss(&self, is_meant: &dyn Fn(u64) -> bool);
}

impl<R: Runner> AnyTap for Tap<R> {
    fn beside(&self) -> Option<Beside> {
        self.companion().as_ref().map(Companion::beside)
    }

    fn report(&self) -> Option<Report> {
        self.companion().as_ref().map(Companion::report)
    }

    fn entries(&self) -> Vec<Entry> {
        self.tape().entries()
    }

    fn has_caught_up(&self) -> bool {
        // Without state there is nothing to know.
        !R::STATEFUL || self.companion().as_ref().is_none_or(|companion| companion.hurry() == 0)
    }

    fn dismiss(&self, is_meant: &dyn Fn(u64) -> bool) {
        if let Some(companion) = self.companion().take_if(|companion| is_meant(companion.generation())) {
            companion.dismiss();
        }
    }
}
