//! [`Memcached`]: a tier that other programs read and write too.
//!
//! Values stand there as plain bytes under plain keys, with client flags 0. Only commands whose reply is read are used: a
//! write is `gets`, a comparison, then `add` or `cas`; a delete is a `cas` of nothing with a past expiry. So a lost race is
//! noticed and played again, and a value over the server's limit leaves the old one in place, where `set` would destroy it.

mod connection;
mod leases;
mod memory;
mod pool;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool::managed::Pool;
use tokio::time::{Instant, timeout, timeout_at};

use self::connection::{Connection, Stored};
use self::memory::Memories;
use self::pool::{Conversation, Dialler, Server};
use super::breaker;
use super::canary;
use super::contest::{Contest, contest, shared_wire};
use super::{
    Appraise, Breakers, CAS_ROUNDS_MAX, Clock, EXAMINATION_MAX, Examination, Floors, Found, Health, Hear, Leases,
    Payload, Side, Stamp, Tier, TierError, Unworthy,
};
use crate::record::{DeleteOutcome, Digest, Key, Order, Record, RejectedWhy, TierName, Time, Version, WriteOutcome};

/// What an item takes besides its key and value, in bytes: header 48, cas id 8, the key's end 1, the value's end 2
/// (`items.c`, `item_make_header`). Measured on 1.6.18: with `item_size_max` 1048576 and a key of 1 byte, 1048516 fit.
const ITEM_OVERHEAD_BYTES: usize = 59;

/// The shortest time to live that is asked for. memcached's clock ticks once a second: 1 may end at once.
const TTL_MIN: Duration = Duration::from_secs(2);

/// The longest time to live that memcached takes as a span; more is taken as a moment (`protocol.txt`, "Expiration times").
const TTL_RELATIVE_MAX: Duration = Duration::from_secs(60 * 60 * 24 * 30);

/// The longest time to live that is asked for: ten years.
const TTL_MAX: Duration = Duration::from_secs(60 * 60 * 24 * 3_650);

/// An expiry that has passed: a moment in January 1970.
const EXPIRY_PAST: u32 = TTL_RELATIVE_MAX.as_secs() as u32 + 1;

/// The coarseness of memcached's clock.
const TICK: Duration = Duration::from_secs(1);

/// The settings of [`Memcached`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port`, dialled as it is written.
    pub address: String,
    /// Connections that are open at once. At the limit calls wait, within their deadline.
    pub connections_max: usize,
    /// The longest that one call may take, connecting included; and the longest that connecting may take where no call waits.
    pub deadline: Duration,
    /// Bytes of values that are remembered by cas id, so that unchanged ones are not read again.
    pub remembered_bytes_max: u64,
    /// How often it is asked which of the watched keys changed.
    pub watch_every: Duration,
    /// When nobody waits for it any more.
    pub breaker: breaker::Config,
}

/// The tier in memcached.
pub struct Memcached {
    name: TierName,
    config: Config,
    appraise: Arc<dyn Appraise>,
    pool: Pool<Dialler>,
    server: Arc<Server>,
    memories: Memories,
    floors: Floors,
    breakers: Breakers,
}

/// A write on its way: what is written, and how far it came.
struct Write<'a> {
    key: &'a Key,
    record: &'a Record,
    wire: &'a Bytes,
    /// Of `wire`.
    stored: Digest,
    /// Whether a command that changes something was sent and its reply not yet read.
    sent: AtomicBool,
}

/// Which value a delete means.
#[derive(Clone, Copy)]
enum Meant {
    UpTo(Version),
    Exactly(Digest),
}

/// What bytes found in memcached are worth.
enum Judged {
    Worth(Order),
    /// They are no value of their key: any may replace them.
    Worthless,
    /// Somebody replaced them meanwhile.
    Changed,
    /// Nobody could tell.
    Unjudged(String),
}

// === impl Config ===

impl Config {
    /// The usual settings for the server at `address`.
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            connections_max: 8,
            deadline: Duration::from_millis(250),
            remembered_bytes_max: 64 << 20,
            watch_every: Duration::from_millis(100),
            breaker: breaker::Config::default(),
        }
    }
}

