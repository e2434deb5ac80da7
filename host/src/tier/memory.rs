//! [`Memory`]: the fastest tier, in this process, lost when it ends.
//!
//! A hit is one lookup under a shard's shared lock, and tells in the same step whether another look below is due. Writers of a key take turns on a stripe, so that comparing with the
//! value held and replacing it are one step; readers never wait for a stripe. This is the only tier that remembers absence
//! ([`Kind::Negative`](crate::record::Kind::Negative)).

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::contest::{Contest, contest};
use super::{Floors, Found, Health, Tier, TierError};
use crate::record::{
    DeleteOutcome, Digest, Key, Order, Record, RejectedWhy, Repair, TierName, Time, Version, WriteOutcome,
};

/// What an entry costs besides its key and bytes, in bytes: the record, its place in the map, small allocations.
const ENTRY_OVERHEAD_BYTES: usize = 384;

/// Records that the cache sizes its tables for. It also keeps the shards few (one per 32 of these at most), because one
/// record may fill no more than a shard.
const ENTRIES_EXPECTED: usize = 1_024;

/// The share of a shard that one record may take: what quick_cache reserves for entries in use.
const SHARD_SHARE: f64 = 0.97;

/// Locks that the writers of all keys share.
const STRIPES: usize = 64;

/// The settings of [`Memory`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of records with their keys. The least used go at the limit.
    pub bytes_max: u64,
}

/// The tier in memory.
pub struct Memory {
    name: TierName,
    bytes_max: u64,
    entries: Cache<Key, Arc<Entry>, BySize>,
    stripes: [Mutex<()>; STRIPES],
    hasher: RandomState,
    floors: Floors,
}

/// A record with what only this process knows of its key.
struct Entry {
    record: Arc<Record>,
    /// When the tiers below should be asked again, in Unix microseconds; 0 when they never were.
    look_at: AtomicU64,
    /// When they were last asked, likewise.
    looked_at: AtomicU64,
    /// Hits that were not taken yet.
    hits: AtomicU64,
}

/// A live record that was read.
pub struct Hit {
    /// The record.
    pub record: Arc<Record>,
    /// Whether another look below is due.
    pub is_due: bool,
    /// When the tiers below were last asked.
    pub looked_at: Time,
}

#[derive(Clone)]
struct BySize;

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self { bytes_max: 256 << 20 }
    }
}

// === impl BySize ===

impl Weighter<Key, Arc<Entry>> for BySize {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        size(key, &entry.record) as u64
    }
}

/// Bytes that a record takes, with its key.
fn size(key: &Key, record: &Record) -> usize {
    let foreign = record.foreign.as_ref().map_or(0, |bytes| bytes.len());
    // A payload may be small and its repairs many (B61).
    let repairs: usize = record.repairs.iter().map(Repair::bytes_held).sum();
    ENTRY_OVERHEAD_BYTES + key.as_str().len() + record.bytes.len() + foreign + repairs
}

// === impl Entry ===

impl Entry {
    fn hit(&self, now: Time) -> Option<Hit> {
        let is_due = now.micros() >= self.look_at.load(Relaxed);
        let looked_at = Time::from_micros(self.looked_at.load(Relaxed));
        self.record.is_live(now).then(|| Hit { record: self.record.clone(), is_due, looked_at })
    }
}

// === impl Memory ===

impl Memory {
    /// An empty tier.
    pub fn new(config: Config) -> Self {
        Self {
            name: TierName::new("memory"),
            bytes_max: config.bytes_max,
            entries: Cache::with_weighter(ENTRIES_EXPECTED, config.bytes_max, BySize),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
            floors: Floors::default(),
        }
    }

    /// The keys of all records, dead ones among them.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The live record of `key`.
    pub fn get(&self, key: &Key) -> Option<Arc<Record>> {
        let entry = self.entries.get(key)?;
        entry.record.is_live(Time::now()).then(|| entry.record.clone())
    }

    /// The live record of `key`, for a reader: it counts as a hit.
    pub fn hit(&self, key: &Key, now: Time) -> Option<Hit> {
        let entry = self.entries.get(key)?;
        let hit = entry.hit(now)?;
        entry.hits.fetch_add(1, Relaxed);
        Some(hit)
    }

    /// What a reader would [`hit`](Self::hit) now; it counts as nothing.
    pub fn would_hit(&self, key: &Key, now: Time) -> Option<Hit> {
        self.entries.peek(key)?.hit(now)
    }

    /// Notes that the tiers below were asked for `key` at `now`, and need not be asked again before `next`.
    pub fn looked(&self, key: &Key, now: Time, next: Time) {
        if let Some(entry) = self.entries.peek(key) {
            entry.looked_at.store(now.micros(), Relaxed);
            entry.look_at.store(next.micros(), Relaxed);
        }
    }

