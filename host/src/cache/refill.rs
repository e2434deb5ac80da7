//! Warm restart: a tier that comes back empty is filled again from memory and disk.
//!
//! A server that restarted is another incarnation of its tier. What this gateway still has is offered to it where it has
//! nothing, at a bounded rate and with the remaining lifetime, so that readers of the tier do not find it cold and the
//! server is not run over by it. Compare-and-set keeps what others wrote meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Cache;
use super::mend::is_worth_a_copy;
use super::read::{KEYS_AT_ONCE, ask};
use crate::record::{Key, Kind, Record, Time, WriteOutcome};
use crate::tier::breaker::probe;
use crate::tier::{Found, Tier, TierError, canary};

/// How often tiers are asked which incarnation they are.
const WATCHED_EVERY: Duration = Duration::from_secs(1);

/// Keys per second that a tier is offered.
const KEYS_PER_SECOND: u32 = 4_000;

/// What became of the values that a tier was offered.
#[derive(Debug, Default)]
struct Refilled {
    stored: usize,
    already_there: usize,
    not_stored: usize,
}

impl Cache {
    /// Watches the tiers for ever: probes those that do not answer, fills those that come back empty, and verifies writes.
    pub async fn watch_tiers(self: Arc<Self>) {
        let cache = &*self;
        join_all(cache.tiers.iter().enumerate().map(|(at, tier)| async move {
            tokio::join!(probe(&**tier), cache.watch_tier(at, tier), cache.verify_always(at));
        }))
        .await;
        // Without tiers below memory there is nothing to watch.
        std::future::pending().await
    }

    async fn watch_tier(&self, at: usize, tier: &Arc<dyn Tier>) {
        let mut ticks = interval(WATCHED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut filled = None;
        loop {
            ticks.tick().await;
            // A tier that does not answer is told of by those who read it.
            let Ok(health) = tier.check().await else { continue };
            self.vitals[at].note(&health, Time::now());
            let Some(incarnation) = health.incarnation.filter(|incarnation| filled.as_ref() != Some(incarnation))
            else {
                continue;
            };
            match self.refill(tier).await {
                Ok(refilled) => {
                    if refilled.stored > 0 || filled.is_some() {
                        let Refilled { stored, already_there, not_stored } = refilled;
                        tracing::info!(tier = %tier.name(), stored, already_there, not_stored, "a tier that came up was filled again");
                    }
                    filled = Some(incarnation);
                }
                Err(error) => {
                    tracing::warn!(tier = %tier.name(), %error, "a tier could not be filled again; it is tried again")
                }
            }
        }
    }

    /// Offers every live value to `tier` where it has nothing.
    async fn refill(&self, tier: &Arc<dyn Tier>) -> Result<Refilled, TierError> {
        let mut pace = interval(Duration::from_secs(1) * KEYS_AT_ONCE as u32 / KEYS_PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refilled = Refilled::default();
        let known = self.known(tier).await?;
        for some in known.chunks(KEYS_AT_ONCE) {
            pace.tick().await;
            self.refill_some(tier, some, &mut refilled).await?;
        }
        Ok(refilled)
    }

    /// What this gateway has that `tier` may lack: the values in memory, and those on disk that memory let go.
    async fn known(&self, tier: &Arc<dyn Tier>) -> Result<Vec<(Key, Arc<Record>)>, TierError> {
        let now = Time::now();
        let mut known: BTreeMap<Key, Arc<Record>> = BTreeMap::new();
        for other in self.tiers.iter().filter(|other| !Arc::ptr_eq(other, tier)) {
            known.extend(other.own(now).await?);
        }
        known.extend(self.memory.all_live(now));
        let is_worth = |record: &Record| record.kind == Kind::Real && is_worth_a_copy(tier, record);
        Ok(known.into_iter().filter(|(key, record)| is_worth(record) && !canary::is_canary(key)).collect())
    }

    async fn refill_some(
        &self,
        tier: &Arc<dyn Tier>,
        some: &[(Key, Arc<Record>)],
        refilled: &mut Refilled,
    ) -> Result<(), TierError> {
        let keys: Vec<Key> = some.iter().map(|(key, _)| key.clone()).collect();
        let found: Vec<Option<Found>> =
            ask(tier, &keys, Instant::now() + self.deadline, "refill").await.map_err(TierError::Broken)?;
        let absent = some.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(known, _)| known);
        let puts =
            join_all(absent.map(|(key, record)| async move { (key, self.copy("refill", tier, key, record).await) }));
        let puts = puts.await;
        refilled.already_there += some.len() - puts.len();
        for (key, outcome) in puts {
            match outcome {
                WriteOutcome::Stored => refilled.stored += 1,
                WriteOutcome::Superseded | WriteOutcome::Refused(_) => refilled.already_there += 1,
                WriteOutcome::Failed(failure) => return Err(TierError::Broken(failure.to_string())),
                WriteOutcome::Unknown(why) => return Err(TierError::Broken(why)),
                WriteOutcome::Rejected(_) | WriteOutcome::Queued(_) => {
                    tracing::debug!(%key, tier = %tier.name(), outcome = outcome.label(), "not filled again");
                    refilled.not_stored += 1;
                }
            }
        }
        Ok(())
    }
}
