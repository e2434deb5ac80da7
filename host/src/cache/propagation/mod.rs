//! Propagation: changes that others make reach this gateway's memory.
//!
//! Tiers tell of them as hints ([`Hear`]). Each hinted key is looked at below at once, and what is found is adopted by its
//! order, as at any other look; nothing is written to a shared tier because of a hint (B27). Where the tiers disagree, the key
//! is looked at once more a moment later, and a tier that still holds a lesser value then is given the greater one. When hints may have been lost,
//! the gateway says that it is degraded, readers do not trust memory before it was looked at again, and everything in memory
//! is; after that it is as before.

mod hints;
mod losses;
mod mode;
mod neighbours;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

pub use hints::HINTS_MAX;
pub(super) use hints::Hints;
pub(super) use losses::Losses;
pub use mode::Degraded;
pub(super) use mode::Mode;
pub use neighbours::Neighbour;
pub(super) use neighbours::Neighbours;

use super::flight::landed;
use super::history::What;
use super::mend::PUT_BACK_EVERY;
use super::read::KEYS_AT_ONCE;
use super::{Cache, Change, Read, Refreshed};
use crate::record::{DeleteOutcome, Key, Record, StaleWhy, TierName, Time, Version, WriteOutcome};
use crate::telemetry::metrics;
use crate::tier::memory::Hit;
use crate::tier::{Announced, Hear, Lease, LeaseStanding, Tier};

/// Keys per second that are looked at again after changes were missed.
const KEYS_PER_SECOND: u32 = 4_000;

/// How long memory is trusted after a look below while changes may be missed.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// The pause before that is tried again when a tier did not answer.
const RETRIED_AFTER: Duration = Duration::from_millis(250);

/// What a cache hears with. It does not keep the cache alive.
struct Ear(Weak<Cache>);

// === impl Ear ===

impl Hear for Ear {
    fn noted(&self, tier: &TierName, key: &Key, announced: &Announced) {
        if let Some(cache) = self.0.upgrade() {
            cache.noted(tier, key, announced);
        }
    }

    fn changed(&self, tier: &TierName, key: Key) {
        if let Some(cache) = self.0.upgrade() {
            metrics::hint(tier, "changed");
            cache.hint(key);
        }
    }

    fn deleted(&self, tier: &TierName, key: Key, floor: Version, gateway: &str, outcome: DeleteOutcome) {
        if let Some(cache) = self.0.upgrade() {
            metrics::hint(tier, "deleted");
            let told = (tier.clone(), outcome.label(), outcome.reason());
            cache.history.elsewhere(&key, gateway, What::Delete(floor), told);
            cache.deleted_elsewhere(&key, floor);
            cache.hint(key);
        }
    }

    fn lost(&self, tier: &TierName, key: &Key, gateway: &str, loss: &str) {
        if let Some(cache) = self.0.upgrade() {
            cache.lost_elsewhere(tier, key, gateway, loss);
        }
    }

    fn beats(&self, gateway: &str, version: &str) {
        if let Some(cache) = self.0.upgrade() {
            cache.neighbours.beats(gateway, version, Time::now());
        }
    }

    fn interrupted(&self, tier: &TierName, why: String) {
        if let Some(cache) = self.0.upgrade() {
            cache.mode.interrupted(tier, why);
        }
    }

    fn resumed(&self, tier: &TierName) {
        if let Some(cache) = self.0.upgrade() {
            cache.mode.resumed(tier);
        }
    }

    fn watched(&self) -> Arc<[Key]> {
        self.0.upgrade().map_or_else(Arc::default, |cache| cache.watched.load_full().as_ref().clone())
    }

    fn claimed(&self) -> (u64, Vec<String>) {
        self.0.upgrade().map_or_else(Default::default, |cache| {
            let codec = cache.appraiser.codec();
            (codec.epoch(), codec.claims())
        })
    }
}

// === impl Cache ===

impl Cache {
    /// Hears of changes and looks at them, for ever.
    pub async fn propagate(self: Arc<Self>) {
        let ear: Arc<dyn Hear> = Arc::new(Ear(Arc::downgrade(&self)));
        let telling = join_all(self.tiers.iter().map(|tier| tier.tell(ear.clone())));
        tokio::join!(telling, self.follow_hints(), self.look_again(), self.make_up(), self.tell_losses());
    }

