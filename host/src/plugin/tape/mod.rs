//! [`Tape`]: the last calls of a slot, bounded in bytes.
//!
//! The tape of a plugin with state begins with a state, or at the plugin's start, so that what it holds can be replayed. It
//! forgets whole stretches: up to the next state. Where there is none, it asks for one first.

pub(super) mod file;
pub(super) mod json;
mod replay;

use std::collections::VecDeque;
use std::sync::Arc;

pub use replay::{Otherwise, Replay, ReplayError, replay};

use super::call::{Answer, Question, Taken};
use super::shadow::Handover;

/// Bytes of the calls that are kept for a version that is being prepared. They are mostly bytes that the gateway holds anyway.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// What is on a tape.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// The state that the calls from here on begin with.
    State(Arc<[u8]>),
    Call(Arc<Taken>),
}

/// The last calls of a slot.
#[derive(Debug)]
pub(super) struct Tape {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Whether the plugin has state.
    stateful: bool,
    /// Whether the first call on the tape is the first that the plugin was asked.
    from_start: bool,
    /// Whether the version that took over last began without state: the one before it knows more than the tape holds.
    begun_fresh: bool,
    /// Calls that change the state, from where they were asked for.
    kept: Option<Kept>,
}

/// See [`Tape::keep`].
#[derive(Debug, Default)]
struct Kept {
    calls: Vec<Arc<Taken>>,
    bytes: usize,
}

/// What was on a tape at one moment.
pub(super) struct Record {
    entries: Vec<Entry>,
    /// See [`Tape::from_start`].
    from_start: bool,
}

/// A place from which the state of now can be reached, and the way there.
pub(super) struct History {
    /// The state to begin with; `None`: a new instance.
    pub(super) state: Option<Arc<[u8]>>,
    /// The questions since that changed the state.
    pub(super) questions: Vec<Arc<Taken>>,
}

/// Whether the tape must be given a state before it can forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Room {
    Enough,
    NeedsState,
}

// === impl Entry ===

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::State(state) => state.len(),
            Self::Call(taken) => taken.bytes(),
        }
    }
}

// === impl Tape ===

impl Tape {
    pub(super) fn new(bytes_max: usize, stateful: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
            stateful,
            from_start: true,
            begun_fresh: false,
            kept: None,
        }
    }

    /// Adds a call. A state that is asked for must be one that holds this call too.
    pub(super) fn push(&mut self, taken: Arc<Taken>) -> Room {
        if let Some(kept) = self.kept.as_mut().filter(|_| leads_on(&taken)) {
            kept.bytes += taken.bytes();
            kept.calls.push(taken.clone());
        }
        self.kept.take_if(|kept| kept.bytes > KEPT_BYTES_MAX);
        self.add(Entry::Call(taken));
        self.forget()
    }

    /// Adds the state that all calls so far have led to.
    pub(super) fn state(&mut self, state: Arc<[u8]>) {
        self.add(Entry::State(state));
        if self.forget() == Room::NeedsState {
            self.cut();
        }
    }

    /// Notes that another version takes the next call, with the state that it came by like this. Where the calls so far have not
    /// led to that state, the tape begins anew: with a fresh start, and with the way back from one.
    pub(super) fn taken_over(&mut self, state: &Handover) {
        let came_back = *state == Handover::Kept && self.begun_fresh;
        self.begun_fresh = *state == Handover::Fresh;
        if self.begun_fresh || came_back {
            self.from_start = false;
            self.clear();
        }
    }

    /// Forgets everything, because no state could be had.
    pub(super) fn cut(&mut self) {
        self.from_start = false;
        match self.entries.pop_back() {
            Some(Entry::State(state)) => {
                self.clear();
                self.add(Entry::State(state));
            }
            _ => self.clear(),
        }
    }

    /// What is on the tape, oldest first, if the calls can be replayed.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let first = match self.stateful && !self.from_start {
            true => self.entries.iter().position(|entry| matches!(entry, Entry::State(_))),
            false => Some(0),
        };
        first.map_or_else(Vec::new, |first| self.entries.iter().skip(first).cloned().collect())
    }

    /// Keeps the calls from here on that change the state, whatever the tape forgets.
    pub(super) fn keep(&mut self) {
        self.kept = Some(Kept::default());
    }

    /// The calls that were kept since this was last asked; `None` if they became too many, or none are kept.
    pub(super) fn kept(&mut self) -> Option<Vec<Arc<Taken>>> {
        self.kept.as_mut().map(std::mem::take).map(|kept| kept.calls)
    }

    /// Keeps nothing any more.
    pub(super) fn keep_no_more(&mut self) {
        self.kept = None;
    }

    /// What is on the tape, from which the ways to the state of now can be found without holding up the tape.
    pub(super) fn record(&self) -> Record {
        Record { entries: self.entries.iter().cloned().collect(), from_start: self.from_start }
    }

    fn add(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn forget(&mut self) -> Room {
        while self.bytes > self.bytes_max {
            let stretch = match self.stateful {
                true => self.entries.iter().skip(1).position(|entry| matches!(entry, Entry::State(_))).map(|at| at + 1),
                // The last call stays, however large it is.
                false => (self.entries.len() > 1).then_some(1),
            };
            let Some(stretch) = stretch else {
                let alone = self.entries.len() == 1 && matches!(self.entries[0], Entry::State(_));
                return if self.stateful && !alone { Room::NeedsState } else { Room::Enough };
            };
            self.bytes -= self.entries.drain(..stretch).map(|entry| entry.bytes()).sum::<usize>();
            self.from_start = false;
        }
        Room::Enough
    }
}

