//! Tiers: the places where values live. The engine sees only the [`Tier`] trait.
//!
//! A tier answers within its deadline or fails; it never retries a failure and never reports an error as a miss. Every write
//! is a compare-and-set by [`Order`](crate::record::Order), so that a lesser value never replaces a greater one, whoever
//! races whom. Tiers move bytes: they know no schema, and ask an [`Appraise`] what bytes that somebody else stored are worth.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::record::{
    DeleteOutcome, Digest, Failure, Key, Kind, Order, Record, Rejection, TierName, Time, Version, WriteOutcome,
};

pub mod breaker;
pub mod canary;
mod contest;
pub mod disk;
mod floors;
mod hear;
pub mod memcached;
pub mod memory;
pub mod redis;
pub mod shared;

pub use self::breaker::{Breaker, Breakers, Side};
pub use self::disk::Disk;
pub use self::floors::Floors;
pub use self::hear::{Announced, Hear};
pub use self::memcached::Memcached;
pub use self::memory::Memory;
pub use self::redis::Redis;
pub use self::shared::{Holder, Lease, LeaseStanding, Leases, Logged, Shared, is_lease};

/// Rounds of read, compare and set before a write that always lost the race is given up.
pub const CAS_ROUNDS_MAX: usize = 4;

/// The longest that a closer look at a tier may take. It is longer than any call's deadline, so that a slow server can be told
/// from a silent one.
pub const EXAMINATION_MAX: Duration = Duration::from_millis(1_500);

/// How long a delete keeps values older than itself from coming back.
pub const FLOOR_KEPT: Duration = Duration::from_secs(600);

/// One level of the cache.
#[async_trait]
pub trait Tier: Send + Sync + 'static {
    /// The name in answers, metrics and logs.
    fn name(&self) -> &TierName;

    /// What operators see: "redis at 127.0.0.1:6379".
    fn summary(&self) -> String;

    /// Whether other processes read and write it too.
    fn is_shared(&self) -> bool;

    /// What is stored under each of `keys`, in their order; `None` is a miss.
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError>;

    /// Stores `record` unless a greater value is there. Where an equal one is there, the longer of both lives counts.
    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome;

    /// Removes what is there unless its version is above `floor`, and keeps values up to `floor` out for [`FLOOR_KEPT`].
    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome;

    /// Removes exactly the value whose stored bytes have this digest, by compare-and-delete; other bytes stay
    /// (`Superseded`). It raises no floor.
    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome;

    /// Notes that values of `key` up to `floor` were deleted elsewhere: this gateway brings none of them back.
    fn raise_floor(&self, _key: &Key, _floor: Version) {}

    /// Notes what another gateway noted of the value of `key` whose bytes have the digest `stored`, for a tier that keeps no
    /// notes that others can read.
    fn note(&self, _key: &Key, _stored: Digest, _canonical: Digest, _stamp: Stamp) {}

    /// Up to which version values of each of `keys` were deleted, where the tier remembers deletes of all gateways.
    async fn floors(&self, keys: &[Key]) -> Result<Vec<Option<Version>>, TierError> {
        Ok(vec![None; keys.len()])
    }

    /// Tells `hear` of changes that others make, for as long as it is polled. A tier that cannot tell ends at once.
    async fn tell(&self, _hear: Arc<dyn Hear>) {}

    /// The leases of the gateways that share it.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// What else gateways share in it besides values.
    fn shared(&self) -> Option<&dyn Shared> {
        None
    }

    /// Every live record that this gateway can list in it without asking others: those of a tier that survives a restart. A
    /// tier that cannot list them answers none.
    async fn own(&self, _now: Time) -> Result<Vec<(Key, Arc<Record>)>, TierError> {
        Ok(Vec::new())
    }

    /// Asks the tier for a sign of life and its limits. No breaker keeps it back.
    async fn check(&self) -> Result<Health, TierError>;

    /// What a closer look finds, on a connection that is made and logged in for it, within [`EXAMINATION_MAX`]. No breaker
    /// keeps it back.
    async fn examine(&self) -> Result<Examination, TierError> {
        let begun = Instant::now();
        let health = self.check().await?;
        Ok(Examination { health, round_trip: begun.elapsed(), clock: None })
    }

    /// The bytes under `key` as another client sees them: on a connection that is made for it, within [`EXAMINATION_MAX`],
    /// unjudged. No breaker keeps it back.
    async fn read_back(&self, key: &Key) -> Result<Option<Bytes>, TierError> {
        let found = self.read(std::slice::from_ref(key)).await?.pop().flatten();
        Ok(found.map(|found| match found {
            Found::Whole(record) => record.bytes.clone(),
            Found::Shared(payload) => payload.bytes,
        }))
    }

    /// The breakers of a tier that is an endpoint elsewhere.
    fn breakers(&self) -> Option<&Breakers> {
        None
    }

    /// Tries what this breaker guards, past it, with a value of its own.
    async fn probe(&self, _side: Side) -> Result<(), TierError> {
        self.check().await.map(drop)
    }
}

