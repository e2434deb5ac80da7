//! The feed: one connection over which Redis tells this gateway of every change, whoever makes it.
//!
//! Gateways announce their writes and deletes in a stream, in the script that makes them; programs that write Redis plainly
//! are heard of by client tracking, and those of the old bridge by its channel. All three come over one connection, so that
//! it is either whole or lost: after a loss, or a gap in the stream, whoever hears is told that it was, and looks itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamId;
use redis::{RedisResult, Script};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::link::tier_error;
use super::stream::{Follower, Stream};
use super::tracking::{BRIDGE_CHANNEL, pass_on, tracking};
use super::{Redis, canary, noted};
use crate::record::{DeleteOutcome, Digest, Key, Version};
use crate::tier::{Announced, Hear, TierError};

/// The stream of changes. With its heartbeats it reaches back a quarter of an hour where nothing changes.
pub(super) const CHANGES: Stream = Stream { name: "tiergate:changes", count: "tiergate:changes:count", kept: 10_000 };

/// How often each gateway appends a heartbeat to the stream.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);

/// After so long without a heartbeat of its own read back, a gateway counts the stream as lost.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(2);

/// How long the server holds back its answer when there is nothing new.
pub(super) const READ_WAIT: Duration = Duration::from_secs(1);

/// The pause before a lost connection is made again.
pub(super) const RECONNECT_AFTER: Duration = Duration::from_millis(200);

static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("heartbeat.lua")));

/// When this gateway last read a heartbeat of its own.
struct Pulse {
    begun: Instant,
    /// In milliseconds after `begun`; 0: never.
    last_ms: AtomicU64,
}

// === impl Pulse ===

impl Pulse {
    fn new() -> Self {
        Self { begun: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// Notes a heartbeat; says whether it is the first.
    fn beats(&self) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.swap(now.max(1), Relaxed) == 0
    }

    fn silence(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Relaxed)))
    }
}

// === impl Redis ===

impl Redis {
    /// Tells `hear` of changes, for ever.
    pub(super) async fn feed(&self, hear: Arc<dyn Hear>) {
        let mut follower = Follower::new(CHANGES);
        loop {
            match self.session(&mut follower, &hear).await {
                Ok(()) => {
                    tracing::debug!(tier = %self.name, "the codecs claim other keys; they are tracked from now on")
                }
                Err(error) => {
                    hear.interrupted(&self.name, error.to_string());
                    sleep(RECONNECT_AFTER).await;
                }
            }
        }
    }

    /// One connection, until it is lost or the codecs claim other keys.
    async fn session(&self, follower: &mut Follower, hear: &Arc<dyn Hear>) -> Result<(), TierError> {
        let (epoch, claims) = hear.claimed();
        let (name, listener) = (self.name.clone(), hear.clone());
        let connecting = self.link.apart(move |push| {
            pass_on(&name, push, &listener);
            Ok(())
        });
        let mut connection = connecting.await?;
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg(tracking(&claims));
        let () = self.soon(track.query_async(&mut connection)).await?;
        self.soon(connection.subscribe(BRIDGE_CHANNEL)).await?;
        let tail = self.soon(follower.stream.tail(&mut connection)).await?;
        if let Some(missed) = follower.resume(tail) {
            hear.interrupted(&self.name, missed);
        }
        let pulse = Pulse::new();
        tokio::select! {
            error = self.read_on(follower, connection, &pulse, hear) => Err(error),
            ended = self.beat(&pulse, || hear.claimed().0 != epoch) => ended,
        }
    }

    /// Reads the stream until that fails.
    async fn read_on(
        &self,
        follower: &mut Follower,
        mut connection: MultiplexedConnection,
        pulse: &Pulse,
        hear: &Arc<dyn Hear>,
    ) -> TierError {
        loop {
            let read = follower.next(&mut connection, READ_WAIT);
            let entries = match timeout(READ_WAIT + SILENCE_MAX, read).await {
                Ok(Ok(entries)) => entries,
                Ok(Err(error)) => return tier_error(&error),
                Err(_) => return TierError::Deadline(READ_WAIT + SILENCE_MAX),
            };
            let mut resumed = false;
            for entry in &entries {
                if let Some(missed) = follower.took(entry) {
                    hear.interrupted(&self.name, missed);
                    resumed = true;
                }
                resumed |= self.hear_of(entry, pulse, hear);
            }
            if resumed {
                hear.resumed(&self.name);
            }
        }
    }

