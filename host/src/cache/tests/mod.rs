//! What a real server cannot be made to show: how often a tier is asked, and what happens while it does not answer.

mod warming;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{
    Builder, Cache, Codec, Config, DecodeError, Decoded, KEYS_REMEMBERED_MAX, KeyPolicy, Limits, Policy, TierTtls,
};
use crate::record::{
    DeleteOutcome, Digest, Key, Kind, ReadOutcome, Record, StaleWhy, TierName, Time, Version, WriteOutcome,
};
use crate::tier::{Found, Health, Payload, Tier, TierError};

/// A shared tier that holds one text under every key, and answers when it is let.
struct Gated {
    name: TierName,
    text: &'static str,
    reads: AtomicUsize,
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
        let payload = Payload { bytes, flags: 0, remaining: Some(Duration::from_secs(60)), stamp: None };
        Ok(keys.iter().map(|_| Some(Found::Shared(payload.clone()))).collect())
    }

    async fn put(&self, _: &Key, _: &Record) -> WriteOutcome {
        WriteOutcome::Superseded
    }

    async fn delete(&self, _: &Key, _: Version) -> DeleteOutcome {
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
    let (reads, gate) = (AtomicUsize::new(0), Semaphore::new(0));
    let tier = Arc::new(Gated { name: TierName::new("redis"), text: "1", reads, gate });
    (Builder::new(config, Arc::new(Plain)).build(vec![tier.clone()]), tier)
}

fn key() -> Key {
    Key::new("k").unwrap()
}

async fn asked(tier: &Gated, times: usize) {
    while tier.reads.load(Ordering::SeqCst) < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
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

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
async fn a_look_that_was_under_way_does_not_bring_back_what_was_deleted() {
    let (cache, tier, look) = a_look_under_way().await;
    let deleted = cache.delete(&key()).await.expect("a delete");
    assert_eq!(deleted.outcomes[0].1, DeleteOutcome::Deleted, "in memory");
    tier.gate.add_permits(1);
    look.await.expect("a look");
    assert!(cache.peek(&key()).is_none());
    assert_eq!(cache.hints.ripe(), [key()], "it may be newer than the delete, and is looked at again");
}

#[tokio::test]
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
