//! One suite for every tier: what a write, a delete and a read mean is the same wherever the value lives.
//!
//! memcached and Redis are real processes. Foreign programs are plain clients that know nothing of Tiergate.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::StreamRangeReply;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tiergate::record::{
    DeleteOutcome, Digest, Key, Kind, Origin, Record, RejectedWhy, Rejection, Repair, TierName, Time, Version,
    WriteOutcome,
};
use tiergate::tier::{
    Appraise, CAS_ROUNDS_MAX, Disk, Found, Memory, Payload, Tier, TierError, Unworthy, disk, memcached, memory, redis,
};
use tiergate_tests::{Memcached, PlainMemcached, PlainRedis, Redis, eventually};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// What a call may take beyond its deadline on a busy machine.
const SLACK: Duration = Duration::from_millis(200);

/// The deadline of one call in these tests.
const DEADLINE: Duration = Duration::from_millis(500);

// === records ===

/// Where a test record begins.
fn rec(kind: Kind, version: u64) -> Rec {
    Rec { kind, version, rank: 0, fresh: Duration::from_secs(60), life: Duration::from_secs(120), padding: 0 }
}

fn real(version: u64) -> Rec {
    rec(Kind::Real, version)
}

fn placeholder(version: u64) -> Rec {
    rec(Kind::Placeholder, version)
}

#[derive(Clone, Copy)]
struct Rec {
    kind: Kind,
    version: u64,
    rank: u8,
    fresh: Duration,
    life: Duration,
    padding: usize,
}

impl Rec {
    fn rank(self, rank: u8, fresh: Duration) -> Self {
        Self { rank, fresh, ..self }
    }

    fn life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    fn bytes(self) -> Bytes {
        payload(self.kind, self.version, &"x".repeat(self.padding))
    }

    fn build(self) -> Record {
        let (now, bytes) = (Time::now(), self.bytes());
        Record {
            digest: Digest::of(&bytes),
            bytes,
            foreign: None,
            kind: self.kind,
            version: Version(self.version),
            rank: self.rank,
            schema: "test".into(),
            produced_at: Time::from_micros(self.version),
            soft_expiry: now.after(self.fresh),
            lifetime_end: now.after(self.life),
            hard_expiry: now.after(self.life),
            origin: Origin::Gateway("test".into()),
            repairs: Arc::new([]),
        }
    }
}

fn payload(kind: Kind, version: u64, padding: &str) -> Bytes {
    json!({ "kind": kind, "v": version, "padding": padding }).to_string().into()
}

fn kind_and_version(bytes: &[u8]) -> Option<(Kind, u64)> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    Some((serde_json::from_value(value.get("kind")?.clone()).ok()?, value.get("v")?.as_u64()?))
}

/// A codec for these tests: JSON with a kind and a version. It notes the flags of everything that it was shown.
#[derive(Default)]
struct Judge {
    flags_seen: Mutex<Vec<u32>>,
}

impl Appraise for Judge {
    fn appraise(&self, tier: &TierName, _: &Key, payload: &Payload) -> Result<Arc<Record>, Unworthy> {
        self.flags_seen.lock().unwrap().push(payload.flags);
        if payload.bytes.starts_with(b"puzzle") {
            return Err(Unworthy::Unjudged("the codec ran out of time".to_owned()));
        }
        let Some((kind, version)) = kind_and_version(&payload.bytes).filter(|_| payload.flags == 0) else {
            return Err(Unworthy::Rejected(Rejection {
                code: "not-json".to_owned(),
                message: "send JSON with flags 0".to_owned(),
                path: "$".to_owned(),
            }));
        };
        let ends = payload.remaining.map_or(Time::NEVER, |left| Time::now().after(left));
        let mut record = rec(kind, version).build();
        record.digest = Digest::of(&payload.bytes);
        record.bytes = payload.bytes.clone();
        (record.soft_expiry, record.lifetime_end, record.hard_expiry) = (ends, ends, ends);
        record.origin = Origin::Tier(tier.clone());
        Ok(Arc::new(record))
    }
}

// === the bench ===

/// A tier and what it stands on.
struct Bench {
    tier: Arc<dyn Tier>,
    judge: Arc<Judge>,
    under: Under,
}

enum Under {
    Process,
    Directory { _kept: TempDir },
    Memcached(Memcached),
    Redis(Redis),
}

impl Bench {
    async fn memory() -> Self {
        let tier = Memory::new(memory::Config { bytes_max: 64 << 20 });
        Self { tier: Arc::new(tier), judge: Arc::default(), under: Under::Process }
    }