    /// Passes on what an entry tells; says whether it is the first heartbeat of this connection.
    fn hear_of(&self, entry: &StreamId, pulse: &Pulse, hear: &Arc<dyn Hear>) -> bool {
        let is_own = entry.get::<String>("g").is_some_and(|gateway| gateway == self.gateway);
        let gateway = entry.get::<String>("name").unwrap_or_default();
        let Some(key) = entry.get::<String>("k") else {
            if !is_own {
                hear.beats(&gateway, &entry.get::<String>("release").unwrap_or_default());
            }
            return is_own && pulse.beats();
        };
        if let (Ok(key), Some(loss)) = (Key::new(&key), entry.get::<String>("lost")) {
            if !is_own {
                hear.lost(&self.name, &key, &gateway, &loss);
            }
            return false;
        }
        let floor = entry.get::<String>("f").map(|floor| Version::from_hex(&floor));
        match (is_own, Key::new(key), floor) {
            (true, ..) => {}
            (_, Ok(key), None) => {
                let announced = announced(entry, gateway);
                if let Some(announced) = &announced {
                    hear.noted(&self.name, &key, announced);
                }
                if announced.is_none_or(|announced| announced.is_stored) {
                    hear.changed(&self.name, key);
                }
            }
            (_, Ok(key), Some(Some(floor))) => {
                let outcome = match entry.get::<String>("answer").as_deref() {
                    Some("absent") => DeleteOutcome::Absent,
                    Some("superseded") => DeleteOutcome::Superseded,
                    _ => DeleteOutcome::Deleted,
                };
                hear.deleted(&self.name, key, floor, &gateway, outcome);
            }
            (_, Err(error), _) => tracing::warn!(tier = %self.name, %error, "a change was announced of what is no key"),
            (_, Ok(key), Some(None)) => {
                tracing::warn!(tier = %self.name, %key, "a delete was announced whose floor is no version")
            }
        }
        false
    }

    /// Appends heartbeats until the codecs claim other keys, or none comes back.
    async fn beat(&self, pulse: &Pulse, claims_changed: impl Fn() -> bool) -> Result<(), TierError> {
        let mut ticks = interval(HEARTBEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            ticks.tick().await;
            if claims_changed() {
                return Ok(());
            }
            if pulse.silence() > SILENCE_MAX {
                return Err(last.unwrap_or_else(|| TierError::Broken(format!("no heartbeat for {SILENCE_MAX:?}"))));
            }
            let mut beat = HEARTBEAT.prepare_invoke();
            beat.key(CHANGES.name).key(CHANGES.count).arg(&self.gateway).arg(CHANGES.kept);
            beat.arg(canary::gateway()).arg(env!("CARGO_PKG_VERSION"));
            let beat = self.ask(self.until(), async |mut connection| beat.invoke_async::<u64>(&mut connection).await);
            last = beat.await.err().map(|unanswered| unanswered.error);
        }
    }

    /// What is answered within the deadline of a call.
    pub(super) async fn soon<T>(&self, call: impl Future<Output = RedisResult<T>>) -> Result<T, TierError> {
        match timeout(self.config.deadline, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(tier_error(&error)),
            Err(_) => Err(TierError::Deadline(self.config.deadline)),
        }
    }
}

/// The value that an entry announces, unless it tells too little of it.
fn announced(entry: &StreamId, gateway: String) -> Option<Announced> {
    let digest = |field| entry.get::<String>(field).and_then(|digest| Digest::from_hex(&digest));
    let stamp = ["kind", "rank", "fresh", "version", "produced"].map(|field| entry.get::<String>(field));
    Some(Announced {
        gateway,
        stored: digest("sha1")?,
        bytes_len: entry.get("bytes")?,
        canonical: digest("digest")?,
        stamp: noted(&stamp)?,
        is_stored: entry.get::<String>("barred").is_none(),
    })
}
