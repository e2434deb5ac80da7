//! A tier on what it stands on, records to put into it, and a stranger beside it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tiergate::record::{
    DeleteOutcome, Digest, Key, Kind, Origin, Record, Rejection, TierName, Time, Version, WriteOutcome,
};
use tiergate::tier::{Appraise, Disk, Found, Memory, Payload, Tier, Unworthy, disk, memcached, memory, redis};
use tiergate_tests::{Memcached, PlainMemcached, PlainRedis, Redis};

/// What a call may take beyond its deadline: less than another deadline.
pub const SLACK: Duration = Duration::from_secs(1);

/// The deadline of one call in these tests. A busy machine may stand still for a while.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Where a test record begins.
pub fn rec(kind: Kind, version: u64) -> Rec {
    Rec { kind, version, rank: 0, fresh: Duration::from_secs(60), life: Duration::from_secs(120), padding: 0 }
}

pub fn real(version: u64) -> Rec {
    rec(Kind::Real, version)
}

pub fn placeholder(version: u64) -> Rec {
    rec(Kind::Placeholder, version)
}

#[derive(Clone, Copy)]
pub struct Rec {
    pub kind: Kind,
    pub version: u64,
    pub rank: u8,
    pub fresh: Duration,
    pub life: Duration,
    pub padding: usize,
}

impl Rec {
    pub fn rank(self, rank: u8, fresh: Duration) -> Self {
        Self { rank, fresh, ..self }
    }

    pub fn life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    pub fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub fn bytes(self) -> Bytes {
        payload(self.kind, self.version, &"x".repeat(self.padding))
    }

    pub fn build(self) -> Record {
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

pub fn payload(kind: Kind, version: u64, padding: &str) -> Bytes {
    json!({ "kind": kind, "v": version, "padding": padding }).to_string().into()
}

pub fn kind_and_version(bytes: &[u8]) -> Option<(Kind, u64)> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    Some((serde_json::from_value(value.get("kind")?.clone()).ok()?, value.get("v")?.as_u64()?))
}

/// A codec for these tests: JSON with a kind and a version. It notes the flags of everything that it was shown.
#[derive(Default)]
pub struct Judge {
    pub flags_seen: Mutex<Vec<u32>>,
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

/// A tier and what it stands on.
pub struct Bench {
    pub tier: Arc<dyn Tier>,
    pub judge: Arc<Judge>,
    pub under: Under,
}

pub enum Under {
    Process,
    Directory { _kept: TempDir },
    Memcached(Memcached),
    Redis(Redis),
}

impl Bench {
    pub async fn memory() -> Self {
        let tier = Memory::new(memory::Config { bytes_max: 64 << 20 });
        Self { tier: Arc::new(tier), judge: Arc::default(), under: Under::Process }
    }

    pub async fn disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(&directory).disk;
        Self { tier: Arc::new(tier), judge: Arc::default(), under: Under::Directory { _kept: directory } }
    }

    pub async fn memcached() -> Self {
        Self::on_memcached(Memcached::start().await)
    }

    pub fn on_memcached(server: Memcached) -> Self {
        let judge = Arc::<Judge>::default();
        Self { tier: memcached_tier(server.address(), &judge), judge, under: Under::Memcached(server) }
    }

    pub async fn redis() -> Self {
        Self::on_redis(Redis::start().await)
    }

    pub fn on_redis(server: Redis) -> Self {
        let judge = Arc::<Judge>::default();
        Self { tier: redis_tier(server.url(), &judge), judge, under: Under::Redis(server) }
    }

    /// Another gateway's tier on the same server.
    pub fn neighbour(&self) -> Arc<dyn Tier> {
        match &self.under {
            Under::Memcached(server) => memcached_tier(server.address(), &self.judge),
            Under::Redis(server) => redis_tier(server.url(), &self.judge),
            _ => unreachable!("only servers are shared"),
        }
    }

    /// A program that knows nothing of Tiergate.
    pub async fn stranger(&self) -> Stranger {
        match &self.under {
            Under::Memcached(server) => Stranger::Memcached(PlainMemcached::connect(server.port()).await),
            Under::Redis(server) => Stranger::Redis(PlainRedis::connect(server.port()).await),
            _ => unreachable!("only servers are shared"),
        }
    }

