//! [`History`]: the last writes to each key, from anywhere, with what became of them. The refused ones are in it, too.
//!
//! Of what came through other gateways Redis tells: what it took in the scripts that wrote it, and what was refused by the
//! gateway that refused it. Over memcached alone nobody tells: a gateway knows what came through itself, and what it found.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache as Map;

use super::DecodeError;
use super::recovery::Part;
use crate::record::{DeleteOutcome, Key, Kind, Order, Record, Rejection, TierName, Time, Version, WriteOutcome};

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
    /// By whom: a writer through this gateway, `this gateway` where it mended a tier, `gateway` and the name of another one
    /// that told of it, or `foreign` for one that was found in a tier.
    pub from: Arc<str>,
    /// What it was.
    pub what: What,
    /// What became of it, tier by tier, and why.
    pub outcomes: Vec<Told>,
}

/// What a tier told of a write: the label of its outcome, and why.
pub type Told = (TierName, &'static str, Option<String>);

/// What a write was.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A placeholder that was not written, because something is there, or may be.
    NotPlaced {
        /// Its size in bytes.
        bytes_len: usize,
        /// Why.
        why: String,
    },
    /// A delete of everything up to this version.
    Delete(Version),
}

/// Who wrote what this gateway did not.
pub const FOREIGN: &str = "foreign";

/// Who mends the tiers.
const THIS_GATEWAY: &str = "this gateway";

/// What stands before the name of another gateway that wrote.
const GATEWAY: &str = "gateway ";

/// Who writes what waited for a tier, where its writer is not remembered any more.
pub(super) const RECOVERY: &str = "recovery";

/// What is told of a tier that a write waits for.
const QUEUED: &str = "queued";

/// What is told of a tier in which somebody else's write was found.
const FOUND: &str = "found";

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
    /// Whether nobody wrote: this gateway copied what somebody had written, or removed what was not to be there.
    pub fn is_mend(&self) -> bool {
        &*self.from == THIS_GATEWAY
    }

    /// Whether another gateway told of it.
    pub fn is_told(&self) -> bool {
        self.from.starts_with(GATEWAY)
    }

    /// What is told of `tier`, where this is `what` and waits for it.
    fn waiting(&mut self, tier: &TierName, what: &What) -> Option<&mut Told> {
        let is_it = self.is_of(what);
        self.outcomes.iter_mut().find(|(of, outcome, _)| is_it && of == tier && *outcome == QUEUED)
    }

    /// Whether this is `what`, as far as can be told.
    fn is_of(&self, what: &What) -> bool {
        match (&self.what, what) {
            (What::Value { version, bytes_len, .. }, What::Value { version: other, bytes_len: other_len, .. }) => {
                (version, bytes_len) == (other, other_len)
            }
            (What::Delete(floor), What::Delete(other)) => floor == other,
            _ => false,
        }
    }
}

// === impl History ===

impl History {
    pub fn new() -> Self {
        Self(Map::new(KEYS_MAX))
    }

    /// Remembers a write.
    pub fn note(&self, key: &Key, written: Written) {
        push(&mut lock(&self.writes(key)), written);
    }

    /// Remembers what is tried over and over: where the last was the same, only its time.
    pub fn note_again(&self, key: &Key, written: Written) {
        let writes = self.writes(key);
        let mut writes = lock(&writes);
        let is_same = |last: &Written| {
            (&last.from, &last.what, &last.outcomes) == (&written.from, &written.what, &written.outcomes)
        };
        match writes.back_mut() {
            Some(last) if is_same(last) => last.at = written.at,
            _ => push(&mut writes, written),
        }
    }

    /// Remembers a value that was written through this gateway, which began `begun`.
    pub fn wrote(
        &self,
        key: &Key,
        from: &Arc<str>,
        record: &Record,
        outcomes: &[(TierName, WriteOutcome)],
        begun: Time,
    ) -> Written {
        let told =
            |(tier, outcome): &(TierName, WriteOutcome)| (tier.clone(), outcome.label(), outcome.reason().map(cut));
        let outcomes = outcomes.iter().map(told).collect();
        self.came(key, Written { at: Time::now(), from: from.clone(), what: What::value(record), outcomes }, begun)
    }

