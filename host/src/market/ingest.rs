//! Signals in: to the aggregator at once, to the tiers as documents a moment later, together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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

/// What became of a batch of signals in the aggregator.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// The number of the batch's first signal; they are consecutive.
    pub first: u64,
    /// How many were taken.
    pub accepted: usize,
    /// Those that were not, each with its reason.
    pub rejected: Vec<RejectedSignal>,
}

/// A round of publishing.
#[derive(Debug, Default)]
pub struct Published {
    /// Every signal up to this number is in the documents.
    pub up_to: u64,
    /// What became of each document that changed.
    pub documents: BTreeMap<Key, Result<Put, DecodeError>>,
    /// Why no document could be made.
    pub failure: Option<AggregatorError>,
}

// === impl Published ===

impl Published {
    /// The sum over all documents and tiers.
    pub fn verdict(&self) -> Verdict {
        if self.failure.is_some() || self.documents.values().any(Result::is_err) {
            return Verdict::Unavailable;
        }
        let all = self.documents.values().flatten().flat_map(|put| &put.outcomes);
        Verdict::of(all.filter(|(tier, _)| tier.as_str() != "memory").map(|(_, outcome)| outcome))
    }
}

// === impl Market ===

impl Market {
    /// Gives a batch of signals, one JSON object each, to the aggregator.
    ///
    /// # Errors
    ///
    /// When the aggregator failed, or too many batches wait for it.
    pub async fn ingest(&self, bodies: Vec<Bytes>) -> Result<Ingested, AggregatorError> {
        let (now, count) = (Time::now(), bodies.len());
        let first = self.sequence.fetch_add(count as u64, Ordering::Relaxed) + 1;
        let batch = (first..).zip(bodies).map(|(seq, body)| Signal { seq, received_at: now, body }).collect();
        let rejected = self.aggregator.ingest(now, batch).await?;
        let accepted = count.saturating_sub(rejected.len());
        metrics::signals(accepted, rejected.len());
        if accepted > 0 {
            self.ingested.notify_one();
        }
        Ok(Ingested { first, accepted, rejected })
    }

    /// Waits until every signal up to `sequence` is in documents that every tier has answered for.
    ///
    /// # Errors
    ///
    /// The last round, when that takes longer than `patience`.
    pub async fn published(&self, sequence: u64, patience: Duration) -> Result<Arc<Published>, Arc<Published>> {
        let mut rounds = self.published.subscribe();
        let wait = rounds.wait_for(|round| round.up_to >= sequence);
        match tokio::time::timeout(patience, wait).await {
            Ok(Ok(round)) => Ok(round.clone()),
            // The sender lives as long as the market.
            Ok(Err(_)) | Err(_) => Err(self.published.borrow().clone()),
        }
    }

    /// Publishes the aggregator's documents whenever signals came in: at once, then at most once per coalescing span.
    pub(super) async fn publish(&self) {
        loop {
            self.ingested.notified().await;
            let next = Instant::now() + self.config.coalesce;
            let round = self.publish_round().await;
            self.published.send_replace(Arc::new(round));
            sleep_until(next).await;
        }
    }

    async fn publish_round(&self) -> Published {
        // Signals get their number before the aggregator has them, so only the mailbox's order counts: whoever waits for a
        // number has seen its ingest answered, and `documents` queues behind that.
        let up_to = self.sequence.load(Ordering::Relaxed);
        let publications = match self.aggregator.documents(Time::now()).await {
            Ok(publications) => publications,
            Err(failure) => {
                tracing::error!(%failure, "the aggregator published nothing; the last documents stay");
                return Published { up_to, failure: Some(failure), ..Published::default() };
            }
        };
        let puts = publications.into_iter().map(|publication| async move {
            let ttl = Duration::from_secs(publication.ttl_seconds.into());
            let options = PutOptions { from: FROM.into(), ttl: Some(ttl) };
            let outcome = self.cache.put(&publication.key, publication.body, options).await;
            (publication.key, outcome)
        });
        Published { up_to, documents: join_all(puts).await.into_iter().collect(), failure: None }
    }
}
