//! Mending: tiers that were found to lack something get it. Readers do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::Cache;
use crate::record::{DeleteOutcome, Key, Record, Time, Version, WriteOutcome};
use crate::telemetry::metrics;
use crate::tier::Tier;

/// A greater value is put back into a tier at most once per key and this span: a foreign writer that insists must not make
/// the gateway fight it at full speed.
pub(super) const PUT_BACK_EVERY: Duration = Duration::from_secs(1);

/// Below this remaining lifetime a copy is not worth a write, and memcached may end it at once.
const PROMOTED_LIFETIME_MIN: Duration = Duration::from_secs(2);

/// A tier that lacks something.
pub(super) struct Lack {
    pub key: Key,
    /// Its number.
    pub tier: usize,
    pub remedy: Remedy,
}

/// What it lacks.
pub(super) enum Remedy {
    /// This value, because a slower tier has it.
    Promotion(Arc<Record>),
    /// This value, in place of a lesser one.
    PutBack(Arc<Record>),
    /// A delete, of values up to this version.
    Delete(Version),
}

// === impl Cache ===

impl Cache {
    /// Begins to give tiers what they lack.
    pub(super) fn start_to_mend(self: &Arc<Self>, lacks: Vec<Lack>) {
        if !lacks.is_empty() {
            let cache = self.clone();
            tokio::spawn(async move { cache.mend(lacks).await });
        }
    }

    async fn mend(&self, lacks: Vec<Lack>) {
        join_all(lacks.into_iter().map(|Lack { key, tier, remedy }| async move {
            let tier = &self.tiers[tier];
            match remedy {
                Remedy::Promotion(record) => self.promote(tier, &key, &record).await,
                Remedy::PutBack(record) => self.put_back(tier, &key, &record).await,
                Remedy::Delete(floor) => self.delete_again(tier, &key, floor).await,
            }
        }))
        .await;
    }

    async fn promote(&self, tier: &Arc<dyn Tier>, key: &Key, record: &Record) {
        if !is_worth_a_copy(tier, record) {
            return;
        }
        let outcome = self.copy("promotion", tier, key, record).await;
        tracing::debug!(%key, tier = %tier.name(), outcome = outcome.label(), "promotion");
    }

    async fn put_back(&self, tier: &Arc<dyn Tier>, key: &Key, record: &Record) {
        if !is_worth_a_copy(tier, record) || !self.may_mend(tier, key) {
            return;
        }
        match self.copy("put_back", tier, key, record).await {
            WriteOutcome::Stored => {
                tracing::warn!(%key, tier = %tier.name(), kind = record.kind.as_str(), "a lesser value was found in a tier; the greater one was put back");
            }
            outcome => {
                if matches!(outcome, WriteOutcome::Failed(_) | WriteOutcome::Unknown(_)) {
                    self.hint_later(key);
                }
                tracing::debug!(%key, tier = %tier.name(), outcome = outcome.label(), "a greater value was not put back");
            }
        }
    }

    /// Removes what a delete was to remove, in the name of the gateway that deleted: it may have ended. While changes may be
    /// missed that waits; somebody may have written the same anew.
    async fn delete_again(&self, tier: &Arc<dyn Tier>, key: &Key, floor: Version) {
        if self.is_degraded() {
            return self.repeat(key);
        }
        if !self.may_mend(tier, key) {
            return;
        }
        let outcome = tier.delete(key, floor).await;
        metrics::deleted(tier.name(), &outcome);
        self.history.removed(key, tier.name(), floor, &outcome, "it had been deleted");
        // Somebody may have written it anew in this moment; then another tier has it.
        self.repeat(key);
        match outcome {
            DeleteOutcome::Deleted | DeleteOutcome::Absent => {
                self.appraiser.saw_removed(tier.name(), key, floor, Time::now());
                tracing::warn!(%key, tier = %tier.name(), "a value that had been deleted was found in a tier, and was removed");
            }
            outcome => {
                tracing::debug!(%key, tier = %tier.name(), outcome = outcome.label(), "a value that had been deleted was not removed");
            }
        }
    }

    /// Whether a tier's value of `key` may be replaced or removed now, so soon after the last time. If not, it is looked at
    /// again: memory may be trusted for long, and nobody else would notice.
    fn may_mend(&self, tier: &Arc<dyn Tier>, key: &Key) -> bool {
        let (now, place) = (Time::now(), (key.clone(), tier.name().clone()));
        if self.put_back.get(&place).is_some_and(|last| now.since(last) < PUT_BACK_EVERY) {
            self.hint_later(key);
            return false;
        }
        self.put_back.insert(place, now);
        true
    }

    /// Writes `record` to a tier that lacks it; `why` is for the metrics and the history.
    pub(super) async fn copy(
        &self,
        why: &'static str,
        tier: &Arc<dyn Tier>,
        key: &Key,
        record: &Record,
    ) -> WriteOutcome {
        let outcome = tier.put(key, record).await;
        if outcome == WriteOutcome::Stored {
            self.appraiser.saw_stored(tier.name(), key, record, Time::now());
        }
        metrics::copied(why, tier.name(), &outcome);
        self.history.copied(key, tier.name(), record, &outcome, why);
        outcome
    }
}

/// Whether `record` can be written to a tier, and lives long enough.
pub(super) fn is_worth_a_copy(tier: &Arc<dyn Tier>, record: &Record) -> bool {
    record.wire().is_some() && (!tier.is_shared() || record.remaining(Time::now()) >= PROMOTED_LIFETIME_MIN)
}
