//! Reading: memory, then one flight per key through the tiers below, and never longer than one deadline.
//!
//! Whatever a look below brings is reconciled by [`Order`]: the greatest value is adopted, tiers above the one that had it
//! get it for its remaining lifetime, a tier that holds a lesser one gets the greater one back, and one that holds what was
//! deleted is rid of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::bridge::BridgeCopy;
use super::flight::{Seat, landed};
use super::mend::{Lack, Remedy};
use super::{Cache, Change};
use crate::record::{Key, Order, ReadOutcome, Record, StaleWhy, TierName, Time, Version, WriteOutcome};
use crate::telemetry::metrics;
use crate::tier::memory::Hit;
use crate::tier::{Found, Tier};

/// Keys that a tier is asked for in one call, under one deadline.
pub(super) const KEYS_AT_ONCE: usize = 64;

/// The name of memory among the tiers.
pub(crate) const MEMORY: &str = "memory";

/// The answer to a read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The value, fresh or stale.
    pub record: Option<Arc<Record>>,
    /// Where it came from, and how good it is.
    pub outcome: ReadOutcome,
}

/// What a look below memory brought.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The greatest value known now, and where it was.
    pub found: Option<(Arc<Record>, TierName)>,
    /// Tiers that did not answer.
    pub failed: Vec<(TierName, String)>,
    /// Whether memory took it, or a tier is being given a copy of it.
    pub moved: bool,
}

/// How a reader is answered whose value is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// With what the tiers below have, too: it may have been overtaken.
    MakeSure,
    /// At once, fresh or stale for this reason. With [`StaleWhy::Revalidating`] a flight looks below meanwhile.
    Answer(Option<StaleWhy>),
}

/// A tier's answer about one key.
pub(super) enum Answer {
    Failed,
    Absent,
    Value(Arc<Record>),
    /// Bytes that stand for no value.
    Junk,
    /// What could not be judged this time.
    Unjudged,
}

impl Cache {
    /// Reads `key`. A live value in memory is answered at once; when it is due for another look below, one flight looks
    /// while the reader already has its answer.
    pub async fn get(self: &Arc<Self>, key: &Key) -> Read {
        let now = Time::now();
        match self.memory.hit(key, now) {
            Some(hit) => match self.course(&hit, now) {
                Course::MakeSure => self.made_sure(key, hit.record).await,
                Course::Answer(stale) => {
                    if stale == Some(StaleWhy::Revalidating) {
                        self.take_off(key);
                    }
                    self.count_hit(stale);
                    Read { record: Some(hit.record), outcome: self.in_memory(stale) }
                }
            },
            None => {
                let read = self.from_below(key).await;
                if read.record.is_none() {
                    self.note_miss(key);
                }
                metrics::read(&read.outcome);
                read
            }
        }
    }

    /// How a reader is answered who hits this in memory.
    pub(super) fn course(&self, hit: &Hit, now: Time) -> Course {
        if self.is_suspect(hit, now) {
            Course::MakeSure
        } else if hit.is_due && !self.tiers.is_empty() {
            Course::Answer(Some(StaleWhy::Revalidating))
        } else {
            Course::Answer((!hit.record.is_fresh(now)).then_some(StaleWhy::NotRenewed))
        }
    }

    /// The outcome of a read that memory answered, fresh or stale for this reason.
    pub(super) fn in_memory(&self, stale: Option<StaleWhy>) -> ReadOutcome {
        let tier = self.memory.name().clone();
        match stale {
            None => ReadOutcome::Hit { tier },
            Some(why) => ReadOutcome::Stale { tier, why },
        }
    }

    fn count_hit(&self, stale: Option<StaleWhy>) {
        let counter = if stale.is_none() { &self.counters.hit } else { &self.counters.stale };
        counter.increment(1);
    }

    /// What memory holds, without a look below.
    pub fn peek(&self, key: &Key) -> Option<Arc<Record>> {
        self.memory.get(key)
    }

