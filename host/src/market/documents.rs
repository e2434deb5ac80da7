//! [`Documents`]: the last good value of every document behind the dashboard.
//!
//! They are held apart from the cache's memory, which may evict under pressure, so that a flood of other keys cannot empty
//! the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::{Document, Market};
use crate::record::{Key, Order, Record, Time};
use crate::telemetry::metrics;

/// Keys completed with a symbol (such as `confluence:breakdown:*`) that are refreshed; a market with more symbols shows the
/// breakdowns of the best scores.
const EXPANDED_KEYS_MAX: usize = 1_000;

/// The document whose records name the symbols.
const SIGNALS: &str = "analysis:signals";

pub(super) struct Documents {
    exact: Vec<Key>,
    prefixes: Vec<String>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    records: BTreeMap<Key, Arc<Record>>,
    /// `exact`, and the prefixes completed with every symbol known.
    keys: Arc<[Key]>,
    /// Keys whose change the aggregator has not been told.
    unobserved: BTreeSet<Key>,
}

// === impl Documents ===

impl Documents {
    pub fn new(inputs: Vec<String>) -> Self {
        let (prefixes, exact): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| input.ends_with('*'));
        let exact: Vec<Key> = exact
            .into_iter()
            .filter_map(|input| match Key::new(&input) {
                Ok(key) => Some(key),
                Err(error) => {
                    tracing::error!(input, %error, "the aggregator names an input that is not a key; it is left out");
                    None
                }
            })
            .collect();
        let held = Held { keys: exact.clone().into(), ..Held::default() };
        let prefixes = prefixes.into_iter().map(|prefix| prefix.trim_end_matches('*').to_owned()).collect();
        Self { exact, prefixes, held: Mutex::new(held) }
    }

    /// Takes what `known` has of the keys; twice, as the signals name further ones.
    pub fn recall(&self, known: impl Fn(&Key) -> Option<Arc<Record>>) {
        for _ in 0..2 {
            for key in self.keys().iter() {
                if let Some(record) = known(key) {
                    self.take(key, Some(record));
                }
            }
        }
    }

    /// The keys to refresh.
    pub fn keys(&self) -> Arc<[Key]> {
        self.held().keys.clone()
    }

    /// Takes note of a key that changed; says whether the dashboard depends on it.
    pub fn take(&self, key: &Key, record: Option<Arc<Record>>) -> bool {
        if !self.concerns(key) {
            return false;
        }
        let (now, mut held) = (Time::now(), self.held());
        match record {
            // Changes made at the same time may be told in either order.
            Some(record) if held.records.get(key).is_some_and(|old| Order::of(old, now) > Order::of(&record, now)) => {}
            Some(record) => {
                if key.as_str() == SIGNALS {
                    held.keys = self.expand(&record);
                }
                held.records.insert(key.clone(), record);
            }
            None => {
                held.records.remove(key);
            }
        }
        held.unobserved.insert(key.clone());
        true
    }

    /// All that may be shown at `now`, sorted by key. What has passed its hard limit is forgotten.
    pub fn live(&self, now: Time) -> Arc<[Document]> {
        let mut held = self.held();
        held.records.retain(|_, record| record.is_live(now));
        held.records
            .iter()
            .map(|(key, record)| Document { key: key.clone(), record: record.clone(), fresh: record.is_fresh(now) })
            .collect()
    }

    /// The documents that changed since the last call, as the aggregator should see them.
    pub fn unobserved(&self, now: Time) -> Vec<Document> {
        let mut held = self.held();
        let keys = std::mem::take(&mut held.unobserved);
        keys.into_iter()
            .filter_map(|key| held.records.get(&key).cloned().map(|record| (key, record)))
            .map(|(key, record)| Document { key, fresh: record.is_fresh(now), record })
            .collect()
    }

    /// The next moment at which a document becomes stale or unavailable.
    pub fn next_limit(&self, now: Time) -> Option<Time> {
        let held = self.held();
        let limits = held.records.values().flat_map(|record| [record.soft_expiry, record.hard_expiry]);
        limits.filter(|&limit| limit > now && limit < Time::NEVER).min()
    }

    fn concerns(&self, key: &Key) -> bool {
        self.exact.contains(key) || self.prefixes.iter().any(|prefix| key.as_str().starts_with(prefix.as_str()))
    }

    fn expand(&self, signals: &Record) -> Arc<[Key]> {
        #[derive(Deserialize)]
        struct Signals {
            #[serde(default)]
            signals: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            symbol: String,
        }
        let named = match serde_json::from_slice::<Signals>(&signals.bytes) {
            Ok(signals) => signals.signals,
            Err(error) => {
                tracing::warn!(%error, "the signals name no symbols");
                Vec::new()
            }
        };
        let expanded = named.iter().flat_map(|Named { symbol }| {
            self.prefixes.iter().filter_map(move |prefix| Key::new(format!("{prefix}{symbol}")).ok())
        });
        self.exact.iter().cloned().chain(expanded.take(EXPANDED_KEYS_MAX)).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Market ===

impl Market {
    /// Asks the shared tiers for the documents again and again.
    pub(super) async fn refresh_documents(&self) {
        let mut ticks = interval(self.config.refresh_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let keys = self.documents.keys();
            self.cache.refresh(&keys).await;
            let now = Time::now();
            for document in self.documents.live(now).iter() {
                metrics::age(&document.key, document.record.age(now));
            }
        }
    }

    /// Waits for the next change that concerns the dashboard and takes note of it.
    pub(super) async fn next_change(&self, changes: &mut tokio::sync::broadcast::Receiver<crate::cache::Change>) {
        loop {
            match changes.recv().await {
                Ok(change) => {
                    if self.documents.take(&change.key, change.record) {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "changes came faster than views are composed; all documents are looked at");
                    self.take_all();
                    return;
                }
                // The cache lives as long as the market.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Takes note of every change that is waiting.
    pub(super) fn drain_changes(&self, changes: &mut tokio::sync::broadcast::Receiver<crate::cache::Change>) {
        use tokio::sync::broadcast::error::TryRecvError;
        loop {
            match changes.try_recv() {
                Ok(change) => {
                    self.documents.take(&change.key, change.record);
                }
                Err(TryRecvError::Lagged(_)) => self.take_all(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn take_all(&self) {
        self.documents.recall(|key| self.cache.peek(key));
    }
}
