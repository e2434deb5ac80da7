//! [`Source`]: one fetch at a time, what becomes of its answer, and who is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use url::Url;

use super::check::shown;
use super::config::Config;
use super::error::SourceError;
use super::fetch::{Fetched, Fetcher, Held};
use super::origin::Origin;
use super::state::{Begun, State, Transition};
use super::{Load, SourceState, SourceStatus};
use crate::cache::{AsOf, Cache, Put, PutOptions, Verdict};
use crate::record::{Key, Time, Version};
use crate::telemetry::metrics;

/// The time that writing an answer may take: the lease of a fetch lasts so much longer than the fetch.
const LEASE_MORE: Duration = Duration::from_secs(2);

/// How long a source is left alone that another gateway is fetching. Its answer is heard of before.
const LEASED_ELSEWHERE: Duration = Duration::from_secs(1);

/// What became of a refresh.
#[derive(Clone, Debug)]
#[must_use]
pub enum Refreshed {
    /// The origin's answer was written. A tier may still hold a greater value: see [`Put::verdict`].
    Written(Put),
    /// The origin's last answer is still good: it was written again, so that it lives on.
    Unchanged(Put),
    /// No request was made, because of the interval, of failures, or of what the origin asked for.
    NotYet {
        /// It is of no use to ask before.
        until: Time,
    },
    /// The origin was asked in vain, or no tier took its answer. The last good value stays.
    Failed(SourceError),
    /// The key has no source.
    NoSource,
}

/// One source.
pub(super) struct Source {
    name: Arc<str>,
    key: Key,
    codec: Option<Arc<str>>,
    interval: Duration,
    timeout: Duration,
    ttl: Option<Duration>,
    fetcher: Fetcher,
    pub(super) origin: Arc<Origin>,
    cache: Arc<Cache>,
    progress: Mutex<Progress>,
}

/// Both behind one lock, so that whoever finds no flight finds what the last one left.
pub(super) struct Progress {
    pub state: State,
    flight: Option<Flight>,
    /// What was there when another gateway was first found to be fetching, and when it was last.
    fetched_elsewhere: Option<(Made, Instant)>,
}

/// A version, and when it was made or last renewed.
type Made = (Version, Time);

/// A fetch under way, in a task of its own.
struct Flight {
    task: AbortHandle,
    arrival: Arrival,
}

type Arrival = Shared<BoxFuture<'static, Refreshed>>;

// === impl Source ===