/// What a tier holds under a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// A record, whole, from a tier that only this process writes.
    Whole(Arc<Record>),
    /// Bytes from a tier that others write too.
    Shared(Payload),
}

/// Bytes found in a shared tier.
#[derive(Clone, Debug)]
pub struct Payload {
    /// As stored.
    pub bytes: Bytes,
    /// memcached client flags; 0 elsewhere.
    pub flags: u32,
    /// Time left in that tier; `None` where it does not expire.
    pub remaining: Option<Duration>,
    /// What the gateway that wrote it noted beside it; `None` for a foreign value.
    pub stamp: Option<Stamp>,
}

/// What a gateway notes beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// See [`Kind`].
    pub kind: Kind,
    /// See [`Record::rank`].
    pub rank: u8,
    /// See [`Version`].
    pub version: Version,
    /// See [`Record::produced_at`].
    pub produced_at: Time,
    /// See [`Record::soft_expiry`]: until here the rank counts.
    pub fresh_until: Time,
}

/// What a tier says about itself.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Version of the server, where there is one.
    pub version: Option<String>,
    /// Tells a server from the one that ran in its place before it restarted, where it may come back empty.
    pub incarnation: Option<String>,
    /// The largest item in bytes.
    pub item_bytes_max: Option<usize>,
    /// Other facts for the operator: name and value.
    pub facts: Vec<(String, String)>,
}

/// What a closer look at a tier finds.
#[derive(Clone, Debug)]
pub struct Examination {
    /// What it says about itself.
    pub health: Health,
    /// How long it took to answer the smallest question.
    pub round_trip: Duration,
    /// Its clock beside ours, where it has one of its own.
    pub clock: Option<Clock>,
}

/// What a server's clock said, and what ours did.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it said.
    pub theirs: Time,
    /// Our time when it said so, as near as can be told.
    pub ours: Time,
    /// How far the two may be apart though both are right: its own coarseness, and the time on the way.
    pub precision: Duration,
}

/// Why a tier could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TierError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke, or the answer made no sense.
    #[error("{0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The tier refused: out of memory, read-only, wrong password.
    #[error("refused: {0}")]
    Refused(String),
    /// It was not asked, because it did not answer others before.
    #[error("unavailable: {0}")]
    Unavailable(Arc<str>),
}

/// Judges bytes that somebody else stored.
pub trait Appraise: Send + Sync + 'static {
    /// The record that `payload`, found in `tier` under `key`, stands for, or why it stands for none.
    fn appraise(&self, tier: &TierName, key: &Key, payload: &Payload) -> Result<Arc<Record>, Unworthy>;
}

/// Why bytes that somebody else stored stand for no record.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unworthy {
    /// They are no value of the key, and any value may replace them.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Nobody could tell what they are; they must not be replaced unjudged.
    #[error("cannot be judged: {0}")]
    Unjudged(String),
}

// === impl Clock ===

impl Clock {
    /// How far the two clocks are certainly apart, and whether theirs is ahead.
    pub fn apart(&self) -> (Duration, bool) {
        let is_ahead = self.theirs > self.ours;
        let apart = if is_ahead { self.theirs.since(self.ours) } else { self.ours.since(self.theirs) };
        (apart.saturating_sub(self.precision), is_ahead)
    }
}

// === impl TierError ===

impl TierError {
    /// Whether the tier is out of reach. A refusal is an answer.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Deadline(_) | Self::Unavailable(_) => true,
            Self::Refused(_) => false,
        }
    }
}

impl From<TierError> for Failure {
    fn from(error: TierError) -> Self {
        // No memory left, a wrong password, a replica: a refusal is about the server, and passes when somebody mends it.
        Self::passing(error.to_string())
    }
}

impl AsRef<Self> for TierError {
    fn as_ref(&self) -> &Self {
        self
    }
}

// === impl Stamp ===

impl Stamp {
    /// What to note beside `record`.
    pub fn of(record: &Record) -> Self {
        Self {
            kind: record.kind,
            rank: record.rank,
            version: record.version,
            produced_at: record.produced_at,
            fresh_until: record.soft_expiry,
        }
    }

    /// The order of a value with this stamp and this canonical digest, which a tier still holds at `now`.
    fn order(&self, digest: Digest, now: Time) -> Order {
        let rank = if now < self.fresh_until { self.rank } else { 0 };
        Order { kind: Some(self.kind), rank, version: self.version, digest }
    }
}