    /// Looks below memory for all of `keys` and reconciles what it finds; [`KEYS_AT_ONCE`] at a time, so that a store that is
    /// slow with many large values still gets through.
    pub async fn refresh(self: &Arc<Self>, keys: &[Key]) -> Vec<Refreshed> {
        let (all, lacks) = self.refresh_all("look", keys).await;
        // A gateway may be about to tell that it wrote the same anew.
        let (deletes, copies): (Vec<_>, Vec<_>) =
            lacks.into_iter().partition(|lack| matches!(lack.remedy, Remedy::Delete(_)));
        deletes.iter().for_each(|lack| self.hint_later(&lack.key));
        self.start_to_mend(copies);
        all
    }

    /// The same of keys that were hinted at some time ago; what a tier holds though it was deleted is removed, too.
    pub(super) async fn refresh_again(self: &Arc<Self>, keys: &[Key]) -> Vec<Refreshed> {
        let (all, lacks) = self.refresh_all("again", keys).await;
        self.start_to_mend(lacks);
        all
    }

    async fn refresh_all(&self, why: &'static str, keys: &[Key]) -> (Vec<Refreshed>, Vec<Lack>) {
        let mut all = Vec::with_capacity(keys.len());
        let mut lacks = Vec::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            self.refresh_some(why, keys, &mut all, &mut lacks).await;
        }
        (all, lacks)
    }

    /// Looks below memory for `keys`, at most [`KEYS_AT_ONCE`], and adopts what is greater; no tier is written. Where one
    /// holds a lesser value, or a deleted one, it is looked at again later: until then whoever writes the greater one, or
    /// deletes, may have ended.
    pub(super) async fn look(&self, why: &'static str, keys: &[Key]) -> Vec<Refreshed> {
        let (all, lacks) = self.refresh_all(why, keys).await;
        for lack in lacks.iter().filter(|lack| !matches!(lack.remedy, Remedy::Promotion(_))) {
            self.hint_later(&lack.key);
        }
        all
    }

    async fn refresh_some(&self, why: &'static str, keys: &[Key], all: &mut Vec<Refreshed>, lacks: &mut Vec<Lack>) {
        let (begun, deadline) = (Time::now(), Instant::now() + self.deadline);
        let mut answers = join_all(self.tiers.iter().map(|tier| ask(tier, keys, deadline, why))).await;
        share_notes(&mut answers, keys.len());
        let bridged = self.bridge_copies(keys, &answers, deadline).await;
        for (at, answer) in answers.iter().enumerate() {
            self.note_health(at, answer.as_ref().err());
        }
        let now = Time::now();
        for ((at, key), bridged) in keys.iter().enumerate().zip(bridged) {
            // Asked before the answers are judged: what a write that has ended by then brought to a tier is noted.
            let (is_written, known) = (self.hints.is_written(key), lacks.len());
            let (seen, failed) = self.judge_all(key, at, &answers, begun);
            let answered = failed.len() < self.tiers.len();
            let refreshed = self.reconcile(key, now, &seen, bridged, failed, lacks);
            if is_written && lacks.len() > known {
                // Each tier is about to get it for the life that it has there, and not for what it has in another.
                lacks.truncate(known);
                self.repeat(key);
            }
            // A tier that does not answer may have something newer.
            if refreshed.found.is_none() && refreshed.failed.is_empty() {
                self.find_deleted(key, &seen, lacks);
            }
            all.push(refreshed);
            if answered {
                self.looked(key, now);
            }
        }
    }

    /// Notes that the tiers below hold nothing greater than memory does.
    pub(super) fn looked(&self, key: &Key, now: Time) {
        self.memory.looked(key, now, now.after(self.policy.of(key).ttl.memory));
    }

    /// Starts a flight for `key`, or joins the one under way.
    pub(super) fn take_off(self: &Arc<Self>, key: &Key) -> tokio::sync::watch::Receiver<Option<Arc<Refreshed>>> {
        match self.flights.board(key) {
            Seat::Follower(arrival) => arrival,
            Seat::Leader(land, arrival) => {
                let (cache, key) = (self.clone(), key.clone());
                tokio::spawn(async move {
                    let ended = EndOfFlight { cache: &cache, key: &key };
                    let refreshed = cache.refresh(std::slice::from_ref(&key)).await.pop();
                    drop(ended);
                    land.send_replace(refreshed.map(Arc::new));
                });
                arrival
            }
        }
    }

    async fn from_below(self: &Arc<Self>, key: &Key) -> Read {
        let arrival = self.take_off(key);
        let unavailable = |why: &str| ReadOutcome::Unavailable {
            failed: self.tiers.iter().map(|tier| (tier.name().clone(), why.to_owned())).collect(),
        };
        // The tiers have the deadline; this one only guards against a flight that never lands.
        match tokio::time::timeout(self.deadline * 2, landed(arrival)).await {
            Err(_) => Read { record: None, outcome: unavailable("the look below did not end in time") },
            Ok(None) => Read { record: None, outcome: unavailable("the look below failed") },
            Ok(Some(refreshed)) => self.landed(&refreshed),
        }
    }

    pub(super) fn landed(&self, refreshed: &Refreshed) -> Read {
        let now = Time::now();
        match &refreshed.found {
            Some((record, tier)) if record.is_fresh(now) => {
                Read { record: Some(record.clone()), outcome: ReadOutcome::Hit { tier: tier.clone() } }
            }
            Some((record, tier)) => {
                let why = if refreshed.failed.is_empty() { StaleWhy::NotRenewed } else { StaleWhy::TierFailed };
                Read { record: Some(record.clone()), outcome: ReadOutcome::Stale { tier: tier.clone(), why } }
            }
            None if refreshed.failed.is_empty() => Read { record: None, outcome: ReadOutcome::Miss },
            None => Read { record: None, outcome: ReadOutcome::Unavailable { failed: refreshed.failed.clone() } },
        }
    }

    /// What the tiers' answers to a look that began at `begun` are worth for `key`, the one number `at` of those that they were
    /// asked for; and which did not answer.
    pub(super) fn judge_all(
        &self,
        key: &Key,
        at: usize,
        answers: &[Result<Vec<Option<Found>>, String>],
        begun: Time,
    ) -> (Vec<Answer>, Vec<(TierName, String)>) {
        let (mut seen, mut failed) = (Vec::with_capacity(answers.len()), Vec::new());
        for (tier, answer) in self.tiers.iter().zip(answers) {
            seen.push(match answer {
                Err(why) => {
                    failed.push((tier.name().clone(), why.clone()));
                    Answer::Failed
                }
                Ok(found) => self.judge(tier, key, found.get(at).and_then(Option::as_ref), begun),
            });
        }
        (seen, failed)
    }

    /// What a tier's answer to a look that began at `begun` is worth.
    pub(super) fn judge(&self, tier: &Arc<dyn Tier>, key: &Key, found: Option<&Found>, begun: Time) -> Answer {
        match found {
            None => self.missed_below(tier.name(), key, begun),
            Some(Found::Whole(record)) => Answer::Value(record.clone()),
            Some(Found::Shared(payload)) if self.appraiser.is_overtaken(tier.name(), key, &payload.bytes, begun) => {
                // Or it is newer still.
                self.hint_later(key);
                Answer::Unjudged
            }
            Some(Found::Shared(payload)) => self.judge_payload(tier.name(), key, payload),
        }
    }

    /// Takes note that a tier had nothing. A look that began before the last write to the tier does not tell.
    fn missed_below(&self, tier: &TierName, key: &Key, begun: Time) -> Answer {
        let last = self.appraiser.last_seen(tier, key);
        if last.is_some_and(|(_, _, noticed)| noticed >= begun) {
            self.repeat(key);
            return Answer::Unjudged;
        }
        let now = Time::now();
        // A delete through this gateway raises the floor first.
        if let Some((_, end, _)) = last.filter(|(version, ..)| !self.is_deleted(key, *version)) {
            self.appraiser.symptoms.gone(key, tier, end, now);
        }
        self.appraiser.saw_nothing(tier, key, now);
        Answer::Absent
    }

    /// Adopts the greatest value and notes which tiers need a copy of it.
    fn reconcile(
        &self,
        key: &Key,
        now: Time,
        seen: &[Answer],
        bridged: Option<BridgeCopy>,
        failed: Vec<(TierName, String)>,
        lacks: &mut Vec<Lack>,
    ) -> Refreshed {
        let Some((record, place)) = self.greatest(key, now, self.memory.get(key), seen, bridged) else {
            return Refreshed { found: None, failed, moved: false };
        };
        let adopted = place.is_some() && self.adopt(key, &record, now);
        let before = lacks.len();
        // The slowest tier that has it tells how long it still lives for those above.
        let held = seen.iter().enumerate().rev().find_map(|(at, answer)| match answer {
            Answer::Value(same) if same.digest == record.digest && same.version == record.version => Some((at, same)),
            _ => None,
        });
        for (at, answer) in seen.iter().enumerate() {
            let remedy = match (answer, held) {
                (Answer::Absent, Some((from, held))) if at < from => Remedy::Promotion(held.clone()),
                (Answer::Junk, _) => Remedy::PutBack(record.clone()),
                (Answer::Value(other), _) if is_lesser(other, &record, now) => {
                    // What this gateway wrote itself is only on its way to be replaced.
                    if self.history.writer_of(key, other).is_none() {
                        self.appraiser.symptoms.lesser(key, self.tiers[at].name(), other, &record);
                        self.history.outdone(key, self.tiers[at].name(), other, &record, now);
                    }
                    Remedy::PutBack(record.clone())
                }
                _ => continue,
            };
            lacks.push(Lack { key: key.clone(), tier: at, remedy });
        }
        Refreshed { found: Some((record, self.name_of(place))), failed, moved: adopted || lacks.len() > before }
    }

    /// The greatest live value of what memory holds, the tiers answered and the bridge copied, and the number of its tier;
    /// none for memory.
    pub(super) fn greatest(
        &self,
        key: &Key,
        now: Time,
        held: Option<Arc<Record>>,
        seen: &[Answer],
        bridged: Option<BridgeCopy>,
    ) -> Option<(Arc<Record>, Option<usize>)> {
        let found = seen.iter().enumerate().filter_map(|(at, answer)| match answer {
            Answer::Value(record) => Some((record.clone(), at)),
            _ => None,
        });
        // A value older than a delete is not brought back by a late look.
        let below = found.chain(bridged).filter(|(record, _)| !self.is_deleted(key, record.version));
        let below = below.map(|(record, at)| (record, Some(at)));
        let greatest = held.map(|record| (record, None)).into_iter().chain(below).max_by(|(a, _), (b, _)| {
            let order = Order::of(a, now).cmp(&Order::of(b, now));
            // Of equals the one in memory stays, unless its life was prolonged below.
            order.then_with(|| a.lifetime_end.cmp(&b.lifetime_end))
        });
        greatest.filter(|(record, _)| record.is_live(now))
    }

    /// The name of the tier of this number; without one, of memory.
    pub(super) fn name_of(&self, place: Option<usize>) -> TierName {
        place.map_or_else(|| TierName::new(MEMORY), |at| self.tiers[at].name().clone())
    }

    /// Takes note of tiers that hold what was deleted: it was written late, or the delete never reached them. That is as good as
    /// certain of what a gateway put there, this one or one that may have ended; anything else may have been set anew.
    fn find_deleted(&self, key: &Key, seen: &[Answer], lacks: &mut Vec<Lack>) {
        let Some(floor) = self.floors.get(key) else { return };
        for (at, answer) in seen.iter().enumerate() {
            let Answer::Value(record) = answer else { continue };
            let is_deleted = record.version <= floor && record.version != Version(0);
            if is_deleted && self.appraiser.is_gateways(self.tiers[at].name(), key) {
                lacks.push(Lack { key: key.clone(), tier: at, remedy: Remedy::Delete(floor) });
            }
        }
    }

    /// Tells when a tier stops answering and when it answers again, and not at every look between.
    fn note_health(&self, at: usize, failure: Option<&String>) {
        let tier = self.tiers[at].name();
        metrics::tier_answers(tier, failure.is_none());
        let failed = self.failing[at].swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !failed => {
                tracing::warn!(%tier, why, "a tier does not answer; readers get the last good values")
            }
            None if failed => {
                tracing::info!(%tier, "the tier answers again");
                self.answers_again(tier);
            }
            _ => {}
        }
    }

    /// Takes a value found below into memory; says whether memory has other data now.
    fn adopt(&self, key: &Key, record: &Arc<Record>, now: Time) -> bool {
        let before = self.memory.get(key);
        self.saw(key, record.version);
        let outcome = self.memory.set(key, record.clone(), now);
        if outcome != WriteOutcome::Stored {
            tracing::debug!(%key, outcome = outcome.label(), "memory holds a greater value than the one found below");
            return false;
        }
        let changed = before.is_none_or(|before| differs(&before, record));
        if changed {
            self.announce(Change::Value(key.clone(), record.clone()));
        }
        changed
    }
}