    async fn disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(&directory).disk;
        Self { tier: Arc::new(tier), judge: Arc::default(), under: Under::Directory { _kept: directory } }
    }

    async fn memcached() -> Self {
        Self::on_memcached(Memcached::start().await)
    }

    fn on_memcached(server: Memcached) -> Self {
        let judge = Arc::<Judge>::default();
        Self { tier: memcached_tier(server.address(), &judge), judge, under: Under::Memcached(server) }
    }

    async fn redis() -> Self {
        Self::on_redis(Redis::start().await)
    }

    fn on_redis(server: Redis) -> Self {
        let judge = Arc::<Judge>::default();
        Self { tier: redis_tier(server.url(), &judge), judge, under: Under::Redis(server) }
    }

    /// Another gateway's tier on the same server.
    fn neighbour(&self) -> Arc<dyn Tier> {
        match &self.under {
            Under::Memcached(server) => memcached_tier(server.address(), &self.judge),
            Under::Redis(server) => redis_tier(server.url(), &self.judge),
            _ => unreachable!("only servers are shared"),
        }
    }

    /// A program that knows nothing of Tiergate.
    async fn stranger(&self) -> Stranger {
        match &self.under {
            Under::Memcached(server) => Stranger::Memcached(PlainMemcached::connect(server.port()).await),
            Under::Redis(server) => Stranger::Redis(PlainRedis::connect(server.port()).await),
            _ => unreachable!("only servers are shared"),
        }
    }

    fn freeze(&self) {
        match &self.under {
            Under::Memcached(server) => server.freeze(),
            Under::Redis(server) => server.freeze(),
            _ => unreachable!("only servers freeze"),
        }
    }

    fn thaw(&self) {
        match &self.under {
            Under::Memcached(server) => server.thaw(),
            Under::Redis(server) => server.thaw(),
            _ => unreachable!("only servers freeze"),
        }
    }

    fn kill(&mut self) {
        match &mut self.under {
            Under::Memcached(server) => server.kill(),
            Under::Redis(server) => server.kill(),
            _ => unreachable!("only servers are killed"),
        }
    }

    async fn restart(&mut self) {
        match &mut self.under {
            Under::Memcached(server) => server.restart().await,
            Under::Redis(server) => server.restart().await,
            _ => unreachable!("only servers start again"),
        }
    }

    async fn put(&self, name: &str, rec: Rec) -> WriteOutcome {
        self.tier.put(&key(name), &rec.build()).await
    }

    async fn delete(&self, name: &str, floor: u64) -> DeleteOutcome {
        self.tier.delete(&key(name), Version(floor)).await
    }

    async fn found(&self, name: &str) -> Option<Bytes> {
        bytes_of(self.read(name).await)
    }

    async fn read(&self, name: &str) -> Option<Found> {
        self.tier.read(&[key(name)]).await.unwrap().pop().unwrap()
    }

    async fn assert_holds(&self, name: &str, rec: Rec) {
        assert_eq!(self.found(name).await, Some(rec.bytes()), "{name}");
    }
}

enum Stranger {
    Memcached(PlainMemcached),
    Redis(PlainRedis),
}

impl Stranger {
    async fn set(&mut self, name: &str, value: &[u8], flags: u32) {
        match self {
            Self::Memcached(client) => client.set(name, value, flags, 100).await,
            Self::Redis(client) => client.setex(name, value, 100).await,
        }
    }

    /// The stored bytes, which must have flags 0.
    async fn get(&mut self, name: &str) -> Option<Bytes> {
        match self {
            Self::Memcached(client) => client.get(name).await.map(|(flags, bytes)| {
                assert_eq!(flags, 0, "client flags of {name}");
                bytes.into()
            }),
            Self::Redis(client) => client.get(name).await.map(Into::into),
        }
    }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn bytes_of(found: Option<Found>) -> Option<Bytes> {
    Some(match found? {
        Found::Whole(record) => record.bytes.clone(),
        Found::Shared(payload) => payload.bytes,
    })
}

fn remaining_of(found: Option<Found>) -> Duration {
    match found.unwrap() {
        Found::Whole(record) => record.remaining(Time::now()),
        Found::Shared(payload) => payload.remaining.unwrap(),
    }
}

fn stamp_of(found: Option<Found>) -> Option<(Kind, u8, u64)> {
    match found.unwrap() {
        Found::Whole(record) => Some((record.kind, record.rank, record.version.0)),
        Found::Shared(payload) => payload.stamp.map(|stamp| (stamp.kind, stamp.rank, stamp.version.0)),
    }
}

fn open(directory: &TempDir) -> disk::Opened {
    Disk::open(disk_config(directory)).unwrap()
}

fn disk_config(directory: &TempDir) -> disk::Config {
    disk::Config { bytes_max: 1 << 20, ..disk::Config::at(directory.path().join("tier.redb")) }
}

fn memcached_tier(address: String, judge: &Arc<Judge>) -> Arc<dyn Tier> {
    let config = memcached::Config { deadline: DEADLINE, ..memcached::Config::at(address) };
    Arc::new(tiergate::tier::Memcached::new(TierName::new("memcached"), config, judge.clone()).unwrap())
}

fn redis_tier(url: String, judge: &Arc<Judge>) -> Arc<dyn Tier> {
    let config = redis::Config { deadline: DEADLINE, value_bytes_max: 1 << 20, ..redis::Config::at(url) };
    Arc::new(tiergate::tier::Redis::new(TierName::new("redis"), config, judge.clone()).unwrap())
}

/// Runs each case against a new tier of each kind.
macro_rules! suite {
    ($([$($tier:ident),*] $case:ident;)*) => { $(mod $case {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $tier() {
            super::$case(super::Bench::$tier().await).await;
        })*
    })* };
}

suite! {
    [memory, disk, memcached, redis] a_higher_version_wins_and_a_lower_one_is_superseded;
    [memory, disk, memcached, redis] a_placeholder_never_replaces_real_data;
    [memory, disk, memcached, redis] real_data_replaces_a_placeholder_of_a_later_version;
    [memory, disk, memcached, redis] ties_are_broken_by_the_digest;
    [memory, disk, memcached, redis] a_rank_counts_while_its_value_is_fresh_and_not_after;
    [memory, disk, memcached, redis] the_remaining_lifetime_is_kept;
    [memory, disk, memcached, redis] of_two_equal_values_the_longer_life_is_kept;
    [memory, disk, memcached, redis] a_missing_key_is_a_miss;
    [memory, disk, memcached, redis] the_largest_item_fits_and_one_byte_more_is_refused;
    [memory, disk, memcached, redis] a_key_of_250_bytes_is_as_good_as_any;
    [memory, disk, memcached, redis] a_delete_keeps_older_values_out_and_lets_newer_ones_in;
    [memory, disk, memcached, redis] a_delete_spares_a_newer_value;
    [memory, disk, memcached, redis] a_write_that_races_a_delete_leaves_nothing;
    [memory, disk, memcached, redis] an_exact_delete_removes_exactly_these_bytes;
    [memory, disk, memcached, redis] a_life_of_a_second_is_short_and_one_of_40_days_is_long;
    [memory, disk, memcached, redis] what_a_tier_can_never_take_is_rejected_with_the_reason;
    [memory, disk, memcached, redis] a_sign_of_life_tells_the_limit;
    [memcached, redis] other_programs_read_plain_bytes;
    [memcached, redis] junk_of_others_is_shown_with_its_flags_and_replaced;
    [memcached, redis] a_foreign_value_is_worth_what_its_content_says;
    [memcached, redis] what_nobody_can_judge_is_not_replaced;
    [memcached, redis] a_value_written_by_a_neighbour_is_judged_like_ones_own;
    [memcached, redis] what_another_gateway_deleted_is_kept_out;
    [memcached, redis] a_dead_server_fails_fast_and_is_used_again_when_it_is_back;
    [memcached, redis] a_frozen_server_costs_the_deadline_and_mixes_up_nothing;
    [memcached, redis] dropped_calls_poison_no_connection;
    [memcached, redis] versions_never_go_back_whoever_races_whom;
    [memcached, redis] the_checker_notices_plain_sets;
}

