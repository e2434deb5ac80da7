//! What gateways share besides values, where a tier has room for it: [`Leases`], and the log of [`Shared`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Tier, TierError};
use crate::record::{Key, TierName, Time};

/// What stands before the name of a lease in the key under which a store holds it, with its owner as the value. These keys are
/// the gateways' own: they have no values for anybody, and nobody is to write them.
pub const LEASE_PREFIX: &str = "tiergate:lease:";

/// Leases, each held by one gateway at a time, or by none.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease of this name for `span`, or prolongs it; says whether this gateway holds it now.
    async fn lease(&self, name: &str, span: Duration) -> Result<bool, TierError>;

    /// Gives the lease of this name back, if this gateway holds it.
    async fn release(&self, name: &str) -> Result<(), TierError>;

    /// Who holds the lease of this name, if anybody does.
    async fn holder(&self, name: &str) -> Result<Option<Holder>, TierError>;
}

/// A log that every gateway appends to and reads in the same order, and what they tell each other.
#[async_trait]
pub trait Shared: Leases {
    /// Appends a batch of signals in one piece. `batch` is this gateway's number for it.
    async fn append(&self, batch: u64, received_at: Time, signals: &[Bytes]) -> Result<(), TierError>;

    /// Tells the other gateways of a write of `key` that lost, in words of their own; see [`Hear::lost`](super::Hear::lost).
    async fn tell_loss(&self, key: &Key, loss: &str) -> Result<(), TierError>;

    /// Sends every signal of every gateway in their order: those that the log still has, then those that come. Ends when
    /// nobody receives.
    async fn follow(&self, to: mpsc::Sender<Logged>);
}

/// Whether `key` is that of a lease.
pub fn is_lease(key: &Key) -> bool {
    key.as_str().starts_with(LEASE_PREFIX)
}

/// A signal in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// This gateway's number of the batch, and the place in it; `None` for a signal that another gateway accepted.
    pub own: Option<(u64, u64)>,
    /// When it was accepted.
    pub received_at: Time,
    /// As its producer posted it.
    pub body: Bytes,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name of the gateway: see [`gateway`](super::canary::gateway).
    pub gateway: String,
    /// For how long still, unless it prolongs it; `None` where it does not end by itself.
    pub remaining: Option<Duration>,
}

/// How a lease stands.
#[derive(Clone, Debug)]
pub enum LeaseStanding {
    /// Somebody holds it, in this tier.
    Held(TierName, Holder),
    /// Nobody does.
    Free(TierName),
    /// The tier did not answer, and why.
    Unknown(TierName, String),
    /// No tier has leases.
    NoStore,
}

/// A lease that is held until it is dropped, or this process dies and its time is over. It spares work and decides nothing:
/// where none can be had, the work is done without.
#[derive(Default)]
pub struct Lease(Option<(Arc<dyn Tier>, String)>);

// === impl Lease ===

impl Lease {
    /// Takes the lease of this name in the first of `tiers` that has leases; `None` where another gateway holds it.
    pub async fn take(tiers: &[Arc<dyn Tier>], name: String, span: Duration) -> Option<Self> {
        let Some((tier, leases)) = able(tiers) else { return Some(Self::default()) };
        match leases.lease(&name, span).await {
            Ok(true) => Some(Self(Some((tier.clone(), name)))),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(tier = %tier.name(), lease = name, %error, "no lease is to be had; it is done without");
                Some(Self::default())
            }
        }
    }

    /// How the lease of this name stands in the first of `tiers` that has leases. Asking changes nothing.
    pub async fn standing(tiers: &[Arc<dyn Tier>], name: &str) -> LeaseStanding {
        let Some((tier, leases)) = able(tiers) else { return LeaseStanding::NoStore };
        let tier = tier.name().clone();
        match leases.holder(name).await {
            Ok(Some(holder)) => LeaseStanding::Held(tier, holder),
            Ok(None) => LeaseStanding::Free(tier),
            Err(error) => LeaseStanding::Unknown(tier, error.to_string()),
        }
    }
}

/// The first of `tiers` that has leases; one that has a log, too, goes first, because it keeps what it is told.
fn able(tiers: &[Arc<dyn Tier>]) -> Option<(&Arc<dyn Tier>, &dyn Leases)> {
    let with_log = tiers.iter().filter(|tier| tier.shared().is_some());
    with_log.chain(tiers).find_map(|tier| Some((tier, tier.leases()?)))
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((tier, name)) = self.0.take() else { return };
        tokio::spawn(async move {
            let Some(leases) = tier.leases() else { return };
            if let Err(error) = leases.release(&name).await {
                tracing::debug!(tier = %tier.name(), lease = name, %error, "a lease was not given back; it ends by itself");
            }
        });
    }
}