    pub fn freeze(&self) {
        match &self.under {
            Under::Memcached(server) => server.freeze(),
            Under::Redis(server) => server.freeze(),
            _ => unreachable!("only servers freeze"),
        }
    }

    pub fn thaw(&self) {
        match &self.under {
            Under::Memcached(server) => server.thaw(),
            Under::Redis(server) => server.thaw(),
            _ => unreachable!("only servers freeze"),
        }
    }

    pub fn kill(&mut self) {
        match &mut self.under {
            Under::Memcached(server) => server.kill(),
            Under::Redis(server) => server.kill(),
            _ => unreachable!("only servers are killed"),
        }
    }

    pub async fn restart(&mut self) {
        match &mut self.under {
            Under::Memcached(server) => server.restart().await,
            Under::Redis(server) => server.restart().await,
            _ => unreachable!("only servers start again"),
        }
    }

    pub async fn put(&self, name: &str, rec: Rec) -> WriteOutcome {
        self.tier.put(&key(name), &rec.build()).await
    }

    pub async fn delete(&self, name: &str, floor: u64) -> DeleteOutcome {
        self.tier.delete(&key(name), Version(floor)).await
    }

    pub async fn found(&self, name: &str) -> Option<Bytes> {
        bytes_of(self.read(name).await)
    }

    pub async fn read(&self, name: &str) -> Option<Found> {
        self.tier.read(&[key(name)]).await.unwrap().pop().unwrap()
    }

    pub async fn assert_holds(&self, name: &str, rec: Rec) {
        assert_eq!(self.found(name).await, Some(rec.bytes()), "{name}");
    }
}

pub enum Stranger {
    Memcached(PlainMemcached),
    Redis(PlainRedis),
}

impl Stranger {
    pub async fn set(&mut self, name: &str, value: &[u8], flags: u32) {
        match self {
            Self::Memcached(client) => client.set(name, value, flags, 100).await,
            Self::Redis(client) => client.setex(name, value, 100).await,
        }
    }

    /// The stored bytes, which must have flags 0.
    pub async fn get(&mut self, name: &str) -> Option<Bytes> {
        match self {
            Self::Memcached(client) => client.get(name).await.map(|(flags, bytes)| {
                assert_eq!(flags, 0, "client flags of {name}");
                bytes.into()
            }),
            Self::Redis(client) => client.get(name).await.map(Into::into),
        }
    }
}

pub fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

pub fn bytes_of(found: Option<Found>) -> Option<Bytes> {
    Some(match found? {
        Found::Whole(record) => record.bytes.clone(),
        Found::Shared(payload) => payload.bytes,
    })
}

pub fn remaining_of(found: Option<Found>) -> Duration {
    match found.unwrap() {
        Found::Whole(record) => record.remaining(Time::now()),
        Found::Shared(payload) => payload.remaining.unwrap(),
    }
}

pub fn stamp_of(found: Option<Found>) -> Option<(Kind, u8, u64)> {
    match found.unwrap() {
        Found::Whole(record) => Some((record.kind, record.rank, record.version.0)),
        Found::Shared(payload) => payload.stamp.map(|stamp| (stamp.kind, stamp.rank, stamp.version.0)),
    }
}

pub fn open(directory: &TempDir) -> disk::Opened {
    Disk::open(disk_config(directory)).unwrap()
}

pub fn disk_config(directory: &TempDir) -> disk::Config {
    disk::Config { bytes_max: 1 << 20, ..disk::Config::at(directory.path().join("tier.redb")) }
}

pub fn memcached_tier(address: String, judge: &Arc<Judge>) -> Arc<dyn Tier> {
    let config = memcached::Config { deadline: DEADLINE, ..memcached::Config::at(address) };
    Arc::new(tiergate::tier::Memcached::new(TierName::new("memcached"), config, judge.clone()).unwrap())
}

pub fn redis_tier(url: String, judge: &Arc<Judge>) -> Arc<dyn Tier> {
    let config = redis::Config { deadline: DEADLINE, value_bytes_max: 1 << 20, ..redis::Config::at(url) };
    Arc::new(tiergate::tier::Redis::new(TierName::new("redis"), config, judge.clone()).unwrap())
}
