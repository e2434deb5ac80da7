//! [`Taken`]: a call that a slot's active plugin was asked, with what it answered. Tapes keep them, companions hear them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use crate::cache::Decoded;
use crate::market::{Document, Publication, RejectedSignal, Signal, ViewRequest};
use crate::record::{Key, Rejection, Time};
use crate::warm::{Action, KeyState};

use super::error::PluginError;
use super::slot::{Generation, Identity};

/// What the host adds to each record of a call, at most.
const RECORD_BYTES: usize = 128;

/// The code of a signal that was quarantined: it cost its version too many instances, and is not in its state.
pub(super) const QUARANTINED: &str = "quarantined";

/// What a plugin was asked. Whoever keeps it keeps the bytes that the rest of the gateway holds, and no copies.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Decode { now: Time, key: Key, payload: Bytes, flags: u32 },
    Ingest { now: Time, batch: Arc<[Signal]> },
    Observe { now: Time, changed: Arc<[Document]> },
    Documents { now: Time },
    Compose { now: Time, views: Arc<[ViewRequest]>, documents: Arc<[Document]> },
    Plan { now: Time, keys: Arc<[KeyState]>, actions_max: u32 },
}

/// What it answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Decoded(Result<Decoded, Rejection>),
    Ingested(Vec<RejectedSignal>),
    Observed,
    Published(Vec<Publication>),
    Composed(Vec<Bytes>),
    Planned(Vec<Action>),
    /// It failed, and the call was lost.
    Failed(PluginError),
}

/// Why instances were lost in a call: the labels of the causes.
pub(super) type Faults = Vec<&'static str>;

/// A call that was made.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) question: Question,
    pub(super) answer: Answer,
    /// Instances that it cost.
    pub(super) faults: Faults,
    /// Processor time that it took.
    pub(super) took: Duration,
    /// Who answered: the number of its generation.
    pub(super) generation: u64,
    /// Who answered.
    pub(super) identity: Arc<Identity>,
}

/// Processor time of this thread from here on: what a plugin costs, whatever else the machine does meanwhile.
pub(super) struct Stopwatch(Duration);

// === impl Question ===

impl Question {
    /// The call's name in the contract.
    pub(super) fn call(&self) -> &'static str {
        match self {
            Self::Decode { .. } => "decode",
            Self::Ingest { .. } => "ingest",
            Self::Observe { .. } => "observe",
            Self::Documents { .. } => "documents",
            Self::Compose { .. } => "compose",
            Self::Plan { .. } => "plan",
        }
    }

    /// What the plugin's clock showed.
    pub(super) fn now(&self) -> Time {
        match self {
            Self::Decode { now, .. }
            | Self::Ingest { now, .. }
            | Self::Observe { now, .. }
            | Self::Documents { now }
            | Self::Compose { now, .. }
            | Self::Plan { now, .. } => *now,
        }
    }

    /// Bytes that it keeps in memory, at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Decode { payload, .. } => payload.len() + RECORD_BYTES,
            Self::Ingest { batch, .. } => batch.iter().map(|signal| signal.body.len() + RECORD_BYTES).sum(),
            Self::Observe { changed, .. } => bytes_of(changed),
            Self::Documents { .. } => RECORD_BYTES,
            Self::Compose { views, documents, .. } => views.len() * RECORD_BYTES + bytes_of(documents),
            Self::Plan { keys, .. } => keys.len() * 4 * RECORD_BYTES,
        }
    }

    /// Records in it; what does not come in records counts as one.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ingest { batch, .. } => batch.len(),
            Self::Observe { changed, .. } => changed.len(),
            Self::Decode { .. } | Self::Documents { .. } | Self::Compose { .. } | Self::Plan { .. } => 1,
        }
    }

    /// Whether the plugin's state after it may be another than before it. `documents` drains, `compose` changes nothing.
    pub(super) fn changes_state(&self) -> bool {
        !matches!(self, Self::Decode { .. } | Self::Compose { .. })
    }

    /// One question for each record, in the same order.
    pub(super) fn split(&self) -> Vec<Self> {
        match self {
            Self::Ingest { now, batch } => {
                batch.iter().map(|signal| Self::Ingest { now: *now, batch: Arc::from([signal.clone()]) }).collect()
            }
            Self::Observe { now, changed } => {
                changed.iter().map(|one| Self::Observe { now: *now, changed: Arc::from([one.clone()]) }).collect()
            }
            whole => vec![whole.clone()],
        }
    }

    /// What it holds, for the operator.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::Decode { key, payload, .. } => format!("{} bytes of {key}", payload.len()),
            Self::Ingest { batch, .. } => match (batch.first(), batch.last()) {
                (Some(first), Some(last)) => format!("signals {} to {}", first.seq, last.seq),
                _ => "no signals".to_owned(),
            },
            Self::Observe { changed, .. } => {
                let keys: Vec<_> = changed.iter().map(|document| document.key.as_str()).collect();
                format!("documents {}", keys.join(", "))
            }
            Self::Documents { .. } => "what changed".to_owned(),
            Self::Compose { views, .. } => format!("{} views", views.len()),
            Self::Plan { keys, .. } => format!("{} keys", keys.len()),
        }
    }
}

