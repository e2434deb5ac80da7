//! [`History`]: the last writes to each key, from anywhere, with what became of them. The refused ones are in it, too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache as Map;

use super::DecodeError;
use super::recovery::Part;
use crate::record::{DeleteOutcome, Key, Kind, Record, Rejection, TierName, Time, Version, WriteOutcome};

/// Writes that are remembered of one key. The oldest is forgotten.
pub const WRITES_MAX: usize = 16;

/// Keys whose writes are remembered. The least used are forgotten.
pub const KEYS_MAX: usize = 4_096;

/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// One write.
#[derive(Clone, Debug)]
pub struct Written {
    /// When.
    pub at: Time,
    /// By whom: a writer through this gateway, `gateway` and the name of another one that told of it, or `foreign` for one
    /// that was found in a tier.
    pub from: Arc<str>,
    /// What it was.
    pub what: What,
    /// What became of it, tier by tier, and why.
    pub outcomes: Vec<(TierName, &'static str, Option<String>)>,
}

/// What a write was.
#[derive(Clone, Debug)]
pub enum What {
    /// A value.
    Value {
        /// See [`Record::kind`].
        kind: Kind,
        /// See [`Record::version`].
        version: Version,
        /// Its size in bytes.
        bytes_len: usize,
        /// Repairs that it needed.
        repairs: usize,
    },
    /// A payload that stands for no value.
    Refused {
        /// Its size in bytes.
        bytes_len: usize,
        /// Why.
        error: String,
    },
    /// A delete of everything up to this version.
    Delete(Version),
}

/// Who wrote what this gateway did not.
pub const FOREIGN: &str = "foreign";

/// What stands before the name of another gateway that wrote.
const GATEWAY: &str = "gateway";

/// Who writes what waited for a tier, in the name of its writer.
pub(super) const RECOVERY: &str = "recovery";

pub(super) struct History(Map<Key, Arc<Mutex<VecDeque<Written>>>>);

// === impl What ===

impl What {
    pub(super) fn value(record: &Record) -> Self {
        let Record { kind, version, bytes, repairs, .. } = record;
        Self::Value { kind: *kind, version: *version, bytes_len: bytes.len(), repairs: repairs.len() }
    }

    pub(super) fn refused(bytes_len: usize, error: &DecodeError) -> Self {
        Self::Refused { bytes_len, error: cut(error.to_string()) }
    }

    pub(super) fn rejected(bytes_len: usize, error: &Rejection) -> Self {
        Self::Refused { bytes_len, error: cut(error.to_string()) }
    }
}

// === impl Written ===

impl Written {
    /// What is told of `tier`, where this is `part` and waits for it.
    fn waiting(&mut self, tier: &TierName, part: &Part) -> Option<&mut (TierName, &'static str, Option<String>)> {
        let is_it = match (&self.what, part) {
            (What::Value { version, bytes_len, .. }, Part::Write(record)) => {
                (*version, *bytes_len) == (record.version, record.bytes.len())
            }
            (What::Delete(floor), Part::Delete(deleted)) => floor == deleted,
            _ => false,
        };
        self.outcomes.iter_mut().find(|(of, outcome, _)| is_it && of == tier && *outcome == "queued")
    }
}

// === impl History ===

impl History {
    pub fn new() -> Self {
        Self(Map::new(KEYS_MAX))
    }

    /// Remembers a write.
    pub fn note(&self, key: &Key, written: Written) {
        let new = || Ok::<_, std::convert::Infallible>(Arc::default());
        let writes = self.0.get_or_insert_with(key, new).unwrap_or_else(|never| match never {});
        let mut writes = lock(&writes);
        if writes.len() == WRITES_MAX {
            writes.pop_front();
        }
        writes.push_back(written);
    }

    /// Remembers a value that was written through this gateway.
    pub fn wrote(&self, key: &Key, from: &Arc<str>, record: &Record, outcomes: &[(TierName, WriteOutcome)]) {
        let told =
            |(tier, outcome): &(TierName, WriteOutcome)| (tier.clone(), outcome.label(), outcome.reason().map(cut));
        let outcomes = outcomes.iter().map(told).collect();
        self.note(key, Written { at: Time::now(), from: from.clone(), what: What::value(record), outcomes });
    }

    /// Remembers a delete through this gateway.
    pub fn deleted(&self, key: &Key, floor: Version, outcomes: &[(TierName, DeleteOutcome)]) {
        let told =
            |(tier, outcome): &(TierName, DeleteOutcome)| (tier.clone(), outcome.label(), outcome.reason().map(cut));
        let outcomes = outcomes.iter().map(told).collect();
        self.note(key, Written { at: Time::now(), from: "api".into(), what: What::Delete(floor), outcomes });
    }

