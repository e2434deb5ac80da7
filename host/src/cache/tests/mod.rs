//! What a real server cannot be made to show: how often a tier is asked, and what happens while it does not answer.

pub(crate) mod deadline;
mod warming;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{
    Apart, Builder, Cache, Change, Codec, Config, DecodeError, Decoded, KEYS_REMEMBERED_MAX, KeyPolicy, Limits, Policy,
    Read, Serves, TierTtls,
};
use crate::record::{
    DeleteOutcome, Digest, Key, Kind, ReadOutcome, Record, StaleWhy, TierName, Time, Version, WriteOutcome,
};
use crate::tier::{Announced, Found, Health, Payload, Stamp, Tier, TierError};

/// A shared tier that holds one text under every key, and answers when it is let.
struct Gated {
    name: TierName,
    text: &'static str,
    /// What a gateway noted beside it.
    stamp: Mutex<Option<Stamp>>,
    reads: AtomicUsize,
    deletes: AtomicUsize,
    gate: Semaphore,
}

/// Takes every payload as it is.
pub(super) struct Plain;

impl Codec for Plain {
    fn decode(&self, _: &Key, _: &Bytes, _: u32) -> Result<Decoded, DecodeError> {
        let (canonical, produced_at, schema_version) = (None, None, None);
        Ok(Decoded {
            canonical,
            kind: Kind::Real,
            produced_at,
            schema: "json".into(),
            schema_version,
            repairs: Vec::new(),
        })
    }

    fn decode_by(&self, _: &str, key: &Key, payload: &Bytes) -> Result<Decoded, DecodeError> {
        self.decode(key, payload, 0)
    }

    fn claims(&self) -> Vec<String> {
        vec!["*".to_owned()]
    }

