//! Verification: a canary is written to each tier every few seconds, and read back on another connection.
//!
//! A store may take writes and keep none of them: behind a wrong address, a broken replica, a full disk. What was read back is
//! the only proof, and how long ago that was is the number to alarm on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Cache;
use crate::record::{TierName, Time, Version, WriteOutcome};
use crate::telemetry::metrics;
use crate::tier::{EXAMINATION_MAX, Tier, TierError, canary};

/// How often the age of the last verified write is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What is known of the writes to one tier.
pub(super) struct Verification {
    /// One canary at a time.
    turn: AsyncMutex<()>,
    state: Mutex<State>,
}

struct State {
    /// When the last write was verified; before the first one, when this process began.
    since: Instant,
    is_verified: bool,
    failure: Option<Unverified>,
    version: Version,
}

/// Why a write is not verified.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unverified {
    /// The tier did not take it.
    #[error("the canary was not stored: {label}: {why}")]
    NotStored {
        /// See [`WriteOutcome::label`].
        label: &'static str,
        /// See [`WriteOutcome::reason`].
        why: String,
    },
    /// Nobody could look.
    #[error("the canary was stored, and reading it back failed: {0}")]
    NotRead(TierError),
    /// It is not there.
    #[error("the tier says that it stored the canary, and another connection finds nothing")]
    Gone,
    /// Something else is there.
    #[error("the tier says that it stored the canary, and another connection finds other bytes")]
    Otherwise,
}

/// The value of a canary.
#[derive(Serialize, Deserialize)]
struct Canary {
    version: Version,
}

/// How the writes to one tier stand.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The tier.
    pub tier: TierName,
    /// How long ago a write was last verified; before the first one, how long this process runs.
    pub age: Duration,
    /// Whether one ever was.
    pub ever: bool,
    /// Why the last one was not.
    pub failure: Option<Unverified>,
}

// === impl Verification ===

impl Verification {
    pub fn new() -> Self {
        let state = State { since: Instant::now(), is_verified: false, failure: None, version: Version(0) };
        Self { turn: AsyncMutex::default(), state: Mutex::new(state) }
    }

    /// A version above every one before it, though the clock were set back.
    fn next_version(&self, now: Time) -> Version {
        let mut state = self.lock();
        state.version = Version(now.micros().max(state.version.0 + 1));
        state.version
    }

    fn ended(&self, result: &Result<(), Unverified>) {
        let mut state = self.lock();
        state.failure = result.as_ref().err().cloned();
        if result.is_ok() {
            (state.since, state.is_verified) = (Instant::now(), true);
        }
    }

    fn told(&self, tier: &TierName) -> Verified {
        let state = self.lock();
        let (age, failure) = (state.since.elapsed(), state.failure.clone());
        Verified { tier: tier.clone(), age, ever: state.is_verified, failure }
    }

    /// Every change under the lock is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Cache ===

impl Cache {
    /// How the writes to each tier stand, in the order of the tiers.
    pub fn verified(&self) -> Vec<Verified> {
        self.tiers.iter().zip(&self.verifications).map(|(tier, verification)| verification.told(tier.name())).collect()
    }

    /// Writes a canary to the tier number `at` and reads it back on another connection, now. Answers its version.
    ///
    /// # Errors
    ///
    /// Why the write is not verified.
    pub async fn verify(&self, at: usize) -> Result<Version, Unverified> {
        let (tier, verification) = (&*self.tiers[at], &self.verifications[at]);
        let _turn = verification.turn.lock().await;
        let now = Time::now();
        let version = verification.next_version(now);
        let result = write_and_read_back(tier, version, self.verify_every, now).await;
        verification.ended(&result);
        result.map(|()| version)
    }

    /// The version of the canary of the gateway of this name in each shared tier; `None`: there is none. No answer at all
    /// where that is no name of a gateway.
    pub async fn canary_of(&self, gateway: &str) -> Option<Vec<(TierName, Result<Option<Version>, TierError>)>> {
        let key = &canary::key_of(gateway)?;
        let shared = self.tiers.iter().filter(|tier| tier.is_shared());
        let held = shared.map(|tier| async move {
            let held = tier.read_back(key).await;
            (tier.name().clone(), held.map(|bytes| bytes.and_then(|bytes| version_of(&bytes))))
        });
        Some(join_all(held).await)
    }

    /// Verifies the tier number `at` for ever.
    pub(super) async fn verify_always(&self, at: usize) {
        tokio::join!(self.verify_every_so_often(at), self.tell_verified(at));
    }

