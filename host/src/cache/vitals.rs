//! [`Vitals`]: what was seen to happen to the server of one tier, so that it can be told after it has happened.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Cache;
use crate::record::Time;
use crate::tier::Health;

/// What a server that was there all along may seem to have been up for less: its clock ticks once a second.
const UPTIME_SLACK: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Vitals(Mutex<State>);

#[derive(Default)]
struct State {
    incarnation: Option<String>,
    last_seen: Time,
    evictions: Option<u64>,
    replaced: Option<Replaced>,
    evicted: Option<Evicted>,
}

/// Another server answers than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// When it was first seen.
    pub at: Time,
    /// The one before it.
    pub before: String,
    /// The one that answers now.
    pub now: String,
    /// Whether it ran already when the one before it was last seen: it is another server, and not the same one restarted.
    pub is_other: bool,
}

/// The server dropped values that had not ended, to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// When that was last seen.
    pub at: Time,
    /// Values that it has dropped since it started.
    pub total: u64,
}

// === impl Vitals ===

impl Vitals {
    /// Takes note of what a server says about itself.
    pub fn note(&self, health: &Health, now: Time) {
        let fact = |names: [&str; 2]| {
            let found = health.facts.iter().find(|(name, _)| names.contains(&name.as_str()));
            found.and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let mut state = self.lock();
        let is_new = health.incarnation.is_some() && state.incarnation != health.incarnation;
        if is_new {
            let before = std::mem::replace(&mut state.incarnation, health.incarnation.clone());
            if let (Some(before), Some(current)) = (before, health.incarnation.clone()) {
                let up = fact(["uptime", "uptime_in_seconds"]).map(Duration::from_secs);
                let away = now.since(state.last_seen);
                let is_other = up.is_some_and(|up| up > away + UPTIME_SLACK);
                state.replaced = Some(Replaced { at: now, before, now: current, is_other });
            }
            state.evictions = None;
        }
        state.last_seen = now;
        if let Some(total) = fact(["evictions", "evicted_keys"]) {
            if state.evictions.is_some_and(|before| total > before) {
                state.evicted = Some(Evicted { at: now, total });
            }
            state.evictions = Some(total);
        }
    }

    /// Every change under the lock is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Cache ===

impl Cache {
    /// Takes note of what the server of the tier number `at` says about itself.
    pub fn note_health_of(&self, at: usize, health: &Health) {
        self.vitals[at].note(health, Time::now());
    }

    /// The last change of the server of the tier number `at`.
    pub fn replaced(&self, at: usize) -> Option<Replaced> {
        self.vitals[at].lock().replaced.clone()
    }

    /// When the server of the tier number `at` last dropped values to make room.
    pub fn evicted(&self, at: usize) -> Option<Evicted> {
        self.vitals[at].lock().evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(incarnation: &str, uptime: u64, evictions: u64) -> Health {
        let facts = [("uptime_in_seconds", uptime), ("evicted_keys", evictions)];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_string())).into();
        Health { incarnation: Some(incarnation.to_owned()), facts, ..Health::default() }
    }

    #[test]
    fn a_restarted_server_is_told_from_another_one_by_how_long_it_has_run() {
        let (vitals, now) = (Vitals::default(), Time::from_micros(1_000_000_000));
        vitals.note(&health("a", 500, 7), now);
        assert_eq!((vitals.lock().replaced.clone(), vitals.lock().evicted), (None, None), "the first is no other");
        let later = now.after(Duration::from_secs(5));
        vitals.note(&health("b", 3, 0), later);
        let replaced = vitals.lock().replaced.clone().unwrap();
        assert_eq!((replaced.before.as_str(), replaced.now.as_str(), replaced.is_other), ("a", "b", false));
        vitals.note(&health("c", 100, 0), later.after(Duration::from_secs(5)));
        assert!(vitals.lock().replaced.clone().unwrap().is_other);
    }

    #[test]
    fn only_evictions_that_come_are_told_and_not_those_that_were() {
        let (vitals, now) = (Vitals::default(), Time::from_micros(1));
        vitals.note(&health("a", 1, 7), now);
        vitals.note(&health("a", 1, 7), now);
        assert_eq!(vitals.lock().evicted, None);
        vitals.note(&health("a", 1, 9), now);
        assert_eq!(vitals.lock().evicted, Some(Evicted { at: now, total: 9 }));
        vitals.note(&health("b", 1, 10), now);
        assert_eq!(vitals.lock().evicted, Some(Evicted { at: now, total: 9 }), "another server has a count of its own");
    }
}
