//! Writing: decode once, one record, every tier at once, and an outcome for each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::history::What;
use super::policy::TTL_MIN;
use super::read::{MEMORY, differs};
use super::record::{Circumstances, own_timestamp, record, with_lifetime};
use super::{Cache, Change, DecodeError, Decoded};
use crate::record::{
    DeleteOutcome, Digest, Key, Order, Origin, Record, RejectedWhy, TierName, Time, Version, WriteOutcome,
};
use crate::telemetry::metrics;
use crate::tier::{Appraise as _, Found, Tier};

/// What a writer may say besides the payload.
#[derive(Clone, Debug)]
pub struct PutOptions {
    /// Who writes: `api`, `aggregator`.
    pub from: Arc<str>,
    /// Time to live in the shared tiers; `None`: the policy's, per tier.
    pub ttl: Option<Duration>,
    /// The codec that reads the payload first, by its name in the configuration, where it is not a payload of the key but
    /// the answer of some origin.
    pub codec: Option<Arc<str>>,
    /// Where the payload was asked for, and may have been made any time since: when that began. `None`: it is made now.
    pub as_of: Option<AsOf>,
}

/// When a load of a key began: what it brings is no newer than that, unless it says so itself. See [`Cache::as_of`].
#[derive(Clone, Copy, Debug)]
pub struct AsOf {
    at: Time,
    version: Version,
}

/// What became of a write.
#[derive(Clone, Debug)]
#[must_use]
pub struct Put {
    /// What was written.
    pub record: Arc<Record>,
    /// Memory first, then the tiers below, from the fastest to the slowest.
    pub outcomes: Vec<(TierName, WriteOutcome)>,
}

/// What became of a delete, tier by tier.
#[derive(Clone, Debug)]
#[must_use]
pub struct Deleted {
    /// Memory first, then the tiers below, from the fastest to the slowest.
    pub outcomes: Vec<(TierName, DeleteOutcome)>,
}

/// A delete that died under way; what it reached is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the delete died: {0}")]
pub struct DeleteDied(String);

/// The sum of the outcomes of the tiers below memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every tier stored it.
    Stored,
    /// Some wait for their tier, the others stored it.
    Queued,
    /// A greater value is there.
    Lost,
    /// No tier took it.
    Unavailable,
    /// Some took it and some did not.
    Partial,
}

// === impl Put ===

impl Put {
    /// The outcomes of the tiers below memory.
    pub fn below(&self) -> impl Iterator<Item = &WriteOutcome> {
        self.outcomes.iter().filter(|(tier, _)| tier.as_str() != MEMORY).map(|(_, outcome)| outcome)
    }

    /// The sum of the outcomes.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.below())
    }

    /// Whether a greater value, or a delete that came later, was found anywhere.
    pub fn is_overtaken(&self) -> bool {
        let lost = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Superseded | WriteOutcome::Refused(_));
        self.outcomes.iter().any(|(_, outcome)| lost(outcome))
    }
}

// === impl Verdict ===

impl Verdict {
    /// The sum of the outcomes of the tiers below memory, for one value or for several written together.
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a WriteOutcome>) -> Self {
        let (mut all, mut stored, mut queued, mut lost) = (0, 0, 0, 0);
        for outcome in outcomes {
            all += 1;
            match outcome {
                WriteOutcome::Stored => stored += 1,
                WriteOutcome::Queued(_) => queued += 1,
                WriteOutcome::Superseded | WriteOutcome::Refused(_) => lost += 1,
                WriteOutcome::Rejected(_) | WriteOutcome::Failed(_) | WriteOutcome::Unknown(_) => {}
            }
        }
        if stored == all {
            Self::Stored
        } else if stored + queued == all {
            Self::Queued
        } else if stored > 0 {
            Self::Partial
        } else if lost > 0 {
            Self::Lost
        } else {
            Self::Unavailable
        }
    }
}

// === impl Cache ===

