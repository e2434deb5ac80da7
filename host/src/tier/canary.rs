//! The canary: a value of the gateway's own, by which it tries a tier without touching anybody's data.
//!
//! Every process has keys of its own under [`PREFIX`], so that gateways that share a tier do not take each other's canaries
//! for foreign writes. Their values live seconds, follow no schema, and are never judged, remembered or shown.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use crate::record::{Digest, Key, Kind, Origin, Record, Time, Version};

/// What stands before the gateway's name in the keys of its canaries.
pub const PREFIX: &str = "tiergate:canary:";

/// How long the value of a probe lives.
const PROBE_LIFE: Duration = Duration::from_secs(10);

/// Bytes of randomness in the name of a gateway.
const NAME_BYTES: usize = 6;

/// The longest name that another gateway may be asked for by.
const NAME_LENGTH_MAX: usize = 32;

/// This process among the gateways that share tiers: another name at each start.
static GATEWAY: LazyLock<String> = LazyLock::new(|| {
    let mut random = [0; NAME_BYTES];
    if getrandom::fill(&mut random).is_err() {
        // Two gateways of one name see each other's canaries as their own; nothing but a verification is at stake.
        random.copy_from_slice(&std::process::id().to_le_bytes().repeat(2)[..NAME_BYTES]);
    }
    random.iter().map(|byte| format!("{byte:02x}")).collect()
});

/// The name of this process among the gateways that share tiers.
pub fn gateway() -> &'static str {
    &GATEWAY
}

/// The key under which the gateway of this name verifies its writes; `None` where that is no name of a gateway.
pub fn key_of(gateway: &str) -> Option<Key> {
    let is_name = (1..=NAME_LENGTH_MAX).contains(&gateway.len()) && gateway.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name.then(|| Key::new(format!("{PREFIX}{gateway}")).ok()).flatten()
}

/// Whether `key` is that of a canary, whoever's.
pub fn is_canary(key: &Key) -> bool {
    key.as_str().starts_with(PREFIX)
}

/// What a probe writes.
pub(super) fn probe(now: Time) -> (Key, Record) {
    let key = Key::new(format!("{PREFIX}{}:probe", gateway())).expect("a key");
    let bytes = Bytes::from(format!("{{\"probed_at_us\": {}}}", now.micros()));
    (key, record(bytes, Version(now.micros()), PROBE_LIFE, now))
}

/// A canary of these bytes.
pub fn record(bytes: Bytes, version: Version, life: Duration, now: Time) -> Record {
    let end = now.after(life);
    Record {
        digest: Digest::of(&bytes),
        bytes,
        foreign: None,
        kind: Kind::Real,
        version,
        rank: 0,
        schema: "canary".into(),
        produced_at: now,
        soft_expiry: end,
        lifetime_end: end,
        hard_expiry: end,
        origin: Origin::Gateway("canary".into()),
        repairs: [].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_known_by_its_key_and_only_a_name_makes_one() {
        let key = key_of(gateway()).unwrap();
        assert!(is_canary(&key) && is_canary(&probe(Time::now()).0) && key != probe(Time::now()).0);
        assert!(!is_canary(&Key::new("tiergate:meta:x").unwrap()));
        for wrong in ["", "a:b", "../x", &"a".repeat(NAME_LENGTH_MAX + 1)] {
            assert_eq!(key_of(wrong), None, "{wrong}");
        }
    }
}