    /// Remembers a delete through this gateway, which began `begun`.
    pub fn deleted(&self, key: &Key, floor: Version, outcomes: &[(TierName, DeleteOutcome)], begun: Time) {
        let told =
            |(tier, outcome): &(TierName, DeleteOutcome)| (tier.clone(), outcome.label(), outcome.reason().map(cut));
        let outcomes = outcomes.iter().map(told).collect();
        self.came(key, Written { at: Time::now(), from: "api".into(), what: What::Delete(floor), outcomes }, begun);
    }

    /// Remembers what came through this gateway. One tier may have been waited for while another was waited to come back, and
    /// that have ended: see [`History::ended`].
    fn came(&self, key: &Key, mut written: Written, begun: Time) -> Written {
        let writes = self.writes(key);
        let mut writes = lock(&writes);
        let what = written.what.clone();
        for told in written.outcomes.iter_mut().filter(|(_, outcome, _)| *outcome == QUEUED) {
            let is_end = |ended: &Written| {
                &*ended.from == RECOVERY && ended.at >= begun && ended.is_of(&what) && ended.outcomes[0].0 == told.0
            };
            let ended = writes.iter().rposition(is_end).and_then(|at| writes.remove(at)?.outcomes.pop());
            *told = ended.unwrap_or_else(|| told.clone());
        }
        push(&mut writes, written.clone());
        written
    }

    /// Remembers a payload that was refused, wherever it came from.
    pub fn refused(&self, key: &Key, from: &Arc<str>, what: What) -> Written {
        let written = Written { at: Time::now(), from: from.clone(), what, outcomes: Vec::new() };
        self.note(key, written.clone());
        written
    }

    /// Remembers a placeholder that was not written. Whoever wants to place it may try again and again.
    pub fn not_placed(&self, key: &Key, from: &Arc<str>, bytes_len: usize, why: String) {
        let what = What::NotPlaced { bytes_len, why: cut(why) };
        self.note_again(key, Written { at: Time::now(), from: from.clone(), what, outcomes: Vec::new() });
    }

    /// Remembers that this gateway copied a value into `tier` on its own account, and why.
    pub fn copied(&self, key: &Key, tier: &TierName, record: &Record, outcome: &WriteOutcome, why: &str) {
        self.mended(key, What::value(record), why, (tier.clone(), outcome.label(), outcome.reason()));
    }

    /// Remembers that this gateway removed a value of this version from `tier` on its own account, and why.
    pub fn removed(&self, key: &Key, tier: &TierName, version: Version, outcome: &DeleteOutcome, why: &str) {
        self.mended(key, What::Delete(version), why, (tier.clone(), outcome.label(), outcome.reason()));
    }

    /// What the tier did not do is no write.
    fn mended(&self, key: &Key, what: What, why: &str, (tier, outcome, reason): Told) {
        if ["stored", "deleted", "unknown"].contains(&outcome) {
            let why = reason.map_or_else(|| why.to_owned(), |reason| cut(format!("{why}: {reason}")));
            let outcomes = vec![(tier, outcome, Some(why))];
            self.note(key, Written { at: Time::now(), from: THIS_GATEWAY.into(), what, outcomes });
        }
    }

    /// Remembers what somebody else was seen to have put into a tier.
    pub fn found(&self, key: &Key, tier: &TierName, what: What) {
        let outcomes = vec![(tier.clone(), FOUND, None)];
        self.note(key, Written { at: Time::now(), from: FOREIGN.into(), what, outcomes });
    }

    /// Remembers that what was found in a tier lost to `greater`.
    pub fn outdone(&self, key: &Key, tier: &TierName, found: &Record, greater: &Record, now: Time) {
        let Some(writes) = self.0.peek(key) else { return };
        let what = What::value(found);
        let is_it = |written: &&mut Written| {
            written.outcomes.first().is_some_and(|(of, label, _)| of == tier && *label == FOUND)
        };
        if let Some(written) = lock(&writes).iter_mut().rev().filter(is_it).find(|written| written.is_of(&what)) {
            let lost = match Order::of(greater, now).kind {
                Some(kind) if kind > found.kind => WriteOutcome::Refused(kind),
                _ => WriteOutcome::Superseded,
            };
            written.outcomes[0].2 = lost.reason();
        }
    }

    /// Remembers what another gateway told that it did in a tier.
    pub fn elsewhere(&self, key: &Key, gateway: &str, what: What, told: Told) {
        let (at, from) = (Time::now(), format!("{GATEWAY}{gateway}").into());
        self.note(key, Written { at, from, what, outcomes: vec![told] });
    }

