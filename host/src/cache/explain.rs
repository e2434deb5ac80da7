//! Explaining: for one key, what every tier holds, who wrote it, what was refused, what waits, and what a reader would get.
//!
//! Asking changes nothing: nothing is adopted, promoted or put back.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::history::{FOREIGN, Written};
use super::quarantine::Quarantined;
use super::read::{Answer, ask};
use super::recovery::WaitingItem;
use super::{Cache, KeyPolicy};
use crate::record::{Key, Order, Origin, ReadOutcome, Record, StaleWhy, TierName, Time, Version};
use crate::tier::breaker::Standing;
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

impl Cache {
    /// Explains `key`.
    pub async fn explain(&self, key: &Key) -> Explanation {
        let (begun, deadline) = (Time::now(), Instant::now() + self.deadline);
        let keys = std::slice::from_ref(key);
        let answers = join_all(self.tiers.iter().map(|tier| ask(tier, keys, deadline, "explain"))).await;
        let now = Time::now();
        let held = self.memory.get(key);
        let mut tiers = vec![Place {
            tier: self.memory.name().clone(),
            stored_bytes: held.as_ref().map(|record| record.bytes.len()),
            writer: held.as_deref().map(|record| self.writer(key, record, false)),
            holds: held.map_or(Holds::Nothing, Holds::Value),
            flags: 0,
            breakers: None,
            waits: None,
        }];
        for (at, answer) in answers.into_iter().enumerate() {
            tiers.push(self.place(at, key, answer, begun));
        }
        Explanation {
            policy: self.policy.of(key).clone(),
            floor: self.floors.get(key),
            serves: self.serves(key, &tiers, now),
            tiers,
            writes: self.history.of(key),
            quarantined: self.appraiser.quarantine.of(key),
            key: key.clone(),
            at: now,
        }
    }

    fn place(&self, at: usize, key: &Key, answer: Result<Vec<Option<Found>>, String>, begun: Time) -> Place {
        let tier = &self.tiers[at];
        let (mut stored_bytes, mut flags, mut is_noted) = (None, 0, false);
        let holds = match answer {
            Err(why) => Holds::NoAnswer(why),
            Ok(found) => {
                let found = found.into_iter().next().flatten();
                match &found {
                    Some(Found::Shared(payload)) => {
                        (stored_bytes, flags) = (Some(payload.bytes.len()), payload.flags);
                        is_noted = payload.stamp.is_some();
                    }
                    Some(Found::Whole(record)) => stored_bytes = Some(record.bytes.len()),
                    None => {}
                }
                match self.judge(tier, key, found.as_ref(), begun) {
                    Answer::Absent | Answer::Failed => Holds::Nothing,
                    Answer::Value(record) => Holds::Value(record),
                    Answer::Unjudged => Holds::Unjudged,
                    Answer::Junk => {
                        let known = self.appraiser.quarantine.of(key);
                        let mine = known.into_iter().find(|entry| entry.tier == *tier.name());
                        Holds::Junk(mine.map_or_else(|| "it cannot be decoded".to_owned(), |e| e.error.to_string()))
                    }
                }
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
    fn serves(&self, key: &Key, tiers: &[Place], now: Time) -> Serves {
        let failed: Vec<(TierName, String)> = tiers
            .iter()
            .filter_map(|place| match &place.holds {
                Holds::NoAnswer(why) => Some((place.tier.clone(), why.clone())),
                _ => None,
            })
            .collect();
        let values = tiers.iter().filter_map(|place| match &place.holds {
            Holds::Value(record) if !self.is_deleted(key, record.version) => Some((&place.tier, record)),
            _ => None,
        });
        let values: Vec<_> = values.filter(|(_, record)| record.is_live(now)).collect();
        // Memory answers at once; another value below is served from the next look on.
        let memory = values.iter().find(|(tier, _)| *tier == self.memory.name()).copied();
        let greatest = values.iter().copied().max_by_key(|(_, record)| Order::of(record, now));
        let Some((tier, record)) = memory.or(greatest) else {
            return if failed.is_empty() {
                let why = "no tier has a live value".to_owned();
                Serves { record: None, outcome: ReadOutcome::Miss, why }
            } else {
                let why = "no tier that answered has a live value, and some did not answer".to_owned();
                Serves { record: None, outcome: ReadOutcome::Unavailable { failed }, why }
            };
        };
        let better = greatest.filter(|(_, other)| Order::of(other, now) > Order::of(record, now));
        let mut why = match (memory.is_some(), better) {
            (true, None) => "memory has it, and no tier has a greater one".to_owned(),
            (true, Some((tier, _))) => format!("memory has it; {tier} has a greater one, which the next look takes up"),
            (false, _) => format!("memory has nothing; of what the tiers hold, that of {tier} is the greatest"),
        };
        let outcome = if record.is_fresh(now) {
            ReadOutcome::Hit { tier: tier.clone() }
        } else {
            let stale = if failed.is_empty() { StaleWhy::NotRenewed } else { StaleWhy::TierFailed };
            why.push_str("; it is past its freshness and served as stale");
            ReadOutcome::Stale { tier: tier.clone(), why: stale }
        };
        Serves { record: Some(record.clone()), outcome, why }
    }
}
