//! The views: composed by the aggregator whenever a document changes or ages past a limit, kept as snapshots behind an
//! atomic pointer. A reader of a snapshot meets no plugin and no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::{AggregatorError, Document, Market, Snapshot, ViewRequest};
use crate::record::{Kind, Time};
use crate::telemetry::metrics;

/// Every view, by the name of its route.
pub const VIEWS: [&str; 6] = ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"];

/// Records in each list when a request names no limit.
pub const LIMIT_DEFAULT: u32 = 100;

/// The greatest limit that a request may name.
pub const LIMIT_MAX: u32 = 10_000;

/// How long after a failure the views are composed again.
const COMPOSE_AGAIN: Duration = Duration::from_secs(1);

/// Compositions in a row, after a quiet time, before changes wait for each other.
const AT_ONCE: u32 = 3;

/// Snapshots with other limits that are kept until the next change.
pub(super) const OTHER_LIMITS_KEPT_MAX: usize = 32;

/// Why a view cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ViewError {
    /// The aggregator failed, and no earlier snapshot exists.
    #[error(transparent)]
    Aggregator(#[from] AggregatorError),
    /// The body could not be compressed.
    #[error("a view could not be encoded: {0}")]
    Encode(String),
}

#[derive(Default)]
pub(super) struct Views {
    snapshots: [ArcSwapOption<Snapshot>; VIEWS.len()],
    /// Composed on demand for other limits; emptied at every change. Held while one is composed, so that a crowd that asks
    /// for one limit costs one call, and many limits never take more than one place in the aggregator's mailbox.
    others: Mutex<HashMap<ViewRequest, Arc<Snapshot>>>,
}

// === impl Market ===

impl Market {
    /// The snapshot of a view at the default limit; `None` until the first is composed.
    ///
    /// # Panics
    ///
    /// When `view` is no place in [`VIEWS`].
    pub fn snapshot(&self, view: usize) -> Guard<Option<Arc<Snapshot>>> {
        self.views.snapshots[view].load()
    }

    /// The snapshot of a view at another limit, composed now unless it was since the last change.
    ///
    /// # Errors
    ///
    /// When the aggregator fails.
    pub async fn snapshot_limited(&self, view: usize, limit: u32) -> Result<Arc<Snapshot>, ViewError> {
        let request = ViewRequest { name: VIEWS[view].to_owned(), limit };
        let mut others = self.views.others.lock().await;
        if let Some(known) = others.get(&request) {
            return Ok(known.clone());
        }
        let now = Time::now();
        let documents = self.documents.live(now);
        let mut bodies = self.aggregator.compose(now, vec![request.clone()], documents.clone()).await?;
        let body = bodies.pop().ok_or_else(|| AggregatorError::Plugin("the aggregator answered no view".to_owned()))?;
        let snapshot = encode(body, &documents)?;
        if others.len() < OTHER_LIMITS_KEPT_MAX {
            others.insert(request, snapshot.clone());
        }
        Ok(snapshot)
    }

    /// Composes at start, at every change, and whenever a document passes a limit.
    pub(super) async fn compose(&self) {
        let mut changes = self.cache.changes();
        let mut pace = Pace::new(self.config.coalesce, Instant::now());
        loop {
            pace.goes(Instant::now());
            self.drain_changes(&mut changes);
            let now = Time::now();
            let again = match self.compose_once(now).await {
                Ok(()) => None,
                Err(error) => {
                    tracing::error!(%error, "the views could not be composed; the last ones stay");
                    Some(Instant::now() + COMPOSE_AGAIN)
                }
            };
            // Seen from when the views were begun: a limit that passed since then is not in them.
            let limit = self.documents.next_limit(now);
            tokio::select! {
                () = self.next_change(&mut changes) => {}
                () = self.renewed.notified() => {}
                () = passes(limit) => {}
                () = moment(again) => {}
            }
            // The documents of one round are one change.
            self.round_ends().await;
            // The first changes after a quiet time go at once; those that follow them wait for each other.
            sleep_until(pace.next()).await;
        }
    }

