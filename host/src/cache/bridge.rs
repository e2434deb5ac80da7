//! The copies of the producers' old bridge: it keeps some values under a second name, and a reader that finds none under the
//! plain one takes the copy. Nothing is written because of it.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::Cache;
use super::read::{Answer, ask};
use crate::record::{Key, Order, Record, TierName, Time};
use crate::tier::redis::BRIDGE_PREFIX;
use crate::tier::{Appraise as _, Found, Payload, Unworthy};

/// The keys that go over the bridge, and prefixes of such that end in `*`.
const BRIDGED: [&str; 4] = ["analysis:signals", "market:overview", "regime:*", "system:bridge_heartbeat"];

/// A bridge's copy, and the place of the tier that had it.
pub(super) type BridgeCopy = (Arc<Record>, usize);

/// The name of the copy of `key`, if the bridge keeps one.
fn copy_of(key: &Key) -> Option<Key> {
    let is_bridged = BRIDGED.iter().any(|bridged| match bridged.strip_suffix('*') {
        Some(prefix) => key.as_str().starts_with(prefix),
        None => key.as_str() == *bridged,
    });
    is_bridged.then(|| Key::new(format!("{BRIDGE_PREFIX}{key}")).ok()).flatten()
}

impl Cache {
    /// The greatest copy of each of `keys` that no tier has under its plain name, in their order.
    pub(super) async fn bridge_copies(
        &self,
        keys: &[Key],
        answers: &[Result<Vec<Option<Found>>, String>],
        deadline: Instant,
    ) -> Vec<Option<BridgeCopy>> {
        let mut copies = vec![None; keys.len()];
        let is_absent = |at: usize| answers.iter().flatten().all(|found| found.get(at).is_none_or(Option::is_none));
        let absent: Vec<(usize, Key)> = keys
            .iter()
            .enumerate()
            .filter(|(at, _)| is_absent(*at))
            .filter_map(|(at, key)| Some((at, copy_of(key)?)))
            .collect();
        if absent.is_empty() {
            return copies;
        }
        let names: Vec<Key> = absent.iter().map(|(_, name)| name.clone()).collect();
        let shared = self.tiers.iter().enumerate().zip(answers);
        let shared = shared.filter(|((_, tier), answer)| tier.is_shared() && answer.is_ok()).map(|(tier, _)| tier);
        let names = &names;
        let asked = shared.map(|(place, tier)| async move { (place, ask(tier, names, deadline, "bridge").await) });
        let now = Time::now();
        for (place, answer) in join_all(asked).await {
            // Sightings of the copy are apart from those of the plain key.
            let seen_in =
                TierName::new(format!("{}/{}", self.tiers[place].name(), BRIDGE_PREFIX.trim_end_matches(':')));
            for ((at, _), found) in absent.iter().zip(answer.into_iter().flatten()) {
                let Some(Found::Shared(payload)) = found else { continue };
                let Answer::Value(record) = self.judge_payload(&seen_in, &keys[*at], &payload) else { continue };
                let is_greater = |(other, _): &BridgeCopy| Order::of(other, now) < Order::of(&record, now);
                if copies[*at].as_ref().is_none_or(is_greater) {
                    copies[*at] = Some((record, place));
                }
            }
        }
        copies
    }

    /// What bytes found in `tier` are worth.
    pub(super) fn judge_payload(&self, tier: &TierName, key: &Key, payload: &Payload) -> Answer {
        match self.appraiser.appraise(tier, key, payload) {
            Ok(record) => Answer::Value(record),
            Err(Unworthy::Rejected(_)) => Answer::Junk,
            Err(Unworthy::Unjudged(_)) => Answer::Unjudged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_over_the_bridge_has_a_copy() {
        let copy = |key: &str| copy_of(&Key::new(key).unwrap()).map(|copy| copy.to_string());
        assert_eq!(copy("regime:current").as_deref(), Some("vt_shared:regime:current"));
        assert_eq!(copy("market:overview").as_deref(), Some("vt_shared:market:overview"));
        assert_eq!((copy("market:movers"), copy("market:overview:old")), (None, None));
    }
}