// === impl Memcached ===

impl Memcached {
    /// A tier that connects when it is first used.
    pub fn new(name: TierName, config: Config, appraise: Arc<dyn Appraise>) -> Result<Self, TierError> {
        let server = Arc::new(Server { item_bytes_max: AtomicUsize::new(usize::MAX), epoch: AtomicU64::new(0) });
        let dialler =
            Dialler { address: config.address.clone(), connect_timeout: config.deadline, server: server.clone() };
        let pool = Pool::builder(dialler)
            .max_size(config.connections_max)
            .build()
            .map_err(|error| TierError::Connect(error.to_string()))?;
        let memories = Memories::new(config.remembered_bytes_max);
        let breakers = Breakers::new(&name, &config.breaker);
        Ok(Self { name, config, appraise, pool, server, memories, floors: Floors::default(), breakers })
    }

    fn late(&self) -> TierError {
        TierError::Deadline(self.config.deadline)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, TierError>>) -> Result<T, TierError> {
        self.by(self.deadline(), call).await
    }

    /// The end of a call that begins now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.config.deadline
    }

    async fn by<T>(&self, deadline: Instant, call: impl Future<Output = Result<T, TierError>>) -> Result<T, TierError> {
        timeout_at(deadline, call).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// The largest value in bytes, once a connection has told.
    fn value_bytes_max(&self) -> usize {
        self.server.item_bytes_max.load(Relaxed)
    }

    async fn read_all(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let epoch = self.server.epoch.load(Relaxed);
        let limit = self.value_bytes_max();
        let mut items = conversation.items(keys, false, limit).await?;
        let mut values: Vec<Option<(Bytes, Digest)>> = keys
            .iter()
            .zip(&items)
            .map(|(key, item)| item.as_ref().and_then(|item| self.memories.value(epoch, key, item)))
            .collect();

        // Only what changed is read whole, and then in one piece with its flags and its time.
        let is_new = |at: &usize| values[*at].is_none() && items[*at].as_ref().is_some_and(|item| item.bytes_len > 0);
        let new: Vec<usize> = (0..keys.len()).filter(is_new).collect();
        let new_keys: Vec<Key> = new.iter().map(|&at| keys[at].clone()).collect();
        for (at, item) in new.into_iter().zip(conversation.items(&new_keys, true, limit).await?) {
            values[at] = item.as_ref().map(|item| self.memories.keep(epoch, &keys[at], item));
            items[at] = item;
        }
        conversation.complete();

        let found = keys.iter().zip(items).zip(values).map(|((key, item), value)| {
            let (item, (bytes, digest)) = item.zip(value)?;
            // A value of 0 bytes is somebody's lease.
            (!bytes.is_empty()).then(|| {
                let stamp = self.memories.noted(key, digest).map(|noted| noted.stamp);
                Found::Shared(Payload { bytes, flags: item.flags, remaining: item.remaining, stamp })
            })
        });
        Ok(found.collect())
    }

    async fn write(&self, write: &Write<'_>) -> Result<WriteOutcome, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let outcome = self.contend(&mut conversation, write).await?;
        conversation.complete();
        Ok(outcome)
    }

    /// Reads, compares and sets until nobody comes between. All on one connection, because a cas id means nothing to
    /// another server, and the address may have got another one.
    async fn contend(&self, connection: &mut Connection, write: &Write<'_>) -> Result<WriteOutcome, TierError> {
        let Write { key, record, wire, .. } = *write;
        let (bytes, limit) = (ITEM_OVERHEAD_BYTES + key.as_str().len() + wire.len(), self.value_bytes_max());
        let too_large = || Ok(WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, limit }));
        if bytes > limit {
            return too_large();
        }
        for _ in 0..CAS_ROUNDS_MAX {
            let now = Time::now();
            if self.floors.bars(key, record.version) {
                return Ok(WriteOutcome::Superseded);
            }
            let held = connection.gets(key).await?;
            let replaced = held.as_ref().map(|&(_, cas)| cas);
            // A value of 0 bytes is worth nothing, but `add` does not replace it.
            if let Some((value, cas)) = held.filter(|(value, _)| !value.is_empty()) {
                match self.judge(connection, key, &value, cas, now).await? {
                    Judged::Worth(order) => match contest(&Order::of(record, now), &order) {
                        Contest::Wins => {}
                        Contest::Loses(outcome) => return Ok(outcome),
                        Contest::Equal if Digest::of(&value) != write.stored => return Ok(WriteOutcome::Stored),
                        Contest::Equal => {
                            let left =
                                connection.item(key).await?.filter(|item| item.cas == cas).map(|item| item.remaining);
                            let Some(left) = left else { continue };
                            if left.is_none_or(|left| left + TICK >= record.remaining(now)) {
                                self.memories.note(key, write.stored, record);
                                return Ok(WriteOutcome::Stored);
                            }
                            // The same bytes once more, for a longer life.
                        }
                    },
                    Judged::Worthless => {}
                    Judged::Changed => continue,
                    Judged::Unjudged(why) => return Ok(WriteOutcome::Failed(why.into())),
                }
            }
            let expiry = expiry(record.remaining(now), now);
            // Noted before it is sent: it may be carried out though its reply never comes.
            self.memories.note(key, write.stored, record);
            write.sent.store(true, Relaxed);
            let stored = match replaced {
                Some(cas) => connection.cas(key, wire, cas, expiry).await?,
                None => connection.add(key, wire, expiry).await?,
            };
            write.sent.store(false, Relaxed);
            match stored {
                Stored::Outrun => {}
                Stored::TooLarge => return too_large(),
                Stored::Yes => return Ok(WriteOutcome::Stored),
            }
        }
        Ok(WriteOutcome::Failed(contended().into()))
    }

    /// What the bytes found under `key` are worth: as noted when this gateway wrote them, else as their own content says.
    async fn judge(
        &self,
        connection: &mut Connection,
        key: &Key,
        value: &Bytes,
        cas: u64,
        now: Time,
    ) -> Result<Judged, TierError> {
        if let Some(noted) = self.memories.noted(key, Digest::of(value)) {
            return Ok(Judged::Worth(noted.order(now)));
        }
        // The flags belong to the bytes only if both are of the same write.
        let Some(item) = connection.item(key).await?.filter(|item| item.cas == cas) else { return Ok(Judged::Changed) };
        let payload = Payload { bytes: value.clone(), flags: item.flags, remaining: item.remaining, stamp: None };
        Ok(match self.appraise.appraise(&self.name, key, &payload) {
            Ok(record) => Judged::Worth(Order::of(&record, now)),
            Err(Unworthy::Rejected(_)) => Judged::Worthless,
            Err(unjudged @ Unworthy::Unjudged(_)) => Judged::Unjudged(format!("what is there {unjudged}")),
        })
    }

    async fn remove(&self, key: &Key, meant: Meant, sent: &AtomicBool) -> Result<DeleteOutcome, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let outcome = self.evict(&mut conversation, key, meant, sent).await?;
        conversation.complete();
        Ok(outcome)
    }

    async fn evict(
        &self,
        connection: &mut Connection,
        key: &Key,
        meant: Meant,
        sent: &AtomicBool,
    ) -> Result<DeleteOutcome, TierError> {
        for _ in 0..CAS_ROUNDS_MAX {
            let Some((value, cas)) = connection.gets(key).await?.filter(|(value, _)| !value.is_empty()) else {
                return Ok(DeleteOutcome::Absent);
            };
            let stays = match meant {
                Meant::Exactly(digest) => Digest::of(&value) != digest,
                Meant::UpTo(floor) => match self.judge(connection, key, &value, cas, Time::now()).await? {
                    Judged::Worth(order) => order.version > floor,
                    Judged::Worthless => false,
                    Judged::Changed => continue,
                    Judged::Unjudged(why) => return Ok(DeleteOutcome::Failed(why.into())),
                },
            };
            if stays {
                return Ok(DeleteOutcome::Superseded);
            }
            sent.store(true, Relaxed);
            let stored = connection.cas(key, b"", cas, EXPIRY_PAST).await?;
            sent.store(false, Relaxed);
            if stored == Stored::Yes {
                return Ok(DeleteOutcome::Deleted);
            }
        }
        Ok(DeleteOutcome::Failed(contended().into()))
    }

    async fn remove_by(&self, deadline: Instant, key: &Key, meant: Meant) -> DeleteOutcome {
        let sent = AtomicBool::new(false);
        match self.breakers.write.call(self.by(deadline, self.remove(key, meant, &sent))).await {
            Ok(outcome) => outcome,
            Err(error) if is_lost(&error) && sent.load(Relaxed) => DeleteOutcome::Unknown(error.to_string()),
            Err(error) => DeleteOutcome::Failed(error.into()),
        }
    }

    /// Whether exactly these bytes are there.
    async fn holds(&self, key: &Key, wire: &[u8]) -> Result<bool, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let held = conversation.gets(key).await?;
        conversation.complete();
        Ok(held.is_some_and(|(value, _)| value == wire))
    }
}