    async fn compose_once(&self, now: Time) -> Result<(), ViewError> {
        let started = Moment::now();
        let changed = self.documents.unobserved(now);
        // What the aggregator could not be told now it is told next time; the views do not depend on it.
        let observed = match changed.is_empty() {
            true => Ok(()),
            false => {
                self.aggregator.observe(now, changed.clone()).await.inspect_err(|_| self.documents.unobserve(&changed))
            }
        };
        let documents = self.documents.live(now);
        let requests = VIEWS.map(|name| ViewRequest { name: name.to_owned(), limit: LIMIT_DEFAULT }).to_vec();
        let bodies = self.aggregator.compose(now, requests, documents.clone()).await?;
        self.views.others.lock().await.clear();
        let mut changed = Vec::with_capacity(VIEWS.len());
        for (place, body) in self.views.snapshots.iter().zip(bodies) {
            // A body that did not change keeps its validator and its compressed forms.
            let is_same = |old: &Arc<Snapshot>| old.identity.bytes == body && limits(&documents) == limits_of(old);
            if !place.load().as_ref().is_some_and(is_same) {
                changed.push((place, encode(body, &documents)?));
            }
        }
        // Compressing takes its time, and the views are to change together.
        let is_new = !changed.is_empty();
        for (place, snapshot) in changed {
            place.store(Some(snapshot));
        }
        if is_new {
            self.live.composed();
        }
        metrics::snapshots(started.elapsed());
        Ok(observed?)
    }
}

/// Compositions at most once per span in the long run, and [`AT_ONCE`] of them in a row after a quiet time: what changes once
/// in a while is not to wait because something else has just changed, too. (The generic cell rate algorithm, ITU-T I.371.)
struct Pace {
    span: Duration,
    /// When the last composition would have been, had each waited for its span.
    due: Instant,
}

// === impl Pace ===

impl Pace {
    fn new(span: Duration, now: Instant) -> Self {
        Self { span, due: now }
    }

    /// Takes note of a composition.
    fn goes(&mut self, now: Instant) {
        self.due = self.due.max(now) + self.span;
    }

    /// When the next one may be.
    fn next(&self) -> Instant {
        self.due.checked_sub(self.span * (AT_ONCE - 1)).unwrap_or(self.due)
    }
}

fn encode(body: Bytes, documents: &[Document]) -> Result<Arc<Snapshot>, ViewError> {
    let (as_of, fresh_until) = limits(documents);
    Snapshot::new(body, as_of, fresh_until).map(Arc::new).map_err(|error| ViewError::Encode(error.to_string()))
}

/// When the newest real data was produced, and until when all of it is fresh.
pub(super) fn limits(documents: &[Document]) -> (Option<Time>, Option<Time>) {
    let real = || documents.iter().filter(|document| document.record.kind == Kind::Real);
    let as_of = real().map(|document| document.record.produced_at).max();
    let fresh_until = real().map(|document| document.fresh.then_some(document.record.soft_expiry)).min().flatten();
    (as_of, fresh_until)
}

fn limits_of(snapshot: &Snapshot) -> (Option<Time>, Option<Time>) {
    (snapshot.as_of, snapshot.fresh_until)
}

/// Ends when `limit` has passed; never, when there is none.
async fn passes(limit: Option<Time>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit.remaining(Time::now())).await,
        None => std::future::pending().await,
    }
}

/// Ends at `moment`; never, when there is none.
async fn moment(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(100);

    #[test]
    fn a_few_changes_in_a_row_are_composed_at_once_and_those_that_follow_once_per_span() {
        let begun = Instant::now();
        let mut pace = Pace::new(SPAN, begun);
        let mut waits = Vec::new();
        let mut now = begun;
        for _ in 0..6 {
            now = now.max(pace.next());
            waits.push((now - begun).as_millis());
            pace.goes(now);
        }
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        // A quiet time makes up for what was composed before it, and for no more.
        now += SPAN * 10;
        let again: Vec<_> = (0..4)
            .map(|_| {
                let at = now.max(pace.next());
                pace.goes(at);
                (at - now).as_millis()
            })
            .collect();
        assert_eq!(again, [0, 0, 0, 100]);
    }

    #[test]
    fn without_a_span_nothing_waits() {
        let begun = Instant::now();
        let mut pace = Pace::new(Duration::ZERO, begun);
        for _ in 0..10 {
            assert!(pace.next() <= begun);
            pace.goes(begun);
        }
    }
}