impl Cache {
    /// Writes `payload` under `key` to every tier, by compare-and-set.
    ///
    /// Once begun it is carried through, though its caller goes away: an outcome that nobody waits for is still logged,
    /// counted, and seen by readers.
    ///
    /// # Errors
    ///
    /// A payload that the codec refuses is not written anywhere, and the old value stays.
    pub async fn put(self: &Arc<Self>, key: &Key, payload: Bytes, options: PutOptions) -> Result<Put, DecodeError> {
        let (cache, key) = (self.clone(), key.clone());
        let write = tokio::spawn(async move { cache.put_through(&key, payload, options).await });
        write.await.unwrap_or_else(|died| Err(DecodeError::Plugin(format!("the write died: {died}"))))
    }

    async fn put_through(self: &Arc<Self>, key: &Key, payload: Bytes, options: PutOptions) -> Result<Put, DecodeError> {
        let decoded = self.decode(key, &payload, options.codec.as_deref()).inspect_err(|error| {
            if let DecodeError::Rejected(rejection) = error {
                metrics::rejected(key, &rejection.code);
            }
            self.tell_loss(key, self.history.refused(key, &options.from, What::refused(payload.len(), error)));
            tracing::warn!(%key, from = %options.from, %error, "a payload was refused");
        })?;
        metrics::repaired(key, &decoded.schema, &decoded.repairs);
        let now = Time::now();
        self.appraiser.symptoms.of_payload(key, None, &decoded, now);
        let rule = self.policy.of(key);
        let ttl = options.ttl.map(|ttl| ttl.max(TTL_MIN));
        let own = own_timestamp(&decoded, now);
        let made = match (own, options.as_of) {
            (Some(at), _) => AsOf { at, version: Version(at.micros()) },
            (None, Some(as_of)) => as_of,
            (None, None) => AsOf { at: now, version: self.next_version(key, now) },
        };
        let about = Circumstances {
            origin: Origin::Gateway(options.from.clone()),
            version: made.version,
            produced_at: made.at,
            lifetime_end: now.after(ttl.unwrap_or_else(|| rule.ttl.longest())),
        };
        let record = Arc::new(record(&payload, decoded, rule, about));
        let put = Put { outcomes: self.write(key, &record, ttl, now).await, record };
        for (tier, outcome) in &put.outcomes {
            metrics::written(tier, outcome);
            report(key, tier, outcome, &put.record, &options.from);
        }
        self.tell_loss(key, self.history.wrote(key, &options.from, &put.record, &put.outcomes, now));
        Ok(put)
    }

    /// Reads a payload by the codec that claims its key; before it, by the codec that the writer names, which turns the
    /// answer of some origin into a payload of the key.
    fn decode(&self, key: &Key, payload: &Bytes, named: Option<&str>) -> Result<Decoded, DecodeError> {
        let codec = self.appraiser.codec();
        let Some(named) = named else { return codec.decode(key, payload, 0) };
        let first = codec.decode_by(named, key, payload)?;
        let converted = first.canonical.unwrap_or_else(|| payload.clone());
        let mut second = codec.decode(key, &converted, 0)?;
        second.canonical = Some(second.canonical.unwrap_or(converted));
        second.kind = second.kind.min(first.kind);
        second.produced_at = second.produced_at.or(first.produced_at);
        second.schema_version = second.schema_version.or(first.schema_version);
        second.repairs.splice(0..0, first.repairs);
        Ok(second)
    }

    /// Removes `key` from every tier, and keeps older values from coming back. Once begun it is carried through.
    ///
    /// # Errors
    ///
    /// When it could not be carried through.
    pub async fn delete(self: &Arc<Self>, key: &Key) -> Result<Deleted, DeleteDied> {
        let (cache, key) = (self.clone(), key.clone());
        tokio::spawn(async move { cache.delete_through(&key).await }).await.map_err(|died| DeleteDied(died.to_string()))
    }