/// What a gateway noted beside a value in one tier holds for the same bytes in another, which keeps no notes that others can
/// read: so every gateway knows their version alike.
pub(super) fn share_notes(answers: &mut [Result<Vec<Option<Found>>, String>], keys: usize) {
    if answers.len() < 2 {
        return;
    }
    let payload = |answer: &Result<Vec<Option<Found>>, String>, at: usize| match answer.as_ref().ok()?.get(at)? {
        Some(Found::Shared(payload)) => Some(payload.clone()),
        _ => None,
    };
    for at in 0..keys {
        let mut payloads = answers.iter().filter_map(|answer| payload(answer, at));
        let Some(noted) = payloads.find(|payload| payload.stamp.is_some()) else { continue };
        for answer in answers.iter_mut().filter_map(|answer| answer.as_mut().ok()) {
            if let Some(Some(Found::Shared(other))) = answer.get_mut(at)
                && other.stamp.is_none()
                && other.bytes == noted.bytes
            {
                other.stamp = noted.stamp;
            }
        }
    }
}

/// Whether `other` is a lesser value, and not the same one seen at another time.
fn is_lesser(other: &Record, record: &Record, now: Time) -> bool {
    other.digest != record.digest && Order::of(other, now) < Order::of(record, now)
}

/// Whether `new` is other data. A longer life of the same data is no change.
pub(super) fn differs(old: &Record, new: &Record) -> bool {
    old.digest != new.digest || old.kind != new.kind || old.version != new.version
}

/// Frees the seat of a flight however its task ends.
struct EndOfFlight<'a> {
    cache: &'a Cache,
    key: &'a Key,
}

impl Drop for EndOfFlight<'_> {
    fn drop(&mut self) {
        self.cache.flights.ended(self.key);
    }
}

/// What a tier answers by `deadline`. `why` it is asked is for the metrics.
pub(super) async fn ask(
    tier: &Arc<dyn Tier>,
    keys: &[Key],
    deadline: Instant,
    why: &'static str,
) -> Result<Vec<Option<Found>>, String> {
    metrics::tier_read(tier.name(), why);
    match timeout_at(deadline, tier.read(keys)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            metrics::tier_failed(tier.name(), "read");
            Err(error.to_string())
        }
        Err(_) => {
            metrics::tier_failed(tier.name(), "read");
            Err("no answer within the deadline".to_owned())
        }
    }
}