// === every tier ===

async fn a_higher_version_wins_and_a_lower_one_is_superseded(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(11)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(9)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", real(11)).await, WriteOutcome::Stored, "the same again");
    bench.assert_holds("k", real(11)).await;
    // Neighbours above 2^53, where doubles cannot tell them apart.
    assert_eq!(bench.put("k", real((1 << 53) + 1)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(1 << 53)).await, WriteOutcome::Superseded);
}

async fn a_placeholder_never_replaces_real_data(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    for version in [9, 10, 11, u64::MAX] {
        assert_eq!(bench.put("k", placeholder(version)).await, WriteOutcome::Refused(Kind::Real));
    }
    let ranked = placeholder(99).rank(9, Duration::from_secs(60));
    assert_eq!(bench.put("k", ranked).await, WriteOutcome::Refused(Kind::Real));
    bench.assert_holds("k", real(10)).await;
}

async fn real_data_replaces_a_placeholder_of_a_later_version(bench: Bench) {
    assert_eq!(bench.put("k", placeholder(99)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", placeholder(98)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(1)).await;
}

async fn ties_are_broken_by_the_digest(bench: Bench) {
    let (one, other) = (real(5), real(5).padding(1));
    let (lesser, greater) = if one.build().digest < other.build().digest { (one, other) } else { (other, one) };
    for (name, first, second) in [("up", lesser, greater), ("down", greater, lesser)] {
        assert_eq!(bench.put(name, first).await, WriteOutcome::Stored);
        let expected = if name == "up" { WriteOutcome::Stored } else { WriteOutcome::Superseded };
        assert_eq!(bench.put(name, second).await, expected);
        bench.assert_holds(name, greater).await;
    }
}

async fn a_rank_counts_while_its_value_is_fresh_and_not_after(bench: Bench) {
    let fresh = Duration::from_millis(600);
    let begun = Instant::now();
    assert_eq!(bench.put("k", real(1).rank(5, fresh)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Superseded, "{:?} of {fresh:?}", begun.elapsed());
    assert_eq!(bench.put("k", real(2).rank(6, fresh)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(3).rank(5, fresh)).await, WriteOutcome::Superseded);
    sleep(fresh).await;
    assert_eq!(bench.put("k", real(3)).await, WriteOutcome::Stored);
}

async fn the_remaining_lifetime_is_kept(bench: Bench) {
    let life = Duration::from_secs(1_000);
    assert_eq!(bench.put("k", real(1).life(life)).await, WriteOutcome::Stored);
    let remaining = remaining_of(bench.read("k").await);
    assert!(remaining <= life + Duration::from_secs(1) && remaining > life - Duration::from_secs(5), "{remaining:?}");
}

async fn of_two_equal_values_the_longer_life_is_kept(bench: Bench) {
    let seconds = Duration::from_secs;
    assert_eq!(bench.put("k", real(1).life(seconds(100))).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(1).life(seconds(1_000))).await, WriteOutcome::Stored);
    assert!(remaining_of(bench.read("k").await) > seconds(900));
    assert_eq!(bench.put("k", real(1).life(seconds(10))).await, WriteOutcome::Stored);
    assert!(remaining_of(bench.read("k").await) > seconds(900));
}

async fn a_missing_key_is_a_miss(bench: Bench) {
    assert_eq!(bench.put("there", real(1)).await, WriteOutcome::Stored);
    let names: Vec<Key> = ["no", "there", "nor", "there"].map(key).into();
    let found = bench.tier.read(&names).await.unwrap();
    let found: Vec<Option<Bytes>> = found.into_iter().map(bytes_of).collect();
    assert_eq!(found, [None, Some(real(1).bytes()), None, Some(real(1).bytes())]);
    assert!(bench.tier.read(&[]).await.unwrap().is_empty());
}

async fn the_largest_item_fits_and_one_byte_more_is_refused(bench: Bench) {
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    let limit = bench.tier.check().await.unwrap().item_bytes_max.unwrap();
    // What the tier counts beside the padding follows from its own words.
    let WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, .. }) = bench.put("k", real(2).padding(limit)).await
    else {
        panic!("an item of twice the limit was not refused");
    };
    let largest = limit - (bytes - limit);
    let refused = bench.put("k", real(2).padding(largest + 1)).await;
    assert_eq!(refused, WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes: limit + 1, limit }));
    bench.assert_holds("k", real(1)).await;
    assert_eq!(bench.put("k", real(2).padding(largest)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(2).padding(largest)).await;
}

