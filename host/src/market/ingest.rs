//! Signals in: to the aggregator at once, to the tiers as documents a moment later, together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::{AggregatorError, Market, RejectedSignal, Signal};
use crate::cache::{DecodeError, Put, PutOptions, Verdict};
use crate::record::{Key, Time};
use crate::telemetry::metrics;

/// Who the documents of the aggregator are from.
const FROM: &str = "aggregator";

/// How long the first document of a round waits for the others, to be shown with them. Longer than stores that are well take.
const ROUND_AWAITED_MAX: Duration = Duration::from_millis(25);

/// Rounds that are remembered for posters that wait for theirs.
const ROUNDS_KEPT: usize = 16;

/// What became of a batch of signals in the aggregator.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// The number of the batch's first signal; they are consecutive.
    pub first: u64,
    /// How many were taken.
    pub accepted: usize,
    /// Those that were not, each with its reason.
    pub rejected: Vec<RejectedSignal>,
    /// To be shown to [`Market::published`].
    pub ticket: Ticket,
}

/// Proof that the aggregator has a batch: the next round that begins publishes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A round of publishing.
#[derive(Debug, Default)]
pub struct Published {
    /// Every batch up to this ticket is in the documents.
    up_to: Ticket,
    /// What became of each document that changed.
    pub documents: BTreeMap<Key, Result<Put, DecodeError>>,
    /// Why no document could be made.
    pub failure: Option<AggregatorError>,
    /// Whether another gateway publishes: this one has the signals, and made no documents of them.
    pub elsewhere: bool,
}

/// The last rounds, oldest first.
pub(super) type Rounds = VecDeque<Arc<Published>>;

// === impl Ticket ===

impl Ticket {
    pub(super) fn next(tickets: &AtomicU64) -> Self {
        Self(tickets.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

// === impl Published ===

impl Published {
    /// The sum over all documents and tiers.
    pub fn verdict(&self) -> Verdict {
        if self.failure.is_some() || self.documents.values().any(Result::is_err) {
            return Verdict::Unavailable;
        }
        Verdict::of(self.documents.values().flatten().flat_map(Put::below))
    }
}

// === impl Market ===

impl Market {
    /// Gives a batch of signals, one JSON object each, to the aggregator. Once begun it is carried through, though its
    /// caller goes away.
    ///
    /// # Errors
    ///
    /// When the aggregator failed, or too many batches wait for it.
    pub async fn ingest(self: &Arc<Self>, bodies: Vec<Bytes>) -> Result<Ingested, AggregatorError> {
        let market = self.clone();
        let ingest = tokio::spawn(async move { market.ingest_through(bodies).await });
        ingest.await.unwrap_or_else(|died| Err(AggregatorError::Plugin(format!("the ingest died: {died}"))))
    }

    async fn ingest_through(&self, bodies: Vec<Bytes>) -> Result<Ingested, AggregatorError> {
        if let Some(relay) = &self.relay {
            return Self::relay_batch(relay, bodies).await;
        }
        let (now, count) = (Time::now(), bodies.len());
        let first = self.sequence.fetch_add(count as u64, Ordering::Relaxed) + 1;
        let batch = (first..).zip(bodies).map(|(seq, body)| Signal { seq, received_at: now, body }).collect();
        let rejected = self.aggregator.ingest(now, batch).await?;
        let accepted = count.saturating_sub(rejected.len());
        metrics::signals(accepted, rejected.len());
        // The ticket is drawn after the aggregator has answered, so a round that begins later finds the batch there.
        let ticket = Ticket::next(&self.tickets);
        self.ingested.notify_one();
        Ok(Ingested { first, accepted, rejected, ticket })
    }

    /// Waits until the batch of this ticket is in documents that every tier has answered for. `None` when that takes longer
    /// than `patience`.
    pub async fn published(&self, ticket: Ticket, patience: Duration) -> Option<Arc<Published>> {
        let mut rounds = self.rounds.subscribe();
        let first_with = |rounds: &Rounds| rounds.iter().find(|round| round.up_to >= ticket).cloned();
        let wait = rounds.wait_for(|rounds| first_with(rounds).is_some());
        match tokio::time::timeout(patience, wait).await {
            Ok(Ok(rounds)) => first_with(&rounds),
            // The sender lives as long as the market.
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Publishes the aggregator's documents whenever signals came in: at once, then at most once per coalescing span.
    pub(super) async fn publish(&self) {
        loop {
            self.ingested.notified().await;
            let next = Instant::now() + self.config.coalesce;
            self.publishing.send_replace(true);
            let round = Arc::new(self.publish_round().await);
            self.publishing.send_replace(false);
            self.rounds.send_modify(|rounds| {
                rounds.push_back(round);
                if rounds.len() > ROUNDS_KEPT {
                    rounds.pop_front();
                }
            });
            sleep_until(next).await;
        }
    }

    /// Waits until no round is under way, at most [`ROUND_AWAITED_MAX`].
    pub(super) async fn round_ends(&self) {
        let mut publishing = self.publishing.subscribe();
        let ended = publishing.wait_for(|publishing| !publishing);
        if tokio::time::timeout(ROUND_AWAITED_MAX, ended).await.is_err() {
            tracing::debug!("a round of publishing takes long; what is published already is shown");
        }
    }

    async fn publish_round(&self) -> Published {
        let up_to = Ticket(self.tickets.load(Ordering::SeqCst));
        if !self.publishes() {
            return Published { up_to, elsewhere: true, ..Published::default() };
        }
        let publications = match self.aggregator.documents(Time::now()).await {
            Ok(publications) => publications,
            Err(failure) => {
                tracing::error!(%failure, "the aggregator published nothing; the last documents stay");
                return Published { up_to, failure: Some(failure), ..Published::default() };
            }
        };
        let puts = publications.into_iter().map(|publication| async move {
            let ttl = Duration::from_secs(publication.ttl_seconds.into());
            let options = PutOptions { from: FROM.into(), ttl: Some(ttl), codec: None, as_of: None };
            let outcome = self.cache.put(&publication.key, publication.body, options).await;
            (publication.key, outcome)
        });
        Published { up_to, documents: join_all(puts).await.into_iter().collect(), ..Published::default() }
    }
}
