//! [`Quarantine`]: payloads that somebody put into a shared tier and that stand for no value, for an operator to look at and
//! to remove.
//!
//! The payload itself stays where it is: its producer may read it. What is kept here is enough to find the producer, and the
//! digest, by which exactly those bytes can be removed and never newer ones.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Cache;
use crate::record::{DeleteOutcome, Digest, Key, Rejection, TierName, Time, Version};
use crate::telemetry::metrics;
use crate::tier::Payload;

/// Payloads that are remembered; beyond it the oldest is forgotten, and counted.
pub const ENTRIES_MAX: usize = 1_000;

/// Bytes that they take together; beyond it the oldest are forgotten, and counted.
pub const BYTES_MAX: usize = 512 << 10;

/// The first bytes of a payload that are kept.
pub const HEAD_BYTES_MAX: usize = 256;

/// A look that began before a payload was removed may still bring it for this long.
const LOOK_UNDER_WAY_MAX: Duration = Duration::from_millis(500);

/// The longest message, and the longest path, that is kept of an error, in bytes.
const ERROR_BYTES_MAX: usize = 512;

/// A payload that could not be decoded.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Names it to the operator. It is never used again.
    pub id: u64,
    /// Where it is.
    pub tier: TierName,
    /// Under which key.
    pub key: Key,
    /// When it was first seen.
    pub first_seen: Time,
    /// When it was last seen.
    pub last_seen: Time,
    /// Its size in bytes.
    pub bytes_len: usize,
    /// Of all its bytes.
    pub digest: Digest,
    /// memcached client flags; 0 elsewhere.
    pub flags: u32,
    /// Its first bytes, at most [`HEAD_BYTES_MAX`].
    pub head: Vec<u8>,
    /// Why it stands for no value.
    pub error: Rejection,
}

#[derive(Default)]
pub(super) struct Quarantine(Mutex<State>);

#[derive(Default)]
struct State {
    /// The oldest first.
    entries: VecDeque<Quarantined>,
    /// Where the same payload was seen before.
    known: HashMap<Place, u64>,
    /// What was removed, and when, for as long as a look may still bring it.
    removed: HashMap<Place, Time>,
    bytes: usize,
    last_id: u64,
}

type Place = (TierName, Key, Digest);

// === impl Quarantined ===

impl Quarantined {
    fn place(&self) -> Place {
        (self.tier.clone(), self.key.clone(), self.digest)
    }

    fn bytes_held(&self) -> usize {
        let error = self.error.code.len() + self.error.message.len() + self.error.path.len();
        // The key stands in the index, too.
        size_of::<Self>() + size_of::<(Place, u64)>() + 2 * self.key.as_str().len() + self.head.len() + error
    }
}

// === impl Quarantine ===

impl Quarantine {
    /// Notes a payload; says whether it was not known yet.
    pub fn note(
        &self,
        tier: &TierName,
        key: &Key,
        digest: Digest,
        payload: &Payload,
        error: &Rejection,
        now: Time,
    ) -> bool {
        let mut state = self.lock();
        let place = (tier.clone(), key.clone(), digest);
        if let Some(&id) = state.known.get(&place) {
            if let Some(entry) = state.entries.iter_mut().rev().find(|entry| entry.id == id) {
                entry.last_seen = now;
            }
            return false;
        }
        if state.removed.get(&place).is_some_and(|removed| now.since(*removed) < LOOK_UNDER_WAY_MAX) {
            return false;
        }
        state.last_id += 1;
        let entry = Quarantined {
            id: state.last_id,
            tier: tier.clone(),
            key: key.clone(),
            first_seen: now,
            last_seen: now,
            bytes_len: payload.bytes.len(),
            digest,
            flags: payload.flags,
            head: payload.bytes[..payload.bytes.len().min(HEAD_BYTES_MAX)].to_vec(),
            error: Rejection { code: cut(&error.code), message: cut(&error.message), path: cut(&error.path) },
        };
        state.bytes += entry.bytes_held();
        state.known.insert(place, entry.id);
        state.entries.push_back(entry);
        while state.entries.len() > ENTRIES_MAX || state.bytes > BYTES_MAX {
            state.forget_oldest();
        }
        metrics::quarantined(tier, state.entries.len());
        true
    }

    pub fn all(&self) -> Vec<Quarantined> {
        self.lock().entries.iter().rev().cloned().collect()
    }

    pub fn get(&self, id: u64) -> Option<Quarantined> {
        self.lock().entries.iter().find(|entry| entry.id == id).cloned()
    }

    pub fn of(&self, key: &Key) -> Vec<Quarantined> {
        self.lock().entries.iter().rev().filter(|entry| entry.key == *key).cloned().collect()
    }

    /// Forgets an entry whose bytes are no longer there.
    fn forget(&self, id: u64, now: Time) {
        let mut state = self.lock();
        let Some(at) = state.entries.iter().position(|entry| entry.id == id) else { return };
        if let Some(entry) = state.entries.remove(at) {
            state.gone(&entry);
            state.removed.retain(|_, removed| now.since(*removed) < LOOK_UNDER_WAY_MAX);
            state.removed.insert(entry.place(), now);
        }
        metrics::quarantine_entries(state.entries.len());
    }