// === impl Record ===

impl Record {
    /// The ways to the state of then, the shortest first.
    pub(super) fn histories(&self) -> Vec<History> {
        let mut histories = Vec::new();
        let mut questions: Vec<Arc<Taken>> = Vec::new();
        let way =
            |state, questions: &[Arc<Taken>]| History { state, questions: questions.iter().rev().cloned().collect() };
        for entry in self.entries.iter().rev() {
            match entry {
                Entry::State(state) => histories.push(way(Some(state.clone()), &questions)),
                Entry::Call(taken) if leads_on(taken) => questions.push(taken.clone()),
                Entry::Call(_) => {}
            }
        }
        if self.from_start {
            histories.push(way(None, &questions));
        }
        histories
    }
}

/// Whether a call is part of what led to the state of now.
fn leads_on(taken: &Taken) -> bool {
    let in_state =
        matches!(&taken.question, Question::Ingest { .. } | Question::Observe { .. } | Question::Plan { .. });
    in_state && !matches!(taken.answer, Answer::Failed(_))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::market::Signal;
    use crate::plugin::slot::{Generation, Identity};
    use crate::record::Time;

    fn call(seq: u64) -> Arc<Taken> {
        let identity = Identity { version: None, ..Identity::named("p") };
        let by =
            Generation { number: 1, loaded_at: Time::default(), identity: Arc::new(identity), plugin: Arc::new(()) };
        let signal = Signal { seq, received_at: Time::default(), body: Bytes::from_static(b"{}") };
        let question = Question::Ingest { now: Time::default(), batch: Arc::from([signal]) };
        Arc::new(Taken::new(&by, question, (Answer::Ingested(Vec::new()), Vec::new()), Duration::ZERO))
    }

    fn seqs(history: &History) -> Vec<u64> {
        let seq = |taken: &Arc<Taken>| match &taken.question {
            Question::Ingest { batch, .. } => batch[0].seq,
            _ => unreachable!("only signals"),
        };
        history.questions.iter().map(seq).collect()
    }

    #[test]
    fn a_tape_without_state_keeps_the_last_calls_within_its_bound() {
        let one = call(1).bytes();
        let mut tape = Tape::new(3 * one, false);
        for seq in 1..=3 {
            assert_eq!(tape.push(call(seq)), Room::Enough);
        }
        assert_eq!(tape.entries().len(), 3, "at the bound");
        assert_eq!(tape.push(call(4)), Room::Enough);
        assert_eq!(tape.entries().len(), 3, "one past it");
    }

    #[test]
    fn a_tape_with_state_asks_for_one_before_it_forgets_and_forgets_whole_stretches() {
        let one = call(1).bytes();
        let mut tape = Tape::new(3 * one + 8, true);
        for seq in 1..=3 {
            assert_eq!(tape.push(call(seq)), Room::Enough);
        }
        assert_eq!(tape.record().histories().iter().map(seqs).collect::<Vec<_>>(), [[1, 2, 3]], "back to the start");
        assert_eq!(tape.push(call(4)), Room::NeedsState);
        tape.state(Arc::from(*b"four"));
        let histories = tape.record().histories();
        assert_eq!(histories.len(), 1, "the start is forgotten");
        assert_eq!((histories[0].state.as_deref(), seqs(&histories[0])), (Some(&b"four"[..]), vec![]));
        assert_eq!(tape.push(call(5)), Room::Enough);
        tape.state(Arc::from(*b"five"));
        assert_eq!(tape.push(call(6)), Room::Enough);
        let ways: Vec<_> = tape.record().histories().iter().map(seqs).collect();
        assert_eq!(ways, [vec![6], vec![5, 6]], "the shortest way first");
    }

    #[test]
    fn a_fresh_start_and_the_way_back_from_it_begin_the_tape_anew_and_no_other_way_to_a_state_does() {
        let mut tape = Tape::new(1 << 20, true);
        let mut take_over = |state: Handover, by: u8| {
            tape.taken_over(&state);
            tape.state(Arc::from([by]));
            assert_eq!(tape.push(call(by.into())), Room::Enough);
            let Some(Entry::State(first)) = tape.entries().into_iter().next() else { panic!("no state") };
            (first[0], tape.record().histories().len())
        };
        for (state, by, expected) in [
            (Handover::Fresh, 1, (1, 1)),
            (Handover::Restored, 2, (1, 2)),
            (Handover::Kept, 3, (1, 3)),
            (Handover::Fresh, 4, (4, 1)),
            (Handover::Kept, 5, (5, 1)),
            (Handover::Kept, 6, (5, 2)),
        ] {
            assert_eq!(take_over(state, by), expected, "{by}");
        }
    }

    #[test]
    fn without_a_state_that_can_be_had_the_tape_has_no_way_back() {
        let mut tape = Tape::new(1, true);
        assert_eq!(tape.push(call(1)), Room::NeedsState);
        tape.cut();
        assert!(tape.record().histories().is_empty() && tape.entries().is_empty());
        tape.state(Arc::from(*b"larger than the bound"));
        assert_eq!(tape.record().histories().len(), 1, "a state alone is kept, however large");
    }
}