    async fn delete_through(&self, key: &Key) -> Deleted {
        let begun = Time::now();
        let _writing = self.hints.writing(key);
        let until = Instant::now() + self.deadline;
        let floor = self.next_version(key, Time::now());
        self.floors.raise(key, floor);
        self.saw(key, floor);
        let in_memory = self.memory.remove(key, floor);
        self.announce(Change::Deleted(key.clone(), floor));
        let below = self.tiers.iter().enumerate().map(|(at, tier)| async move {
            let outcome = tier.delete(key, floor).await;
            if matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::Absent) {
                self.appraiser.saw_removed(tier.name(), key, floor, Time::now());
            }
            (tier.name().clone(), self.wait_to_delete(at, key, floor, outcome, until).await)
        });
        let mut outcomes = vec![(TierName::new(MEMORY), in_memory)];
        outcomes.extend(join_all(below).await);
        for (tier, outcome) in &outcomes {
            metrics::deleted(tier, outcome);
            if let Some(reason) = outcome.reason() {
                tracing::warn!(%key, %tier, outcome = outcome.label(), reason, "a delete did not succeed");
            }
        }
        self.history.deleted(key, floor, &outcomes, begun);
        Deleted { outcomes }
    }

    /// Marks the beginning of a load of `key`: later than every version that this gateway has seen, and before every write
    /// and delete from now on. So an answer without a timestamp of its own loses to what came while it was waited for.
    pub fn as_of(&self, key: &Key) -> AsOf {
        let at = Time::now();
        let version = self.next_version(key, at);
        self.saw(key, version);
        AsOf { at, version }
    }

    /// The version of an unstamped write: later than every version of the key that this gateway has seen.
    fn next_version(&self, key: &Key, now: Time) -> Version {
        let last = self.versions.get(key).map_or(0, |version| version.0);
        Version(now.micros().max(last.saturating_add(1)))
    }

    pub(super) async fn write(
        self: &Arc<Self>,
        key: &Key,
        record: &Arc<Record>,
        ttl: Option<Duration>,
        now: Time,
    ) -> Vec<(TierName, WriteOutcome)> {
        let _writing = self.hints.writing(key);
        let until = Instant::now() + self.deadline;
        // What memory already knows to be greater is not even offered to the tiers: one of them may have lost it.
        if let Some(lost) = self.outranked(key, record, now) {
            let everywhere = self.tiers.iter().map(|tier| tier.name().clone());
            return [TierName::new(MEMORY)].into_iter().chain(everywhere).map(|tier| (tier, lost.clone())).collect();
        }
        let defaults = &self.policy.of(key).ttl;
        let below = join_all(self.tiers.iter().enumerate().map(|(at, tier)| async move {
            let copy = Arc::new(with_lifetime(record, now, ttl.unwrap_or_else(|| defaults.of(tier.name()))));
            let outcome = tier.put(key, &copy).await;
            if outcome == WriteOutcome::Stored {
                self.appraiser.saw_stored(tier.name(), key, &copy, Time::now());
            }
            (tier.name().clone(), self.wait_to_write(at, key, &copy, outcome, until).await)
        }))
        .await;
        self.evict_outgrown(key, record, &below, until).await;
        let mut outcomes = vec![(TierName::new(MEMORY), self.write_memory(key, record, &below))];
        outcomes.extend(below);
        outcomes
    }

    /// The outcome that memory foretells for every tier.
    fn outranked(&self, key: &Key, record: &Record, now: Time) -> Option<WriteOutcome> {
        let greater = self.memory.get(key)?;
        let (theirs, mine) = (Order::of(&greater, now), Order::of(record, now));
        match theirs.kind {
            _ if theirs <= mine => None,
            Some(kind) if kind > record.kind => Some(WriteOutcome::Refused(kind)),
            _ => Some(WriteOutcome::Superseded),
        }
    }

    /// Memory comes last: readers see a value when the tiers that answer have it. With every tier down they still see it.
    fn write_memory(
        self: &Arc<Self>,
        key: &Key,
        record: &Arc<Record>,
        below: &[(TierName, WriteOutcome)],
    ) -> WriteOutcome {
        let lost = below.iter().find_map(|(_, outcome)| match outcome {
            WriteOutcome::Superseded | WriteOutcome::Refused(_) => Some(outcome.clone()),
            _ => None,
        });
        if let Some(lost) = lost {
            // A greater value is down there; a look below brings it up.
            self.look_below_soon(key);
            return lost;
        }
        self.saw(key, record.version);
        let before = self.memory.get(key);
        let outcome = self.memory.set(key, record.clone(), Time::now());
        if outcome == WriteOutcome::Stored {
            self.looked(key, Time::now());
        }
        // A look below may have been faster; then it is no change any more.
        if outcome == WriteOutcome::Stored && before.is_none_or(|before| differs(&before, record)) {
            self.announce(Change::Value(key.clone(), record.clone()));
        }
        outcome
    }

    /// A tier that cannot take a value must not go on serving the old one to others (B48). The old value is removed only
    /// after another tier has the new one, and only if it is still the lesser. The writer waits for it until the one
    /// deadline of its request; what takes longer is carried through all the same.
    async fn evict_outgrown(
        self: &Arc<Self>,
        key: &Key,
        record: &Arc<Record>,
        below: &[(TierName, WriteOutcome)],
        until: Instant,
    ) {
        if !below.iter().any(|(_, outcome)| *outcome == WriteOutcome::Stored) {
            return;
        }
        let is_outgrown =
            |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Rejected(RejectedWhy::TooLarge { .. }));
        let outgrown = self.tiers.iter().zip(below).filter(|(_, (_, outcome))| is_outgrown(outcome));
        let evictions = outgrown.map(|(tier, _)| {
            let (cache, tier, key, record) = (self.clone(), tier.clone(), key.clone(), record.clone());
            tokio::spawn(async move { cache.evict_lesser(&tier, &key, &record).await })
        });
        match timeout_at(until, join_all(evictions)).await {
            Ok(ended) => {
                for died in ended.into_iter().filter_map(Result::err) {
                    tracing::error!(%key, %died, "the removal of an old value died, and it may still be read there");
                }
            }
            Err(_) => tracing::debug!(%key, "the removal of an old value takes longer than its writer waits"),
        }
    }

    async fn evict_lesser(&self, tier: &Arc<dyn Tier>, key: &Key, record: &Arc<Record>) {
        let stored = match tier.read(std::slice::from_ref(key)).await {
            Ok(found) => found.into_iter().next().flatten(),
            Err(error) => {
                tracing::warn!(%key, tier = %tier.name(), %error, "the old value could not be looked at, and may still be read there");
                return;
            }
        };
        let (digest, old) = match stored {
            None => return,
            Some(Found::Whole(old)) => (old.digest, Ok(old)),
            Some(Found::Shared(payload)) => {
                (Digest::of(&payload.bytes), self.appraiser.appraise(tier.name(), key, &payload))
            }
        };
        if let Ok(old) = old
            && Order::of(&old, Time::now()) < Order::of(record, Time::now())
        {
            let outcome = tier.delete_exact(key, digest).await;
            let why = "the tier cannot take the value that came after it";
            self.history.removed(key, tier.name(), old.version, &outcome, why);
            if matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::Absent) {
                self.appraiser.saw_removed(tier.name(), key, Version(0), Time::now());
            }
            tracing::warn!(%key, tier = %tier.name(), outcome = outcome.label(), "the old value was removed from the tier that cannot take the new one");
        }
    }

    fn look_below_soon(self: &Arc<Self>, key: &Key) {
        let (cache, key) = (self.clone(), key.clone());
        tokio::spawn(async move { cache.refresh(&[key]).await });
    }
}

/// Nothing but `Stored` goes unsaid.
pub(super) fn report(key: &Key, tier: &TierName, outcome: &WriteOutcome, record: &Record, from: &str) {
    let Some(reason) = outcome.reason() else { return };
    let (label, kind) = (outcome.label(), record.kind.as_str());
    match outcome {
        WriteOutcome::Superseded | WriteOutcome::Refused(_) => {
            tracing::info!(%key, %tier, outcome = label, kind, from, reason, "a write lost to a greater value");
        }
        _ => tracing::warn!(%key, %tier, outcome = label, kind, from, reason, "a write was not stored"),
    }
}