    /// Every change under the lock is whole before anything in it can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn forget_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.gone(&entry);
            metrics::quarantine_overflow(&entry.tier);
        }
    }

    fn gone(&mut self, entry: &Quarantined) {
        self.bytes -= entry.bytes_held();
        self.known.remove(&entry.place());
    }
}

// === impl Cache ===

impl Cache {
    /// Payloads that could not be decoded, the newest first.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        self.appraiser.quarantine.all()
    }

    /// The one with this number.
    pub fn quarantined(&self, id: u64) -> Option<Quarantined> {
        self.appraiser.quarantine.get(id)
    }

    /// Removes exactly the bytes of this entry from their tier, and tells what the tier did; `None`: there is no such entry.
    /// Others that stand there by now stay. Unless the tier failed, the entry is gone.
    pub async fn remove_quarantined(&self, id: u64) -> Option<(Quarantined, DeleteOutcome)> {
        let entry = self.quarantined(id)?;
        let outcome = match self.tiers.iter().find(|tier| *tier.name() == entry.tier) {
            Some(tier) => tier.delete_exact(&entry.key, entry.digest).await,
            None => DeleteOutcome::Absent,
        };
        let why = "an operator removed a quarantined payload";
        self.history.removed(&entry.key, &entry.tier, Version(0), &outcome, why);
        let now = Time::now();
        match &outcome {
            DeleteOutcome::Deleted | DeleteOutcome::Absent => {
                self.appraiser.saw_removed(&entry.tier, &entry.key, Version(0), now);
                self.appraiser.quarantine.forget(id, now);
            }
            DeleteOutcome::Superseded => self.appraiser.quarantine.forget(id, now),
            DeleteOutcome::Queued(_) | DeleteOutcome::Failed(_) | DeleteOutcome::Unknown(_) => {}
        }
        let Quarantined { tier, key, digest, .. } = &entry;
        tracing::warn!(%tier, %key, ?digest, outcome = outcome.label(), "an operator removes a quarantined payload");
        Some((entry, outcome))
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn note(quarantine: &Quarantine, key: &str, bytes: &[u8], message: &str) -> bool {
        let payload = Payload { bytes: Bytes::copy_from_slice(bytes), flags: 1, remaining: None, stamp: None };
        let error = Rejection { code: "pickle".into(), message: message.into(), path: "$".into() };
        let digest = Digest::of(bytes);
        quarantine.note(&TierName::new("memcached"), &Key::new(key).unwrap(), digest, &payload, &error, Time::now())
    }

    #[test]
    fn the_same_payload_is_one_entry_however_often_it_is_seen() {
        let quarantine = Quarantine::default();
        assert!(note(&quarantine, "k", b"junk", "why"));
        assert!(!note(&quarantine, "k", b"junk", "why"));
        assert!(note(&quarantine, "k", b"other junk", "why"));
        assert!(note(&quarantine, "k2", b"junk", "why"));
        assert_eq!(quarantine.all().len(), 3);
    }

    #[test]
    fn a_thousand_entries_are_kept_and_one_more_pushes_the_oldest_out() {
        let quarantine = Quarantine::default();
        for n in 0..ENTRIES_MAX {
            note(&quarantine, &format!("k{n}"), b"junk", "why");
        }
        assert_eq!((quarantine.all().len(), quarantine.get(1).is_some()), (ENTRIES_MAX, true));
        note(&quarantine, "one:more", b"junk", "why");
        assert_eq!((quarantine.all().len(), quarantine.get(1).is_some()), (ENTRIES_MAX, false));
        assert!(note(&quarantine, "k0", b"junk", "why"), "it was forgotten whole");
    }

    #[test]
    fn their_bytes_are_bounded_too_and_only_the_beginning_of_each_is_kept() {
        let quarantine = Quarantine::default();
        let long = "x".repeat(100_000);
        // All of the same size.
        let one_more = |n: usize| note(&quarantine, &format!("{n:05}"), format!("{n:05}{long}").as_bytes(), &long);
        one_more(0);
        let one = quarantine.all()[0].clone();
        assert_eq!((one.head.len(), one.error.message.len(), one.bytes_len), (256, 512, 100_005));
        let fit = BYTES_MAX / one.bytes_held();
        assert!(fit < ENTRIES_MAX, "else this shows nothing");
        (1..fit).for_each(|n| assert!(one_more(n)));
        assert!(quarantine.get(1).is_some());
        one_more(fit);
        assert_eq!((quarantine.get(1).is_some(), quarantine.all().len()), (false, fit));
        assert!(quarantine.lock().bytes <= BYTES_MAX);
    }

    #[test]
    fn a_look_that_was_under_way_does_not_bring_back_what_was_removed() {
        let quarantine = Quarantine::default();
        note(&quarantine, "k", b"junk", "why");
        quarantine.forget(1, Time::now());
        assert!(!note(&quarantine, "k", b"junk", "why"), "the look began before");
        assert!(note(&quarantine, "k", b"other junk", "why"));
        note(&quarantine, "k2", b"junk", "why");
        quarantine.forget(3, Time::from_micros(Time::now().micros() - LOOK_UNDER_WAY_MAX.as_micros() as u64));
        assert!(note(&quarantine, "k2", b"junk", "why"), "no look takes that long: its producer wrote it again");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(300)).len(), 512);
        assert_eq!(cut(&format!("a{}", "é".repeat(300))).len(), 511);
    }
}
