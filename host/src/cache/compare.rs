//! Comparing: which tiers, memory among them, hold other data of a key than another, and keep it.
//!
//! A value that was just written reaches the tiers one after the other, and a lesser one is put back; neither is a divergence.
//! So what differs is looked at twice, and only a tier that still holds the very same lesser bytes counts.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::Cache;
use super::mend::PUT_BACK_EVERY;
use super::read::{Answer, KEYS_AT_ONCE, ask};
use crate::record::{Digest, Key, Order, TierName, Time};
use crate::tier::Tier as _;

/// What whoever holds a lesser value gets until it is looked at again.
pub(crate) const SETTLED_AFTER: Duration = PUT_BACK_EVERY.saturating_add(Duration::from_millis(500));

/// A tier that holds other data of a key than another one. Memory is one of them: it is what readers get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// The key.
    pub key: Key,
    /// The tier that holds the lesser value.
    pub tier: TierName,
    /// That value.
    pub digest: Digest,
    /// The tier that holds the greatest.
    pub greatest: TierName,
}

impl Cache {
    /// Which tiers hold lesser values of `keys`, and kept them while they could have been given the greatest.
    pub async fn apart(&self, keys: &[Key]) -> Vec<Apart> {
        let first = self.apart_now(keys).await;
        if first.is_empty() {
            return first;
        }
        sleep(SETTLED_AFTER).await;
        let mut keys: Vec<Key> = first.iter().map(|apart| apart.key.clone()).collect();
        keys.dedup();
        let second = self.apart_now(&keys).await;
        let is_kept = |now: &Apart| {
            first.iter().any(|then| (&then.key, &then.tier, then.digest) == (&now.key, &now.tier, now.digest))
        };
        second.into_iter().filter(is_kept).collect()
    }

    /// The order of what memory has of `key`, to be compared with what other gateways serve.
    pub fn order_of(&self, key: &Key) -> Option<Order> {
        self.memory.get(key).map(|record| Order::of(&record, Time::now()))
    }

    /// What differs at this moment, in the order of `keys`. A tier that does not answer, or has nothing, does not differ.
    async fn apart_now(&self, keys: &[Key]) -> Vec<Apart> {
        let mut apart = Vec::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let (begun, deadline) = (Time::now(), Instant::now() + self.deadline);
            let answers = join_all(self.tiers.iter().map(|tier| ask(tier, keys, deadline, "compare"))).await;
            let now = Time::now();
            for (at, key) in keys.iter().enumerate() {
                let answered = self.tiers.iter().zip(&answers).filter_map(|(tier, answer)| {
                    let found = answer.as_ref().ok()?.get(at)?.as_ref()?;
                    match self.judge(tier, key, Some(found), begun) {
                        Answer::Value(record) => Some((tier.name(), record)),
                        _ => None,
                    }
                });
                let served = self.memory.get(key).map(|record| (self.memory.name(), record));
                let held: Vec<_> = served.into_iter().chain(answered).collect();
                let Some((greatest, record)) = held.iter().max_by_key(|(_, record)| Order::of(record, now)) else {
                    continue;
                };
                let lesser = held.iter().filter(|(_, other)| other.digest != record.digest);
                apart.extend(lesser.map(|(tier, other)| Apart {
                    key: key.clone(),
                    tier: (*tier).clone(),
                    digest: other.digest,
                    greatest: (*greatest).clone(),
                }));
            }
        }
        apart
    }
}
