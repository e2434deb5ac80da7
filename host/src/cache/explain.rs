//! Explaining: for one key, what every tier holds, who wrote it, what was refused, what waits, and what a reader would get.
//!
//! Asking changes nothing: nothing is adopted, promoted or put back.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::bridge::BridgeCopy;
use super::history::{FOREIGN, Written};
use super::quarantine::Quarantined;
use super::read::{Answer, Course, ask, share_notes};
use super::recovery::WaitingItem;
use super::{Cache, KeyPolicy, Read, Refreshed};
use crate::record::{Key, Order, Origin, ReadOutcome, Record, StaleWhy, TierName, Time, Version};
use crate::tier::breaker::Standing;
use crate::tier::memory::Hit;
use crate::tier::{Found, Tier as _};

/// Everything that is known of a key.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The key.
    pub key: Key,
    /// The moment that all of this is about.
    pub at: Time,
    /// What holds for it.
    pub policy: KeyPolicy,
    /// Values up to this version were deleted and do not come back.
    pub floor: Option<Version>,
    /// Memory first, then the tiers below, from the fastest to the slowest.
    pub tiers: Vec<Place>,
    /// The last writes, the newest first.
    pub writes: Vec<Written>,
    /// Payloads of it that could not be decoded, the newest first.
    pub quarantined: Vec<Quarantined>,
    /// What a reader would get now.
    pub serves: Serves,
}

/// One tier, as far as the key is concerned.
#[derive(Clone, Debug)]
pub struct Place {
    /// The tier.
    pub tier: TierName,
    /// What is there.
    pub holds: Holds,
    /// The bytes that are stored there, which may differ from the canonical ones.
    pub stored_bytes: Option<usize>,
    /// memcached client flags, where they are not 0.
    pub flags: u32,
    /// Who wrote the value, as far as this gateway knows; `None` where there is none.
    pub writer: Option<Arc<str>>,
    /// Its breakers, for reads and for writes.
    pub breakers: Option<(Standing, Standing)>,
    /// What waits for it.
    pub waits: Option<WaitingItem>,
}

/// What a tier holds under a key.
#[derive(Clone, Debug)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// A value.
    Value(Arc<Record>),
    /// Bytes that stand for no value, and why.
    Junk(String),
    /// Bytes that could not be judged.
    Unjudged,
    /// The tier did not answer, and why.
    NoAnswer(String),
}

/// What a reader would get.
#[derive(Clone, Debug)]
pub struct Serves {
    /// The value.
    pub record: Option<Arc<Record>>,
    /// Where it would come from, and how good it is.
    pub outcome: ReadOutcome,
    /// Why, in a sentence.
    pub why: String,
}

/// What a look below memory found.
struct Below {
    seen: Vec<Answer>,
    bridged: Option<BridgeCopy>,
    failed: Vec<(TierName, String)>,
}

// === impl Cache ===

impl Cache {
    /// Keys that contain this text, of those that are in memory or whose writes are remembered, in order.
    pub fn keys(&self, contains: &str) -> Vec<Key> {
        let known = self.memory.keys().chain(self.history.keys());
        let found: BTreeSet<Key> = known.filter(|key| key.as_str().contains(contains)).collect();
        found.into_iter().collect()
    }

    /// Explains `key`.
    pub async fn explain(&self, key: &Key) -> Explanation {
        let (begun, deadline) = (Time::now(), Instant::now() + self.deadline);
        let keys = std::slice::from_ref(key);
        let mut answers = join_all(self.tiers.iter().map(|tier| ask(tier, keys, deadline, "explain"))).await;
        share_notes(&mut answers, keys.len());
        let bridged = self.bridge_copies(keys, &answers, deadline).await.pop().flatten();
        let now = Time::now();
        let hit = self.memory.would_hit(key, now);
        let mut tiers = vec![self.in_front(key, hit.as_ref())];
        let (seen, failed) = self.judge_all(key, 0, &answers, begun);
        let judged = answers.into_iter().zip(&seen).enumerate();
        tiers.extend(judged.map(|(at, (answer, judged))| self.place(at, key, answer, judged)));
        Explanation {
            policy: self.policy.of(key).clone(),
            floor: self.floors.get(key),
            serves: self.serves(key, now, hit, Below { seen, bridged, failed }),
            tiers,
            writes: self.history.of(key),
            quarantined: self.appraiser.quarantine.of(key),
            key: key.clone(),
            at: now,
        }
    }

    /// What memory holds.
    fn in_front(&self, key: &Key, hit: Option<&Hit>) -> Place {
        let held = hit.map(|hit| hit.record.clone());
        Place {
            tier: self.memory.name().clone(),
            stored_bytes: held.as_ref().map(|record| record.bytes.len()),
            writer: held.as_deref().map(|record| self.writer(key, record, false)),
            holds: held.map_or(Holds::Nothing, Holds::Value),
            flags: 0,
            breakers: None,
            waits: None,
        }
    }

