//! The dashboard's documents: those whose producer fell silent, those that never came, and tiers that hold other ones.

use std::collections::BTreeMap;

use super::{Code, Doctor, Finding, Place, span};
use crate::record::{Digest, Key, Order};

/// Documents that are compared between the tiers: all of a small market, and a sample of those of a large one.
const COMPARED_MAX: usize = 128;

impl Doctor {
    /// Documents that nobody renews.
    pub(super) fn documents(&self) -> Vec<Finding> {
        let (readiness, longest) = (self.market.readiness(), self.config.silent_after);
        let silent = readiness.ages.iter().filter(|(_, age)| **age > longest).map(|(key, age)| {
            let writer = self.cache.last_writer(key);
            let by = writer.map_or_else(String::new, |writer| format!("; written last by {writer}"));
            let evidence = format!("its data is {} old, and the alarm is set to {}{by}", span(*age), span(longest));
            Code::OwnerSilent.at(Place::key(key), evidence)
        });
        let missing = readiness.waiting_for.iter().map(|key| {
            Code::DocumentMissing
                .at(Place::key(key), "it is in `market.required`, and no tier ever had real data of it")
        });
        silent.chain(missing).collect()
    }

    /// Tiers that hold, and keep, other data than another tier.
    pub(super) async fn apart(&self) -> Vec<Finding> {
        let apart = self.cache.apart(&self.sample(fastrand::u32(..))).await;
        let finding = |apart: &crate::cache::Apart| {
            let evidence = format!("{} has a greater value, and this tier was given time to get it", apart.greatest);
            Code::TiersApart.at(Place::key(&apart.key).in_tier(Some(&apart.tier)), evidence)
        };
        apart.iter().map(finding).collect()
    }

    /// What this gateway serves of the sample that is drawn with `seed`, to be compared with what others serve.
    pub fn served(&self, seed: u32) -> BTreeMap<String, Order> {
        let served = |key: &Key| Some((key.to_string(), self.cache.order_of(key)?));
        self.sample(seed).iter().filter_map(served).collect()
    }

    /// Documents to compare. Whoever draws with the same seed, in whichever gateway, draws the same ones.
    fn sample(&self, seed: u32) -> Vec<Key> {
        let keys = self.market.document_keys();
        if keys.len() <= COMPARED_MAX {
            return keys.to_vec();
        }
        let lot = |key: &Key| Digest::of(format!("{seed} {key}").as_bytes());
        let mut drawn = keys.to_vec();
        drawn.sort_by_cached_key(lot);
        drawn.truncate(COMPARED_MAX);
        drawn
    }
}
