//! The cache: one memory in front of the tiers below it.
//!
//! [`Cache::put`] encodes a payload once, by its codec, and writes it to every tier by compare-and-set; the answer tells the
//! outcome of each. [`Cache::get`] answers from memory, lets one flight per key look below, and never waits for a broken
//! tier longer than one deadline. The cache knows no schema, no view and no HTTP.

mod appraiser;
mod bridge;
mod codec;
mod compare;
mod explain;
mod flight;
mod history;
mod mend;
mod owner;
mod placeholder;
mod policy;
mod propagation;
pub mod quarantine;
mod read;
mod record;
mod recovery;
mod refill;
mod survey;
mod symptoms;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
mod vitals;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache as Map;
use tokio::sync::broadcast;

pub use codec::{Codec, DecodeError, Decoded};
pub use compare::Apart;
pub(crate) use compare::SETTLED_AFTER;
pub use explain::{Explanation, Holds, Place, Serves};
pub use history::{FOREIGN, What, Written};
pub use owner::{OWNERS_MAX, Owner};
pub use placeholder::NotPlaced;
pub use policy::{KeyPolicy, Policy, PolicyError, TTL_MIN, TierTtls};
pub use propagation::{Degraded, HINTS_MAX, Neighbour};
pub use read::{Read, Refreshed};
pub use recovery::{LaneStatus, Limits, WaitingItem};
pub use survey::{Holding, Reads, Survey};
pub use symptoms::{Seen, Symptom};
pub use verify::{Unverified, Verified};
pub use vitals::{Evicted, Replaced};
pub use write::{AsOf, DeleteDied, Deleted, Put, PutOptions, Verdict};

use crate::record::{Key, Record, TierName, Time, Version, WriteOutcome};
use crate::telemetry::metrics;
use crate::tier::disk::journal::{Journal, Waiting};
use crate::tier::{Appraise, Floors, Memory, Tier, canary};
use appraiser::Appraiser;
use flight::Flights;
use history::History;
use propagation::{Hints, Losses, Mode, Neighbours};
use recovery::Lane;
use verify::Verification;
use vitals::Vitals;

/// Keys whose last version, misses and last put-back are remembered; the coldest are forgotten beyond it.
const KEYS_REMEMBERED_MAX: usize = 100_000;

/// Changes that a slow subscriber may fall behind before it is told that it missed some.
const CHANGES_KEPT: usize = 1_024;

/// The engine's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time to live per key pattern and tier.
    pub policy: Policy,
    /// The longest that one read waits for the tiers below memory, and a write that waits for a tier for the journal. Each tier
    /// bounds its own writes, by the same.
    pub deadline: Duration,
    /// Bytes of memory.
    pub memory_bytes_max: u64,
    /// What may wait for one tier that does not answer.
    pub recovery: Limits,
    /// How often a canary is written to each tier and read back.
    pub verify_every: Duration,
}

/// The cache. Cheap to share behind an `Arc`.
pub struct Cache {
    memory: Arc<Memory>,
    /// From the fastest to the slowest.
    tiers: Vec<Arc<dyn Tier>>,
    /// Which of `tiers` did not answer when last asked.
    failing: Vec<AtomicBool>,
    /// What is known of the writes to each of `tiers`.
    verifications: Vec<Verification>,
    verify_every: Duration,
    /// What was seen to happen to the server of each of `tiers`.
    vitals: Vec<Vitals>,
    /// What waits for each of `tiers`.
    lanes: Vec<Lane>,
    /// Where that survives a crash.
    journal: Option<Arc<Journal>>,
    appraiser: Arc<Appraiser>,
    history: Arc<History>,
    policy: Arc<Policy>,
    deadline: Duration,
    flights: Flights,
    floors: Floors,
    /// The greatest version seen of each key: an unstamped write must exceed it.
    versions: Map<Key, Version>,
    /// Reads of each key that found nothing, since they were last taken.
    missed: Map<Key, Arc<AtomicU64>>,
    counters: metrics::HitCounters,
    /// When the greater value of each key was last put back into a tier.
    put_back: Map<(Key, TierName), Time>,
    changes: broadcast::Sender<Change>,
    /// Keys that others may have changed.
    hints: Hints,
    /// Whether every such key is heard of.
    mode: Mode,
    neighbours: Neighbours,
    /// What other gateways are still to be told of.
    losses: Losses,
    /// Whether more keys wait to be looked at in a tier that does not answer than are remembered.
    unseen: AtomicBool,
    /// Keys that tiers watch that cannot tell of all.
    watched: ArcSwap<Arc<[Key]>>,
}

/// A change of a value in memory.
#[derive(Clone, Debug)]
pub enum Change {
    /// The key has this value now.
    Value(Key, Arc<Record>),
    /// Every value of the key up to this version is gone.
    Deleted(Key, Version),
}