fn bytes_of(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.record.bytes.len() + RECORD_BYTES).sum()
}

// === impl Answer ===

impl Answer {
    /// Bytes that it keeps in memory, at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Decoded(Ok(decoded)) => {
                decoded.canonical.as_ref().map_or(0, Bytes::len) + decoded.repairs.len() * 2 * RECORD_BYTES
            }
            Self::Decoded(Err(rejection)) => rejection.message.len() + rejection.path.len(),
            Self::Ingested(rejected) => rejected.iter().map(|signal| signal.message.len() + RECORD_BYTES).sum(),
            Self::Published(published) => published.iter().map(|one| one.body.len() + RECORD_BYTES).sum(),
            Self::Composed(bodies) => bodies.iter().map(Bytes::len).sum(),
            Self::Planned(actions) => actions.len() * 4 * RECORD_BYTES,
            Self::Observed | Self::Failed(_) => RECORD_BYTES,
        }
    }

    /// The answer of a call that is over, with the fault that it was, if it was one.
    pub(super) fn of<T>(answer: Result<T, PluginError>, make: impl FnOnce(T) -> Self) -> (Self, Faults) {
        match answer {
            Ok(answer) => (make(answer), Faults::new()),
            Err(error) => {
                let faults = vec![error.cause.label()];
                (Self::Failed(error), faults)
            }
        }
    }

    /// Why an input is not in the state of a version that answers this, though it is in that of the one that answered `then`.
    pub(super) fn loses(&self, then: &Self) -> Option<String> {
        match (self, then) {
            (Self::Failed(error), _) => Some(error.to_string()),
            (Self::Ingested(now), Self::Ingested(then)) => {
                let is_lost = |signal: &&RejectedSignal| {
                    signal.code == QUARANTINED && !then.iter().any(|refused| refused.seq == signal.seq)
                };
                now.iter().find(is_lost).map(|signal| signal.message.clone())
            }
            _ => None,
        }
    }

    /// Records that it refuses.
    pub(super) fn rejections(&self) -> usize {
        match self {
            Self::Decoded(Err(_)) => 1,
            Self::Ingested(rejected) => rejected.len(),
            _ => 0,
        }
    }
}

// === impl Taken ===

impl Taken {
    pub(super) fn new<P>(
        by: &Generation<P>,
        question: Question,
        (answer, faults): (Answer, Faults),
        took: Duration,
    ) -> Self {
        Self { question, answer, faults, took, generation: by.number, identity: by.identity.clone() }
    }

    /// Bytes that it keeps in memory, at most.
    pub(super) fn bytes(&self) -> usize {
        self.question.bytes() + self.answer.bytes() + RECORD_BYTES
    }
}

// === impl Stopwatch ===

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(processor_time())
    }

    pub(super) fn took(&self) -> Duration {
        processor_time().saturating_sub(self.0)
    }
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
