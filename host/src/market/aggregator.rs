//! [`Aggregator`]: what the market asks of the plugin that adds signals up.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::record::{Key, Record, Time};

/// Adds signals up to documents and composes views. Implemented by the `plugin` room.
#[async_trait]
pub trait Aggregator: Send + Sync + 'static {
    /// Takes a batch in the order in which it was accepted; answers the signals that were refused.
    async fn ingest(&self, now: Time, batch: Vec<Signal>) -> Result<Vec<RejectedSignal>, AggregatorError>;

    /// Takes note of documents that others changed.
    async fn observe(&self, now: Time, changed: Vec<Document>) -> Result<(), AggregatorError>;

    /// The documents that changed since they were last published.
    async fn documents(&self, now: Time) -> Result<Vec<Publication>, AggregatorError>;

    /// The keys, or prefixes that end in `*`, that views are composed from.
    async fn inputs(&self) -> Result<Vec<String>, AggregatorError>;

    /// The bodies of `views`, in their order.
    async fn compose(
        &self,
        now: Time,
        views: Vec<ViewRequest>,
        documents: Arc<[Document]>,
    ) -> Result<Vec<Bytes>, AggregatorError>;
}

/// A signal as a producer posted it.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Strictly increasing.
    pub seq: u64,
    /// When the host accepted it.
    pub received_at: Time,
    /// One JSON object.
    pub body: Bytes,
}

/// A signal that was refused; the rest of its batch was not.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RejectedSignal {
    /// Of the signal.
    pub seq: u64,
    /// A few lower-case words joined by `-`, for metrics.
    pub code: String,
    /// What is wrong, with the JSON path of the field.
    pub message: String,
}

/// A document for the aggregator, with how it stands at the moment of the call.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub record: Arc<Record>,
    /// Within its time to live; else stale.
    pub fresh: bool,
}

/// A document to be published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its key.
    pub key: Key,
    /// Plain JSON.
    pub body: Bytes,
    /// Time to live in the shared tiers, in seconds.
    pub ttl_seconds: u32,
}

/// A view to compose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ViewRequest {
    /// `mobile-data`, `overview`, `symbols`, `signals`, `opportunities` or `market-overview`.
    pub name: String,
    /// The greatest number of records in each list.
    pub limit: u32,
}

/// Why the aggregator did not answer. The last good documents and views stay.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AggregatorError {
    /// The plugin failed; a new instance takes over.
    #[error("{0}")]
    Plugin(String),
    /// Too many calls wait.
    #[error("the aggregator is busy: {waiting} calls wait")]
    Busy {
        /// Calls in the mailbox.
        waiting: usize,
    },
    /// The signals did not reach the log that all gateways read, or did not come back from it.
    #[error("the signals could not be shared with the other gateways: {0}")]
    NotShared(String),
}
