//! [`Relay`]: several gateways take signals, and all of them ingest all signals in one order.
//!
//! What one accepts goes into a log that they share, and comes back to each. So each aggregator knows everything, and any of
//! them can publish; one does, the one that holds the lease. Should it die, another takes the lease over and publishes what
//! it knows, which is the same. A holder that slept through the end of its lease cannot undo anything: its documents are
//! older, and the stores compare before they set.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::ingest::Ticket;
use super::{AggregatorError, Ingested, Market, RejectedSignal, Signal};
use crate::record::Time;
use crate::telemetry::metrics;
use crate::tier::{Logged, Shared, Tier};

/// Signals that were read from the log and wait for the aggregator. At the limit the log is not read on.
const LOGGED_WAITING_MAX: usize = 1_024;

/// Signals that go to the aggregator together.
const BATCH_MAX: usize = 1_000;

/// How long a poster waits for its signals to come back from the log.
const RETURNED_WITHIN: Duration = Duration::from_secs(5);

/// How long the aggregator is left alone when too many calls wait for it.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The lease of the one who publishes.
const LEASE: &str = "publisher";

/// How long it lasts.
const LEASE_LASTS: Duration = Duration::from_secs(1);

/// How often it is prolonged, or asked for.
const LEASE_ASKED_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Relay {
    tier: Arc<dyn Tier>,
    batches: AtomicU64,
    /// Own batches that have not come back whole.
    under_way: Mutex<HashMap<u64, UnderWay>>,
    /// Until when this gateway publishes.
    held_until: Mutex<Option<Instant>>,
}

/// An own batch on its way through the log.
struct UnderWay {
    left: usize,
    rejected: Vec<RejectedSignal>,
    failure: Option<AggregatorError>,
    done: oneshot::Sender<Returned>,
}

/// Which signals of a batch were rejected, and the ticket of the rest.
type Returned = Result<(Vec<RejectedSignal>, Ticket), AggregatorError>;

// === impl Relay ===

impl Relay {
    /// A relay over the first of `tiers` that has a log.
    pub fn over(tiers: &[Arc<dyn Tier>]) -> Option<Self> {
        let tier = tiers.iter().find(|tier| tier.shared().is_some())?.clone();
        Some(Self { tier, batches: AtomicU64::new(0), under_way: Mutex::default(), held_until: Mutex::default() })
    }

    fn log(&self) -> Result<&dyn Shared, AggregatorError> {
        self.tier.shared().ok_or_else(|| AggregatorError::NotShared("the tier has no log".to_owned()))
    }

    /// Whether this gateway publishes.
    pub fn publishes(&self) -> bool {
        self.held_until().is_some_and(|until| Instant::now() < until)
    }