async fn a_key_of_250_bytes_is_as_good_as_any(bench: Bench) {
    let name = "{k}".repeat(84)[..250].to_owned();
    assert_eq!(bench.put(&name, real(1)).await, WriteOutcome::Stored);
    bench.assert_holds(&name, real(1)).await;
    assert_eq!(bench.delete(&name, 1).await, DeleteOutcome::Deleted);
    assert_eq!(bench.found(&name).await, None);
}

async fn a_delete_keeps_older_values_out_and_lets_newer_ones_in(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 20).await, DeleteOutcome::Deleted);
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.delete("k", 15).await, DeleteOutcome::Absent);
    assert_eq!(bench.put("k", real(20)).await, WriteOutcome::Superseded, "the floor is the greatest one");
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(21)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(21)).await;
}

async fn a_delete_spares_a_newer_value(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 9).await, DeleteOutcome::Superseded);
    bench.assert_holds("k", real(10)).await;
}

async fn a_write_that_races_a_delete_leaves_nothing(bench: Bench) {
    for round in 0..60 {
        let name = format!("k{round}");
        let (outcome, removed) = tokio::join!(bench.put(&name, real(10)), bench.delete(&name, 10));
        assert_eq!(bench.found(&name).await, None, "round {round}: {outcome:?}, {removed:?}");
    }
}

async fn an_exact_delete_removes_exactly_these_bytes(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    let other = real(9).build().digest;
    assert_eq!(bench.tier.delete_exact(&key("k"), other).await, DeleteOutcome::Superseded);
    bench.assert_holds("k", real(10)).await;
    let exact = real(10).build().digest;
    assert_eq!(bench.tier.delete_exact(&key("k"), exact).await, DeleteOutcome::Deleted);
    assert_eq!(bench.tier.delete_exact(&key("k"), exact).await, DeleteOutcome::Absent);
    // It leaves no floor: the same value may come back.
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
}

async fn a_life_of_a_second_is_short_and_one_of_40_days_is_long(bench: Bench) {
    let (second, days) = (Duration::from_secs(1), Duration::from_secs(40 * 24 * 60 * 60));
    assert_eq!(bench.put("short", real(1).life(second)).await, WriteOutcome::Stored);
    bench.assert_holds("short", real(1)).await;
    assert_eq!(bench.put("long", real(1).life(days)).await, WriteOutcome::Stored);
    let remaining = remaining_of(bench.read("long").await);
    assert!(remaining > days - Duration::from_secs(10) && remaining <= days + second, "{remaining:?}");
    eventually("the short life ends", async || bench.found("short").await.is_none().then_some(())).await;
    bench.assert_holds("long", real(1)).await;
}

async fn what_a_tier_can_never_take_is_rejected_with_the_reason(bench: Bench) {
    let shared = bench.tier.is_shared();
    let rejected = WriteOutcome::Rejected;
    assert_eq!(bench.put("ended", real(1).life(Duration::ZERO)).await, rejected(RejectedWhy::Ended));

    let negative = bench.put("negative", rec(Kind::Negative, 1)).await;
    let in_memory = bench.tier.name().as_str() == "memory";
    assert_eq!(negative, if in_memory { WriteOutcome::Stored } else { rejected(RejectedWhy::Negative) });

    let mut repaired = real(1).build();
    repaired.origin = Origin::Tier(TierName::new("elsewhere"));
    repaired.repairs = [Repair { code: "nan".into(), path: "$".into(), message: "a bare NaN".into() }].into();
    let outcome = bench.tier.put(&key("repaired"), &repaired).await;
    assert_eq!(outcome, if shared { rejected(RejectedWhy::Repaired) } else { WriteOutcome::Stored });
    assert_eq!(bench.found("repaired").await.is_none(), shared);
}

async fn a_sign_of_life_tells_the_limit(bench: Bench) {
    let health = bench.tier.check().await.unwrap();
    assert!(health.item_bytes_max.is_some_and(|bytes| bytes >= 1 << 20), "{health:?}");
    assert_eq!(health.version.is_some(), bench.tier.is_shared(), "{health:?}");
    assert!(health.facts.len() >= 3, "{health:?}");
    assert!(bench.tier.summary().starts_with(bench.tier.name().as_str()), "{}", bench.tier.summary());
}

// === shared tiers ===