/// The expiry to ask for, so that a value lives `remaining` and at most a second more (`protocol.txt`, "Expiration times").
fn expiry(remaining: Duration, now: Time) -> u32 {
    let ttl = remaining.clamp(TTL_MIN, TTL_MAX);
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    let expiry = if ttl > TTL_RELATIVE_MAX { now.seconds() + seconds } else { seconds };
    // 0 would mean "never"; no clock before 2096 brings us here.
    u32::try_from(expiry).unwrap_or(u32::MAX)
}

fn contended() -> String {
    format!("others wrote the key meanwhile, {CAS_ROUNDS_MAX} times in a row")
}

/// Whether an error leaves open what became of a command that was sent.
fn is_lost(error: &TierError) -> bool {
    matches!(error, TierError::Broken(_) | TierError::Deadline(_))
}

/// What the statistics tell an operator.
fn health(version: String, stats: Vec<(String, String)>, item_bytes_max: Option<usize>) -> Health {
    let told = ["pid", "uptime", "curr_items", "bytes", "limit_maxbytes", "evictions", "curr_connections"];
    let fact = |name| stats.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let seconds = |name| fact(name).and_then(|seconds| seconds.parse::<u64>().ok());
    // In a container every server may have the same process id; no two begin in the same second.
    let begun = seconds("time").zip(seconds("uptime")).map(|(now, up)| now.saturating_sub(up));
    let incarnation = fact("pid").zip(begun).map(|(pid, begun)| format!("{pid}-{begun}"));
    let facts = stats.into_iter().filter(|(name, _)| told.contains(&name.as_str())).collect();
    Health { version: Some(version), incarnation, item_bytes_max, facts }
}

