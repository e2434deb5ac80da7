//! What gateways share in Redis besides values: the log of signals, and leases.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Script;
use redis::streams::StreamId;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::feed::{CHANGES, READ_WAIT, RECONNECT_AFTER, SILENCE_MAX};
use super::link::tier_error;
use super::stream::{Follower, Stream};
use super::{Redis, millis, remaining};
use crate::record::{Key, Time};
use crate::telemetry::metrics;
use crate::tier::shared::{Holder, LEASE_PREFIX, Leases, Logged, Shared};
use crate::tier::{TierError, canary};

/// The log of signals. What is in it is what a gateway that starts can still learn.
const SIGNALS: Stream = Stream { name: "tiergate:signals", count: "tiergate:signals:count", kept: 50_000 };

/// What stands between the gateway's name and the tier's own in the text of a lease's owner.
const OWNER_PARTED: char = '/';

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("signals.lua")));
static LOSS: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("announce.lua"), include_str!("loss.lua"))));
static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));

impl Redis {
    /// Reads the log until the connection fails; `Ok` when nobody receives.
    async fn read_log(&self, follower: &mut Follower, to: &mpsc::Sender<Logged>) -> Result<(), TierError> {
        let mut connection = self.link.apart(|_| Ok(())).await?;
        let tail = self.soon(follower.stream.tail(&mut connection)).await?;
        let missed = |why: String| {
            metrics::signals_missed();
            tracing::error!(tier = %self.name, why, "signals of other gateways were missed");
        };
        follower.resume(tail).into_iter().for_each(missed);
        while !to.is_closed() {
            let read = follower.next(&mut connection, READ_WAIT);
            let entries = match timeout(READ_WAIT + SILENCE_MAX, read).await {
                Ok(entries) => entries.map_err(|error| tier_error(&error))?,
                Err(_) => return Err(TierError::Deadline(READ_WAIT + SILENCE_MAX)),
            };
            for entry in &entries {
                follower.took(entry).into_iter().for_each(missed);
                let Some(logged) = self.logged(entry) else {
                    tracing::warn!(tier = %self.name, id = entry.id, "the log of signals holds what is no signal");
                    continue;
                };
                if to.send(logged).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Who holds the leases that this tier takes: the gateway, for people, and what tells this tier from another one in it.
    fn owner(&self) -> String {
        format!("{}{OWNER_PARTED}{}", canary::gateway(), self.gateway)
    }

    fn logged(&self, entry: &StreamId) -> Option<Logged> {
        let is_own = entry.get::<String>("g")? == self.gateway;
        let place = (entry.get::<u64>("b")?, entry.get::<u64>("i")?);
        Some(Logged {
            own: is_own.then_some(place),
            received_at: Time::from_micros(entry.get::<u64>("t")?),
            body: entry.get::<Vec<u8>>("s")?.into(),
        })
    }
}

#[async_trait]
impl Shared for Redis {
    async fn append(&self, batch: u64, received_at: Time, signals: &[Bytes]) -> Result<(), TierError> {
        let mut append = APPEND.prepare_invoke();
        append.key(SIGNALS.name).key(SIGNALS.count);
        append.arg(&self.gateway).arg(batch).arg(received_at.micros()).arg(SIGNALS.kept);
        for signal in signals {
            append.arg(signal.as_ref());
        }
        let appended = async {
            self.ask(self.until(), async |mut connection| append.invoke_async::<u64>(&mut connection).await).await
        };
        self.breakers.write.call(appended).await.map(drop).map_err(|unanswered| unanswered.error)
    }

    async fn tell_loss(&self, key: &Key, loss: &str) -> Result<(), TierError> {
        let mut tell = LOSS.prepare_invoke();
        tell.key(CHANGES.name).key(CHANGES.count);
        self.name_announcer(&mut tell, key);
        tell.arg(key.as_str()).arg(loss);
        let told = async {
            self.ask(self.until(), async |mut connection| tell.invoke_async::<Option<String>>(&mut connection).await)
                .await
        };
        self.breakers.write.call(told).await.map(drop).map_err(|unanswered| unanswered.error)
    }

    async fn follow(&self, to: mpsc::Sender<Logged>) {
        let mut follower = Follower::from_start(SIGNALS);
        let mut was_lost = false;
        while let Err(error) = self.read_log(&mut follower, &to).await {
            if !was_lost {
                tracing::warn!(tier = %self.name, %error, "the log of signals cannot be read; it is tried again");
            }
            was_lost = true;
            sleep(RECONNECT_AFTER).await;
        }
    }
}

#[async_trait]
impl Leases for Redis {
    async fn lease(&self, name: &str, span: Duration) -> Result<bool, TierError> {
        let mut lease = LEASE.prepare_invoke();
        lease.key(lease_key(name)).arg(self.owner()).arg(millis(span));
        let held = self.ask(self.until(), async |mut connection| lease.invoke_async::<bool>(&mut connection).await);
        held.await.map_err(|unanswered| unanswered.error)
    }

    async fn release(&self, name: &str) -> Result<(), TierError> {
        let mut release = RELEASE.prepare_invoke();
        release.key(lease_key(name)).arg(self.owner());
        let released =
            self.ask(self.until(), async |mut connection| release.invoke_async::<u64>(&mut connection).await);
        released.await.map(drop).map_err(|unanswered| unanswered.error)
    }

    async fn holder(&self, name: &str) -> Result<Option<Holder>, TierError> {
        let key = lease_key(name);
        let mut both = redis::pipe();
        // At one moment: it may end between the two.
        both.atomic().get(&key).pttl(&key);
        type Held = (Option<String>, i64);
        let held = self.ask(self.until(), async |mut connection| both.query_async::<Held>(&mut connection).await);
        let (owner, left) = held.await.map_err(|unanswered| unanswered.error)?;
        Ok(owner.map(|owner| Holder { gateway: gateway_of(&owner).to_owned(), remaining: remaining(left) }))
    }
}

fn lease_key(name: &str) -> String {
    format!("{LEASE_PREFIX}{name}")
}

/// The gateway in the text of an owner.
fn gateway_of(owner: &str) -> &str {
    owner.split_once(OWNER_PARTED).map_or(owner, |(gateway, _)| gateway)
}
