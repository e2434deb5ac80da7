//! What the tier remembers about what memcached holds.
//!
//! Values stand in memcached as they are, so what a gateway knows beside a value (kind, rank, version) is remembered here:
//! by key and digest of the bytes it wrote. The cas ids of values that were read spare reading them again.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::connection::Item;
use crate::record::{Digest, Key, Order, Record, Time};
use crate::tier::Stamp;

/// Values written by gateways whose stamp is remembered; beyond it the least used are judged like foreign ones.
const STAMPS_MAX: usize = 65_536;

/// What a remembered value costs besides its bytes and key, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 192;

/// Values that the cache of values sizes its tables for.
const VALUES_EXPECTED: usize = 1_024;

pub(super) struct Memories {
    stamps: Cache<(Key, Digest), Noted>,
    values: Cache<Key, Value, BySize>,
}

/// What a gateway noted when it wrote a value.
#[derive(Clone, Copy)]
pub(super) struct Noted {
    pub stamp: Stamp,
    /// Of the canonical bytes, which may differ in form from those stored.
    canonical: Digest,
}

/// A value as it was read.
#[derive(Clone)]
struct Value {
    epoch: u64,
    cas: u64,
    bytes: Bytes,
    digest: Digest,
}

#[derive(Clone)]
struct BySize;

// === impl BySize ===

impl Weighter<Key, Value> for BySize {
    fn weight(&self, key: &Key, value: &Value) -> u64 {
        (ENTRY_OVERHEAD_BYTES + key.as_str().len() + value.bytes.len()) as u64
    }
}

// === impl Noted ===

impl Noted {
    pub fn order(&self, now: Time) -> Order {
        self.stamp.order(self.canonical, now)
    }
}

// === impl Memories ===

impl Memories {
    pub fn new(values_bytes_max: u64) -> Self {
        Self { stamps: Cache::new(STAMPS_MAX), values: Cache::with_weighter(VALUES_EXPECTED, values_bytes_max, BySize) }
    }

    /// Notes that the bytes with the digest `stored` stand for `record`.
    pub fn note(&self, key: &Key, stored: Digest, record: &Record) {
        self.note_stamp(key, stored, record.digest, Stamp::of(record));
    }

    /// The same of a record that is not at hand; `canonical` is its digest.
    ///
    /// Of two notes about the same bytes the one of the later write counts, whichever is heard of first.
    pub fn note_stamp(&self, key: &Key, stored: Digest, canonical: Digest, stamp: Stamp) {
        if self.noted(key, stored).is_some_and(|noted| noted.stamp.version > stamp.version) {
            return;
        }
        self.stamps.insert((key.clone(), stored), Noted { stamp, canonical });
    }

    /// What was noted when bytes with this digest were written. Two writers of the same bytes mean the same value.
    pub fn noted(&self, key: &Key, stored: Digest) -> Option<Noted> {
        self.stamps.get(&(key.clone(), stored))
    }

    /// The bytes of `item` and their digest, if they were read before in the same epoch and have not changed since.
    pub fn value(&self, epoch: u64, key: &Key, item: &Item) -> Option<(Bytes, Digest)> {
        let value = self.values.get(key)?;
        let unchanged = (value.epoch, value.cas, value.bytes.len()) == (epoch, item.cas, item.bytes_len);
        unchanged.then_some((value.bytes, value.digest))
    }

    /// Remembers the value of `item`, read when the server's epoch was `epoch`.
    pub fn keep(&self, epoch: u64, key: &Key, item: &Item) -> (Bytes, Digest) {
        let (bytes, digest) = (item.value.clone(), Digest::of(&item.value));
        self.values.insert(key.clone(), Value { epoch, cas: item.cas, bytes: bytes.clone(), digest });
        (bytes, digest)
    }
}