    /// Every key that was hit since the last call, with its hits.
    pub fn take_hits(&self) -> Vec<(Key, u64)> {
        let hits = self.entries.iter().map(|(key, entry)| (key, entry.hits.swap(0, Relaxed)));
        hits.filter(|(_, hits)| *hits > 0).collect()
    }

    /// Every live record.
    pub fn all_live(&self, now: Time) -> Vec<(Key, Arc<Record>)> {
        let records = self.entries.iter().map(|(key, entry)| (key, entry.record.clone()));
        records.filter(|(_, record)| record.is_live(now)).collect()
    }

    /// Stores `record` unless a greater one is there. Of two equal ones the longer-lived is kept.
    pub fn set(&self, key: &Key, record: Arc<Record>, now: Time) -> WriteOutcome {
        if !record.is_live(now) {
            return WriteOutcome::Rejected(RejectedWhy::Ended);
        }
        let (bytes, limit) = (size(key, &record), self.item_bytes_max());
        if bytes > limit {
            return WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, limit });
        }
        let _turn = self.turn(key);
        if self.floors.bars(key, record.version) {
            return WriteOutcome::Superseded;
        }
        let held = self.entries.peek(key);
        if let Some(held) = &held {
            match contest(&Order::of(&record, now), &Order::of(&held.record, now)) {
                Contest::Loses(outcome) => return outcome,
                Contest::Equal if life(&record) <= life(&held.record) => return WriteOutcome::Stored,
                Contest::Equal | Contest::Wins => {}
            }
        }
        // What is known of the key outlives its value.
        let known = |known: fn(&Entry) -> &AtomicU64| held.as_ref().map_or(0, |held| known(held).load(Relaxed)).into();
        let entry = Entry {
            record,
            look_at: known(|entry| &entry.look_at),
            looked_at: known(|entry| &entry.looked_at),
            hits: known(|entry| &entry.hits),
        };
        self.entries.insert(key.clone(), Arc::new(entry));
        WriteOutcome::Stored
    }

    /// Removes the record of `key` unless its version is above `floor`, and keeps values up to `floor` out.
    pub fn remove(&self, key: &Key, floor: Version) -> DeleteOutcome {
        let _turn = self.turn(key);
        self.floors.raise(key, floor);
        self.remove_if(key, |record| record.version <= floor)
    }

    /// Removes the record of `key` if it has exactly this version, and raises no floor.
    pub fn remove_exactly(&self, key: &Key, version: Version) -> DeleteOutcome {
        let _turn = self.turn(key);
        self.remove_if(key, |record| record.version == version)
    }

    /// Records held, live or not yet cleared away.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the records held.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// The largest record with its key, in bytes.
    fn item_bytes_max(&self) -> usize {
        (self.entries.shard_capacity() as f64 * SHARD_SHARE) as usize
    }

    fn remove_if(&self, key: &Key, is_meant: impl Fn(&Record) -> bool) -> DeleteOutcome {
        match self.entries.peek(key) {
            None => DeleteOutcome::Absent,
            Some(entry) if !entry.record.is_live(Time::now()) => {
                self.entries.remove(key);
                DeleteOutcome::Absent
            }
            Some(entry) if !is_meant(&entry.record) => DeleteOutcome::Superseded,
            Some(_) => {
                self.entries.remove(key);
                DeleteOutcome::Deleted
            }
        }
    }

    /// Waits until this writer is the only one of `key`. The lock guards no data that a panic could leave half done.
    fn turn(&self, key: &Key) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one(key) as usize % STRIPES;
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells the longer-lived of two equal records.
fn life(record: &Record) -> (Time, Time, Time) {
    (record.hard_expiry, record.lifetime_end, record.soft_expiry)
}

#[async_trait]
impl Tier for Memory {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        format!("memory of {} MiB", self.bytes_max >> 20)
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        Ok(keys.iter().map(|key| self.get(key).map(Found::Whole)).collect())
    }

    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome {
        self.set(key, Arc::new(record.clone()), Time::now())
    }

    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome {
        self.remove(key, floor)
    }

    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome {
        let _turn = self.turn(key);
        self.remove_if(key, |record| record.digest == stored)
    }

    async fn check(&self) -> Result<Health, TierError> {
        Ok(Health {
            version: None,
            incarnation: None,
            item_bytes_max: Some(self.item_bytes_max()),
            facts: vec![
                ("entries".to_owned(), self.entries().to_string()),
                ("bytes".to_owned(), self.bytes().to_string()),
                ("bytes_max".to_owned(), self.bytes_max.to_string()),
            ],
        })
    }
}
