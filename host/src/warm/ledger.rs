//! [`Ledger`]: what became of each key's actions, for the next plan and for operators.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::warmer::{Action, Attempt, Fate, Step};
use crate::record::{Key, Time};

/// The longest detail or reason that is kept, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What is remembered of the keys that plans are told of. A key that a plan is no longer told of is forgotten (B54, B61).
#[derive(Default)]
pub(super) struct Ledger {
    tasks: BTreeMap<Key, Task>,
    plans: Plans,
}

/// What is remembered of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    pub last_attempt: Option<Attempt>,
    pub failures: u32,
    detail: Option<String>,
    last_warmed_at: Option<Time>,
    next_at: Option<Time>,
    step: &'static str,
    reason: String,
    warm: bool,
    /// Its action is being carried out.
    pub under_way: bool,
}

/// How planning itself goes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plans {
    /// Plans that were made.
    pub made: u64,
    /// Plans in a row that the plugin did not make.
    pub failures: u32,
    /// When the last plan was made.
    pub last_at: Option<Time>,
    /// Why the last plan was not made.
    pub error: Option<String>,
}

/// A key's warming as operators see it. Times are Unix microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct TaskStatus {
    /// The key.
    pub key: String,
    /// Whether real and fresh data is there.
    pub warm: bool,
    /// What the last plan wants: `promote`, `refresh`, `placeholder` or `leave`.
    pub step: &'static str,
    /// Why, in the plugin's words.
    pub reason: String,
    /// When an action last succeeded.
    pub last_warmed_at: Option<Time>,
    /// When the last action began.
    pub last_attempt_at: Option<Time>,
    /// What the last action was.
    pub last_step: Option<&'static str>,
    /// What came of it.
    pub last_fate: Option<Fate>,
    /// More on that, where it was not done.
    pub detail: Option<String>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// When the plugin means to look at the key again.
    pub next_attempt_at: Option<Time>,
}

/// A key's warming in short.
#[derive(Clone, Debug, Serialize)]
pub struct TaskHealth {
    /// The key.
    pub key: String,
    /// Whether real and fresh data is there.
    pub warm: bool,
    /// How long ago an action last succeeded.
    pub last_warmed_age_seconds: Option<f64>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// How long until the plugin means to look at the key again.
    pub next_attempt_in_seconds: Option<f64>,
}

// === impl TaskHealth ===

impl TaskHealth {
    /// What `task` comes to at `now`.
    pub(super) fn of(task: &TaskStatus, now: Time) -> Self {
        Self {
            key: task.key.clone(),
            warm: task.warm,
            last_warmed_age_seconds: task.last_warmed_at.map(|at| now.since(at).as_secs_f64()),
            failures: task.failures,
            next_attempt_in_seconds: task.next_attempt_at.map(|at| at.remaining(now).as_secs_f64()),
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// What is remembered of `key`.
    pub fn task(&self, key: &Key) -> Task {
        self.tasks.get(key).cloned().unwrap_or_default()
    }

    /// Keeps `keys`, each with whether it is warm, and forgets all others.
    pub fn keep(&mut self, keys: impl IntoIterator<Item = (Key, bool)>) {
        let mut kept = BTreeSet::new();
        for (key, warm) in keys {
            self.tasks.entry(key.clone()).or_default().warm = warm;
            kept.insert(key);
        }
        self.tasks.retain(|key, task| task.under_way || kept.contains(key));
    }

    /// Notes what a plan wants.
    pub fn planned(&mut self, now: Time, actions: &[Action]) {
        self.plans = Plans { made: self.plans.made + 1, failures: 0, last_at: Some(now), error: None };
        for action in actions {
            if let Some(task) = self.tasks.get_mut(&action.key) {
                task.step = action.step.label();
                task.reason = short(&action.reason);
                task.next_at = action.next_at;
            }
        }
    }

    /// Notes that there is no plan.
    pub fn not_planned(&mut self, why: &str) {
        self.plans.failures += 1;
        self.plans.error = Some(short(why));
    }

    /// The keys whose action is being carried out.
    pub fn under_way(&self) -> BTreeSet<Key> {
        self.tasks.iter().filter(|(_, task)| task.under_way).map(|(key, _)| key.clone()).collect()
    }

    /// Notes that the action for `key` begins.
    pub fn begun(&mut self, key: &Key) {
        self.tasks.entry(key.clone()).or_default().under_way = true;
    }

    /// Notes what became of the action for `key` that began at `at`.
    pub fn ended(&mut self, key: &Key, step: &Step, at: Time, fate: Fate, detail: Option<String>) {
        let task = self.tasks.entry(key.clone()).or_default();
        task.under_way = false;
        task.last_attempt = Some(Attempt { step: step.label(), at, fate });
        task.detail = detail.as_deref().map(short);
        match fate {
            Fate::Done => {
                task.failures = 0;
                task.last_warmed_at = Some(Time::now());
            }
            Fate::AlreadyThere => task.failures = 0,
            Fate::Failed => task.failures = task.failures.saturating_add(1),
            Fate::Refused | Fate::OverBudget => {}
        }
    }

    /// Every key, in its order.
    pub fn status(&self) -> (Plans, Vec<TaskStatus>) {
        (self.plans.clone(), self.tasks.iter().map(|(key, task)| task.status(key)).collect())
    }
}

// === impl Task ===

impl Task {
    fn status(&self, key: &Key) -> TaskStatus {
        let last = self.last_attempt.as_ref();
        TaskStatus {
            key: key.to_string(),
            warm: self.warm,
            step: if self.step.is_empty() { Step::LEAVE } else { self.step },
            reason: self.reason.clone(),
            last_warmed_at: self.last_warmed_at,
            last_attempt_at: last.map(|attempt| attempt.at),
            last_step: last.map(|attempt| attempt.step),
            last_fate: last.map(|attempt| attempt.fate),
            detail: self.detail.clone(),
            failures: self.failures,
            next_attempt_at: self.next_at,
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