    /// What a tier below holds, by its answer and what that is worth.
    fn place(&self, at: usize, key: &Key, answer: Result<Vec<Option<Found>>, String>, judged: &Answer) -> Place {
        let tier = &self.tiers[at];
        let (mut stored_bytes, mut flags, mut is_noted) = (None, 0, false);
        match answer.as_ref().ok().and_then(|found| found.first()?.as_ref()) {
            Some(Found::Shared(payload)) => {
                (stored_bytes, flags) = (Some(payload.bytes.len()), payload.flags);
                is_noted = payload.stamp.is_some();
            }
            Some(Found::Whole(record)) => stored_bytes = Some(record.bytes.len()),
            None => {}
        }
        let holds = match (answer, judged) {
            (Err(why), _) => Holds::NoAnswer(why),
            (Ok(_), Answer::Absent | Answer::Failed) => Holds::Nothing,
            (Ok(_), Answer::Value(record)) => Holds::Value(record.clone()),
            (Ok(_), Answer::Unjudged) => Holds::Unjudged,
            (Ok(_), Answer::Junk) => {
                let known = self.appraiser.quarantine.of(key);
                let mine = known.into_iter().find(|entry| entry.tier == *tier.name());
                Holds::Junk(mine.map_or_else(|| "it cannot be decoded".to_owned(), |e| e.error.to_string()))
            }
        };
        let writer = match &holds {
            Holds::Value(record) => Some(self.writer(key, record, is_noted)),
            _ => None,
        };
        let breakers = tier.breakers().map(|both| (both.read.standing(), both.write.standing()));
        Place {
            tier: tier.name().clone(),
            holds,
            stored_bytes,
            flags,
            writer,
            breakers,
            waits: self.lanes[at].item(key),
        }
    }

    /// Who wrote a value: whoever wrote it through this gateway; else another gateway, where one noted it; else somebody who
    /// knows of none.
    fn writer(&self, key: &Key, record: &Record, is_noted: bool) -> Arc<str> {
        let is_it = |known: &Record| known.version == record.version && known.digest == record.digest;
        let known = [Some(record), self.memory.get(key).filter(|known| is_it(known)).as_deref()]
            .into_iter()
            .flatten()
            .find_map(|record| match &record.origin {
                Origin::Gateway(writer) => Some(writer.clone()),
                Origin::Tier(_) => None,
            });
        let remembered = || self.history.writer_of(key, record);
        known.or_else(remembered).unwrap_or_else(|| if is_noted { "another gateway" } else { FOREIGN }.into())
    }

    /// What [`Cache::get`] would answer, without its effects.
    fn serves(&self, key: &Key, now: Time, hit: Option<Hit>, below: Below) -> Serves {
        let Below { seen, bridged, failed } = below;
        let held = hit.as_ref().map(|hit| hit.record.clone());
        let greatest = self.greatest(key, now, held.clone(), &seen, bridged);
        let found = greatest.map(|(record, place)| (record, self.name_of(place)));
        let looked = Refreshed { found, failed, moved: false };
        let course = hit.as_ref().map(|hit| self.course(hit, now));
        let Read { record, outcome } = match (course, held.clone()) {
            (Some(Course::MakeSure), Some(held)) => self.sure(held, Some(&looked)),
            (Some(Course::Answer(stale)), held) => Read { record: held, outcome: self.in_memory(stale) },
            (_, None) | (None, _) => self.landed(&looked),
        };
        let is_greater = |other: &Record| held.is_none_or(|held| Order::of(other, now) > Order::of(&held, now));
        let greater = looked.found.filter(|(record, _)| is_greater(record)).map(|(_, tier)| tier);
        let why = format!("{}{}", self.why(course, greater.as_ref(), !looked.failed.is_empty()), why_stale(&outcome));
        Serves { record, outcome, why }
    }

    /// Why a reader gets what it gets: on this course, where this tier has a greater value than memory.
    fn why(&self, course: Option<Course>, greater: Option<&TierName>, some_failed: bool) -> String {
        match (course, greater) {
            (None, None) if some_failed => "no tier that answered has a live value, and some did not answer".to_owned(),
            (None, None) => "no tier has a live value".to_owned(),
            (None, Some(tier)) => format!("memory has nothing; of what the tiers hold, that of {tier} is the greatest"),
            (Some(Course::Answer(_)), None) => "memory has it, and no tier has a greater one".to_owned(),
            (Some(Course::Answer(_)), Some(tier)) => {
                format!("memory has it; {tier} has a greater one, which the next look takes up")
            }
            (Some(Course::MakeSure), greater) => {
                let missed = self.degraded().map_or_else(String::new, |degraded| format!(" ({})", degraded.why));
                let found = greater.map_or_else(|| "memory".to_owned(), ToString::to_string);
                format!("changes may be missed{missed}, so all tiers are asked first; {found} has the greatest value")
            }
        }
    }
}

/// More on why it is stale.
fn why_stale(outcome: &ReadOutcome) -> &'static str {
    match outcome {
        ReadOutcome::Stale { why: StaleWhy::Revalidating, .. } => "; it is due for another look, which a read begins",
        ReadOutcome::Stale { why: StaleWhy::NotRenewed, .. } => "; it is past its freshness and served as stale",
        ReadOutcome::Stale { why: StaleWhy::TierFailed, .. } => "; a tier that may have a newer one did not answer",
        ReadOutcome::Hit { .. } | ReadOutcome::Miss | ReadOutcome::Unavailable { .. } => "",
    }
}
