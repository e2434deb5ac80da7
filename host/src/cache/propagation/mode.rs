//! [`Mode`]: whether this gateway hears of every change that others make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::record::{TierName, Time};
use crate::telemetry::metrics;

/// What is told of the mode.
#[derive(Clone, Debug)]
pub struct Degraded {
    /// Since when.
    pub since: Time,
    /// What was missed first.
    pub why: String,
    /// The tiers that do not tell of changes now, with what happened. With none, everything is being looked at again.
    pub silent: BTreeMap<TierName, String>,
}

pub(in crate::cache) struct Mode {
    /// When changes were first missed, in Unix microseconds; 0 while none are. Again, for those who must not wait.
    since: AtomicU64,
    state: Mutex<State>,
    turned: Notify,
}

#[derive(Default)]
struct State {
    degraded: Option<Degraded>,
    /// The tiers that ever told of changes, or should have.
    telling: BTreeSet<TierName>,
    /// Rises whenever changes may have been missed.
    missed: u64,
    /// What `missed` was when everything was last looked at.
    made_up: u64,
}

// === impl Mode ===

impl Mode {
    pub fn new() -> Self {
        metrics::degraded(false);
        Self { since: AtomicU64::new(0), state: Mutex::default(), turned: Notify::new() }
    }

    /// Since when changes are missed.
    pub fn since(&self) -> Option<Time> {
        Some(self.since.load(Relaxed)).filter(|&since| since != 0).map(Time::from_micros)
    }

    pub fn told(&self) -> Option<Degraded> {
        self.state().degraded.clone()
    }

    /// `tier` does not tell of changes.
    pub fn interrupted(&self, tier: &TierName, why: String) {
        let mut state = self.state();
        state.telling.insert(tier.clone());
        let is_silent = |degraded: &Degraded| degraded.silent.contains_key(tier);
        if !state.degraded.as_ref().is_some_and(is_silent) {
            self.miss(&mut state, format!("{tier}: {why}"));
        }
        if let Some(degraded) = &mut state.degraded {
            degraded.silent.insert(tier.clone(), why);
        }
    }

    /// Changes were missed, though every tier tells of them.
    pub fn missed(&self, why: String) {
        self.miss(&mut self.state(), why);
        self.turned.notify_one();
    }

    /// `tier` tells of changes again, or for the first time.
    pub fn resumed(&self, tier: &TierName) {
        let mut state = self.state();
        state.telling.insert(tier.clone());
        state.missed += 1;
        if let Some(degraded) = &mut state.degraded {
            degraded.silent.remove(tier);
        }
        self.turned.notify_one();
    }

    /// Waits until everything should be looked at again: what was missed so far, and the tiers that must answer.
    pub async fn due(&self) -> (u64, BTreeSet<TierName>) {
        loop {
            {
                let state = self.state();
                let is_silent = state.degraded.as_ref().is_some_and(|degraded| !degraded.silent.is_empty());
                if state.missed > state.made_up && !is_silent {
                    return (state.missed, state.telling.clone());
                }
            }
            self.turned.notified().await;
        }
    }

    /// Everything was looked at after so much had been missed.
    pub fn made_up(&self, missed: u64) {
        let mut state = self.state();
        state.made_up = missed;
        if state.missed > missed {
            return;
        }
        if let Some(Degraded { since, .. }) = state.degraded.take() {
            self.since.store(0, Relaxed);
            metrics::degraded(false);
            let lasted = Time::now().since(since);
            tracing::info!(?lasted, "everything was looked at again: memory is trusted as before");
        }
    }

    fn miss(&self, state: &mut State, why: String) {
        state.missed += 1;
        metrics::changes_missed();
        if state.degraded.is_some() {
            tracing::debug!(why, "changes are missed");
            return;
        }
        tracing::warn!(why, "degraded: changes that others make may be missed; memory is not trusted");
        let since = Time::now();
        self.since.store(since.micros(), Relaxed);
        metrics::degraded(true);
        state.degraded = Some(Degraded { since, why, silent: BTreeMap::new() });
    }

    /// A change under the lock is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_mode_is_left_once_everything_was_looked_at_after_the_last_miss() {
        let (mode, redis) = (Mode::new(), TierName::new("redis"));
        mode.interrupted(&redis, "gone".to_owned());
        assert!(mode.since().is_some());
        mode.resumed(&redis);
        let (first, telling) = mode.due().await;
        assert_eq!(telling, [redis.clone()].into());
        // While everything is looked at, more is missed.
        mode.missed("too many".to_owned());
        mode.made_up(first);
        assert!(mode.since().is_some());
        let (second, _) = mode.due().await;
        mode.made_up(second);
        assert!(mode.since().is_none() && mode.told().is_none());
    }

    #[tokio::test]
    async fn nothing_is_made_up_for_while_a_tier_is_silent() {
        let (mode, redis) = (Mode::new(), TierName::new("redis"));
        mode.resumed(&redis);
        assert!(mode.since().is_none(), "a first connection is no loss");
        mode.interrupted(&redis, "gone".to_owned());
        let due = tokio::time::timeout(std::time::Duration::from_millis(20), mode.due()).await;
        assert!(due.is_err());
        assert_eq!(mode.told().unwrap().silent[&redis], "gone");
    }
}
