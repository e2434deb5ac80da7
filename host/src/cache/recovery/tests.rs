use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::lane::{Lane, Limits, Offer, SPREAD, Taken, Turn, WAIT_MAX, WAIT_MIN, waits};
use super::*;
use crate::cache::history::History;
use crate::cache::tests::Plain;
use crate::cache::{Builder, Config, Policy, PutOptions, Verdict, Written};
use crate::record::{Digest, Origin, TierName};
use crate::tier::{Found, Health, Memory, Tier, TierError, memory};

/// A tier behind a door: shut, it cannot be reached.
struct Door {
    name: TierName,
    is_open: AtomicBool,
    /// The key that it never takes.
    stuck: Option<Key>,
    tries: AtomicUsize,
    values: Memory,
}

impl Door {
    fn new(name: &str, stuck: Option<Key>) -> Arc<Self> {
        let values = Memory::new(memory::Config { bytes_max: 64 << 20 });
        let (is_open, tries) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { name: TierName::new(name), is_open, stuck, tries, values })
    }

    fn reach(&self, key: &Key) -> Result<(), TierError> {
        self.tries.fetch_add(1, Relaxed);
        if self.is_open.load(Relaxed) && self.stuck.as_ref() != Some(key) {
            return Ok(());
        }
        Err(TierError::Connect("the door is shut".to_owned()))
    }

    fn open(&self) {
        self.is_open.store(true, Relaxed);
    }

    async fn has(&self, key: &Key, text: &str) {
        while self.values.get(key).is_none_or(|record| record.bytes != text) {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl Tier for Door {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        "a tier behind a door".to_owned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        self.values.read(keys).await
    }

    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome {
        match self.reach(key) {
            Ok(()) => self.values.put(key, record).await,
            Err(error) => WriteOutcome::Failed(error.into()),
        }
    }

    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome {
        match self.reach(key) {
            Ok(()) => self.values.delete(key, floor).await,
            Err(error) => DeleteOutcome::Failed(error.into()),
        }
    }

    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome {
        self.values.delete_exact(key, stored).await
    }

    async fn check(&self) -> Result<Health, TierError> {
        Ok(Health::default())
    }
}

fn cache(tiers: &[Arc<Door>], limits: Limits) -> Arc<Cache> {
    let deadline = Duration::from_millis(200);
    let config = Config {
        policy: Policy::default(),
        deadline,
        memory_bytes_max: 64 << 20,
        recovery: limits,
        verify_every: Duration::from_secs(5),
    };
    let tiers = tiers.iter().map(|tier| tier.clone() as Arc<dyn Tier>).collect();
    Builder::new(config, Arc::new(Plain)).build(tiers)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn put(cache: &Arc<Cache>, name: &str, text: &'static str) -> super::super::Put {
    let options = PutOptions { from: "api".into(), ttl: Some(Duration::from_secs(300)), codec: None, as_of: None };
    cache.put(&key(name), Bytes::from_static(text.as_bytes()), options).await.unwrap()
}

fn record(version: u64, bytes_len: usize, life: Duration) -> Arc<Record> {
    let (bytes, now) = (Bytes::from(vec![b'1'; bytes_len]), Time::now());
    Arc::new(Record {
        digest: Digest::of(&bytes),
        bytes,
        foreign: None,
        kind: Kind::Real,
        version: Version(version),
        rank: 0,
        schema: "json".into(),
        produced_at: now,
        soft_expiry: now.after(life),
        lifetime_end: now.after(life),
        hard_expiry: now.after(life),
        origin: Origin::Gateway("api".into()),
        repairs: [].into(),
    })
}

const MINUTE: Duration = Duration::from_secs(60);

fn lane(items_max: usize, bytes_max: u64) -> Lane {
    Lane::new(TierName::new("redis"), Limits { items_max, bytes_max }, None, Arc::new(History::new()))
}

fn offer(lane: &Lane, name: &str, offer: Offer) -> Taken {
    lane.offer(&key(name), offer, "why", Time::now())
}

/// The tier took all of it.
fn settle(lane: &Lane, turn: &Turn) {
    let parts = turn.wish.floor.map(Part::Delete).into_iter().chain(turn.wish.record.clone().map(Part::Write));
    lane.settle(turn, &parts.map(|part| (part, "stored", "why".to_owned())).collect::<Vec<_>>());
}

fn depth(lane: &Lane) -> usize {
    lane.status(Time::now(), 0).depth
}

#[test]
fn so_many_keys_wait_and_one_more_is_told_why_not_while_a_newer_value_of_one_that_waits_is_taken() {
    let lane = lane(2, 1 << 20);
    for name in ["a", "b"] {
        assert!(matches!(offer(&lane, name, Offer::Write(record(1, 1, MINUTE))), Taken::Waits(_)));
    }
    let full = offer(&lane, "c", Offer::Write(record(1, 1, MINUTE)));
    assert!(matches!(&full, Taken::Full(why) if why.contains("2 keys wait")));
    assert!(matches!(offer(&lane, "a", Offer::Write(record(2, 1, MINUTE))), Taken::Waits(_)));
    assert_eq!(depth(&lane), 2);
}

#[test]
fn so_many_bytes_wait_and_one_more_does_not() {
    let one = lane(10, 1 << 20);
    assert!(matches!(offer(&one, "a", Offer::Write(record(1, 1_000, MINUTE))), Taken::Waits(_)));
    let size = one.status(Time::now(), 0).bytes;
    for (limit, fits) in [(size, true), (size - 1, false)] {
        let lane = lane(10, limit);
        let taken = offer(&lane, "a", Offer::Write(record(1, 1_000, MINUTE)));
        assert_eq!(matches!(taken, Taken::Waits(_)), fits);
        assert_eq!(depth(&lane), usize::from(fits));
    }
}

#[test]
fn what_has_ended_makes_room() {
    let lane = lane(1, 1 << 20);
    assert!(matches!(offer(&lane, "a", Offer::Write(record(1, 1, Duration::ZERO))), Taken::Waits(_)));
    assert!(matches!(offer(&lane, "b", Offer::Write(record(1, 1, MINUTE))), Taken::Waits(_)));
    assert_eq!(depth(&lane), 1);
}

#[test]
fn the_greatest_record_of_a_key_waits_and_a_delete_takes_those_before_it() {
    let lane = lane(10, 1 << 20);
    let waiting = |lane: &Lane| {
        let item = lane.status(Time::now(), 1).items.remove(0).wish;
        (item.floor.map(|floor| floor.0), item.record.map(|record| record.version.0))
    };
    for version in [5, 7, 6] {
        let taken = offer(&lane, "a", Offer::Write(record(version, 1, MINUTE)));
        assert_eq!(matches!(taken, Taken::Outranked), version == 6);
    }
    assert_eq!(waiting(&lane), (None, Some(7)));
    assert!(matches!(offer(&lane, "a", Offer::Delete(Version(6))), Taken::Waits(_)));
    assert_eq!(waiting(&lane), (Some(6), Some(7)));
    assert!(matches!(offer(&lane, "a", Offer::Delete(Version(9))), Taken::Waits(_)));
    assert_eq!(waiting(&lane), (Some(9), None));
    assert!(matches!(offer(&lane, "a", Offer::Write(record(9, 1, MINUTE))), Taken::Outranked));
    assert!(matches!(offer(&lane, "a", Offer::Write(record(10, 1, MINUTE))), Taken::Waits(_)));
    assert_eq!(waiting(&lane), (Some(9), Some(10)));
    // The tier was reached, and the key deleted there.
    lane.forget_up_to(&key("a"), Version(9));
    assert_eq!(waiting(&lane), (None, Some(10)));
    lane.forget_up_to(&key("a"), Version(10));
    assert_eq!(depth(&lane), 0);
}

#[tokio::test(start_paused = true)]
async fn an_item_is_tried_later_each_time_and_as_soon_as_the_tier_is_back() {
    let lane = lane(10, 1 << 20);
    assert!(matches!(offer(&lane, "a", Offer::Write(record(1, 1, MINUTE))), Taken::Waits(_)));
    let mut longest = Duration::ZERO;
    for tries in 0..20 {
        let begun = Instant::now();
        lane.is_due().await;
        longest = longest.max(begun.elapsed());
        let turn = lane.turn(Instant::now()).expect("it is due");
        assert!(lane.turn(Instant::now()).is_none(), "it is under way");
        lane.again(&turn, format!("try {tries}"));
    }
    assert!(longest > WAIT_MAX && longest + SPREAD < Duration::from_secs(2), "{longest:?}");
    assert_eq!(lane.status(Time::now(), 1).items[0].tries, 20);
    lane.hurry();
    assert!(lane.turn(Instant::now()).is_some());
}

#[test]
fn waits_double_from_the_shortest_to_the_longest_and_no_two_items_wait_in_step() {
    let items: Vec<Vec<Duration>> = (0..8).map(|_| waits().take(12).collect()).collect();
    for item in &items {
        let mut least = WAIT_MIN;
        for wait in item {
            assert!((least..=least * 2).contains(wait), "{wait:?} of {least:?}");
            least = (least * 2).min(WAIT_MAX);
        }
        assert_eq!(least, WAIT_MAX);
    }
    for at in 0..12 {
        assert!(items.iter().any(|item| item[at] != items[0][at]), "wait {at} is the same for all: {items:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_while_an_item_was_under_way_is_not_lost_with_it() {
    let lane = lane(10, 1 << 20);
    assert!(matches!(offer(&lane, "a", Offer::Write(record(1, 1, MINUTE))), Taken::Waits(_)));
    lane.is_due().await;
    let turn = lane.turn(Instant::now()).expect("it is due");
    assert!(matches!(offer(&lane, "a", Offer::Write(record(2, 1, MINUTE))), Taken::Waits(_)));
    settle(&lane, &turn);
    let next = lane.turn(Instant::now()).expect("the newer one is due at once");
    assert_eq!(next.wish.record.as_ref().map(|record| record.version.0), Some(2));
    settle(&lane, &next);
    assert_eq!((depth(&lane), lane.status(Time::now(), 0).bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_each_tier_that_is_away_and_no_tier_waits_for_another() {
    let (first, second) = (Door::new("memcached", None), Door::new("redis", None));
    let cache = cache(&[first.clone(), second.clone()], Limits::default());
    let playing = tokio::spawn(cache.clone().recover());
    let written = put(&cache, "k", "1").await;
    assert_eq!(written.verdict(), Verdict::Queued, "{:?}", written.outcomes);
    assert_eq!(cache.peek(&key("k")).expect("readers have it").bytes, "1");
    second.open();
    second.has(&key("k"), "1").await;
    assert_eq!(cache.recovery(10).iter().map(|lane| lane.depth).sum::<usize>(), 1, "it waits for the other one still");
    let newer = put(&cache, "k", "2").await;
    assert_eq!(newer.outcomes.iter().filter(|(_, outcome)| *outcome == WriteOutcome::Stored).count(), 2);
    first.open();
    first.has(&key("k"), "2").await;
    playing.abort();
}

#[tokio::test(start_paused = true)]
async fn an_item_that_the_tier_does_not_take_does_not_hold_up_the_next() {
    let tier = Door::new("redis", Some(key("stuck")));
    let cache = cache(std::slice::from_ref(&tier), Limits::default());
    let playing = tokio::spawn(cache.clone().recover());
    assert_eq!(put(&cache, "stuck", "1").await.verdict(), Verdict::Queued);
    for name in ["a", "b", "c"] {
        assert_eq!(put(&cache, name, "1").await.verdict(), Verdict::Queued);
    }
    tier.open();
    for name in ["a", "b", "c"] {
        tier.has(&key(name), "1").await;
    }
    let lane = cache.recovery(10).remove(0);
    assert_eq!((lane.depth, lane.items[0].key.as_str()), (1, "stuck"));
    playing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_delete_waits_too_and_what_was_deleted_is_not_written_afterwards() {
    let tier = Door::new("redis", None);
    tier.open();
    let cache = cache(std::slice::from_ref(&tier), Limits::default());
    assert_eq!(put(&cache, "k", "1").await.verdict(), Verdict::Stored);
    tier.is_open.store(false, Relaxed);
    assert_eq!(put(&cache, "k", "2").await.verdict(), Verdict::Queued);
    let deleted = cache.delete(&key("k")).await.unwrap();
    assert!(matches!(&deleted.outcomes[1].1, DeleteOutcome::Queued(why) if why.contains("shut")), "{deleted:?}");
    tier.open();
    let playing = tokio::spawn(cache.clone().recover());
    while cache.recovery(0)[0].depth > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(tier.values.get(&key("k")).is_none());
    playing.abort();
}

#[tokio::test]
async fn a_lane_that_is_full_is_a_failure_that_says_so() {
    let tier = Door::new("redis", None);
    let cache = cache(std::slice::from_ref(&tier), Limits { items_max: 1, ..Limits::default() });
    assert_eq!(put(&cache, "a", "1").await.verdict(), Verdict::Queued);
    let second = put(&cache, "b", "1").await;
    let reason = second.outcomes[1].1.reason().unwrap_or_default();
    assert_eq!(second.verdict(), Verdict::Unavailable);
    assert!(reason.contains("shut") && reason.contains("lane is full"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_is_replaced_or_deleted_is_told_to_have_ended_with_the_reason() {
    let tier = Door::new("redis", None);
    let cache = cache(std::slice::from_ref(&tier), Limits::default());
    let told = |cache: &Arc<Cache>| -> Vec<(&'static str, String)> {
        let of_redis = |written: Written| written.outcomes.into_iter().find(|(tier, ..)| tier.as_str() == "redis");
        let told = cache.history.of(&key("k")).into_iter().filter_map(of_redis);
        told.map(|(_, outcome, why)| (outcome, why.unwrap_or_default())).collect()
    };
    for text in ["1", "2"] {
        assert_eq!(put(&cache, "k", text).await.verdict(), Verdict::Queued);
    }
    let [newer, older] = &told(&cache)[..] else { panic!("two writes") };
    assert_eq!((newer.0, older.0), ("queued", "superseded"));
    assert!(older.1.contains("a later write or delete waits"), "{older:?}");
    let deleted = cache.delete(&key("k")).await.unwrap();
    assert!(matches!(deleted.outcomes[1].1, DeleteOutcome::Queued(_)), "{deleted:?}");
    assert_eq!(
        told(&cache).iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(),
        ["queued", "superseded", "superseded"]
    );
    tier.open();
    let playing = tokio::spawn(cache.clone().recover());
    while cache.recovery(0)[0].depth > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told(&cache)[0].0, "absent", "the delete");
    assert!(told(&cache).iter().all(|(_, why)| !why.is_empty()), "{:?}", told(&cache));

    // What was refused in the end, and a delete that waited together with a write, end with a reason, too.
    tier.is_open.store(false, Relaxed);
    assert!(matches!(cache.delete(&key("k")).await.unwrap().outcomes[1].1, DeleteOutcome::Queued(_)));
    assert_eq!(put(&cache, "k", "3").await.verdict(), Verdict::Queued);
    let later = Record { version: Version(u64::MAX), ..(*record(1, 2, MINUTE)).clone() };
    assert_eq!(tier.values.put(&key("k"), &later).await, WriteOutcome::Stored);
    tier.open();
    while cache.recovery(0)[0].depth > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let [(write, why), (delete, why_delete)] = &told(&cache)[..2] else { panic!("two writes") };
    assert_eq!((*write, *delete), ("superseded", "superseded"));
    assert!(!why.is_empty() && !why_delete.is_empty(), "{why}, {why_delete}");
    playing.abort();
}

/// What came to a lane and how it ended, at random and under way or not.
#[test]
fn whatever_comes_and_goes_each_that_came_to_wait_ends_once() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    ::metrics::with_local_recorder(&recorder, || {
        let mut dice = fastrand::Rng::with_seed(3);
        let lane = lane(10, 1 << 20);
        let mut turns = Vec::new();
        for _ in 0..3_000 {
            let version = dice.u64(1..1_000);
            match dice.u8(..7) {
                0 | 1 => drop(offer(&lane, "a", Offer::Write(record(version, 1, MINUTE)))),
                2 => drop(offer(&lane, "a", Offer::Delete(Version(version)))),
                3 if dice.bool() => drop(lane.forget_up_to(&key("a"), Version(version))),
                4 => turns.extend(lane.turn(Instant::now() + MINUTE)),
                5 => turns.drain(..).for_each(|turn| settle(&lane, &turn)),
                _ => turns.drain(..).for_each(|turn| lane.again(&turn, "why".to_owned())),
            }
        }
        turns.drain(..).for_each(|turn| settle(&lane, &turn));
        lane.forget_up_to(&key("a"), Version(u64::MAX));
        assert_eq!(depth(&lane), 0);
    });
    let (mut came, mut ended) = (0, 0);
    let text = recorder.handle().render();
    for line in text.lines().filter(|line| line.starts_with("tiergate_recovery_total")) {
        let times: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        *(if line.contains("queued") { &mut came } else { &mut ended }) += times;
    }
    assert!(came > 500, "{text}");
    assert_eq!(came, ended, "{text}");
}