async fn other_programs_read_plain_bytes(bench: Bench) {
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
    assert_eq!(bench.stranger().await.get("k").await, Some(real(2).bytes()));
    // A value that came from a foreign producer goes out in the form in which it came.
    let mut copied = real(3).build();
    copied.foreign = Some(Bytes::from_static(br#"{"v": 3,  "kind": "real"}"#));
    assert_eq!(bench.tier.put(&key("k"), &copied).await, WriteOutcome::Stored);
    assert_eq!(bench.stranger().await.get("k").await, copied.foreign);
    assert_eq!(stamp_of(bench.read("k").await), Some((Kind::Real, 0, 3)));
    assert_eq!(bench.tier.put(&key("k"), &copied).await, WriteOutcome::Stored, "the same again");
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Superseded);
}

async fn junk_of_others_is_shown_with_its_flags_and_replaced(bench: Bench) {
    // B16: a pickle over a JSON key; pymemcache marks it with flags 1.
    let pickle = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.";
    let flags = if matches!(bench.under, Under::Memcached(_)) { 1 } else { 0 };
    bench.stranger().await.set("k", pickle, flags).await;
    let Some(Found::Shared(payload)) = bench.read("k").await else { panic!("the pickle is there") };
    assert_eq!((&payload.bytes[..], payload.flags, payload.stamp), (&pickle[..], flags, None));
    assert_eq!(bench.put("k", placeholder(1)).await, WriteOutcome::Stored);
    assert_eq!(*bench.judge.flags_seen.lock().unwrap(), [flags]);
    assert_eq!(bench.stranger().await.get("k").await, Some(placeholder(1).bytes()));
}

async fn a_foreign_value_is_worth_what_its_content_says(bench: Bench) {
    bench.stranger().await.set("k", &real(100).bytes(), 0).await;
    assert_eq!(bench.put("k", real(99)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", placeholder(101)).await, WriteOutcome::Refused(Kind::Real));
    assert_eq!(bench.put("k", real(100)).await, WriteOutcome::Stored, "it is the same");
    assert_eq!(bench.put("k", real(101)).await, WriteOutcome::Stored);
    // A foreign set cannot be stopped, and what was noted about the old value does not hold for the new one.
    bench.stranger().await.set("k", &placeholder(500).bytes(), 0).await;
    assert_eq!(stamp_of(bench.read("k").await), None);
    assert_eq!(bench.put("k", real(101)).await, WriteOutcome::Stored);
    assert_eq!(stamp_of(bench.read("k").await), Some((Kind::Real, 0, 101)));
    bench.stranger().await.set("k", &real(7).bytes(), 0).await;
    assert_eq!(bench.delete("k", 6).await, DeleteOutcome::Superseded);
    assert_eq!(bench.delete("k", 7).await, DeleteOutcome::Deleted);
}

async fn what_nobody_can_judge_is_not_replaced(bench: Bench) {
    bench.stranger().await.set("k", b"puzzle", 0).await;
    let outcome = bench.put("k", real(1)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("ran out of time")), "{outcome:?}");
    assert!(matches!(bench.delete("k", 9).await, DeleteOutcome::Failed(_)));
    assert_eq!(bench.found("k").await.as_deref(), Some(&b"puzzle"[..]));
}

async fn a_value_written_by_a_neighbour_is_judged_like_ones_own(bench: Bench) {
    let neighbour = bench.neighbour();
    assert_eq!(neighbour.put(&key("k"), &real(10).build()).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(9)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(neighbour.put(&key("k"), &placeholder(11).build()).await, WriteOutcome::Refused(Kind::Real));
    assert_eq!(neighbour.put(&key("k"), &real(11).build()).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(11)).await;
}

async fn what_another_gateway_deleted_is_kept_out(bench: Bench) {
    bench.tier.raise_floor(&key("k"), Version(5));
    assert_eq!(bench.put("k", real(5)).await, WriteOutcome::Superseded);
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(6)).await, WriteOutcome::Stored);
}

async fn a_dead_server_fails_fast_and_is_used_again_when_it_is_back(mut bench: Bench) {
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    bench.kill();
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(bench.tier.read(&[key("k")]).await.is_err(), "an error is no miss");
        let outcome = bench.put("k", real(2)).await;
        assert!(matches!(outcome, WriteOutcome::Failed(_)), "{outcome:?}");
        assert!(matches!(bench.delete("k", 0).await, DeleteOutcome::Failed(_)));
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
    bench.restart().await;
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(2)).await;
}

async fn a_frozen_server_costs_the_deadline_and_mixes_up_nothing(bench: Bench) {
    for n in 1..=20 {
        assert_eq!(bench.put(&format!("k{n}"), real(n)).await, WriteOutcome::Stored);
    }
    bench.freeze();
    for n in 1..=3 {
        let begun = Instant::now();
        let name = key(&format!("k{n}"));
        let (read, outcome, removed) = tokio::join!(
            bench.tier.read(std::slice::from_ref(&name)),
            bench.put("other", real(n)),
            bench.delete("third", n),
        );
        assert!(begun.elapsed() < DEADLINE + SLACK, "{:?}", begun.elapsed());
        assert!(matches!(read, Err(TierError::Deadline(_) | TierError::Connect(_))), "{read:?}");
        assert!(matches!(outcome, WriteOutcome::Unknown(_) | WriteOutcome::Failed(_)), "{outcome:?}");
        assert!(matches!(removed, DeleteOutcome::Unknown(_) | DeleteOutcome::Failed(_)), "{removed:?}");
    }
    bench.thaw();
    for round in 0..5 {
        for n in 1..=20 {
            assert_eq!(bench.found(&format!("k{n}")).await, Some(real(n).bytes()), "round {round}");
        }
    }
}

async fn dropped_calls_poison_no_connection(bench: Bench) {
    let mut chance = Chance(7);
    for n in 1..=9 {
        assert_eq!(bench.put(&format!("k{n}"), real(n).padding(n as usize * 2_000)).await, WriteOutcome::Stored);
    }
    let mut dropped = 0;
    for round in 0..300 {
        let n = 1 + chance.below(9);
        let polls = 1 + chance.below(5);
        let (name, rec) = (format!("k{n}"), real(n).padding(n as usize * 2_000));
        let cut = match round % 3 {
            0 => given_up_after(polls, bench.found(&name)).await.is_none(),
            1 => given_up_after(polls, bench.put("w", real(round))).await.is_none(),
            _ => given_up_after(polls, bench.delete("w", round)).await.is_none(),
        };
        dropped += u32::from(cut);
        bench.assert_holds(&name, rec).await;
    }
    assert!(dropped > 30, "only {dropped} calls were dropped: the test proves nothing");
}

