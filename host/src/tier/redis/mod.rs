//! [`Redis`]: a tier that other programs read and write too.
//!
//! A value is a plain string under its plain key. What a gateway knows beside it (kind, rank, version) stands in a hash, the
//! note, at `tiergate:meta:` + key. Comparing and storing are one Lua script, so nobody comes between. The note outlives the
//! value by [`FLOOR_KEPT`] and keeps older values from coming back.

mod feed;
mod link;
mod share;
mod stream;
mod tracking;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ParsingError, RedisResult, Script, ScriptInvocation, Value};
use tokio::time::{Instant, timeout_at};

pub use self::tracking::BRIDGE_PREFIX;

use self::feed::CHANGES;
use self::link::{Link, tier_error};
use self::tracking::OWN_PREFIX;
use super::breaker;
use super::canary;
use super::contest::shared_wire;
use super::shared::{Leases, Shared};
use super::{
    Appraise, Breakers, CAS_ROUNDS_MAX, Clock, EXAMINATION_MAX, Examination, FLOOR_KEPT, Floors, Found, Health, Hear,
    Payload, Side, Stamp, Tier, TierError, Unworthy,
};
use crate::record::{
    DeleteOutcome, Digest, Key, Kind, Order, Record, RejectedWhy, TierName, Time, Version, WriteOutcome,
};

/// What stands before a key in the name of its note.
pub const NOTE_PREFIX: &str = "tiergate:meta:";

/// The shortest life that is asked for: `PX 0` is an error.
const LIFE_MIN: Duration = Duration::from_millis(1);

/// The longest life that is asked for: ten years.
const LIFE_MAX: Duration = Duration::from_secs(60 * 60 * 24 * 3_650);

/// What [`Tier::check`] tells of `INFO`.
const FACTS: [&str; 10] = [
    "run_id",
    "process_id",
    "uptime_in_seconds",
    "role",
    "maxmemory",
    "maxmemory_policy",
    "used_memory",
    "evicted_keys",
    "connected_clients",
    "aof_enabled",
];

static PUT: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("announce.lua"), include_str!("put.lua"))));
static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("read.lua")));
static DELETE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("announce.lua"), include_str!("delete.lua"))));
static DELETE_EXACT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("delete_exact.lua")));

/// The settings of [`Redis`].
#[derive(Clone)]
pub struct Config {
    /// `redis://` or, over TLS, `rediss://`, with user, password, host, port and database.
    pub url: String,
    /// The longest that one call may take, connecting and logging in included; and the longest that these may take where no call
    /// waits.
    pub deadline: Duration,
    /// The largest value in bytes. Redis itself takes 512 MiB, but stands still while it moves one.
    pub value_bytes_max: usize,
    /// When nobody waits for it any more.
    pub breaker: breaker::Config,
}

/// The tier in Redis.
pub struct Redis {
    name: TierName,
    config: Config,
    appraise: Arc<dyn Appraise>,
    link: Link,
    breakers: Breakers,
    /// Deletes that this gateway knows of. The server has its own, and loses them when it comes back empty.
    floors: Floors,
    /// Tells what this gateway announces from what others do.
    gateway: String,
}

/// A script's answer: what it says, and for bytes that no note describes those bytes and their time left.
struct Answer {
    word: String,
    bytes: Bytes,
    remaining: Option<Duration>,
}

/// What bytes that no note describes are worth, for the script to hear.
#[derive(Default)]
struct Judgement {
    /// Of the bytes that were judged, in hexadecimal; empty when none were.
    sha1: String,
    /// `None`: they are no value of their key, and any may replace them.
    order: Option<Order>,
}

/// A call that was not answered.
struct Unanswered {
    error: TierError,
    /// Whether the command may have reached the server and been carried out.
    maybe_done: bool,
}

// === impl Unanswered ===

impl From<TierError> for Unanswered {
    fn from(error: TierError) -> Self {
        Self { error, maybe_done: false }
    }
}

impl AsRef<TierError> for Unanswered {
    fn as_ref(&self) -> &TierError {
        &self.error
    }
}

// === impl Config ===

impl Config {
    /// The usual settings for the server at `url`.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            deadline: Duration::from_millis(250),
            value_bytes_max: 8 << 20,
            breaker: breaker::Config::default(),
        }
    }
}