    async fn verify_every_so_often(&self, at: usize) {
        let mut ticks = interval(self.verify_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (tier, mut failed) = (self.tiers[at].name(), false);
        loop {
            ticks.tick().await;
            match self.verify(at).await {
                Err(why) if !failed => tracing::warn!(%tier, %why, "a write could not be verified"),
                Ok(_) if failed => tracing::info!(%tier, "writes are verified again"),
                Err(_) | Ok(_) => {}
            }
            failed = self.verifications[at].lock().failure.is_some();
        }
    }

    async fn tell_verified(&self, at: usize) {
        let mut ticks = interval(TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Verified { tier, age, .. } = self.verifications[at].told(self.tiers[at].name());
            metrics::last_verified(&tier, age);
        }
    }
}

async fn write_and_read_back(tier: &dyn Tier, version: Version, every: Duration, now: Time) -> Result<(), Unverified> {
    let key = canary::key_of(canary::gateway()).expect("its own name is one");
    let bytes = Bytes::from(serde_json::json!(Canary { version }).to_string());
    // Until the next one is there, and somewhat longer.
    let record = canary::record(bytes, version, every * 2 + EXAMINATION_MAX * 4, now);
    match tier.put(&key, &record).await {
        WriteOutcome::Stored => {}
        outcome => {
            let why = outcome.reason().unwrap_or_default();
            return Err(Unverified::NotStored { label: outcome.label(), why });
        }
    }
    match tier.read_back(&key).await {
        Ok(Some(found)) if found == record.bytes => Ok(()),
        Ok(Some(_)) => Err(Unverified::Otherwise),
        Ok(None) => Err(Unverified::Gone),
        Err(error) => Err(Unverified::NotRead(error)),
    }
}

/// The version of a canary of these bytes, if they are one.
fn version_of(bytes: &[u8]) -> Option<Version> {
    serde_json::from_slice::<Canary>(bytes).ok().map(|canary| canary.version)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::record::{DeleteOutcome, Digest, Failure, Key, Record};
    use crate::tier::{Found, Health};

    /// What another connection finds.
    #[derive(Clone, Copy)]
    enum Back {
        Canary,
        /// No answer.
        Silence,
        Nothing,
        Other,
    }

    /// A tier that takes canaries or does not, and what it gives back.
    struct Keeper {
        name: TierName,
        takes: bool,
        back: Back,
        held: Mutex<Option<Bytes>>,
    }

    #[async_trait]
    impl Tier for Keeper {
        fn name(&self) -> &TierName {
            &self.name
        }

        fn summary(&self) -> String {
            "a keeper".to_owned()
        }

        fn is_shared(&self) -> bool {
            true
        }

        async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
            Ok(vec![None; keys.len()])
        }

        async fn put(&self, _: &Key, record: &Record) -> WriteOutcome {
            if !self.takes {
                return WriteOutcome::Failed(Failure::passing("full"));
            }
            *self.held.lock().unwrap() = Some(record.bytes.clone());
            WriteOutcome::Stored
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

        async fn read_back(&self, _: &Key) -> Result<Option<Bytes>, TierError> {
            match self.back {
                Back::Canary => Ok(self.held.lock().unwrap().clone()),
                Back::Silence => Err(TierError::Deadline(EXAMINATION_MAX)),
                Back::Nothing => Ok(None),
                Back::Other => Ok(Some(Bytes::from_static(b"{\"version\":1}"))),
            }
        }
    }

    /// What verifying a write to such a tier comes to.
    async fn verified(takes: bool, back: Back) -> Result<(), Unverified> {
        let tier = Keeper { name: TierName::new("redis"), takes, back, held: Mutex::default() };
        write_and_read_back(&tier, Version(7), Duration::from_secs(5), Time::now()).await
    }

    #[tokio::test]
    async fn a_write_is_verified_when_another_connection_finds_its_very_bytes_and_by_nothing_less() {
        assert!(verified(true, Back::Canary).await.is_ok());
        let not_stored = verified(false, Back::Canary).await;
        assert!(
            matches!(&not_stored, Err(Unverified::NotStored { label: "failed", why }) if why == "full"),
            "{not_stored:?}"
        );
        let not_read = verified(true, Back::Silence).await;
        assert!(matches!(not_read, Err(Unverified::NotRead(TierError::Deadline(_)))), "{not_read:?}");
        let gone = verified(true, Back::Nothing).await;
        assert!(matches!(gone, Err(Unverified::Gone)), "{gone:?}");
        let otherwise = verified(true, Back::Other).await;
        assert!(matches!(otherwise, Err(Unverified::Otherwise)), "{otherwise:?}");
    }

    #[test]
    fn a_write_that_is_not_verified_is_told_and_the_last_one_that_was_grows_old() {
        let verification = Verification::new();
        let tier = TierName::new("redis");
        assert!(!verification.told(&tier).ever);
        verification.ended(&Ok(()));
        verification.ended(&Err(Unverified::Gone));
        let told = verification.told(&tier);
        assert!(told.ever && matches!(told.failure, Some(Unverified::Gone)), "{told:?}");
        verification.ended(&Ok(()));
        assert!(verification.told(&tier).failure.is_none());
    }
}