/// Drops `call` when it has been polled this often and is not done. Timers are too coarse to stop it at each of its steps.
async fn given_up_after<F: Future>(polls: u64, call: F) -> Option<F::Output> {
    let (mut call, mut left) = (std::pin::pin!(call), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

// === races ===

/// Eight writers, half of them behind another gateway, write random kinds and versions while a stranger reads.
async fn versions_never_go_back_whoever_races_whom(bench: Bench) {
    for seed in 1..=3 {
        let name = format!("race:{seed}");
        let tiers = [bench.tier.clone(), bench.neighbour()];
        let writers = (0..8u64).map(|writer| {
            let (tier, name) = (tiers[writer as usize % 2].clone(), key(&name));
            tokio::spawn(async move {
                let mut greatest = None;
                for rec in random_records(seed * 100 + writer) {
                    let record = rec.build();
                    greatest = greatest.max(Some((record.kind, record.version.0, record.digest)));
                    // A write that lost too many rounds tries again, as the recovery lane does.
                    while let outcome @ (WriteOutcome::Failed(_) | WriteOutcome::Unknown(_)) =
                        tier.put(&name, &record).await
                    {
                        let why = outcome.reason().unwrap();
                        assert!(why.contains(&format!("{CAS_ROUNDS_MAX} times")), "seed {seed}: {why}");
                    }
                }
                greatest
            })
        });
        let (observed, greatest) = watch(&bench, &name, writers.collect()).await;
        check(&observed).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        let last = bench.found(&name).await.unwrap();
        let (kind, version) = kind_and_version(&last).unwrap();
        assert_eq!(Some((kind, version, Digest::of(&last))), greatest, "seed {seed}: the greatest is not what stays");
    }
}

/// The same, written by strangers with plain `set`: shows that the checker can fail.
async fn the_checker_notices_plain_sets(bench: Bench) {
    let mut writers = Vec::new();
    for writer in 0..8u64 {
        let mut stranger = bench.stranger().await;
        writers.push(tokio::spawn(async move {
            for rec in random_records(writer) {
                stranger.set("race", &rec.bytes(), 0).await;
            }
            None
        }));
    }
    let (observed, _) = watch(&bench, "race", writers).await;
    assert!(check(&observed).is_err(), "{} observations and nothing was noticed", observed.len());
}

fn random_records(seed: u64) -> impl Iterator<Item = Rec> {
    let mut chance = Chance(seed);
    std::iter::repeat_with(move || {
        let kind = if chance.below(4) == 0 { Kind::Real } else { Kind::Placeholder };
        rec(kind, 1 + chance.below(1_000)).padding(chance.below(50) as usize)
    })
    .take(60)
}

type Place = (Kind, u64, Digest);

/// Reads the key as fast as it can until the writers are done.
async fn watch(
    bench: &Bench,
    name: &str,
    writers: Vec<tokio::task::JoinHandle<Option<Place>>>,
) -> (Vec<(Kind, u64)>, Option<Place>) {
    let mut stranger = bench.stranger().await;
    let mut observed = Vec::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        observed.extend(stranger.get(name).await.and_then(|bytes| kind_and_version(&bytes)));
    }
    let mut greatest = None;
    for writer in writers {
        greatest = greatest.max(writer.await.unwrap());
    }
    (observed, greatest)
}

/// What no reader may ever see: a kind that falls, or within a kind a version that falls.
fn check(observed: &[(Kind, u64)]) -> Result<(), String> {
    match observed.windows(2).find(|pair| pair[1] < pair[0]) {
        Some(pair) => Err(format!("{:?} came after {:?}", pair[1], pair[0])),
        None => Ok(()),
    }
}

/// SplitMix64: repeatable randomness from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

// === memcached alone ===

#[tokio::test]
async fn unchanged_values_are_not_read_again() {
    let bench = Bench::memcached().await;
    let rec = real(1).padding(200_000);
    assert_eq!(bench.put("k", rec).await, WriteOutcome::Stored);
    bench.assert_holds("k", rec).await;
    let before = bytes_written(&bench).await;
    for _ in 0..20 {
        bench.assert_holds("k", rec).await;
    }
    let sent = bytes_written(&bench).await - before;
    assert!(sent < 50_000, "20 looks at an unchanged value cost {sent} bytes");
}

/// memcached counts cas ids from 1 again after a restart: the same id may then stand for another value.
#[tokio::test]
async fn a_restarted_memcached_is_not_taken_for_the_old_one() {
    let mut bench = Bench::memcached().await;
    bench.stranger().await.set("k", &real(1).bytes(), 0).await;
    bench.assert_holds("k", real(1)).await;
    bench.restart().await;
    bench.stranger().await.set("k", &real(2).bytes(), 0).await;
    bench.assert_holds("k", real(2)).await;
}

#[tokio::test]
async fn a_lease_of_0_bytes_is_a_miss_and_is_written_over() {
    let bench = Bench::memcached().await;
    bench.stranger().await.set("k", b"", 0).await;
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(1)).await;
}

#[tokio::test]
async fn the_item_limit_is_the_servers_own() {
    let bench = Bench::on_memcached(Memcached::with().args(["-I", "10m"]).start().await);
    let large = real(1).padding(5 << 20);
    assert_eq!(bench.put("k", large).await, WriteOutcome::Stored);
    bench.assert_holds("k", large).await;
    assert_eq!(bench.tier.check().await.unwrap().item_bytes_max, Some(10 << 20));
}

/// B1: `localhost` may mean `::1` first, and this server listens on IPv4 only.
#[tokio::test]
async fn a_host_name_is_tried_on_ipv4_first() {
    let server = Memcached::start().await;
    let tier = memcached_tier(format!("localhost:{}", server.port()), &Arc::default());
    assert_eq!(tier.put(&key("k"), &real(1).build()).await, WriteOutcome::Stored);
}

async fn bytes_written(bench: &Bench) -> u64 {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let Under::Memcached(server) = &bench.under else { unreachable!("memcached alone") };
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"stats\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(bytes) = line.strip_prefix("STAT bytes_written ") {
            return bytes.parse().unwrap();
        }
    }
    panic!("no bytes_written in the statistics");
}

// === Redis alone ===

