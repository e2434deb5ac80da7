//! What is remembered of one key.
//!
//! The host tells of the last action only. What came of the last refresh, while promotions went on, is kept here, for each
//! step on its own: a promotion that works must not end the pause of a source that fails.

use serde::{Deserialize, Serialize};

use crate::contract::{Attempt, Fate, KeyState, Kind, Micros, Step};
use crate::due;
use crate::time::SECOND;

/// What is remembered of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remembered {
    /// When a plan last mentioned it.
    pub seen_at: Micros,
    /// Reads per second of late.
    pub reads: f64,
    /// Since when an action is due that was not tried yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_since: Option<Micros>,
    /// When a placeholder was last proposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposed: Option<Proposed>,
    #[serde(skip_serializing_if = "Track::is_empty")]
    pub refresh: Track,
    #[serde(skip_serializing_if = "Track::is_empty")]
    pub promote: Track,
    #[serde(skip_serializing_if = "Track::is_empty")]
    pub placeholder: Track,
}

/// How one step went with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// The last attempt that the budget reached.
    pub last: Option<Tried>,
    /// Attempts in a row that failed or brought nothing.
    pub failures: u32,
}

/// An attempt, and the value that it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    pub at: Micros,
    pub fate: Fate,
    pub value: Value,
}

/// The value of a key at some moment, as far as a policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    pub version: u64,
    pub kind: Option<Kind>,
    pub fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    step: Step,
    value: Value,
}

// === impl Remembered ===

impl Remembered {
    /// Takes note of what the host tells. `elapsed` is the time since the last plan.
    pub fn observe(&mut self, state: &KeyState, now: Micros, elapsed: Option<Micros>, half_life: Micros) {
        self.count_reads(state, now, elapsed.unwrap_or(half_life), half_life);
        if let Some(attempt) = state.last_attempt {
            self.settle(attempt, state, now);
        }
        self.seen_at = now;
    }

    /// Takes note of what is proposed.
    pub fn propose(&mut self, step: Step, state: &KeyState, now: Micros) {
        if step == Step::Leave {
            self.due_since = None;
            return;
        }
        self.due_since.get_or_insert(now);
        self.proposed = Some(Proposed { step, value: Value::of(state, now) });
        if step == Step::Placeholder {
            self.placed_at = Some(now);
        }
    }

    /// How long an action has been due.
    pub fn waited(&self, now: Micros) -> Micros {
        self.due_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// How a step went. Leaving always goes well.
    pub fn track(&self, step: Step) -> Track {
        match step {
            Step::Refresh => self.refresh,
            Step::Promote => self.promote,
            Step::Placeholder => self.placeholder,
            Step::Leave => Track::default(),
        }
    }

    /// An average that forgets: each half-life takes half of the weight from what came before.
    fn count_reads(&mut self, state: &KeyState, now: Micros, elapsed: Micros, half_life: Micros) {
        let half_life = half_life as f64;
        let kept = |span: f64| (-span / half_life).exp2();
        // The reads came since the last plan, whether or not it mentioned this key.
        let span = (elapsed.max(1000)) as f64;
        let rate = state.hits.saturating_add(state.misses) as f64 / (span / SECOND as f64);
        let before = if self.seen_at == 0 { 0.0 } else { self.reads * kept(now.saturating_sub(self.seen_at) as f64) };
        self.reads = before + rate * (1.0 - kept(span));
    }

    fn settle(&mut self, attempt: Attempt, state: &KeyState, now: Micros) {
        if attempt.fate == Fate::OverBudget {
            // It keeps its place, and was waiting since then at least.
            self.due_since.get_or_insert(attempt.at.min(now));
            if attempt.step == Step::Placeholder {
                self.placed_at = None;
            }
            return;
        }
        let current = Value::of(state, now);
        let proposed = self.proposed.filter(|proposed| proposed.step == attempt.step);
        let value = proposed.map_or(current, |proposed| proposed.value);
        let track = match attempt.step {
            Step::Refresh => &mut self.refresh,
            Step::Promote => &mut self.promote,
            Step::Placeholder => &mut self.placeholder,
            Step::Leave => return,
        };
        if track.last.is_some_and(|last| (last.at, last.fate) == (attempt.at, attempt.fate)) {
            return;
        }
        // A promotion after which a tier still lacks the value was in vain, whatever it is called.
        let in_vain = attempt.step == Step::Promote && value == current && due::lack(state, now).is_some();
        track.failures = match attempt.fate {
            Fate::Failed => track.failures.saturating_add(1).max(state.failures),
            Fate::Done | Fate::AlreadyThere if in_vain => track.failures.saturating_add(1),
            Fate::Done | Fate::AlreadyThere => 0,
            Fate::Refused | Fate::OverBudget => track.failures,
        };
        track.last = Some(Tried { at: attempt.at, fate: attempt.fate, value });
        self.due_since = None;
    }
}

// === impl Track ===

impl Track {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The last attempt, if it brought the value or found that there was nothing to bring.
    pub fn succeeded(&self) -> Option<Tried> {
        self.last.filter(|last| matches!(last.fate, Fate::Done | Fate::AlreadyThere))
    }
}

impl Value {
    /// The value as the host knows it.
    pub fn of(state: &KeyState, now: Micros) -> Self {
        let fresh = state.fresh_until.is_some_and(|until| until > now);
        Self { version: state.version, kind: state.kind, fresh }
    }
}
