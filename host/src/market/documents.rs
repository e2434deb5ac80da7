//! [`Documents`]: the last good value of every document behind the dashboard.
//!
//! They are held apart from the cache's memory, which may evict under pressure, so that a flood of other keys cannot empty
//! the dashboard.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{MissedTickBehavior, interval};

use super::{Document, Market};
use crate::cache::Change;
use crate::record::{Key, Kind, Order, Record, Time, Version};
use crate::telemetry::metrics;

/// Keys completed with a symbol (such as `confluence:breakdown:*`) that are refreshed; a market with more symbols shows the
/// breakdowns of the best scores.
const EXPANDED_KEYS_MAX: usize = 1_000;

/// Bytes of such documents that a view is composed from; beyond it the last by name are left out.
const EXPANDED_BYTES_MAX: usize = 8 << 20;

/// Bytes of one such document; a larger one is left out. They are held apart from the cache's memory, so they need a bound of
/// their own (B61): this one times [`EXPANDED_KEYS_MAX`].
const EXPANDED_RECORD_BYTES_MAX: usize = 64 << 10;

/// The document whose records name the symbols.
pub(super) const SIGNALS: &str = "analysis:signals";

pub(super) struct Documents {
    exact: Vec<Key>,
    prefixes: Vec<String>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    records: BTreeMap<Key, Arc<Record>>,
    /// `exact`, and the prefixes completed with every symbol known; sorted. Nothing else is held.
    keys: Arc<[Key]>,
    /// Keys whose change the aggregator has not been told.
    unobserved: BTreeSet<Key>,
    /// When the last known real data of each of `exact` was made.
    made: BTreeMap<Key, Time>,
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
        let held = Held { keys: sorted(exact.iter().cloned()), ..Held::default() };
        let prefixes = prefixes.into_iter().map(|prefix| prefix.trim_end_matches('*').to_owned()).collect();
        Self { exact, prefixes, held: Mutex::new(held) }
    }

    /// Takes what `known` has of the keys.
    pub fn recall(&self, known: impl Fn(&Key) -> Option<Arc<Record>>) {
        for key in self.keys().iter() {
            if let Some(record) = known(key) {
                self.take(key, record, &known);
            }
        }
    }

    /// The keys to refresh.
    pub fn keys(&self) -> Arc<[Key]> {
        self.held().keys.clone()
    }

    /// Takes a value of a key; says whether the dashboard depends on it. `known` looks up keys that the value is the first to
    /// name.
    pub fn take(&self, key: &Key, record: Arc<Record>, known: impl Fn(&Key) -> Option<Arc<Record>>) -> bool {
        let (now, mut held) = (Time::now(), self.held());
        if held.keys.binary_search(key).is_err() {
            return false;
        }
        // Changes made at the same time may be told in either order.
        if held.records.get(key).is_some_and(|old| Order::of(old, now) > Order::of(&record, now)) {
            return false;
        }
        if key.as_str() == SIGNALS {
            held.rename(self.expand(&record), |key| known(key).filter(|record| self.may_hold(key, record)));
        }
        if !self.may_hold(key, &record) {
            tracing::warn!(%key, bytes = record.bytes.len(), "a document is too large for the dashboard; it is left out");
            return held.records.remove(key).is_some();
        }
        held.records.insert(key.clone(), record);
        held.unobserved.insert(key.clone());
        true
    }

    /// Forgets the value of a key, unless it is of a later version; says whether there was one.
    pub fn forget(&self, key: &Key, up_to: Version) -> bool {
        let mut held = self.held();
        let gone = held.records.get(key).is_some_and(|record| record.version <= up_to);
        if gone {
            held.records.remove(key);
        }
        gone
    }

    /// Takes the longer life of a value that did not change otherwise; says whether it was stale and is fresh again.
    pub fn renew(&self, key: &Key, record: &Arc<Record>) -> bool {
        let (now, mut held) = (Time::now(), self.held());
        match held.records.get_mut(key) {
            Some(old) if old.digest == record.digest && record.soft_expiry > old.soft_expiry => {
                let again = !old.is_fresh(now) && record.is_fresh(now);
                *old = record.clone();
                again
            }
            _ => false,
        }
    }

    /// Puts keys back that the aggregator could not be told of.
    pub fn unobserve(&self, documents: &[Document]) {
        self.held().unobserved.extend(documents.iter().map(|document| document.key.clone()));
    }

    /// All that may be shown at `now`: the documents that every view needs, and of the others as many as fit in
    /// [`EXPANDED_BYTES_MAX`]. What has passed its hard limit is forgotten.
    pub fn live(&self, now: Time) -> Arc<[Document]> {
        let mut held = self.held();
        held.records.retain(|_, record| record.is_live(now));
        let mut room = EXPANDED_BYTES_MAX;
        let fits = |(key, record): &(&Key, &Arc<Record>)| {
            if self.exact.contains(key) {
                return true;
            }
            let left = room.checked_sub(record.bytes.len());
            room = left.unwrap_or(room);
            left.is_some()
        };
        let document = |(key, record): (&Key, &Arc<Record>)| Document {
            key: key.clone(),
            record: record.clone(),
            fresh: record.is_fresh(now),
        };
        held.records.iter().filter(fits).map(document).collect()
    }

    /// When the real data of each document that every view needs was made, whether or not it may still be shown. A
    /// placeholder says nothing of it, however often it is renewed.
    pub fn made(&self) -> Vec<(Key, Time)> {
        let mut held = self.held();
        let held = &mut *held;
        for key in &self.exact {
            if let Some(record) = held.records.get(key).filter(|record| record.kind == Kind::Real) {
                held.made.insert(key.clone(), record.produced_at);
            }
        }
        held.made.iter().map(|(key, made)| (key.clone(), *made)).collect()
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

    /// Whether a document is of those that every view needs, or small enough to be one of many.
    fn may_hold(&self, key: &Key, record: &Record) -> bool {
        record.bytes.len() <= EXPANDED_RECORD_BYTES_MAX || self.exact.contains(key)
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
        sorted(self.exact.iter().cloned().chain(expanded.take(EXPANDED_KEYS_MAX)))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl Held {
    /// Holds other keys from now on.
    fn rename(&mut self, keys: Arc<[Key]>, known: impl Fn(&Key) -> Option<Arc<Record>>) {
        self.records.retain(|key, _| keys.binary_search(key).is_ok());
        for key in keys.iter().filter(|key| self.keys.binary_search(key).is_err()) {
            if let Some(record) = known(key) {
                self.records.insert(key.clone(), record);
            }
        }
        self.keys = keys;
    }
}

fn sorted(keys: impl Iterator<Item = Key>) -> Arc<[Key]> {
    keys.collect::<BTreeSet<_>>().into_iter().collect()
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
            self.cache.watch(keys.clone());
            let found = self.cache.refresh(&keys).await;
            for (key, refreshed) in keys.iter().zip(found) {
                if refreshed.found.is_some_and(|(record, _)| self.documents.renew(key, &record)) {
                    self.renewed.notify_one();
                }
            }
            let now = Time::now();
            for (key, made) in self.documents.made() {
                metrics::age(&key, now.since(made));
            }
        }
    }

    /// Waits for the next change that concerns the dashboard and takes note of it.
    pub(super) async fn next_change(&self, changes: &mut Receiver<Change>) {
        loop {
            match changes.recv().await {
                Ok(change) => {
                    if self.take(change) {
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
    pub(super) fn drain_changes(&self, changes: &mut Receiver<Change>) {
        loop {
            match changes.try_recv() {
                Ok(change) => {
                    self.take(change);
                }
                Err(TryRecvError::Lagged(_)) => self.take_all(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn take(&self, change: Change) -> bool {
        match change {
            Change::Value(key, record) => self.documents.take(&key, record, |key| self.cache.peek(key)),
            Change::Deleted(key, up_to) => self.documents.forget(&key, up_to),
        }
    }

    fn take_all(&self) {
        for document in self.documents.live(Time::now()).iter() {
            let version = document.record.version;
            if self.cache.is_deleted(&document.key, version) {
                self.documents.forget(&document.key, version);
            }
        }
        self.documents.recall(|key| self.cache.peek(key));
    }
}
