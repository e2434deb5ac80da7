//! What Redis tells unasked: invalidations of keys that anybody wrote, and the events of the producers' old bridge.
//!
//! Both are hints. A bridge event carries the whole value; it is not looked at, because events overtake each other and the
//! value's own key tells what counts (B25, B27).

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};
use serde::Deserialize;

use crate::record::{Key, TierName};
use crate::tier::Hear;

/// The channel of the producers' bridge.
pub(super) const BRIDGE_CHANNEL: &str = "vt_shared:events";

/// What stands before a key in the name of the bridge's copy of its value.
pub const BRIDGE_PREFIX: &str = "vt_shared:";

/// What the names of the gateways' own keys begin with. Nobody hears of them.
pub(super) const OWN_PREFIX: &str = "tiergate:";

/// An event longer than this, in bytes, is not looked at.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// The arguments of `CLIENT TRACKING` for keys and prefixes that end in `*`. Redis refuses prefixes that overlap.
pub(super) fn tracking(claims: &[String]) -> Vec<&str> {
    let mut prefixes: Vec<&str> = claims.iter().map(|claim| claim.strip_suffix('*').unwrap_or(claim)).collect();
    prefixes.sort_unstable();
    // After sorting, a prefix stands before all that begin with it.
    prefixes.dedup_by(|next, kept| next.starts_with(*kept));
    let mut arguments = vec!["ON", "BCAST"];
    if prefixes != [""] {
        arguments.extend(prefixes.into_iter().flat_map(|prefix| ["PREFIX", prefix]));
    }
    arguments
}

/// Passes on what the server said.
pub(super) fn pass_on(tier: &TierName, push: PushInfo, hear: &Arc<dyn Hear>) {
    match (push.kind, &push.data[..]) {
        (PushKind::Invalidate, [Value::Array(names)]) => {
            for name in names {
                if let Some(key) = text(name).and_then(invalidated) {
                    hear.changed(tier, key);
                }
            }
        }
        // All keys are gone, and the stream with them, which is noticed by its next entry.
        (PushKind::Invalidate, _) => tracing::debug!(%tier, "the server was flushed"),
        (PushKind::Message, [_, event]) => {
            match text(event).filter(|event| event.len() <= EVENT_BYTES_MAX).and_then(announced) {
                Some(key) => hear.changed(tier, key),
                None => tracing::debug!(%tier, "an event of the bridge names no key"),
            }
        }
        _ => {}
    }
}

/// The key whose value is under the name that was written: the bridge keeps a copy under another.
fn invalidated(name: &str) -> Option<Key> {
    let name = name.strip_prefix(BRIDGE_PREFIX).unwrap_or(name);
    if name.starts_with(OWN_PREFIX) { None } else { Key::new(name).ok() }
}

/// The key that an event of the bridge is about.
fn announced(event: &str) -> Option<Key> {
    #[derive(Deserialize)]
    struct Event {
        key: String,
    }
    serde_json::from_str::<Event>(event).ok().and_then(|event| Key::new(event.key).ok())
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_overlap_become_one() {
        let claims = |claims: &[&str]| claims.iter().map(|&claim| claim.to_owned()).collect::<Vec<_>>();
        let some = claims(&["market:overview", "market:*", "analysis:signals", "market:tickers*", "beta:a", "beta:ab"]);
        assert_eq!(
            tracking(&some),
            ["ON", "BCAST", "PREFIX", "analysis:signals", "PREFIX", "beta:a", "PREFIX", "market:"]
        );
        assert_eq!(tracking(&claims(&["market:*", "*"])), ["ON", "BCAST"]);
    }

    #[test]
    fn an_event_of_the_bridge_names_a_key_and_its_copy_stands_for_it() {
        let event = r#"{"event_type": "data_update", "key": "market:overview", "data": {"key": "x"}, "ttl": 300}"#;
        assert_eq!(announced(event), Key::new("market:overview").ok());
        for no_event in ["", "[]", r#"{"key": 7}"#, r#"{"key": "two words"}"#] {
            assert_eq!(announced(no_event), None, "{no_event}");
        }
        assert_eq!(invalidated("vt_shared:market:overview"), Key::new("market:overview").ok());
        assert_eq!(invalidated("tiergate:meta:market:overview"), None);
    }
}