/// Builds a [`Cache`]: the tiers need the appraiser, and the cache needs the tiers.
pub struct Builder {
    config: Config,
    policy: Arc<Policy>,
    appraiser: Arc<Appraiser>,
    journal: Option<(Arc<Journal>, Vec<Waiting>)>,
}

// === impl Builder ===

impl Builder {
    /// Starts from the settings and the codec.
    pub fn new(config: Config, codec: Arc<dyn Codec>) -> Self {
        let policy = Arc::new(config.policy.clone());
        let appraiser = Arc::new(Appraiser::new(codec, policy.clone()));
        Self { config, policy, appraiser, journal: None }
    }

    /// What tiers ask about bytes that somebody else stored.
    pub fn appraise(&self) -> Arc<dyn Appraise> {
        self.appraiser.clone()
    }

    /// Keeps what waits for tiers in this journal, and takes up what waited when the process ended.
    pub fn with_journal(self, journal: Journal, waiting: Vec<Waiting>) -> Self {
        Self { journal: Some((Arc::new(journal), waiting)), ..self }
    }

    /// The cache over `tiers`, given from the fastest to the slowest.
    pub fn build(self, tiers: Vec<Arc<dyn Tier>>) -> Arc<Cache> {
        let (journal, waiting) = self.journal.unzip();
        let limits = self.config.recovery;
        let history = &self.appraiser.history;
        let lane =
            |tier: &Arc<dyn Tier>| Lane::new(tier.name().clone(), limits.clone(), journal.clone(), history.clone());
        let cache = Arc::new(Cache {
            lanes: tiers.iter().map(lane).collect(),
            journal: journal.clone(),
            memory: Arc::new(Memory::new(crate::tier::memory::Config { bytes_max: self.config.memory_bytes_max })),
            failing: tiers.iter().map(|_| AtomicBool::new(false)).collect(),
            verifications: tiers.iter().map(|_| Verification::new()).collect(),
            verify_every: self.config.verify_every,
            vitals: tiers.iter().map(|_| Vitals::default()).collect(),
            tiers,
            history: self.appraiser.history.clone(),
            appraiser: self.appraiser,
            policy: self.policy,
            deadline: self.config.deadline,
            flights: Flights::default(),
            floors: Floors::default(),
            versions: Map::new(KEYS_REMEMBERED_MAX),
            missed: Map::new(KEYS_REMEMBERED_MAX),
            counters: metrics::HitCounters::new(),
            put_back: Map::new(KEYS_REMEMBERED_MAX),
            changes: broadcast::channel(CHANGES_KEPT).0,
            hints: Hints::default(),
            mode: Mode::new(),
            neighbours: Neighbours::default(),
            losses: Losses::new(),
            unseen: AtomicBool::new(false),
            watched: ArcSwap::default(),
        });
        cache.take_up(waiting.unwrap_or_default());
        cache
    }
}

// === impl Cache ===

impl Cache {
    /// Every change of a value in memory from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The tiers below memory, from the fastest to the slowest.
    pub fn tiers(&self) -> &[Arc<dyn Tier>] {
        &self.tiers
    }

    /// Takes values that were kept from before a restart into memory, unless it has greater ones.
    pub fn recall(&self, kept: Vec<(Key, Arc<Record>)>) {
        let now = Time::now();
        for (key, record) in kept.into_iter().filter(|(key, _)| !canary::is_canary(key)) {
            self.saw(&key, record.version);
            if self.memory.set(&key, record.clone(), now) == WriteOutcome::Stored {
                self.announce(Change::Value(key, record));
            }
        }
    }

    /// The largest value that memory holds, and its bytes.
    pub fn largest(&self) -> Option<(Key, usize)> {
        let sizes = self.memory.all_live(Time::now()).into_iter().map(|(key, record)| (key, record.bytes.len()));
        sizes.max_by_key(|(_, bytes)| *bytes)
    }

    /// Writes since then that are remembered, from anywhere, by key.
    pub fn writes(&self, since: Time) -> Vec<(Key, Written)> {
        self.history.since(since)
    }

    /// Who wrote `key` last, as far as is remembered.
    pub fn last_writer(&self, key: &Key) -> Option<Arc<str>> {
        self.history.of(key).into_iter().find(|written| !written.is_mend()).map(|written| written.from)
    }

    /// Whether values of `key` of this version were deleted.
    pub fn is_deleted(&self, key: &Key, version: Version) -> bool {
        self.floors.bars(key, version)
    }

    /// Tells subscribers. Having none is no failure.
    fn announce(&self, change: Change) {
        if let Err(unheard) = self.changes.send(change) {
            tracing::trace!(change = ?unheard.0, "nobody subscribes to changes");
        }
    }

    /// Remembers that `version` of `key` exists.
    fn saw(&self, key: &Key, version: Version) {
        if self.versions.get(key).is_none_or(|seen| seen < version) {
            self.versions.insert(key.clone(), version);
        }
    }
}