/// A closer look, unless it takes too long.
async fn in_time<T>(look: impl Future<Output = Result<T, TierError>>) -> Result<T, TierError> {
    timeout(EXAMINATION_MAX, look).await.unwrap_or(Err(TierError::Deadline(EXAMINATION_MAX)))
}

#[async_trait]
impl Tier for Memcached {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        format!("memcached at {}", self.config.address)
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        self.breakers.read.call(self.within(self.read_all(keys))).await
    }

    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome {
        let wire = match shared_wire(record, Time::now()) {
            Ok(wire) => wire,
            Err(outcome) => return outcome,
        };
        let stored = if record.foreign.is_some() { Digest::of(wire) } else { record.digest };
        let write = Write { key, record, wire, stored, sent: AtomicBool::new(false) };
        let deadline = self.deadline();
        let outcome = match self.breakers.write.call(self.by(deadline, self.write(&write))).await {
            Ok(outcome) => outcome,
            Err(error) if is_lost(&error) && write.sent.load(Relaxed) => {
                // The connection is gone and the reply with it. What is there now may tell.
                match timeout_at(deadline, self.holds(key, wire)).await {
                    Ok(Ok(true)) => WriteOutcome::Stored,
                    _ => WriteOutcome::Unknown(error.to_string()),
                }
            }
            Err(error) => WriteOutcome::Failed(error.into()),
        };
        // A delete that began after the floor was looked at may have found nothing yet: what it meant to remove is undone. Where
        // the deadline does not leave time for that, whoever reads it next removes it.
        if outcome == WriteOutcome::Stored && self.floors.bars(key, record.version) {
            let removed = self.remove_by(deadline, key, Meant::Exactly(stored)).await;
            tracing::debug!(%key, tier = %self.name, outcome = removed.label(), "a value was deleted while it was written");
            return WriteOutcome::Superseded;
        }
        outcome
    }

    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome {
        self.floors.raise(key, floor);
        self.remove_by(self.deadline(), key, Meant::UpTo(floor)).await
    }

    async fn tell(&self, hear: Arc<dyn Hear>) {
        self.watch(hear).await;
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn note(&self, key: &Key, stored: Digest, canonical: Digest, stamp: Stamp) {
        self.memories.note_stamp(key, stored, canonical, stamp);
    }

    fn raise_floor(&self, key: &Key, floor: Version) {
        self.floors.raise(key, floor);
    }

    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome {
        self.remove_by(self.deadline(), key, Meant::Exactly(stored)).await
    }

    async fn check(&self) -> Result<Health, TierError> {
        self.within(async {
            let mut conversation = Conversation::begin(&self.pool).await?;
            let version = conversation.version().await?;
            let stats = conversation.stats("stats").await?;
            conversation.complete();
            Ok(health(version, stats, Some(self.server.item_bytes_max.load(Relaxed))))
        })
        .await
    }

    async fn examine(&self) -> Result<Examination, TierError> {
        in_time(async {
            let mut connection = Connection::dial(&self.config.address, EXAMINATION_MAX).await?;
            let begun = Instant::now();
            let version = connection.version().await?;
            let round_trip = begun.elapsed();
            let asked = Time::now();
            let stats = connection.stats("stats").await?;
            let precision = TICK + Time::now().since(asked);
            let settings = connection.stats("stats settings").await?;
            let number = |of: &[(String, String)], name: &str| {
                of.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse::<u64>().ok())
            };
            let clock = number(&stats, "time").map(|seconds| Clock {
                theirs: Time::from_micros(seconds * 1_000_000),
                ours: asked,
                precision,
            });
            let mut health = health(version, stats, number(&settings, "item_size_max").map(|bytes| bytes as usize));
            health.facts.extend(
                settings.into_iter().filter(|(name, _)| name == "evictions").map(|(_, on)| ("evicts".to_owned(), on)),
            );
            Ok(Examination { health, round_trip, clock })
        })
        .await
    }

    async fn read_back(&self, key: &Key) -> Result<Option<Bytes>, TierError> {
        in_time(async {
            let mut connection = Connection::dial(&self.config.address, EXAMINATION_MAX).await?;
            Ok(connection.gets(key).await?.map(|(value, _)| value))
        })
        .await
    }

    fn breakers(&self) -> Option<&Breakers> {
        Some(&self.breakers)
    }

    async fn probe(&self, side: Side) -> Result<(), TierError> {
        let (key, record) = canary::probe(Time::now());
        match side {
            Side::Read => self.within(self.read_all(&[key])).await.map(drop),
            Side::Write => {
                let (wire, stored) = (&record.bytes, record.digest);
                let write = Write { key: &key, record: &record, wire, stored, sent: AtomicBool::new(false) };
                self.within(self.write(&write)).await.map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_span_up_to_30_days_and_a_moment_beyond() {
        let now = Time::from_micros(1_767_225_600_000_000);
        assert_eq!(expiry(Duration::from_millis(1), now), 2);
        assert_eq!(expiry(Duration::from_millis(2_001), now), 3);
        assert_eq!(expiry(TTL_RELATIVE_MAX, now), 2_592_000);
        assert_eq!(expiry(TTL_RELATIVE_MAX + TICK, now), 1_767_225_600 + 2_592_001);
        assert_eq!(u64::from(expiry(Duration::MAX, now)), now.seconds() + TTL_MAX.as_secs());
    }
}
