//! [`Tap`]: where the calls of a slot are heard: by its tape, and by a companion if there is one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::call::Taken;
use super::shadow::{Companion, Report, Runner};
use super::tape::{Entry, History, Room, Tape};

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

    /// Notes that a state was asked for and could not be had.
    pub(super) fn no_state(&self) {
        self.tape().cut();
    }

    /// Lets `companion` hear what comes, in place of an earlier one.
    pub(super) fn accompany(&self, companion: Companion<R>) {
        *self.companion() = Some(companion);
    }

    /// Takes the companion away, if it is the one that is meant.
    pub(super) fn part(&self, is_meant: impl FnOnce(&Companion<R>) -> bool) -> Option<Companion<R>> {
        self.companion().take_if(|companion| is_meant(companion))
    }

    /// Whether the companion has heard all that it was told, or there is none. One that has not makes haste from here on.
    pub(super) fn has_caught_up(&self) -> bool {
        self.companion().as_ref().is_none_or(|companion| companion.hurry() == 0)
    }

    /// What the companion has found so far.
    pub(super) fn report(&self) -> Option<Report> {
        self.companion().as_ref().map(Companion::report)
    }

    /// See [`Tape::entries`].
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.tape().entries()
    }

    /// See [`Tape::histories`].
    pub(super) fn histories(&self) -> Vec<History> {
        self.tape().histories()
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn companion(&self) -> MutexGuard<'_, Option<Companion<R>>> {
        self.companion.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