    /// Remembers what another gateway told of a write that was refused, beside what it told of it before.
    pub fn lost_elsewhere(&self, key: &Key, gateway: &str, what: What, outcomes: Vec<Told>) {
        let from: Arc<str> = format!("{GATEWAY}{gateway}").into();
        let writes = self.writes(key);
        let mut writes = lock(&writes);
        let known = writes.iter_mut().rev().find(|written| written.from == from && written.is_of(&what));
        let Some(known) = known else {
            return push(&mut writes, Written { at: Time::now(), from, what, outcomes });
        };
        for told in outcomes {
            match known.outcomes.iter_mut().find(|(tier, ..)| *tier == told.0) {
                Some(known) => *known = told,
                None => known.outcomes.push(told),
            }
        }
    }

    /// Remembers how something ended that waited for `tier`: with the write itself, or as a line of its own where that is not
    /// remembered as one that waits.
    pub fn ended(&self, key: &Key, tier: &TierName, part: &Part, outcome: &'static str, why: &str) {
        let ended = (tier.clone(), outcome, Some(cut(why.to_owned())));
        let what = match part {
            Part::Delete(floor) => What::Delete(*floor),
            Part::Write(record) => What::value(record),
        };
        let writes = self.writes(key);
        let mut writes = lock(&writes);
        match writes.iter_mut().rev().find_map(|written| written.waiting(tier, &what)) {
            Some(waiting) => *waiting = ended,
            None => push(&mut writes, Written { at: Time::now(), from: RECOVERY.into(), what, outcomes: vec![ended] }),
        }
    }

    /// Who wrote this value through this gateway or another one, if it is remembered.
    pub fn writer_of(&self, key: &Key, record: &Record) -> Option<Arc<str>> {
        let is_author = |written: &Written| ![FOREIGN, RECOVERY, THIS_GATEWAY].contains(&&*written.from);
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

    fn writes(&self, key: &Key) -> Arc<Mutex<VecDeque<Written>>> {
        let new = || Ok::<_, std::convert::Infallible>(Arc::default());
        self.0.get_or_insert_with(key, new).unwrap_or_else(|never| match never {})
    }

    /// The last writes to `key`, the newest first.
    pub fn of(&self, key: &Key) -> Vec<Written> {
        self.0.peek(key).map_or_else(Vec::new, |writes| lock(&writes).iter().rev().cloned().collect())
    }
}

fn push(writes: &mut VecDeque<Written>, written: Written) {
    if writes.len() == WRITES_MAX {
        writes.pop_front();
    }
    writes.push_back(written);
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
        let outcomes = [(TierName::new("memory"), DeleteOutcome::Absent)];
        history.deleted(&Key::new(key).unwrap(), Version(version), &outcomes, Time::now());
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
    fn what_waits_ends_with_its_own_line_though_it_had_ended_before_its_writer_was_answered() {
        let (history, key, tier) = (History::new(), Key::new("k").unwrap(), TierName::new("redis"));
        let queued = [(tier.clone(), DeleteOutcome::Queued("it is away".to_owned()))];
        let told = || -> Vec<(String, &str)> {
            history.of(&key).iter().map(|written| (written.from.to_string(), written.outcomes[0].1)).collect()
        };
        let before = Time::now();
        history.ended(&key, &tier, &Part::Delete(Version(1)), "absent", "why");
        assert_eq!(told(), [("recovery".to_owned(), "absent")]);
        history.deleted(&key, Version(1), &queued, before);
        assert_eq!(told(), [("api".to_owned(), "absent")]);

        let later = Time::now().after(std::time::Duration::from_secs(1));
        history.ended(&key, &tier, &Part::Delete(Version(2)), "absent", "why");
        history.deleted(&key, Version(2), &queued, later);
        assert_eq!(told()[0], ("api".to_owned(), "queued"), "what ended was another delete of this version");
        history.ended(&key, &tier, &Part::Delete(Version(2)), "deleted", "why");
        assert_eq!(told()[0], ("api".to_owned(), "deleted"));
    }

    #[test]
    fn what_is_tried_over_and_over_does_not_push_others_out() {
        let (history, key) = (History::new(), Key::new("k").unwrap());
        delete(&history, "k", 1);
        for _ in 0..WRITES_MAX {
            history.not_placed(&key, &"warmer".into(), 2, "a real value is there".to_owned());
        }
        assert_eq!(versions(&history, "k"), [0, 1]);
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