#[tokio::test]
async fn redis_knows_what_a_neighbour_noted() {
    let bench = Bench::redis().await;
    let ranked = real(10).rank(5, Duration::from_secs(60));
    assert_eq!(bench.neighbour().put(&key("k"), &ranked.build()).await, WriteOutcome::Stored);
    assert_eq!(stamp_of(bench.read("k").await), Some((Kind::Real, 5, 10)));
    assert_eq!(bench.put("k", real(11)).await, WriteOutcome::Superseded, "the neighbour's rank counts here, too");
}

#[tokio::test]
async fn what_was_deleted_and_is_set_again_by_another_program_has_no_note() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 11).await, DeleteOutcome::Deleted);
    bench.stranger().await.set("k", &real(10).bytes(), 0).await;
    assert_eq!(stamp_of(bench.read("k").await), None);
    assert_eq!(bench.found("k").await, Some(real(10).bytes()), "it is a value all the same");
}

#[tokio::test]
async fn a_write_that_a_delete_kept_out_is_announced_as_that() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 11).await, DeleteOutcome::Deleted);
    assert_eq!(bench.neighbour().put(&key("k"), &real(11).build()).await, WriteOutcome::Superseded);
    let mut range = ::redis::cmd("XRANGE");
    range.arg("tiergate:changes").arg("-").arg("+");
    let changes: StreamRangeReply = range.query_async(&mut connect(&bench).await).await.unwrap();
    let told: Vec<(bool, bool)> = changes
        .ids
        .iter()
        .filter(|entry| entry.contains_key("k"))
        .map(|entry| (entry.contains_key("sha1"), entry.contains_key("barred")))
        .collect();
    assert_eq!(told, [(true, false), (false, false), (true, true)], "stored, deleted, kept out");
}

#[tokio::test]
async fn the_note_outlives_the_value_as_its_floor() {
    let bench = Bench::redis().await;
    let short = Duration::from_millis(200);
    assert_eq!(bench.put("real", real(10).life(short)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("stub", placeholder(10).life(short)).await, WriteOutcome::Stored);
    eventually("both end", async || (bench.found("real").await.or(bench.found("stub").await)).is_none().then_some(()))
        .await;
    assert_eq!(bench.put("real", real(9)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("real", real(10)).await, WriteOutcome::Stored, "the same may come back");
    assert_eq!(bench.put("stub", real(9)).await, WriteOutcome::Stored, "a placeholder is no floor for real data");
}

#[tokio::test]
async fn a_full_redis_fails_writes_in_its_own_words_and_goes_on_reading() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    config_set(&bench, "maxmemory", "1").await;
    let outcome = bench.put("k", real(2)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("OOM")), "{outcome:?}");
    bench.assert_holds("k", real(1)).await;
    config_set(&bench, "maxmemory", "0").await;
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
}

#[tokio::test]
async fn a_replica_refuses_writes_and_keeps_its_value() {
    let nobody = Redis::start().await;
    let server = Redis::with().args(["--replicaof", "127.0.0.1", &nobody.port().to_string()]).start().await;
    let bench = Bench::on_redis(server);
    let outcome = bench.put("k", real(1)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("READONLY")), "{outcome:?}");
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let server = Redis::with().args(["--requirepass", "sesame"]).start().await;
    for (credentials, answer) in [(":sesame@", None), (":wrong-one@", Some("WRONGPASS")), ("", Some("NOAUTH"))] {
        let tier = redis_tier(format!("redis://{credentials}{}/3", server.address()), &Arc::default());
        assert_eq!(tier.summary(), format!("redis at {}, database 3", server.address()));
        let outcome = tier.put(&key("k"), &real(1).build()).await;
        let read = tier.read(&[key("k")]).await;
        let Some(words) = answer else {
            assert_eq!(outcome, WriteOutcome::Stored);
            assert!(read.is_ok());
            continue;
        };
        let told = format!("{outcome:?} {read:?}");
        assert!(matches!(outcome, WriteOutcome::Failed(_)) && matches!(read, Err(TierError::Refused(_))), "{told}");
        assert!(told.contains(words) || told.contains("uthentication"), "{told}");
        assert!(!told.contains("wrong-one"), "{told}");
    }
    let config = redis::Config::at("redis://:sesame@127.0.0.1:1");
    assert!(!format!("{config:?}").contains("sesame"));
    let wrong = redis::Config::at("nonsense://:sesame@127.0.0.1:1");
    let Err(error) = tiergate::tier::Redis::new(TierName::new("redis"), wrong, Arc::new(Judge::default())) else {
        panic!("nonsense was taken for a URL");
    };
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[tokio::test]
async fn a_tls_url_speaks_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}/", listener.local_addr().unwrap());
    let overheard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut begin = [0; 2];
        client.read_exact(&mut begin).await.unwrap();
        begin
    });
    let tier = redis_tier(url, &Arc::default());
    assert!(tier.summary().ends_with("over TLS"), "{}", tier.summary());
    let outcome = tier.put(&key("k"), &real(1).build()).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("cannot connect")), "{outcome:?}");
    // RFC 8446, section 5.1: a handshake is content type 22, and its record says version 3.x.
    assert_eq!(overheard.await.unwrap(), [22, 3], "nothing is sent in the clear");
}

#[tokio::test]
async fn a_key_that_holds_no_string_spoils_no_other() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    let mut command = ::redis::cmd("RPUSH");
    command.arg("list").arg("x");
    redis_command(&bench, command).await;
    let mut found = bench.tier.read(&[key("list"), key("k")]).await.unwrap();
    assert_eq!(bytes_of(found.pop().unwrap()), Some(real(1).bytes()));
    assert_eq!(bytes_of(found.pop().unwrap()), Some(Bytes::new()), "no codec accepts it");
    let outcome = bench.put("list", real(1)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("WRONGTYPE")), "{outcome:?}");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    let mut command = ::redis::cmd("SCRIPT");
    command.arg("FLUSH");
    redis_command(&bench, command).await;
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
}