impl fmt::Debug for Config {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("deadline", &self.deadline)
            .field("value_bytes_max", &self.value_bytes_max)
            .finish_non_exhaustive()
    }
}

// === impl Judgement ===

impl Judgement {
    /// The order as the scripts compare it: texts of this form sort as orders do. Empty is lesser than any.
    fn order_text(&self) -> String {
        match self.order {
            Some(Order { kind: Some(kind), rank, version, digest }) => {
                format!("{}{rank:03}{}{}", kind.digit(), version.hex(), digest.hex())
            }
            _ => String::new(),
        }
    }

    fn version_text(&self) -> String {
        self.order.map_or_else(String::new, |order| order.version.hex())
    }
}

// === impl Answer ===

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (word, bytes, pttl): (String, Vec<u8>, i64) = redis::from_redis_value(value)?;
        Ok(Self { word, bytes: bytes.into(), remaining: remaining(pttl) })
    }
}

impl Answer {
    fn nonsense(&self) -> TierError {
        TierError::Broken(format!("the script answered {:?}", self.word))
    }
}

// === impl Redis ===

impl Redis {
    /// A tier that connects when it is first used.
    pub fn new(name: TierName, config: Config, appraise: Arc<dyn Appraise>) -> Result<Self, TierError> {
        let link = Link::new(&config.url, config.deadline)?;
        let breakers = Breakers::new(&name, &config.breaker);
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|error| TierError::Connect(format!("no randomness for an id: {error}")))?;
        let gateway = format!("{:016x}", u64::from_be_bytes(id));
        Ok(Self { name, config, appraise, link, breakers, floors: Floors::default(), gateway })
    }

    /// Puts one question on the connection and waits for the answer until `until`.
    async fn ask<T, F>(
        &self,
        until: Instant,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Unanswered>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let late = || TierError::Deadline(self.config.deadline);
        let link = match timeout_at(until, self.link.get()).await.unwrap_or_else(|_| Err(late())) {
            Ok(link) => link,
            Err(error) => return Err(Unanswered { error, maybe_done: false }),
        };
        match timeout_at(until, question(link.connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let error = tier_error(&error);
                let maybe_done = matches!(error, TierError::Broken(_));
                // A server that refuses may have become a replica: a new connection may lead to its successor.
                self.link.discard(link.number);
                Err(Unanswered { error, maybe_done })
            }
            Err(_) => {
                self.link.discard(link.number);
                Err(Unanswered { error: late(), maybe_done: true })
            }
        }
    }

    async fn run(&self, until: Instant, script: &ScriptInvocation<'_>) -> Result<Answer, Unanswered> {
        self.ask(until, async |mut connection| script.invoke_async(&mut connection).await).await
    }

    fn until(&self) -> Instant {
        Instant::now() + self.config.deadline
    }

    async fn store(
        &self,
        key: &Key,
        record: &Record,
        wire: &Bytes,
        until: Instant,
    ) -> Result<WriteOutcome, Unanswered> {
        let stored = if record.foreign.is_some() { Digest::of(wire) } else { record.digest };
        let mut judgement = Judgement::default();
        for _ in 0..CAS_ROUNDS_MAX {
            let now = Time::now();
            let life = record.remaining(now).clamp(LIFE_MIN, LIFE_MAX);
            let mut script = PUT.prepare_invoke();
            self.name_keys(&mut script, key);
            script.arg(wire.as_ref()).arg(millis(life)).arg(millis(life + FLOOR_KEPT)).arg(moment(now));
            script.arg(record.kind.digit()).arg(format!("{:03}", record.rank)).arg(moment(record.soft_expiry));
            script.arg(record.version.hex()).arg(record.digest.hex()).arg(moment(record.produced_at));
            script.arg(stored.hex()).arg(&judgement.sha1).arg(judgement.order_text());
            script.arg(self.floors.get(key).map_or_else(String::new, |floor| floor.hex()));
            self.name_announcer(&mut script, key);
            let answer = self.run(until, &script).await?;
            match answer.word.as_str() {
                "stored" => return Ok(WriteOutcome::Stored),
                "superseded" => return Ok(WriteOutcome::Superseded),
                "refused" => {
                    let digit = answer.bytes.first().map_or(0, |digit| digit.wrapping_sub(b'0'));
                    return Ok(Kind::from_digit(digit).map_or(WriteOutcome::Superseded, WriteOutcome::Refused));
                }
                "foreign" => match self.judge(key, answer, now) {
                    Ok(judged) => judgement = judged,
                    Err(why) => return Ok(WriteOutcome::Failed(why.into())),
                },
                _ => return Err(Unanswered { error: answer.nonsense(), maybe_done: false }),
            }
        }
        Ok(WriteOutcome::Failed(contended().into()))
    }

    async fn remove(&self, key: &Key, floor: Version, until: Instant) -> Result<DeleteOutcome, Unanswered> {
        let mut judgement = Judgement::default();
        for _ in 0..CAS_ROUNDS_MAX {
            let mut script = DELETE.prepare_invoke();
            self.name_keys(&mut script, key);
            script.arg(floor.hex()).arg(millis(FLOOR_KEPT)).arg(&judgement.sha1).arg(judgement.version_text());
            self.name_announcer(&mut script, key);
            let answer = self.run(until, &script).await?;
            match answer.word.as_str() {
                "foreign" => match self.judge(key, answer, Time::now()) {
                    Ok(judged) => judgement = judged,
                    Err(why) => return Ok(DeleteOutcome::Failed(why.into())),
                },
                _ => return deleted(&answer),
            }
        }
        Ok(DeleteOutcome::Failed(contended().into()))
    }

    /// The keys of a script that changes the value of `key`.
    fn name_keys(&self, script: &mut ScriptInvocation<'_>, key: &Key) {
        script.key(key.as_str()).key(note_key(key)).key(CHANGES.name).key(CHANGES.count);
    }

    /// Who announces what a script changes under `key`, and how many entries are kept of it: nobody does, where it is a key of
    /// the gateways' own.
    fn name_announcer(&self, script: &mut ScriptInvocation<'_>, key: &Key) {
        let gateway = if key.as_str().starts_with(OWN_PREFIX) { "" } else { &self.gateway };
        script.arg(gateway).arg(canary::gateway()).arg(CHANGES.kept);
    }

    async fn remove_exact(&self, key: &Key, stored: Digest, until: Instant) -> Result<DeleteOutcome, Unanswered> {
        let mut script = DELETE_EXACT.prepare_invoke();
        script.key(key.as_str()).arg(stored.hex());
        deleted(&self.run(until, &script).await?)
    }

    /// What is stored under each of `keys`, and the note beside it.
    async fn read_all(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        let mut script = READ.prepare_invoke();
        for key in keys {
            script.key(key.as_str()).key(note_key(key));
        }
        type Held = (Option<Vec<u8>>, i64, Vec<Option<String>>);
        let held: Vec<Held> = self
            .ask(self.until(), async |mut connection| script.invoke_async(&mut connection).await)
            .await
            .map_err(|unanswered| unanswered.error)?;
        if held.len() != keys.len() {
            return Err(TierError::Broken(format!("{} keys were asked for and {} answered", keys.len(), held.len())));
        }
        let found = held.into_iter().map(|(bytes, pttl, note)| {
            let bytes = Bytes::from(bytes?);
            let stamp = stamp(&note, &bytes);
            Some(Found::Shared(Payload { bytes, flags: 0, remaining: remaining(pttl), stamp }))
        });
        Ok(found.collect())
    }

    /// What bytes that no note describes are worth, by their own content; `Err` when nobody can tell.
    fn judge(&self, key: &Key, found: Answer, now: Time) -> Result<Judgement, String> {
        let sha1 = Digest::of(&found.bytes).hex();
        let payload = Payload { bytes: found.bytes, flags: 0, remaining: found.remaining, stamp: None };
        let order = match self.appraise.appraise(&self.name, key, &payload) {
            Ok(record) => Some(Order::of(&record, now)),
            Err(Unworthy::Rejected(_)) => None,
            Err(unjudged @ Unworthy::Unjudged(_)) => return Err(format!("what is there {unjudged}")),
        };
        Ok(Judgement { sha1, order })
    }

    /// What `INFO` and `DBSIZE` tell an operator.
    fn health(&self, info: &str, entries: u64) -> Health {
        let facts: Vec<(&str, &str)> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let version = facts.iter().find(|(name, _)| *name == "redis_version").map(|(_, value)| (*value).to_owned());
        let incarnation = facts.iter().find(|(name, _)| *name == "run_id").map(|(_, value)| (*value).to_owned());
        let told = FACTS.iter().filter_map(|told| facts.iter().find(|(name, _)| name == told));
        let mut facts: Vec<(String, String)> = told.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        facts.push(("curr_items".to_owned(), entries.to_string()));
        Health { version, incarnation, item_bytes_max: Some(self.config.value_bytes_max), facts }
    }

    /// Asks on a connection of its own, unless it takes too long.
    async fn ask_apart<T>(
        &self,
        question: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, TierError> {
        let until = Instant::now() + EXAMINATION_MAX;
        let connection = self.link.alone(EXAMINATION_MAX).await?;
        match timeout_at(until, question(connection)).await {
            Ok(answer) => answer.map_err(|error| tier_error(&error)),
            Err(_) => Err(TierError::Deadline(EXAMINATION_MAX)),
        }
    }

    /// Whether exactly these bytes are there.
    async fn holds(&self, key: &Key, wire: &[u8], until: Instant) -> bool {
        let mut get = redis::cmd("GET");
        get.arg(key.as_str());
        let held: Result<Option<Vec<u8>>, _> =
            self.ask(until, async |mut connection| get.query_async(&mut connection).await).await;
        held.is_ok_and(|held| held.is_some_and(|held| held == wire))
    }
}

