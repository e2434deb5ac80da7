//! What is known of keys, for those who decide what to warm: what each tier holds, and how often each key is read. Asking
//! changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::Cache;
use super::read::{Answer, KEYS_AT_ONCE, ask};
use crate::record::{Key, Order, Record, Time};
use crate::tier::Found;

/// What is known of one key.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The greatest live value that any tier holds.
    pub record: Option<Arc<Record>>,
    /// Whether memory holds a live value.
    pub in_memory: bool,
    /// The tiers below memory, from the fastest to the slowest.
    pub tiers: Vec<Holding>,
}

/// What one tier holds of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The tier did not answer, or what it holds could not be judged.
    Unknown,
    /// Nothing.
    Absent,
    /// Something, until this time: a value, or bytes that stand for none.
    Until(Time),
}

/// How often a key was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Reads that memory answered.
    pub hits: u64,
    /// Reads that found nothing in any tier.
    pub misses: u64,
}

impl Cache {
    /// What every tier holds of `keys`, in their order. One deadline for each [`KEYS_AT_ONCE`] of them.
    pub async fn survey(&self, keys: &[Key]) -> Vec<Survey> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let (begun, deadline) = (Time::now(), Instant::now() + self.deadline);
            let answers = join_all(self.tiers.iter().map(|tier| ask(tier, keys, deadline, "survey"))).await;
            let now = Time::now();
            for (at, key) in keys.iter().enumerate() {
                let mut record = self.memory.get(key);
                let in_memory = record.is_some();
                let mut tiers = Vec::with_capacity(self.tiers.len());
                for (tier, answer) in self.tiers.iter().zip(&answers) {
                    let found = answer.as_ref().map(|found| found.get(at).and_then(Option::as_ref));
                    let (holding, value) = match found {
                        Err(_) => (Holding::Unknown, None),
                        Ok(found) => holding(self.judge(tier, key, found, begun), found, now),
                    };
                    tiers.push(holding);
                    record = record.into_iter().chain(value).max_by_key(|record| Order::of(record, now));
                }
                let record = record.filter(|record| record.is_live(now) && !self.is_deleted(key, record.version));
                all.push(Survey { record, in_memory, tiers });
            }
        }
        all
    }

    /// Every key that was read since the last call, and how often.
    pub fn take_reads(&self) -> BTreeMap<Key, Reads> {
        let mut reads: BTreeMap<Key, Reads> = BTreeMap::new();
        for (key, hits) in self.memory.take_hits() {
            reads.entry(key).or_default().hits = hits;
        }
        for (key, missed) in self.missed.iter() {
            let misses = missed.swap(0, Relaxed);
            if misses > 0 {
                reads.entry(key).or_default().misses = misses;
            }
        }
        reads
    }

    /// Counts a read that found nothing.
    pub(super) fn note_miss(&self, key: &Key) {
        match self.missed.get(key) {
            Some(missed) => {
                missed.fetch_add(1, Relaxed);
            }
            None => self.missed.insert(key.clone(), Arc::new(AtomicU64::new(1))),
        }
    }
}

fn holding(answer: Answer, found: Option<&Found>, now: Time) -> (Holding, Option<Arc<Record>>) {
    match (answer, found) {
        (Answer::Absent, _) => (Holding::Absent, None),
        (Answer::Value(record), _) => (Holding::Until(record.lifetime_end), Some(record)),
        // It is no value, and yet somebody put it there.
        (Answer::Junk, Some(Found::Shared(payload))) => {
            (Holding::Until(payload.remaining.map_or(Time::NEVER, |remaining| now.after(remaining))), None)
        }
        (Answer::Junk, _) => (Holding::Until(Time::NEVER), None),
        (Answer::Unjudged | Answer::Failed, _) => (Holding::Unknown, None),
    }
}
