//! [`Memory`]: the fastest tier, in this process, lost when it ends.
//!
//! A hit is one lookup under a shard's shared lock. Writers of a key take turns on a stripe, so that comparing with the
//! value held and replacing it are one step; readers never wait for a stripe. This is the only tier that remembers absence
//! ([`Kind::Negative`](crate::record::Kind::Negative)).

use std::hash::{BuildHasher as _, RandomState};
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
    records: Cache<Key, Arc<Record>, BySize>,
    stripes: [Mutex<()>; STRIPES],
    hasher: RandomState,
    floors: Floors,
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

impl Weighter<Key, Arc<Record>> for BySize {
    fn weight(&self, key: &Key, record: &Arc<Record>) -> u64 {
        let foreign = record.foreign.as_ref().map_or(0, |bytes| bytes.len());
        // A payload may be small and its repairs many (B61).
        let repairs: usize = record.repairs.iter().map(Repair::bytes_held).sum();
        (ENTRY_OVERHEAD_BYTES + key.as_str().len() + record.bytes.len() + foreign + repairs) as u64
    }
}

// === impl Memory ===

impl Memory {
    /// An empty tier.
    pub fn new(config: Config) -> Self {
        Self {
            name: TierName::new("memory"),
            bytes_max: config.bytes_max,
            records: Cache::with_weighter(ENTRIES_EXPECTED, config.bytes_max, BySize),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
            floors: Floors::default(),
        }
    }

    /// The live record of `key`.
    pub fn get(&self, key: &Key) -> Option<Arc<Record>> {
        self.records.get(key).filter(|record| record.is_live(Time::now()))
    }

    /// Stores `record` unless a greater one is there. Of two equal ones the longer-lived is kept.
    pub fn set(&self, key: &Key, record: Arc<Record>, now: Time) -> WriteOutcome {
        if !record.is_live(now) {
            return WriteOutcome::Rejected(RejectedWhy::Ended);
        }
        let (bytes, limit) = (BySize.weight(key, &record) as usize, self.item_bytes_max());
        if bytes > limit {
            return WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, limit });
        }
        let _turn = self.turn(key);
        if self.floors.bars(key, record.version) {
            return WriteOutcome::Superseded;
        }
        if let Some(held) = self.records.peek(key) {
            match contest(&Order::of(&record, now), &Order::of(&held, now)) {
                Contest::Loses(outcome) => return outcome,
                Contest::Equal if life(&record) <= life(&held) => return WriteOutcome::Stored,
                Contest::Equal | Contest::Wins => {}
            }
        }
        self.records.insert(key.clone(), record);
        WriteOutcome::Stored
    }

    /// Removes the record of `key` unless its version is above `floor`, and keeps values up to `floor` out.
    pub fn remove(&self, key: &Key, floor: Version) -> DeleteOutcome {
        let _turn = self.turn(key);
        self.floors.raise(key, floor);
        self.remove_if(key, |record| record.version <= floor)
    }

    /// Records held, live or not yet cleared away.
    pub fn entries(&self) -> usize {
        self.records.len()
    }

    /// Bytes of the records held.
    pub fn bytes(&self) -> u64 {
        self.records.weight()
    }

    /// The largest record with its key, in bytes.
    fn item_bytes_max(&self) -> usize {
        (self.records.shard_capacity() as f64 * SHARD_SHARE) as usize
    }

    fn remove_if(&self, key: &Key, is_meant: impl Fn(&Record) -> bool) -> DeleteOutcome {
        match self.records.peek(key) {
            None => DeleteOutcome::Absent,
            Some(record) if !record.is_live(Time::now()) => {
                self.records.remove(key);
                DeleteOutcome::Absent
            }
            Some(record) if !is_meant(&record) => DeleteOutcome::Superseded,
            Some(_) => {
                self.records.remove(key);
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
            item_bytes_max: Some(self.item_bytes_max()),
            facts: vec![
                ("entries".to_owned(), self.entries().to_string()),
                ("bytes".to_owned(), self.bytes().to_string()),
                ("bytes_max".to_owned(), self.bytes_max.to_string()),
            ],
        })
    }
}