async fn config_set(bench: &Bench, name: &str, value: &str) {
    let mut command = ::redis::cmd("CONFIG");
    command.arg("SET").arg(name).arg(value);
    redis_command(bench, command).await;
}

async fn redis_command(bench: &Bench, command: ::redis::Cmd) {
    command.exec_async(&mut connect(bench).await).await.unwrap();
}

async fn connect(bench: &Bench) -> MultiplexedConnection {
    let Under::Redis(server) = &bench.under else { unreachable!("Redis alone") };
    let client = ::redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

// === memory alone ===

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_in_memory_take_turns() {
    let memory = Arc::new(Memory::new(memory::Config { bytes_max: 64 << 20 }));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let memory = memory.clone();
            tokio::task::spawn_blocking(move || {
                let mut last = 0;
                for version in (1..=5_000).map(|step| step * 4 + writer) {
                    let outcome = memory.set(&key("k"), Arc::new(real(version).build()), Time::now());
                    assert!(matches!(outcome, WriteOutcome::Stored | WriteOutcome::Superseded));
                    let seen = memory.get(&key("k")).unwrap().version.0;
                    assert!(seen >= last, "{seen} came after {last}");
                    last = seen;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(memory.get(&key("k")).unwrap().version, Version(20_003));
}

// === disk alone ===

#[tokio::test]
async fn what_was_stored_on_disk_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&directory);
    assert!(opened.set_aside.is_none());
    assert_eq!(opened.disk.put(&key("k"), &real(1).build()).await, WriteOutcome::Stored);
    assert_eq!(
        opened.disk.put(&key("short"), &real(1).life(Duration::from_millis(50)).build()).await,
        WriteOutcome::Stored
    );

    // The file as a crash at this moment would leave it.
    let crashed = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("tier.redb"), crashed.path().join("tier.redb")).unwrap();
    drop(opened);
    sleep(Duration::from_millis(60)).await;
    for directory in [&directory, &crashed] {
        let opened = open(directory);
        assert!(opened.set_aside.is_none(), "{:?}", opened.set_aside);
        let live = opened.disk.all_live(Time::now()).unwrap();
        assert_eq!(live.len(), 1, "{live:?}");
        assert_eq!((&live[0].0, &live[0].1.bytes), (&key("k"), &real(1).bytes()));
    }
}

#[tokio::test]
async fn a_disk_file_in_use_is_told_apart_from_a_broken_one() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&directory);
    assert!(matches!(Disk::open(disk_config(&directory)), Err(disk::OpenError::AlreadyOpen(_))));
    drop(opened);
    assert!(open(&directory).set_aside.is_none(), "and it is not set aside");
}

#[tokio::test]
async fn a_broken_disk_file_is_set_aside_and_named() {
    for damage in [b"this is no database".to_vec(), vec![0; 10_000], vec![0xa5; 1 << 20]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tier.redb"), &damage).unwrap();
        let opened = open(&directory);
        let (aside, why) = opened.set_aside.expect("it was set aside");
        assert!(aside.to_string_lossy().contains("tier.redb.broken-"), "{}: {why}", aside.display());
        assert_eq!(std::fs::read(aside).unwrap(), damage);
        assert_eq!(opened.disk.put(&key("k"), &real(1).build()).await, WriteOutcome::Stored);
    }
}

#[tokio::test]
async fn a_damaged_disk_file_never_serves_damaged_values() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tier.redb");
    let opened = open(&directory);
    let written: Vec<Rec> = (1..=40).map(|n| real(n).padding(1_000)).collect();
    for rec in &written {
        assert_eq!(opened.disk.put(&key(&format!("k{}", rec.version)), &rec.build()).await, WriteOutcome::Stored);
    }
    drop(opened);
    let whole = std::fs::read(&path).unwrap();
    let mut chance = Chance(11);
    for _ in 0..30 {
        let mut damaged = whole.clone();
        for _ in 0..50 {
            let at = chance.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << chance.below(8);
        }
        std::fs::write(&path, &damaged).unwrap();
        let opened = open(&directory);
        for (name, record) in opened.disk.all_live(Time::now()).unwrap() {
            let rec =
                written.iter().find(|rec| key(&format!("k{}", rec.version)) == name).expect("a key that was written");
            assert_eq!(record.bytes, rec.bytes());
        }
    }
}

#[tokio::test]
async fn a_full_disk_tier_lets_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let disk = open(&directory).disk;
    // Room for 1 MiB: ten of 100 KB, and what belongs to them.
    for n in 1..=30 {
        assert_eq!(disk.put(&key(&format!("k{n}")), &real(n).padding(100_000).build()).await, WriteOutcome::Stored);
    }
    let mut left: Vec<u64> = disk.all_live(Time::now()).unwrap().iter().map(|(_, record)| record.version.0).collect();
    left.sort_unstable();
    assert_eq!(left, (21..=30).collect::<Vec<_>>());
    let rows = disk::Config { rows_max: 3, ..disk_config(&directory) };
    drop(disk);
    let disk = Disk::open(rows).unwrap().disk;
    assert_eq!(disk.put(&key("k31"), &real(31).build()).await, WriteOutcome::Stored);
    assert_eq!(disk.all_live(Time::now()).unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_disk_share_a_flush() {
    let bench = Arc::new(Bench::disk().await);
    let writers: Vec<_> = (1..=200u64)
        .map(|n| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.put(&format!("k{}", n % 50), real(n)).await })
        })
        .collect();
    for writer in writers {
        assert!(matches!(writer.await.unwrap(), WriteOutcome::Stored | WriteOutcome::Superseded));
    }
    for n in 151..=200 {
        bench.assert_holds(&format!("k{}", n % 50), real(n)).await;
    }
}
