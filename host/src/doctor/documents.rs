//! The dashboard's documents: those whose producer fell silent, those that never came, and tiers that hold other ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Code, Doctor, Finding, Place, span};
use crate::record::{Digest, Key, Order};

/// Documents that are compared between the tiers: all of a small market, and a sample of those of a large one.
const COMPARED_MAX: usize = 128;

impl Doctor {
    /// Documents that nobody renews.
    pub(super) fn documents(&self) -> Vec<Finding> {
        let (readiness, longest) = (self.market.readiness(), self.config.silent_after);
        let silent = readiness.ages.iter().filter(|(_, age)| is_silent(**age, longest)).map(|(key, age)| {
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

/// Whether the owner of data that is this old has fallen silent.
fn is_silent(age: Duration, longest: Duration) -> bool {
    age > longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Config;
    use crate::record::Time;

    #[test]
    fn an_owner_that_has_not_renewed_for_120_seconds_is_late_and_one_moment_later_it_is_silent() {
        let made = Time::from_micros(1_700_000_000_000_000);
        let longest = Config::default().silent_after;
        assert_eq!(longest, Duration::from_secs(120));
        let silent_at = |now: Time| is_silent(now.since(made), longest);
        let last = made.after(longest);
        assert!(!silent_at(made) && !silent_at(last));
        assert!(silent_at(Time::from_micros(last.micros() + 1)));
    }
}