    /// Remembers a payload that was refused, wherever it came from.
    pub fn refused(&self, key: &Key, from: &Arc<str>, what: What) {
        self.note(key, Written { at: Time::now(), from: from.clone(), what, outcomes: Vec::new() });
    }

    /// Remembers what somebody else was seen to have put into a tier.
    pub fn found(&self, key: &Key, tier: &TierName, what: What) {
        let outcomes = vec![(tier.clone(), "found", None)];
        self.note(key, Written { at: Time::now(), from: FOREIGN.into(), what, outcomes });
    }

    /// Remembers what another gateway told that it did in a tier.
    pub fn elsewhere(&self, key: &Key, gateway: &str, tier: &TierName, what: What) {
        let label = if matches!(what, What::Delete(_)) { "deleted" } else { "stored" };
        let (at, from) = (Time::now(), format!("{GATEWAY} {gateway}").into());
        self.note(key, Written { at, from, what, outcomes: vec![(tier.clone(), label, None)] });
    }

    /// Remembers how something ended that waited for `tier`: with the write itself, or as a line of its own where that is not
    /// remembered as one that waits.
    pub fn ended(&self, key: &Key, tier: &TierName, part: &Part, outcome: &'static str, why: &str) {
        let ended = (tier.clone(), outcome, Some(why.to_owned()));
        if let Some(writes) = self.0.peek(key)
            && let Some(waiting) = lock(&writes).iter_mut().rev().find_map(|written| written.waiting(tier, part))
        {
            *waiting = ended;
            return;
        }
        let what = match part {
            Part::Delete(floor) => What::Delete(*floor),
            Part::Write(record) => What::value(record),
        };
        self.note(key, Written { at: Time::now(), from: RECOVERY.into(), what, outcomes: vec![ended] });
    }

    /// Who wrote this value through this gateway or another one, if it is remembered.
    pub fn writer_of(&self, key: &Key, record: &Record) -> Option<Arc<str>> {
        let is_author = |written: &Written| ![FOREIGN, RECOVERY].contains(&&*written.from);
        let is_it = |written: &Written| {
            matches!(written.what, What::Value { version, bytes_len, .. }
                if (version, bytes_len) == (record.version, record.bytes.len()))
        };
        self.of(key).into_iter().find(|written| is_author(written) && is_it(written)).map(|written| written.from)
    }

    /// Every write since then that is remembered, by key.
    pub fn since(&self, since: Time) -> Vec<(Key, Written)> {
        let mut all = Vec::new();
        for (key, writes) in self.0.iter() {
            let writes = lock(&writes);
            all.extend(
                writes.iter().filter(|written| written.at >= since).map(|written| (key.clone(), written.clone())),
            );
        }
        all
    }

    /// The keys whose writes are remembered.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The last writes to `key`, the newest first.
    pub fn of(&self, key: &Key) -> Vec<Written> {
        self.0.peek(key).map_or_else(Vec::new, |writes| lock(&writes).iter().rev().cloned().collect())
    }
}

/// A push under the lock is whole.
fn lock(writes: &Mutex<VecDeque<Written>>) -> MutexGuard<'_, VecDeque<Written>> {
    writes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(history: &History, key: &str, version: u64) {
        history.deleted(&Key::new(key).unwrap(), Version(version), &[(TierName::new("memory"), DeleteOutcome::Absent)]);
    }

    fn versions(history: &History, key: &str) -> Vec<u64> {
        let version = |written: &Written| match written.what {
            What::Delete(version) => version.0,
            _ => 0,
        };
        history.of(&Key::new(key).unwrap()).iter().map(version).collect()
    }

    #[test]
    fn sixteen_writes_of_a_key_are_remembered_the_newest_first_and_one_more_pushes_the_oldest_out() {
        let history = History::new();
        for version in 1..=16 {
            delete(&history, "k", version);
        }
        assert_eq!(versions(&history, "k"), (1..=16).rev().collect::<Vec<_>>());
        delete(&history, "k", 17);
        assert_eq!(versions(&history, "k"), (2..=17).rev().collect::<Vec<_>>());
        assert_eq!(versions(&history, "other"), Vec::<u64>::new());
    }

    #[test]
    fn no_more_than_so_many_keys_are_remembered() {
        let history = History::new();
        for n in 0..KEYS_MAX * 2 {
            delete(&history, &format!("k{n}"), 1);
        }
        assert!(history.0.len() <= KEYS_MAX, "{}", history.0.len());
    }
}