impl Source {
    pub fn new(config: Config, fetcher: Fetcher, origin: Arc<Origin>, cache: Arc<Cache>) -> Self {
        Self {
            name: config.name.into(),
            key: config.key,
            codec: config.codec.map(Into::into),
            interval: config.interval,
            timeout: config.timeout,
            ttl: config.ttl,
            fetcher,
            origin,
            cache,
            progress: Mutex::new(Progress {
                state: State::new(config.interval),
                flight: None,
                fetched_elsewhere: None,
            }),
        }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn url(&self) -> &Url {
        self.fetcher.url()
    }

    pub async fn refresh(self: &Arc<Self>) -> Refreshed {
        match self.board() {
            Ok(arrival) => arrival.await,
            Err(until) => Refreshed::NotYet { until: wall(until) },
        }
    }

    /// Joins the fetch under way, or starts one if it is time.
    fn board(self: &Arc<Self>) -> Result<Arrival, Instant> {
        let mut progress = self.progress();
        if let Some(flight) = progress.under_way() {
            return Ok(flight.arrival.clone());
        }
        let until = self.not_before(&progress.state);
        if Instant::now() < until {
            return Err(until);
        }
        progress.state.begins();
        let task = tokio::spawn(self.clone().fly());
        let handle = task.abort_handle();
        let source = self.name.clone();
        let landed = task.map(move |landed| {
            landed.unwrap_or_else(|died| {
                tracing::error!(%source, %died, "a fetch died");
                Refreshed::Failed(SourceError::Died(died.to_string()))
            })
        });
        let arrival = landed.boxed().shared();
        progress.flight = Some(Flight { task: handle, arrival: arrival.clone() });
        Ok(arrival)
    }

    async fn fly(self: Arc<Self>) -> Refreshed {
        if let Err(until) = self.origin.turn(self.timeout).await {
            return self.not_yet(until);
        }
        // Efficiency alone: which answer counts is decided by its order, whoever fetches it.
        let lease = self.cache.lease(self.lease_name(), self.timeout + LEASE_MORE).await;
        // What was there before the load is told from what comes during it.
        let there = self.look().await;
        let elsewhere = self.fetched_elsewhere();
        let Some(_lease) = lease else {
            let (before, _) = elsewhere.unwrap_or((there, Instant::now()));
            self.progress().fetched_elsewhere = Some((before, Instant::now()));
            return self.not_yet(Instant::now() + LEASED_ELSEWHERE);
        };
        if elsewhere.is_some_and(|(before, _)| there > before) {
            return self.not_yet(Instant::now() + self.interval);
        }
        let (begun, as_of) = (Begun::now(), self.cache.as_of(&self.key));
        let held = {
            let state = &mut self.progress().state;
            state.history.last_attempt_at = Some(begun.at);
            state.held.clone()
        };
        let fetched = self.fetcher.fetch(held).await;
        let took = begun.instant.elapsed();
        let stored = match fetched {
            Ok(fetched) => self.store(fetched, as_of, took).await,
            Err(error) => Err(error),
        };
        let outcome = match &stored {
            Ok((put, _)) if put.is_overtaken() => "superseded",
            Ok((_, true)) => "written",
            Ok((_, false)) => "unchanged",
            Err(error) => error.label(),
        };
        metrics::source_fetched(&self.name, outcome, took);
        self.land(begun, stored.as_ref().err());
        match stored {
            Ok((put, true)) => Refreshed::Written(put),
            Ok((put, false)) => Refreshed::Unchanged(put),
            Err(error) => Refreshed::Failed(error),
        }
    }

    /// What is there of the key. Where an answer is the same as the last, a tier may tell no more than that it was renewed.
    async fn look(&self) -> Made {
        let looked = self.cache.refresh(std::slice::from_ref(&self.key)).await;
        let found = looked.iter().filter_map(|looked| looked.found.as_ref());
        found.map(|(record, _)| (record.version, record.produced_at)).max().unwrap_or_default()
    }

    /// What was there when another gateway was first found to be fetching, and when one was last; `None` where what it
    /// fetched cannot be what this one would fetch now.
    fn fetched_elsewhere(&self) -> Option<(Made, Instant)> {
        let lately = (LEASED_ELSEWHERE * 3).min(self.interval / 2);
        self.progress().fetched_elsewhere.take().filter(|(_, when)| when.elapsed() < lately)
    }

    /// Ends a flight that asked nobody.
    fn not_yet(&self, until: Instant) -> Refreshed {
        let mut progress = self.progress();
        progress.state.not_before = until;
        progress.flight = None;
        Refreshed::NotYet { until: wall(until) }
    }

    /// Writes a good answer into the cache. It is held once it has been accepted: an origin that says that it has not
    /// changed must not renew what the codec refuses.
    async fn store(&self, fetched: Fetched, as_of: AsOf, took: Duration) -> Result<(Put, bool), SourceError> {
        let Fetched { body, validators, is_new } = fetched;
        let from = format!("source:{}", self.name).into();
        let options = PutOptions { from, ttl: self.ttl, codec: self.codec.clone(), as_of: Some(as_of) };
        let put = self.cache.put(&self.key, body.clone(), options).await;
        let state = &mut self.progress().state;
        let put = put.inspect_err(|_| {
            if !is_new {
                state.held = None;
            }
        })?;
        (state.history.cost, state.history.bytes) = (took, body.len());
        state.held = validators.map(|validators| Held { validators, body });
        if put.verdict() == Verdict::Unavailable {
            Err(SourceError::Unstored(reasons(&put)))
        } else {
            Ok((put, is_new))
        }
    }

    /// Ends the flight, and tells the log what is new.
    fn land(&self, begun: Begun, failure: Option<&SourceError>) {
        let Progress { state, flight, .. } = &mut *self.progress();
        let transition = match failure {
            None => state.succeeded(begun),
            Some(error) => state.failed(begun, error),
        };
        if let Some(error) = failure.filter(|error| error.is_too_many()) {
            self.origin.hold(Instant::now() + error.retry_after().unwrap_or_default());
        }
        *flight = None;
        let (source, key, url) = (&self.name, &self.key, shown(self.url()));
        match (transition, failure) {
            (Transition::Fails, Some(error)) => tracing::warn!(%source, %key, url, %error, "a source fails"),
            (Transition::Answers { failures }, _) => {
                tracing::info!(%source, %key, url, failures, "a source answers again")
            }
            _ => {}
        }
    }

    /// Whose turn it is to load it, of all gateways.
    pub async fn load(&self) -> Load {
        let is_loading = self.progress().under_way().is_some();
        Load { source: self.name.clone(), is_loading, lease: self.cache.lease_standing(&self.lease_name()).await }
    }

    fn lease_name(&self) -> String {
        format!("source:{}", self.name)
    }

    /// As the warmer is told.
    pub fn summary(&self) -> SourceState {
        let state = &self.progress().state;
        SourceState {
            name: self.name.clone(),
            interval: self.interval,
            not_before: wall(self.not_before(state)),
            cost: state.history.cost,
        }
    }

    /// As an operator sees it.
    pub fn status(&self) -> SourceStatus {
        let progress = self.progress();
        let state = &progress.state;
        SourceStatus {
            name: self.name.to_string(),
            key: self.key.to_string(),
            url: shown(self.url()),
            codec: self.codec.as_deref().map(str::to_owned),
            interval_seconds: self.interval.as_secs_f64(),
            not_before: wall(self.not_before(state)),
            is_fetching: progress.under_way().is_some(),
            is_validator_held: state.held.is_some(),
            history: state.history.clone(),
        }
    }

    fn not_before(&self, state: &State) -> Instant {
        state.not_before.max(self.origin.held_until())
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Progress ===

impl Progress {
    /// The fetch under way. One that died is none.
    fn under_way(&self) -> Option<&Flight> {
        self.flight.as_ref().filter(|flight| !flight.task.is_finished())
    }
}

/// Why no tier took a value.
fn reasons(put: &Put) -> String {
    let below = put.outcomes.iter().filter_map(|(tier, outcome)| Some(format!("{tier}: {}", outcome.reason()?)));
    below.collect::<Vec<_>>().join("; ")
}

/// The moment by the system's clock. Waits are measured by the other one, which nobody sets.
fn wall(moment: Instant) -> Time {
    let (now, time) = (Instant::now(), Time::now());
    time.after(moment.saturating_duration_since(now)).before(now.saturating_duration_since(moment))
}
