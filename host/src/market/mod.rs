//! The market: signals in, documents out, documents composed into views.
//!
//! [`Market::ingest`] hands signals to the aggregator, which publishes documents; [`Market::run`] keeps the dashboard's
//! documents current, whoever wrote them, and turns every change into new [`Snapshot`]s, ready to send, and into a
//! [`Message`] for those that listen. The formulas are the aggregator's; the market only moves documents and keeps time.

mod aggregator;
mod documents;
mod ingest;
mod live;
mod readiness;
mod relay;
mod snapshot;
mod views;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Notify, watch};

pub use aggregator::{Aggregator, AggregatorError, Document, Publication, RejectedSignal, Signal, ViewRequest};
pub use ingest::{Ingested, Published, Ticket};
pub use live::{GZIP_HEAD, Message, Subscription};
pub use readiness::{MarketError, Readiness};
pub use snapshot::{ENCODINGS, Encoded, Encoding, Snapshot};
pub use views::{LIMIT_DEFAULT, LIMIT_MAX, VIEWS, ViewError};

use crate::cache::Cache;
use crate::record::Key;
use documents::Documents;
use live::Live;
use relay::Relay;
use views::Views;

/// The market's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often the shared tiers are asked for the dashboard's documents, whether or not anybody reads them. At most 1 s.
    pub refresh_every: Duration,
    /// The first changes are published and composed at once; those that follow them within this span go together.
    pub coalesce: Duration,
    /// Documents without whose real data the gateway is not ready.
    pub required: Vec<Key>,
    /// Whether signals are shared with other gateways over a tier that can.
    pub share_signals: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_millis(500),
            coalesce: Duration::from_millis(100),
            required: vec![Key::new(documents::SIGNALS).expect("a constant that is a key")],
            share_signals: false,
        }
    }
}

/// The market over one cache and one aggregator.
pub struct Market {
    config: Config,
    cache: Arc<Cache>,
    aggregator: Arc<dyn Aggregator>,
    documents: Documents,
    views: Views,
    live: Live,
    /// The number of the last signal that was accepted.
    sequence: AtomicU64,
    /// Signals wait to be published.
    ingested: Notify,
    /// Batches that the aggregator has answered.
    tickets: AtomicU64,
    /// Whether a round of publishing is under way.
    publishing: watch::Sender<bool>,
    /// The last rounds of publishing.
    rounds: watch::Sender<ingest::Rounds>,
    /// A document that was stale is fresh again, and no change of its data tells so.
    renewed: Notify,
    /// The way of signals to all gateways; `None` where this one is alone.
    relay: Option<Relay>,
}

impl Market {
    /// A market; nothing moves until [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// When the aggregator cannot say what its views are composed from, a required document is not among that, or signals
    /// are to be shared and no tier can.
    pub async fn new(
        config: Config,
        cache: Arc<Cache>,
        aggregator: Arc<dyn Aggregator>,
    ) -> Result<Arc<Self>, MarketError> {
        let documents = Documents::new(config.inputs(&*aggregator).await?);
        let relay =
            if config.share_signals { Some(Relay::over(cache.tiers()).ok_or(MarketError::NoLog)?) } else { None };
        // What the cache recalled from before a restart is on the dashboard at once, with its age.
        documents.recall(|key| cache.peek(key));
        Ok(Arc::new(Self {
            config,
            cache,
            aggregator,
            documents,
            views: Views::default(),
            live: Live::default(),
            sequence: AtomicU64::new(0),
            ingested: Notify::new(),
            tickets: AtomicU64::new(0),
            publishing: watch::channel(false).0,
            rounds: watch::channel(ingest::Rounds::new()).0,
            renewed: Notify::new(),
            relay,
        }))
    }

    /// The keys of the documents that the dashboard is composed from.
    pub fn document_keys(&self) -> Arc<[Key]> {
        self.documents.keys()
    }

    /// Composes the views again, though no document changed: another aggregator may compose them otherwise.
    pub fn recompose(&self) {
        self.renewed.notify_one();
    }

    /// Refreshes, publishes and composes until `stop` is told.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.refresh_documents() => {}
            () = self.publish() => {}
            () = self.compose() => {}
            () = self.tell() => {}
            () = self.relay_signals() => {}
            stopped = stop.wait_for(|stop| *stop) => {
                tracing::debug!(told = stopped.is_ok(), "the market stops");
            }
        }
        self.give_up_lease().await;
    }
}