    /// Appends a batch to the log and waits until this gateway's aggregator has it.
    async fn send(&self, bodies: &[Bytes]) -> Returned {
        let log = self.log()?;
        let batch = self.batches.fetch_add(1, Ordering::Relaxed);
        let (done, returned) = oneshot::channel();
        let under_way = UnderWay { left: bodies.len(), rejected: Vec::new(), failure: None, done };
        self.under_way().insert(batch, under_way);
        let sent = log.append(batch, Time::now(), bodies).await;
        let not_shared = |why: String| AggregatorError::NotShared(why);
        let outcome = match sent {
            Err(error) => Err(not_shared(format!("{}: {error}", self.tier.name()))),
            Ok(()) => match timeout(RETURNED_WITHIN, returned).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Err(not_shared(format!("they did not come back within {RETURNED_WITHIN:?}"))),
            },
        };
        self.under_way().remove(&batch);
        outcome
    }

    /// Notes what became of a signal.
    fn settle(&self, own: (u64, u64), ticket: Ticket, outcome: Result<Option<RejectedSignal>, AggregatorError>) {
        let (batch, at) = own;
        let mut all = self.under_way();
        // Nobody waits for it any more.
        let Some(under_way) = all.get_mut(&batch) else { return };
        under_way.left -= 1;
        match outcome {
            Ok(rejected) => under_way.rejected.extend(rejected.map(|rejected| RejectedSignal { seq: at, ..rejected })),
            Err(error) => under_way.failure = Some(error),
        }
        if under_way.left > 0 {
            return;
        }
        let Some(UnderWay { rejected, failure, done, .. }) = all.remove(&batch) else { return };
        if done.send(failure.map_or(Ok((rejected, ticket)), Err)).is_err() {
            tracing::debug!(batch, "signals came back after their poster had gone");
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<u64, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Market ===

impl Market {
    /// Whether this gateway publishes what signals add up to.
    pub fn publishes(&self) -> bool {
        self.relay.as_ref().is_none_or(Relay::publishes)
    }

    /// Gives a batch to all gateways.
    pub(super) async fn relay_batch(relay: &Relay, bodies: Vec<Bytes>) -> Result<Ingested, AggregatorError> {
        let (rejected, ticket) = relay.send(&bodies).await?;
        let accepted = bodies.len().saturating_sub(rejected.len());
        metrics::signals(accepted, rejected.len());
        Ok(Ingested { first: 0, accepted, rejected, ticket })
    }

    /// Ingests the signals of all gateways, and tries to become and to stay the one that publishes.
    pub(super) async fn relay_signals(&self) {
        let Some(relay) = &self.relay else { return std::future::pending().await };
        let Ok(log) = relay.log() else { return std::future::pending().await };
        let (send, mut logged) = mpsc::channel(LOGGED_WAITING_MAX);
        let ingest = async {
            let mut batch = Vec::new();
            while logged.recv_many(&mut batch, BATCH_MAX).await > 0 {
                self.ingest_logged(relay, std::mem::take(&mut batch)).await;
            }
        };
        tokio::join!(log.follow(send), ingest, self.hold_lease(relay, log));
    }

    async fn ingest_logged(&self, relay: &Relay, logged: Vec<Logged>) {
        let first = self.sequence.fetch_add(logged.len() as u64, Ordering::Relaxed) + 1;
        let signal = |(seq, one): (u64, &Logged)| Signal { seq, received_at: one.received_at, body: one.body.clone() };
        let batch: Vec<Signal> = (first..).zip(&logged).map(signal).collect();
        let outcome = loop {
            match self.aggregator.ingest(Time::now(), batch.clone()).await {
                // Its place in the order is kept: it waits.
                Err(AggregatorError::Busy { .. }) => sleep(BUSY_PAUSE).await,
                outcome => break outcome,
            }
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, signals = logged.len(), "the aggregator failed at signals of the log");
        }
        let mut rejected: HashMap<u64, RejectedSignal> =
            outcome.iter().flatten().map(|rejected| (rejected.seq, rejected.clone())).collect();
        // The aggregator has the batch: the next round that begins, here or elsewhere, publishes it.
        let ticket = Ticket::next(&self.tickets);
        for (seq, one) in (first..).zip(&logged) {
            let Some(own) = one.own else { continue };
            relay.settle(own, ticket, outcome.as_ref().map(|_| rejected.remove(&seq)).map_err(Clone::clone));
        }
        self.ingested.notify_one();
    }

    async fn hold_lease(&self, relay: &Relay, log: &dyn Shared) {
        let mut ticks = interval(LEASE_ASKED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut held = false;
        metrics::publishes(false);
        loop {
            ticks.tick().await;
            // Counted from before the question: the tier cannot have begun to count earlier.
            let asked = Instant::now();
            match log.lease(LEASE, LEASE_LASTS).await {
                Ok(true) => {
                    let before = relay.held_until().replace(asked + LEASE_LASTS);
                    if before.is_some_and(|until| until <= Instant::now()) {
                        // It lapsed meanwhile, and whatever was ingested then is published by nobody.
                        self.ingested.notify_one();
                    }
                }
                Ok(false) => *relay.held_until() = None,
                Err(error) => tracing::debug!(%error, "the lease to publish was not prolonged"),
            }
            let holds = relay.publishes();
            if holds != held {
                held = holds;
                metrics::publishes(holds);
                tracing::info!(holds, "whether this gateway publishes what all gateways' signals add up to");
                // What was ingested while another published, or should have.
                self.ingested.notify_one();
            }
        }
    }

    /// Lets another gateway publish at once, when this one ends.
    pub(super) async fn give_up_lease(&self) {
        let Some(relay) = self.relay.as_ref().filter(|relay| relay.publishes()) else { return };
        let Ok(log) = relay.log() else { return };
        *relay.held_until() = None;
        if let Err(error) = log.release(LEASE).await {
            tracing::debug!(%error, "the lease to publish was not given back; it ends by itself");
        }
    }
}