    fn epoch(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Tier for Gated {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        "gated".to_owned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("never closed").forget();
        let bytes = Bytes::from_static(self.text.as_bytes());
        let stamp = *self.stamp.lock().expect("not poisoned");
        let payload = Payload { bytes, flags: 0, remaining: Some(Duration::from_secs(60)), stamp };
        Ok(keys.iter().map(|_| Some(Found::Shared(payload.clone()))).collect())
    }

    async fn put(&self, _: &Key, _: &Record) -> WriteOutcome {
        WriteOutcome::Superseded
    }

    async fn delete(&self, _: &Key, _: Version) -> DeleteOutcome {
        self.deletes.fetch_add(1, Ordering::SeqCst);
        DeleteOutcome::Absent
    }

    async fn delete_exact(&self, _: &Key, _: Digest) -> DeleteOutcome {
        DeleteOutcome::Absent
    }

    async fn check(&self) -> Result<Health, TierError> {
        Ok(Health::default())
    }
}

/// A cache over a gated tier; memory asks it again after `memory`.
fn cache(memory: Duration) -> (Arc<Cache>, Arc<Gated>) {
    let tier = gated("redis");
    (over(memory, vec![tier.clone()]), tier)
}

/// A gated tier of this name.
fn gated(name: &str) -> Arc<Gated> {
    let (reads, deletes, gate) = (AtomicUsize::new(0), AtomicUsize::new(0), Semaphore::new(0));
    let (name, stamp) = (TierName::new(name), Mutex::new(None));
    Arc::new(Gated { name, text: "1", stamp, reads, deletes, gate })
}

/// A cache over these tiers; memory asks them again after `memory`.
fn over(memory: Duration, tiers: Vec<Arc<dyn Tier>>) -> Arc<Cache> {
    builder(memory).build(tiers)
}

fn builder(memory: Duration) -> Builder {
    let minute = Duration::from_secs(60);
    let ttl = TierTtls { memory, memcached: minute, redis: minute };
    let rule = KeyPolicy { pattern: "*".to_owned(), ttl, fresh: minute, grace: minute, owners: Vec::new() };
    let policy = Policy::with(vec![rule]).unwrap();
    let config = Config {
        policy,
        deadline: Duration::from_millis(200),
        memory_bytes_max: 1 << 20,
        recovery: Limits::default(),
        verify_every: Duration::from_secs(5),
    };
    Builder::new(config, Arc::new(Plain))
}

fn key() -> Key {
    Key::new("k").unwrap()
}

async fn asked(tier: &Gated, times: usize) {
    while tier.reads.load(Ordering::SeqCst) < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b21_a_crowd_of_readers_costs_one_look_below() {
    let (cache, tier) = cache(Duration::from_secs(60));
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let cache = cache.clone();
        crowd.spawn(async move { cache.get(&key()).await });
    }
    asked(&tier, 1).await;
    tier.gate.add_permits(100);
    for read in crowd.join_all().await {
        assert_eq!(read.record.expect("a value").bytes, "1");
    }
    assert_eq!(tier.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_due_is_served_at_once_while_one_flight_looks_below() {
    let (cache, tier) = cache(Duration::ZERO);
    tier.gate.add_permits(1);
    assert!(matches!(cache.get(&key()).await.outcome, ReadOutcome::Hit { .. }));
    // The tier does not answer now, and nobody waits for it.
    for _ in 0..10 {
        let read = cache.get(&key()).await;
        assert!(matches!(read.outcome, ReadOutcome::Stale { why: StaleWhy::Revalidating, .. }), "{:?}", read.outcome);
        assert_eq!(read.record.expect("the last value").bytes, "1");
        tokio::task::yield_now().await;
    }
    asked(&tier, 2).await;
    assert_eq!(tier.reads.load(Ordering::SeqCst), 2);
}

/// What is explained that a reader gets, and what one gets then.
async fn explained_and_read(cache: &Arc<Cache>) -> (Serves, Read) {
    let explained = cache.explain(&key()).await.serves;
    (explained, cache.get(&key()).await)
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_what_is_explained_of_a_value_that_is_due_or_that_may_have_been_overtaken() {
    for (memory, is_degraded, why) in [(0, false, "is due for another look"), (60, true, "changes may be missed")] {
        let (cache, tier) = cache(Duration::from_secs(memory));
        tier.gate.add_permits(10);
        assert!(matches!(cache.get(&key()).await.outcome, ReadOutcome::Hit { .. }));
        if is_degraded {
            cache.mode.missed("something".to_owned());
        }
        let (explained, read) = explained_and_read(&cache).await;
        assert_eq!(format!("{:?}", explained.outcome), format!("{:?}", read.outcome));
        assert_eq!(explained.record.map(|record| record.version), read.record.map(|record| record.version));
        assert!(explained.why.contains(why), "{}", explained.why);
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_value_is_explained_as_it_is_read_when_its_tier_does_not_answer() {
    let (cache, tier) = cache(Duration::from_secs(60));
    tier.gate.add_permits(1);
    assert!(cache.get(&key()).await.record.is_some());
    cache.mode.missed("something".to_owned());
    let (explained, read) = explained_and_read(&cache).await;
    assert!(matches!(explained.outcome, ReadOutcome::Stale { why: StaleWhy::TierFailed, .. }), "{explained:?}");
    assert_eq!(format!("{:?}", explained.outcome), format!("{:?}", read.outcome));
    assert!(explained.why.contains("something") && explained.why.contains("did not answer"), "{}", explained.why);
}

#[tokio::test(start_paused = true)]
async fn memory_that_keeps_a_lesser_value_than_a_tier_is_apart_from_it_and_one_that_takes_it_up_is_not() {
    let (cache, tier) = cache(Duration::from_secs(60));
    tier.gate.add_permits(10);
    *tier.stamp.lock().expect("not poisoned") = Some(stamp(Version(Time::now().micros())));
    let found = cache.get(&key()).await.record.expect("a value");
    assert_eq!(cache.apart(&[key()]).await, []);
    let older = Record { bytes: "0".into(), digest: Digest::of(b"0"), version: Version(1), ..(*found).clone() };
    let digest = older.digest;
    assert_eq!(cache.memory.remove_exactly(&key(), found.version), DeleteOutcome::Deleted);
    assert_eq!(cache.memory.set(&key(), Arc::new(older), Time::now()), WriteOutcome::Stored);
    let memory = TierName::new("memory");
    assert_eq!(cache.apart(&[key()]).await, [Apart { key: key(), tier: memory, digest, greatest: tier.name.clone() }]);
    assert!(cache.refresh(&[key()]).await[0].moved);
    assert_eq!(cache.apart(&[key()]).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_never_answers_costs_a_reader_one_deadline_and_is_named() {
    let (cache, _tier) = cache(Duration::from_secs(60));
    let begun = tokio::time::Instant::now();
    let read = cache.get(&key()).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(200));
    match read.outcome {
        ReadOutcome::Unavailable { failed } => assert_eq!(failed[0].0, TierName::new("redis")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_away_does_not_stop_the_flight_for_the_others() {
    let (cache, tier) = cache(Duration::from_secs(60));
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&key()).await }
    });
    asked(&tier, 1).await;
    let follower = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&key()).await }
    });
    leader.abort();
    tier.gate.add_permits(1);
    assert_eq!(follower.await.unwrap().record.expect("a value").bytes, "1");
    assert_eq!(tier.reads.load(Ordering::SeqCst), 1);
}

/// A cache that has read its tier, and a second look that is under way.
async fn a_look_under_way() -> (Arc<Cache>, Arc<Gated>, tokio::task::JoinHandle<()>) {
    let (cache, tier) = cache(Duration::from_secs(60));
    tier.gate.add_permits(1);
    assert_eq!(cache.get(&key()).await.record.expect("a value").bytes, "1");
    let look = tokio::spawn({
        let cache = cache.clone();
        async move { drop(cache.refresh(&[key()]).await) }
    });
    asked(&tier, 2).await;
    (cache, tier, look)
}

#[tokio::test(start_paused = true)]
async fn a_look_that_was_under_way_does_not_bring_back_what_was_deleted() {
    let (cache, tier, look) = a_look_under_way().await;
    let deleted = cache.delete(&key()).await.expect("a delete");
    assert_eq!(deleted.outcomes[0].1, DeleteOutcome::Deleted, "in memory");
    tier.gate.add_permits(1);
    look.await.expect("a look");
    assert!(cache.peek(&key()).is_none());
    assert!(cache.hints.ripe().is_empty());
    assert_eq!(cache.hints.ripe(), [key()], "it may be newer than the delete, and is looked at again");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_was_under_way_does_not_bring_back_what_was_replaced() {
    let (cache, tier, look) = a_look_under_way().await;
    let old = cache.peek(&key()).expect("a value");
    let (bytes, now) = (Bytes::from_static(b"2"), Time::now());
    let record = Record { digest: Digest::of(&bytes), bytes, version: Version(now.micros()), ..(*old).clone() };
    cache.appraiser.saw_stored(&tier.name, &key(), &record, now);
    assert_eq!(cache.memory.set(&key(), Arc::new(record), now), WriteOutcome::Stored);
    tier.gate.add_permits(1);
    look.await.expect("a look");
    assert_eq!(cache.peek(&key()).expect("a value").bytes, "2");
}

/// Ends once something was removed from the tier.
async fn something_is_removed(tier: &Gated) {
    while tier.deletes.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

/// The stamp of a value that another gateway wrote as this version.
fn stamp(version: Version) -> Stamp {
    let now = Time::now();
    Stamp { kind: Kind::Real, rank: 0, version, produced_at: now, fresh_until: now.after(Duration::from_secs(60)) }
}

/// A cache that has found in its tier what seems to be newer than the delete whose floor is told too.
async fn a_late_write() -> (Arc<Cache>, Arc<Gated>, Arc<Record>, Version) {
    let (cache, tier) = cache(Duration::from_secs(60));
    cache.appraiser.saw_removed(&tier.name, &key(), Version(0), Time::now());
    tier.gate.add_permits(1);
    let late = cache.get(&key()).await.record.expect("what seems to be new");
    let floor = Version(late.version.0 - 1);
    (cache, tier, late, floor)
}

/// Another gateway tells that it was to write `record` as `version`, when it had been deleted.
fn told(record: &Record, version: Version) -> Announced {
    let (stored, canonical, stamp) = (record.digest, record.digest, stamp(version));
    Announced { gateway: "other".to_owned(), stored, bytes_len: 1, canonical, stamp, is_stored: false }
}

#[tokio::test]
async fn a_write_that_comes_late_does_not_stay_though_it_seemed_to_be_newer_than_the_delete() {
    let (cache, tier, late, floor) = a_late_write().await;
    cache.floors.raise(&key(), floor);
    let mut changes = cache.changes.subscribe();
    cache.noted(&tier.name, &key(), &told(&late, floor));
    assert!(cache.peek(&key()).is_none());
    assert!(matches!(changes.try_recv(), Ok(Change::Deleted(_, version)) if version == late.version));
    assert!(cache.history.of(&key()).iter().all(|written| !written.from.contains("other")), "no tier stored it");

    // A look does not bring it back.
    tier.gate.add_permits(1);
    assert!(cache.get(&key()).await.record.is_none());
    assert_eq!(tier.deletes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_another_gateway_wrote_late_is_removed_here_because_that_gateway_may_have_ended() {
    let (cache, tier, late, floor) = a_late_write().await;
    cache.floors.raise(&key(), floor);
    cache.noted(&tier.name, &key(), &told(&late, floor));
    *tier.stamp.lock().expect("not poisoned") = Some(stamp(floor));
    tier.gate.add_permits(1);
    assert!(cache.refresh_again(&[key()]).await[0].found.is_none());
    something_is_removed(&tier).await;
}

#[tokio::test]
async fn what_is_heard_of_first_and_comes_late_then_is_removed_too() {
    let (cache, tier) = cache(Duration::from_secs(60));
    cache.appraiser.saw_removed(&tier.name, &key(), Version(0), Time::now());
    let late = Version(Time::now().micros());
    *tier.stamp.lock().expect("not poisoned") = Some(stamp(late));
    cache.deleted_elsewhere(&key(), Version(late.0 + 1));
    tier.gate.add_permits(1);
    assert!(cache.refresh_again(&[key()]).await[0].found.is_none());
    something_is_removed(&tier).await;
}

#[tokio::test]
async fn what_nobody_noted_is_left_to_whoever_set_it() {
    let (cache, tier, late, floor) = a_late_write().await;
    cache.floors.raise(&key(), floor);
    cache.noted(&tier.name, &key(), &told(&late, floor));
    tier.gate.add_permits(1);
    assert!(cache.refresh_again(&[key()]).await[0].found.is_none());
    tokio::task::yield_now().await;
    assert_eq!(tier.deletes.load(Ordering::SeqCst), 0, "its note is gone: it was written again");
}

#[tokio::test]
async fn what_a_gateway_wrote_late_it_removes_itself_once_nobody_can_be_about_to_write_it_anew() {
    let (cache, tier, late, floor) = a_late_write().await;
    cache.appraiser.saw_stored(&tier.name, &key(), &Record { version: floor, ..(*late).clone() }, Time::now());
    *tier.stamp.lock().expect("not poisoned") = Some(stamp(floor));
    cache.deleted_elsewhere(&key(), late.version);
    tier.gate.add_permits(2);
    assert!(cache.get(&key()).await.record.is_none());
    assert!(cache.hints.ripe().is_empty());
    assert_eq!((cache.hints.ripe(), tier.deletes.load(Ordering::SeqCst)), (vec![key()], 0));
    assert!(cache.refresh_again(&[key()]).await[0].found.is_none());
    something_is_removed(&tier).await;
}

#[tokio::test]
async fn what_was_set_again_where_a_gateway_had_put_it_is_left_to_whoever_set_it() {
    let (cache, tier, late, floor) = a_late_write().await;
    let lifetime_end = late.lifetime_end.after(Duration::from_secs(60));
    let record = Record { version: floor, lifetime_end, ..(*late).clone() };
    cache.appraiser.saw_stored(&tier.name, &key(), &record, Time::now());
    *tier.stamp.lock().expect("not poisoned") = Some(stamp(floor));
    cache.deleted_elsewhere(&key(), late.version);
    tier.gate.add_permits(1);
    assert!(cache.refresh_again(&[key()]).await[0].found.is_none());
    tokio::task::yield_now().await;
    assert_eq!(tier.deletes.load(Ordering::SeqCst), 0, "its life has another end");
}

#[tokio::test]
async fn bytes_that_a_gateway_wrote_anew_after_a_delete_that_was_not_seen_are_its_new_value() {
    let (cache, tier, seen, _) = a_late_write().await;
    cache.deleted_elsewhere(&key(), seen.version);
    let anew = Version(seen.version.0 + 1);
    *tier.stamp.lock().expect("not poisoned") = Some(stamp(anew));
    tier.gate.add_permits(1);
    assert_eq!(cache.get(&key()).await.record.expect("the new value").version, anew);
}

#[tokio::test]
async fn what_is_heard_of_first_and_deleted_then_was_late_too() {
    let (cache, tier, late, floor) = a_late_write().await;
    cache.noted(&tier.name, &key(), &told(&late, floor));
    assert!(cache.peek(&key()).is_some());
    cache.deleted_elsewhere(&key(), floor);
    assert!(cache.peek(&key()).is_none());
}

#[tokio::test]
async fn bytes_that_a_gateway_wrote_after_the_delete_too_are_not_late() {
    let (cache, tier, late, floor) = a_late_write().await;
    cache.floors.raise(&key(), floor);
    cache.noted(&tier.name, &key(), &told(&late, late.version));
    cache.noted(&tier.name, &key(), &told(&late, floor));
    assert!(cache.peek(&key()).is_some(), "the older write is told of later");
}

#[tokio::test]
async fn b61_what_is_remembered_of_keys_is_bounded() {
    let (cache, tier) = cache(Duration::from_secs(60));
    let now = Time::now();
    for n in 0..KEYS_REMEMBERED_MAX + KEYS_REMEMBERED_MAX / 10 {
        let key = Key::new(format!("key:{n}")).unwrap();
        cache.saw(&key, Version(1));
        cache.note_miss(&key);
        cache.put_back.insert((key, tier.name.clone()), now);
    }
    for remembered in [cache.versions.len(), cache.missed.len(), cache.put_back.len()] {
        assert!(remembered <= KEYS_REMEMBERED_MAX, "{remembered}");
    }
}