    /// The other gateways whose heartbeats were read lately.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.neighbours.all(Time::now())
    }

    /// Why memory is not trusted now, if it is not.
    pub fn degraded(&self) -> Option<Degraded> {
        self.mode.told()
    }

    /// Whether it is not.
    pub fn is_degraded(&self) -> bool {
        self.mode.since().is_some()
    }

    /// Tells which keys a tier should watch that cannot tell of all.
    pub fn watch(&self, keys: Arc<[Key]>) {
        if **self.watched.load() != keys {
            self.watched.store(Arc::new(keys));
        }
    }

    /// Takes the lease of this name, so that of all gateways one does what it stands for; `None` where another has it.
    pub async fn lease(&self, name: String, span: Duration) -> Option<Lease> {
        Lease::take(&self.tiers, name, span).await
    }

    /// How that lease stands.
    pub async fn lease_standing(&self, name: &str) -> LeaseStanding {
        Lease::standing(&self.tiers, name).await
    }

    fn hint(&self, key: Key) {
        if self.hints.add(key).is_err() {
            self.overflowed();
        }
    }

    /// Looks at `key` again within [`PUT_BACK_EVERY`], but not before half of it, when whoever writes has ended; and mends a tier that still holds a lesser or deleted value. Memory
    /// may be trusted for long: nobody else would notice.
    pub(super) fn hint_later(&self, key: &Key) {
        if self.hints.add_later(key).is_err() {
            self.overflowed();
        }
    }

    /// The same where the next look may find no more than the last. Where more keys wait than there is room for, that is
    /// no reason to distrust memory at once: everything is looked at when a tier that did not answer answers again.
    pub(super) fn repeat(&self, key: &Key) {
        if self.hints.add_later(key).is_err() {
            self.unseen.store(true, Relaxed);
        }
    }

    async fn look_again(self: &Arc<Self>) {
        let mut ticks = interval(PUT_BACK_EVERY / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let keys = self.hints.ripe();
            let looked = self.refresh_again(&keys).await;
            self.repeat_failed(&keys, &looked);
        }
    }

    /// A tier that did not answer may hold a greater value, or a lesser one.
    fn repeat_failed(&self, keys: &[Key], looked: &[Refreshed]) {
        let failed = keys.iter().zip(looked).filter(|(_, looked)| !looked.failed.is_empty());
        failed.for_each(|(key, _)| self.repeat(key));
    }

    /// Takes note that a tier answers again.
    pub(super) fn answers_again(&self, tier: &TierName) {
        if self.unseen.swap(false, Relaxed) {
            self.mode.missed(format!("{tier} answers again, and too many keys changed meanwhile to remember them"));
        }
    }

    fn overflowed(&self) {
        self.mode.missed(format!("more than {HINTS_MAX} keys changed faster than they could be looked at"));
    }

    async fn follow_hints(self: &Arc<Self>) {
        loop {
            let keys = self.hints.next(KEYS_AT_ONCE).await;
            let looked = self.look("hint", &keys).await;
            self.repeat_failed(&keys, &looked);
        }
    }

    /// Whenever changes were missed and every tier tells of them again, looks at everything in memory.
    async fn make_up(self: &Arc<Self>) {
        loop {
            let (missed, telling) = self.mode.due().await;
            match self.look_at_all(&telling).await {
                Ok(()) => self.mode.made_up(missed),
                Err(why) => {
                    tracing::debug!(why, "not everything could be looked at again; it is tried again");
                    sleep(RETRIED_AFTER).await;
                }
            }
        }
    }

    /// Looks at everything in memory, at a bounded rate. Those of `telling` must answer.
    async fn look_at_all(self: &Arc<Self>, telling: &BTreeSet<TierName>) -> Result<(), String> {
        let mut pace = interval(Duration::from_secs(1) * KEYS_AT_ONCE as u32 / KEYS_PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for keys in self.own_keys().await?.chunks(KEYS_AT_ONCE) {
            pace.tick().await;
            for tier in self.tiers.iter().filter(|tier| telling.contains(tier.name())) {
                self.take_floors(tier, keys).await?;
            }
            let looked = self.look("made_up", keys).await;
            self.repeat_failed(keys, &looked);
            let silent = looked.iter().flat_map(|one| &one.failed).find(|(tier, _)| telling.contains(tier));
            if let Some((tier, why)) = silent {
                return Err(format!("{tier}: {why}"));
            }
        }
        Ok(())
    }

    /// Every key of which this gateway has a value that nobody else can see.
    async fn own_keys(&self) -> Result<Vec<Key>, String> {
        let now = Time::now();
        let mut keys: BTreeSet<Key> = self.memory.all_live(now).into_iter().map(|(key, _)| key).collect();
        for tier in self.tiers.iter().filter(|tier| !tier.is_shared()) {
            let own = tier.own(now).await.map_err(|error| format!("{}: {error}", tier.name()))?;
            keys.extend(own.into_iter().map(|(key, _)| key));
        }
        Ok(keys.into_iter().collect())
    }

    /// Takes note of deletes that were missed.
    async fn take_floors(self: &Arc<Self>, tier: &Arc<dyn Tier>, keys: &[Key]) -> Result<(), String> {
        let floors = timeout_at(Instant::now() + self.deadline, tier.floors(keys)).await;
        let floors =
            floors.map_err(|_| "no answer within the deadline".to_owned())?.map_err(|error| error.to_string())?;
        for (key, floor) in keys.iter().zip(floors) {
            let Some(floor) = floor else { continue };
            if self.floors.get(key).is_none_or(|known| known < floor) {
                self.deleted_elsewhere(key, floor);
            }
        }
        Ok(())
    }

    /// Takes note of what another gateway wrote to `tier`.
    pub(super) fn noted(&self, tier: &TierName, key: &Key, announced: &Announced) {
        let Announced { gateway, stored, bytes_len, canonical, stamp, is_stored } = announced;
        let (kind, version) = (stamp.kind, stamp.version);
        for tier in self.tiers.iter() {
            tier.note(key, *stored, *canonical, *stamp);
            self.appraiser.heard(tier.name(), key, *stored, version);
        }
        if *is_stored {
            let what = What::Value { kind, version, bytes_len: *bytes_len, repairs: 0 };
            self.history.elsewhere(key, gateway, what, (tier.clone(), WriteOutcome::Stored.label(), None));
        }
        self.drop_late(key);
    }

    /// Where another gateway's write seemed to be later than a delete, only because it came late, readers do not get it any
    /// longer.
    fn drop_late(&self, key: &Key) {
        let Some(floor) = self.floors.get(key) else { return };
        for tier in self.tiers.iter() {
            let Some(version) = self.appraiser.was_late(tier.name(), key, floor) else { continue };
            if self.memory.remove_exactly(key, version) == DeleteOutcome::Deleted {
                self.announce(Change::Deleted(key.clone(), version));
            }
            tracing::debug!(%key, tier = %tier.name(), "what seemed to be newer than a delete is a write from before it");
            self.hint(key.clone());
        }
    }

    /// Takes note that another gateway deleted values of `key`. No shared tier is written: that gateway has done it.
    pub(super) fn deleted_elsewhere(self: &Arc<Self>, key: &Key, floor: Version) {
        self.floors.raise(key, floor);
        self.saw(key, floor);
        let in_memory = self.memory.remove(key, floor);
        self.announce(Change::Deleted(key.clone(), floor));
        tracing::debug!(%key, outcome = in_memory.label(), "deleted through another gateway");
        self.drop_late(key);
        for (at, tier) in self.tiers.iter().enumerate() {
            tier.raise_floor(key, floor);
            if !tier.is_shared() {
                let (cache, tier, key) = (self.clone(), tier.clone(), key.clone());
                tokio::spawn(async move {
                    let until = Instant::now() + cache.deadline;
                    let outcome = tier.delete(&key, floor).await;
                    let outcome = cache.wait_to_delete(at, &key, floor, outcome, until).await;
                    if let Some(reason) = outcome.reason() {
                        tracing::warn!(%key, tier = %tier.name(), outcome = outcome.label(), reason, "a delete of another gateway did not succeed here");
                    }
                });
            }
        }
    }

    /// Whether a value in memory may have been overtaken without this gateway hearing of it.
    pub(super) fn is_suspect(&self, hit: &Hit, now: Time) -> bool {
        let is_old = |since: Time| hit.looked_at < since || hit.is_due || now.since(hit.looked_at) > TRUSTED_FOR;
        self.mode.since().is_some_and(is_old)
    }

    /// Answers with a suspect value once the tiers below were asked, or could not be in time.
    pub(super) async fn made_sure(self: &Arc<Self>, key: &Key, held: Arc<Record>) -> Read {
        let arrival = self.take_off(key);
        let refreshed = tokio::time::timeout(self.deadline * 2, landed(arrival)).await.ok().flatten();
        let read = self.sure(held, refreshed.as_deref());
        metrics::read(&read.outcome);
        read
    }

    /// The answer of a suspect value and of what a look below brought, if it ended in time.
    pub(super) fn sure(&self, held: Arc<Record>, refreshed: Option<&Refreshed>) -> Read {
        match refreshed {
            Some(refreshed) if refreshed.failed.is_empty() => self.landed(refreshed),
            _ => {
                let found = refreshed.and_then(|refreshed| refreshed.found.as_ref());
                let record = found.map_or(held, |(record, _)| record.clone());
                Read { record: Some(record), outcome: self.in_memory(Some(StaleWhy::TierFailed)) }
            }
        }
    }
}
