//! [`Record`]: a canonical value with what the host knows about it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Digest, Kind, TierName, Time, Version};

/// An immutable value of a key.
#[derive(Clone, Debug)]
pub struct Record {
    /// Canonical bytes: strict JSON, encoded once.
    pub bytes: Bytes,
    /// The bytes as a foreign producer stored them, where they differ in form from [`bytes`](Self::bytes).
    pub foreign: Option<Bytes>,
    /// See [`Kind`].
    pub kind: Kind,
    /// See [`Version`].
    pub version: Version,
    /// Rank of the owner; greater outranks lesser while it is fresh.
    pub rank: u8,
    /// Of [`bytes`](Self::bytes).
    pub digest: Digest,
    /// Name of the schema that the codec claims for the key.
    pub schema: Arc<str>,
    /// When the producer made it: its own timestamp, or when a gateway first saw it.
    pub produced_at: Time,
    /// Fresh until here.
    pub soft_expiry: Time,
    /// The end of its life in the shared tiers: the writer's TTL.
    pub lifetime_end: Time,
    /// Served stale until here, then not at all.
    pub hard_expiry: Time,
    /// Who wrote it.
    pub origin: Origin,
    /// What the codec mended.
    pub repairs: Arc<[Repair]>,
}

/// Who wrote a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It came through a gateway, from this writer: `api`, `aggregator`, a source.
    Gateway(Arc<str>),
    /// It was found in this tier, where somebody else put it.
    Tier(TierName),
}

/// Something that was wrong with a payload and was mended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Repair {
    /// A few lower-case words joined by `-`, for metrics.
    pub code: String,
    /// A JSON path.
    pub path: String,
    /// For a person.
    pub message: String,
}

/// A payload that was refused; the last good value stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{code} at {path}: {message}")]
pub struct Rejection {
    /// A few lower-case words joined by `-`, for metrics.
    pub code: String,
    /// What is wrong and what to send instead.
    pub message: String,
    /// A JSON path.
    pub path: String,
}

// === impl Repair ===

impl Repair {
    /// What it takes in memory, in bytes.
    pub fn bytes_held(&self) -> usize {
        size_of::<Self>() + self.code.len() + self.path.len() + self.message.len()
    }
}

// === impl Record ===

impl Record {
    /// The bytes that stand for this record in a tier that others read: those of its foreign producer, else the canonical
    /// ones. `None` for a foreign payload that had to be repaired: a repair is never written to a shared tier.
    pub fn wire(&self) -> Option<&Bytes> {
        match (&self.origin, &self.foreign) {
            (Origin::Tier(_), _) if !self.repairs.is_empty() => None,
            (_, Some(foreign)) => Some(foreign),
            (_, None) => Some(&self.bytes),
        }
    }

    /// How long the shared tiers may still hold it.
    pub fn remaining(&self, now: Time) -> Duration {
        self.lifetime_end.remaining(now)
    }

    /// Within its time to live.
    pub fn is_fresh(&self, now: Time) -> bool {
        now < self.soft_expiry
    }

    /// May be served, fresh or stale.
    pub fn is_live(&self, now: Time) -> bool {
        now < self.hard_expiry
    }

    /// How old the data is.
    pub fn age(&self, now: Time) -> Duration {
        now.since(self.produced_at)
    }
}
