//! [`Journal`]: what a new instance needs to become the old one: a checkpoint, and the inputs since.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plugin::call::Question;

/// Bytes of inputs that wait for a checkpoint. A checkpoint is forced before they are exceeded, and without one no input is
/// taken: an input that could not be replayed could be lost.
pub(super) const BYTES_MAX: usize = 32 << 20;

/// Inputs after which a checkpoint is due.
const INPUTS_MAX: usize = 500;

/// Time after which a checkpoint is due.
const EVERY: Duration = Duration::from_secs(5);

/// Failures after which an input is quarantined.
pub(super) const FAILURES_MAX: u32 = 3;

/// An input that was taken, with how often its replay failed.
pub(super) struct Entry {
    pub(super) input: Question,
    pub(super) failures: u32,
}

/// A checkpoint and the inputs since.
pub(super) struct Journal {
    /// What `save` answered; `None` as long as it was not asked.
    pub(super) checkpoint: Option<Arc<[u8]>>,
    pub(super) entries: Vec<Entry>,
    bytes: usize,
    /// When a checkpoint was last tried, and the inputs since.
    tried: Instant,
    untried: usize,
}

// === impl Journal ===

impl Journal {
    pub(super) fn new() -> Self {
        Self { checkpoint: None, entries: Vec::new(), bytes: 0, tried: Instant::now(), untried: 0 }
    }

    /// Whether `input` can be kept with those that are here.
    pub(super) fn has_room(&self, input: &Question) -> bool {
        self.bytes + input.bytes() <= BYTES_MAX
    }

    /// Keeps an input that the aggregator took.
    pub(super) fn push(&mut self, input: Question) {
        self.bytes += input.bytes();
        self.untried += 1;
        self.entries.push(Entry { input, failures: 0 });
    }

    /// Forgets the entry at `at`.
    pub(super) fn remove(&mut self, at: usize) -> Entry {
        let entry = self.entries.remove(at);
        self.bytes -= entry.input.bytes();
        entry
    }

    /// Whether it is time for a checkpoint. One that failed is not tried again at once.
    pub(super) fn is_due(&self) -> bool {
        !self.entries.is_empty() && (self.untried >= INPUTS_MAX || self.tried.elapsed() >= EVERY)
    }

    /// Notes that a checkpoint is being tried.
    pub(super) fn try_now(&mut self) {
        (self.tried, self.untried) = (Instant::now(), 0);
    }

    /// Begins anew from a checkpoint that holds all inputs.
    pub(super) fn restart(&mut self, checkpoint: Arc<[u8]>) {
        self.checkpoint = Some(checkpoint);
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::market::Signal;
    use crate::record::Time;

    fn signals(count: usize, bytes: usize) -> Question {
        let signal = Signal { seq: 1, received_at: Time::default(), body: Bytes::from(vec![b' '; bytes]) };
        Question::Ingest { now: Time::default(), batch: vec![signal; count].into() }
    }

    #[test]
    fn the_journal_is_bounded_in_bytes() {
        let mut journal = Journal::new();
        let beside = signals(1, 0).bytes();
        assert!(journal.has_room(&signals(1, BYTES_MAX - beside)));
        assert!(!journal.has_room(&signals(1, BYTES_MAX - beside + 1)));
        journal.push(signals(1, BYTES_MAX / 2));
        assert!(!journal.has_room(&signals(1, BYTES_MAX / 2)));
        journal.remove(0);
        assert!(journal.has_room(&signals(1, BYTES_MAX / 2)));
    }

    #[test]
    fn a_checkpoint_is_due_after_five_hundred_inputs() {
        let mut journal = Journal::new();
        (1..INPUTS_MAX).for_each(|_| journal.push(signals(1, 1)));
        assert!(!journal.is_due());
        journal.push(signals(1, 1));
        assert!(journal.is_due());
        journal.try_now();
        assert!(!journal.is_due());
    }
}
