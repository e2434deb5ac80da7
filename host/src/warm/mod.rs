//! Warming: asks the warmer plugin for a plan, checks it, and carries it out.
//!
//! A plan is asked for again and again, with what each key's tiers hold, how often it is read, and what became of the last
//! plan. The plugin decides what; this room decides whether: a placeholder goes only where nothing is, a refresh only to a
//! configured source that may be asked now, and nothing here is in a reader's path (B24). Warming comes from origins and from
//! last good values alone, never from an API that reads the cache (B60).

mod act;
mod gather;
mod ledger;
mod warmer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

pub use ledger::{Plans, TaskHealth, TaskStatus};
pub use warmer::{Action, Attempt, Fate, KeyState, Step, Warmer, WarmerError};

use crate::cache::Cache;
use crate::record::{Key, Time};
use crate::source::Sources;
use crate::telemetry::metrics;
use ledger::Ledger;

/// The room's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often a plan is asked for.
    pub every: Duration,
    /// Actions that may be under way at once.
    pub actions_max: u32,
    /// The life of a placeholder.
    pub placeholder_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), actions_max: 5, placeholder_ttl: Duration::from_secs(30) }
    }
}

/// The warmer over one cache, its sources and one plugin.
pub struct Warm {
    config: Config,
    cache: Arc<Cache>,
    sources: Arc<Sources>,
    warmer: Arc<dyn Warmer>,
    /// The keys that every plan is told of, and that are reported on: those of the plugin, and those that have a source.
    watched: Mutex<Arc<BTreeSet<Key>>>,
    ledger: Mutex<Ledger>,
}

/// Everything about warming, for operators.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// How planning goes.
    pub plans: Plans,
    /// Every key that the last plan was told of.
    pub tasks: Vec<TaskStatus>,
}

impl Warm {
    /// A warmer; nothing happens until [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// When the plugin cannot say which keys it watches.
    pub async fn new(
        config: Config,
        cache: Arc<Cache>,
        sources: Arc<Sources>,
        warmer: Arc<dyn Warmer>,
    ) -> Result<Arc<Self>, WarmerError> {
        let (watched, ledger) = (Mutex::default(), Mutex::default());
        let warm = Self { config, cache, sources, warmer, watched, ledger };
        warm.watch().await?;
        // Health names every task from the start, before the first plan.
        warm.ledger().keep(warm.watched().iter().map(|key| (key.clone(), false)));
        Ok(Arc::new(warm))
    }

    /// Plans and carries out until `stop` is told. What is under way then is carried through.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval(self.config.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.round().await,
                told = async { stop.wait_for(|stop| *stop).await.is_ok() } => {
                    tracing::debug!(told, "warming stops");
                    return;
                }
            }
        }
    }

    /// Everything about warming, now.
    pub fn status(&self) -> Status {
        let (plans, tasks) = self.ledger().status();
        Status { plans, tasks }
    }

    /// How every watched key stands, for those who ask after the gateway's health.
    pub fn health(&self, now: Time) -> Vec<TaskHealth> {
        let (_, tasks) = self.ledger().status();
        let watched = self.watched();
        let watched = tasks.into_iter().filter(|task| watched.contains(task.key.as_str()));
        watched.map(|task| TaskHealth::of(&task, now)).collect()
    }

    /// Asks the plugin which keys it watches: another one may run since the last time.
    async fn watch(&self) -> Result<(), WarmerError> {
        let of_plugin = self.warmer.watches().await?;
        let watched = of_plugin.into_iter().chain(self.sources.keys().cloned()).collect();
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(watched);
        Ok(())
    }

    fn watched(&self) -> Arc<BTreeSet<Key>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One plan, and its actions begun.
    async fn round(self: &Arc<Self>) {
        if let Err(error) = self.watch().await {
            tracing::error!(%error, "the warmer does not say what it watches; the last answer counts");
        }
        let keys = self.gather().await;
        let now = Time::now();
        let free = self.config.actions_max.saturating_sub(self.under_way());
        let told: BTreeSet<Key> = keys.iter().map(|state| state.key.clone()).collect();
        match self.warmer.plan(now, keys, free).await {
            Ok(plan) => {
                let plan: Vec<Action> = plan.into_iter().filter(|action| told.contains(&action.key)).collect();
                self.ledger().planned(now, &plan);
                self.carry_out(now, plan, free);
            }
            Err(error) => {
                tracing::error!(%error, "the warmer made no plan; what is warm stays so until the next one");
                self.ledger().not_planned(&error.to_string());
            }
        }
        self.report(now);
    }

    /// Sets the gauges that alarms are made of. Only watched keys have them: their number is bounded by configuration.
    fn report(&self, now: Time) {
        let (plans, tasks) = self.ledger().status();
        metrics::plans(plans.failures, plans.last_at.map(|at| now.since(at)));
        let watched = self.watched();
        for task in tasks.iter().filter(|task| watched.contains(task.key.as_str())) {
            let last_warmed = task.last_warmed_at.map(|at| now.since(at));
            let next = task.next_attempt_at.map(|at| at.remaining(now));
            metrics::warmer_task(&task.key, task.warm, task.failures, last_warmed, next);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
