//! How a decoded payload becomes a [`Record`]: its kind, version, rank and limits.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::Decoded;
use super::owner::rank;
use super::policy::KeyPolicy;
use crate::record::{Digest, Kind, Origin, Record, Time, Version};

/// The marks in a payload's `status` by which the producers' warmers own up to a placeholder.
const PLACEHOLDER_STATUS: [&str; 4] = ["cache_warmer_generated", "warming_placeholder", "warming", "fallback"];

/// A payload that is nothing but this word is a placeholder too.
const PLACEHOLDER_TEXT: &[u8] = b"initializing";

/// What is known of a value besides its decoded payload.
pub(super) struct Circumstances {
    pub origin: Origin,
    pub version: Version,
    pub produced_at: Time,
    /// The end of its life in the shared tiers.
    pub lifetime_end: Time,
}

/// The payload's own timestamp, unless it runs ahead of this clock: a producer whose clock does must not block everybody
/// else's writes until it is caught up with.
pub(super) fn own_timestamp(decoded: &Decoded, now: Time) -> Option<Time> {
    decoded.produced_at.filter(|&at| at <= now.after(Version::AHEAD_MAX))
}

/// The record that `decoded`, read from `payload`, stands for.
pub(super) fn record(payload: &Bytes, decoded: Decoded, rule: &KeyPolicy, about: Circumstances) -> Record {
    let bytes = decoded.canonical.clone().unwrap_or_else(|| payload.clone());
    let kind = if is_placeholder(payload, &bytes) { Kind::Placeholder } else { decoded.kind };
    // Nobody is served a stand-in for data past its own life.
    let grace = if kind == Kind::Real { rule.grace } else { Duration::ZERO };
    let is_versioned = decoded.schema_version.is_some();
    Record {
        digest: Digest::of(&bytes),
        kind,
        version: about.version,
        rank: rank(&rule.owners, &about.origin, is_versioned),
        schema: decoded.schema,
        produced_at: about.produced_at,
        soft_expiry: about.lifetime_end.min(about.produced_at.after(rule.fresh)),
        lifetime_end: about.lifetime_end,
        hard_expiry: about.lifetime_end.after(grace),
        foreign: match about.origin {
            Origin::Tier(_) => decoded.canonical.map(|_| payload.clone()),
            Origin::Gateway(_) => None,
        },
        bytes,
        origin: about.origin,
        repairs: decoded.repairs.into(),
    }
}

/// The same record with another life in the shared tiers.
pub(super) fn with_lifetime(record: &Record, now: Time, ttl: Duration) -> Record {
    Record { lifetime_end: now.after(ttl), ..record.clone() }
}

/// Whether the host itself recognises a placeholder, whatever the codec says.
fn is_placeholder(payload: &[u8], canonical: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Marked<'a> {
        #[serde(borrow)]
        status: Option<std::borrow::Cow<'a, str>>,
    }
    let text = payload.trim_ascii();
    if text == PLACEHOLDER_TEXT
        || text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")) == Some(PLACEHOLDER_TEXT)
    {
        return true;
    }
    // Only an object can carry the mark; most payloads do not mention it at all.
    memchr::memmem::find(canonical, b"\"status\"").is_some()
        && serde_json::from_slice::<Marked>(canonical)
            .is_ok_and(|marked| marked.status.is_some_and(|status| PLACEHOLDER_STATUS.contains(&&*status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_marks_and_the_bare_word_are_placeholders_and_nothing_else_is() {
        for status in PLACEHOLDER_STATUS {
            let body = format!(r#"{{"tickers": {{}}, "status": "{status}"}}"#);
            assert!(is_placeholder(body.as_bytes(), body.as_bytes()), "{status}");
        }
        assert!(is_placeholder(b" initializing\n", br#"{"regime":"initializing"}"#));
        assert!(is_placeholder(b"\"initializing\"", b"\"initializing\""));
        for real in [r#"{"status": "coingecko_fetched"}"#, r#"{"a": {"status": "fallback"}}"#, r#"["status"]"#, "57.0"]
        {
            assert!(!is_placeholder(real.as_bytes(), real.as_bytes()), "{real}");
        }
    }
}
