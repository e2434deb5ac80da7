//! [`Symptoms`]: what was wrong with values that others brought or left in a tier, though they could be used, or readers were
//! kept from them. Payloads that could not be used at all are in quarantine.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache as Map;

use super::{Cache, Decoded};
use crate::record::{Key, Kind, Record, Repair, TierName, Time, Version};
use crate::tier::Payload;

/// Symptoms that are remembered; the least used are forgotten.
const SYMPTOMS_MAX: usize = 1_000;

/// Kinds of repairs of one payload that are told.
const REPAIRS_TOLD_MAX: usize = 8;

/// A life in a shared tier beyond which nobody can have meant it: memcached takes longer ones for a date.
pub(super) const LIFE_MEANT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A life that was to end within this may have ended: shared tiers count whole seconds.
const VANISHED_EARLY: Duration = Duration::from_secs(3);

/// The longest evidence that is kept, in bytes.
const EVIDENCE_BYTES_MAX: usize = 256;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symptom {
    /// It needed repairs of this code before readers could have it.
    Repaired(Arc<str>),
    /// Its timestamp lies ahead of this gateway's clock.
    ClockAhead,
    /// It does not end.
    Endless,
    /// It lives longer than anybody can have meant.
    LongLived,
    /// It was there, with time left, and is gone, and no gateway deleted it.
    Vanished,
    /// It is a stand-in where real data is.
    Placeholder,
    /// It is of a writer whom the owner of the key outranks.
    Outranked,
}

/// A symptom as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of the values of which key.
    pub key: Key,
    /// In which tier; `None`: a writer brought it to this gateway.
    pub tier: Option<TierName>,
    /// What was wrong.
    pub symptom: Symptom,
    /// By what that can be told.
    pub evidence: String,
    /// When it was first seen.
    pub first: Time,
    /// When it was last seen.
    pub last: Time,
}

type Place = (Key, Option<TierName>, Symptom);

pub(super) struct Symptoms(Map<Place, Arc<Seen>>);

// === impl Symptoms ===

impl Symptoms {
    pub fn new() -> Self {
        Self(Map::new(SYMPTOMS_MAX))
    }

    /// Notes that this was seen again, or for the first time.
    pub fn note(&self, key: &Key, tier: Option<&TierName>, symptom: Symptom, mut evidence: String) {
        evidence.truncate(evidence.floor_char_boundary(EVIDENCE_BYTES_MAX));
        let (now, place) = (Time::now(), (key.clone(), tier.cloned(), symptom));
        let first = self.0.peek(&place).map_or(now, |known| known.first);
        let (key, tier, symptom) = place.clone();
        self.0.insert(place, Arc::new(Seen { key, tier, symptom, evidence, first, last: now }));
    }

    /// Notes what is wrong with a payload, wherever it was.
    pub fn of_payload(&self, key: &Key, tier: Option<&TierName>, decoded: &Decoded, now: Time) {
        let mut told: Vec<&str> = Vec::new();
        for Repair { code, path, message } in &decoded.repairs {
            if told.len() < REPAIRS_TOLD_MAX && !told.contains(&code.as_str()) {
                told.push(code);
                self.note(key, tier, Symptom::Repaired(code.as_str().into()), format!("at {path}: {message}"));
            }
        }
        if let Some(at) = decoded.produced_at.filter(|&at| at > now.after(Version::AHEAD_MAX)) {
            let ahead = Duration::from_secs(at.since(now).as_secs());
            let ahead = humantime::format_duration(ahead);
            self.note(
                key,
                tier,
                Symptom::ClockAhead,
                format!("its timestamp is {ahead} ahead of this gateway's clock"),
            );
        }
    }

    /// Notes what is wrong with how long a payload that nobody's gateway wrote lives.
    pub fn of_life(&self, key: &Key, tier: &TierName, payload: &Payload) {
        match payload.remaining {
            _ if payload.stamp.is_some() => {}
            None => self.note(key, Some(tier), Symptom::Endless, "it has no time to live".to_owned()),
            Some(left) if left > LIFE_MEANT_MAX => {
                let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
                self.note(key, Some(tier), Symptom::LongLived, format!("{left} of its life are left"));
            }
            Some(_) => {}
        }
    }

    /// Notes that a value whose life was to end at `end` is gone.
    pub fn gone(&self, key: &Key, tier: &TierName, end: Option<Time>, now: Time) {
        if end.is_some_and(|end| end <= now.after(VANISHED_EARLY)) {
            return;
        }
        let left = end.map_or_else(
            || "it had no end".to_owned(),
            |end| format!("{}s of its life were left", end.remaining(now).as_secs()),
        );
        self.note(key, Some(tier), Symptom::Vanished, left);
    }

    /// Notes why readers are kept from a value that was found in a tier.
    pub fn lesser(&self, key: &Key, tier: &TierName, found: &Record, greater: &Record) {
        let symptom = match () {
            () if found.kind == Kind::Placeholder && greater.kind == Kind::Real => Symptom::Placeholder,
            () if found.kind == greater.kind && found.rank < greater.rank => Symptom::Outranked,
            // An older value of the same writer: what everybody sees while a newer one is on its way.
            () => return,
        };
        let evidence = format!(
            "found: {} of rank {}, {} bytes; known: {} of rank {}, {} bytes",
            found.kind.as_str(),
            found.rank,
            found.bytes.len(),
            greater.kind.as_str(),
            greater.rank,
            greater.bytes.len()
        );
        self.note(key, Some(tier), symptom, evidence);
    }
}

// === impl Cache ===

impl Cache {
    /// What was wrong with values that were seen since then, by key and tier.
    pub fn symptoms(&self, since: Time) -> Vec<Seen> {
        let all = self.appraiser.symptoms.0.iter().map(|(_, seen)| seen);
        let mut seen: Vec<Seen> = all.filter(|seen| seen.last >= since).map(|seen| (*seen).clone()).collect();
        seen.sort_by(|a, b| {
            (&a.key, a.tier.as_ref().map(TierName::as_str)).cmp(&(&b.key, b.tier.as_ref().map(TierName::as_str)))
        });
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(symptoms: &Symptoms) -> Vec<Symptom> {
        symptoms.0.iter().map(|(_, seen)| seen.symptom.clone()).collect()
    }

    #[test]
    fn a_value_that_went_when_its_life_was_over_did_not_vanish() {
        let (symptoms, now) = (Symptoms::new(), Time::now());
        let (key, tier) = (Key::new("k").unwrap(), TierName::new("memcached"));
        symptoms.gone(&key, &tier, Some(now.after(Duration::from_secs(1))), now);
        assert_eq!(all(&symptoms), []);
        symptoms.gone(&key, &tier, Some(now.after(Duration::from_secs(60))), now);
        symptoms.gone(&key, &tier, None, now);
        assert_eq!(all(&symptoms), [Symptom::Vanished], "once, however often it is seen");
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let symptoms = Symptoms::new();
        for n in 0..SYMPTOMS_MAX * 3 {
            symptoms.note(&Key::new(format!("k{n}")).unwrap(), None, Symptom::Endless, "é".repeat(1_000));
        }
        assert!(symptoms.0.len() <= SYMPTOMS_MAX, "{}", symptoms.0.len());
        assert!(symptoms.0.iter().all(|(_, seen)| seen.evidence.len() <= EVIDENCE_BYTES_MAX));
    }
}