fn note_key(key: &Key) -> String {
    format!("{NOTE_PREFIX}{key}")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A moment in microseconds as text that sorts as moments do.
fn moment(time: Time) -> String {
    format!("{:016x}", time.micros())
}

fn from_moment(text: &str) -> Option<Time> {
    u64::from_str_radix(text, 16).ok().map(Time::from_micros)
}

/// `PTTL`'s answer: negative where nothing ends.
fn remaining(pttl: i64) -> Option<Duration> {
    u64::try_from(pttl).ok().map(Duration::from_millis)
}

fn contended() -> String {
    format!("others wrote the key meanwhile, {CAS_ROUNDS_MAX} times in a row")
}

fn deleted(answer: &Answer) -> Result<DeleteOutcome, Unanswered> {
    match answer.word.as_str() {
        "deleted" => Ok(DeleteOutcome::Deleted),
        "absent" => Ok(DeleteOutcome::Absent),
        "superseded" => Ok(DeleteOutcome::Superseded),
        _ => Err(Unanswered { error: answer.nonsense(), maybe_done: false }),
    }
}

fn delete_outcome(result: Result<DeleteOutcome, Unanswered>) -> DeleteOutcome {
    match result {
        Ok(outcome) => outcome,
        Err(Unanswered { error, maybe_done: true }) => DeleteOutcome::Unknown(error.to_string()),
        Err(Unanswered { error, maybe_done: false }) => DeleteOutcome::Failed(error.into()),
    }
}

/// The note, if it is complete and about these bytes.
///
/// A script that deletes takes the value with it, and none stores one below the floor: bytes whose note is below it were set
/// again by somebody else.
fn stamp(note: &[Option<String>], bytes: &[u8]) -> Option<Stamp> {
    let [note @ .., Some(sha1), floor] = note else { return None };
    let floor = floor.as_deref().and_then(Version::from_hex);
    let stamp = noted(note).filter(|stamp| floor.is_none_or(|floor| stamp.version > floor))?;
    (Digest::from_hex(sha1)? == Digest::of(bytes)).then_some(stamp)
}

/// Kind, rank, fresh, version and produced, as a note has them.
fn noted(note: &[Option<String>]) -> Option<Stamp> {
    let [Some(kind), Some(rank), Some(fresh), Some(version), Some(produced)] = note else { return None };
    Some(Stamp {
        kind: Kind::from_digit(kind.parse().ok()?)?,
        rank: rank.parse().ok()?,
        version: Version::from_hex(version)?,
        produced_at: from_moment(produced)?,
        fresh_until: from_moment(fresh)?,
    })
}

#[async_trait]
impl Tier for Redis {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        self.link.summary()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.breakers.read.call(self.read_all(keys)).await
    }

    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome {
        let wire = match shared_wire(record, Time::now()) {
            Ok(wire) => wire,
            Err(outcome) => return outcome,
        };
        let (bytes, limit) = (wire.len(), self.config.value_bytes_max);
        if bytes > limit {
            return WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, limit });
        }
        let until = self.until();
        match self.breakers.write.call(self.store(key, record, wire, until)).await {
            Ok(outcome) => outcome,
            // The connection is gone and the answer with it. What is there now may tell.
            Err(Unanswered { maybe_done: true, .. }) if self.holds(key, wire, until).await => WriteOutcome::Stored,
            Err(Unanswered { error, maybe_done: true }) => WriteOutcome::Unknown(error.to_string()),
            Err(Unanswered { error, maybe_done: false }) => WriteOutcome::Failed(error.into()),
        }
    }

    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome {
        self.floors.raise(key, floor);
        delete_outcome(self.breakers.write.call(self.remove(key, floor, self.until())).await)
    }

    fn raise_floor(&self, key: &Key, floor: Version) {
        self.floors.raise(key, floor);
    }

    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome {
        delete_outcome(self.breakers.write.call(self.remove_exact(key, stored, self.until())).await)
    }

    async fn check(&self) -> Result<Health, TierError> {
        let mut pipe = redis::pipe();
        pipe.cmd("INFO").cmd("DBSIZE");
        let (info, entries): (String, u64) = self
            .ask(self.until(), async |mut connection| pipe.query_async(&mut connection).await)
            .await
            .map_err(|unanswered| unanswered.error)?;
        Ok(self.health(&info, entries))
    }

    async fn examine(&self) -> Result<Examination, TierError> {
        self.ask_apart(async |mut connection| {
            let begun = Instant::now();
            let () = redis::cmd("PING").query_async(&mut connection).await?;
            let round_trip = begun.elapsed();
            let asked = Time::now();
            let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
            let clock = Clock {
                theirs: Time::from_micros(seconds * 1_000_000 + micros),
                ours: asked,
                precision: Time::now().since(asked),
            };
            let (info, entries): (String, u64) =
                redis::pipe().cmd("INFO").cmd("DBSIZE").query_async(&mut connection).await?;
            Ok(Examination { health: self.health(&info, entries), round_trip, clock: Some(clock) })
        })
        .await
    }

    async fn read_back(&self, key: &Key) -> Result<Option<Bytes>, TierError> {
        let mut get = redis::cmd("GET");
        get.arg(key.as_str());
        let held: Option<Vec<u8>> =
            self.ask_apart(async |mut connection| get.query_async(&mut connection).await).await?;
        Ok(held.map(Bytes::from))
    }

    fn breakers(&self) -> Option<&Breakers> {
        Some(&self.breakers)
    }

    async fn floors(&self, keys: &[Key]) -> Result<Vec<Option<Version>>, TierError> {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.hget(note_key(key), "floor");
        }
        let floors: Vec<Option<String>> = self
            .ask(self.until(), async |mut connection| pipe.query_async(&mut connection).await)
            .await
            .map_err(|unanswered| unanswered.error)?;
        Ok(floors.into_iter().map(|floor| Version::from_hex(&floor?)).collect())
    }

    async fn tell(&self, hear: Arc<dyn Hear>) {
        self.feed(hear).await;
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }

    async fn probe(&self, side: Side) -> Result<(), TierError> {
        let (key, record) = canary::probe(Time::now());
        match side {
            Side::Read => self.read_all(&[key]).await.map(drop),
            Side::Write => {
                let stored = self.store(&key, &record, &record.bytes, self.until()).await;
                stored.map(drop).map_err(|unanswered| unanswered.error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_sort_as_texts_as_they_do_as_orders() {
        let order = |kind, rank, version, seed: &str| Order {
            kind: Some(kind),
            rank,
            version: Version(version),
            digest: Digest::of(seed.as_bytes()),
        };
        let mut orders = [
            order(Kind::Placeholder, 255, u64::MAX, "a"),
            order(Kind::Real, 0, (1 << 53) + 1, "a"),
            order(Kind::Real, 0, 1 << 53, "b"),
            order(Kind::Real, 0, 1 << 53, "c"),
            order(Kind::Real, 10, 0, "a"),
            order(Kind::Real, 9, 5, "a"),
        ];
        let text = |order: &Order| Judgement { sha1: String::new(), order: Some(*order) }.order_text();
        orders.sort();
        assert!(orders.windows(2).all(|pair| text(&pair[0]) < text(&pair[1])));
        assert_eq!(Judgement::default().order_text(), "");
    }
}
