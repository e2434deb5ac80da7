//! [`Losses`]: the last instances of a plugin that were lost, so that operators see what it did after it has happened.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::error::PluginError;
use crate::record::Time;

/// Losses that are remembered of one plugin. The oldest is forgotten.
const LOSSES_MAX: usize = 16;

/// The longest text of one, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// An instance that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// When, in Unix microseconds.
    pub at: Time,
    /// To what: see [`Cause::label`](super::Cause::label).
    pub cause: &'static str,
    /// The error.
    pub error: String,
}

/// The last losses of one plugin.
#[derive(Clone, Default)]
pub struct Losses(Arc<Mutex<VecDeque<Loss>>>);

// === impl Losses ===

impl Losses {
    /// Remembers an instance that was lost to this.
    pub(super) fn note(&self, error: &PluginError) {
        let (cause, mut text) = (error.cause.label(), error.to_string());
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        let mut losses = self.lock();
        losses.truncate(LOSSES_MAX - 1);
        losses.push_front(Loss { at: Time::now(), cause, error: text });
    }

    /// Those that are remembered, the newest first.
    pub fn last(&self) -> Vec<Loss> {
        self.lock().iter().cloned().collect()
    }

    /// Every change under the lock is whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Loss>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Losses {
    /// What happened to a plugin does not say which plugin it is.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Losses {}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} losses", self.lock().len())
    }
}
