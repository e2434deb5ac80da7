//! [`Appraiser`]: judges bytes that somebody else stored in a shared tier.
//!
//! The same bytes are decoded once, however often they are read again: a background refresh of unchanged documents costs
//! one digest each. A repair or a rejection is counted and logged when it is first seen, not at every look.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Map;

use super::policy::Policy;
use super::record::{Circumstances, record};
use super::{Codec, DecodeError, Decoded};
use crate::record::{Digest, Key, Origin, Record, Rejection, TierName, Time, Version};
use crate::telemetry::metrics;
use crate::tier::{Appraise, Payload, Unworthy};

/// Bytes of decoded foreign payloads that are remembered.
const VERDICT_BYTES_MAX: u64 = 64 << 20;

/// Keys per tier whose last sighting is remembered.
const SIGHTINGS_MAX: usize = 100_000;

pub(super) struct Appraiser {
    codec: Arc<dyn Codec>,
    policy: Arc<Policy>,
    verdicts: Map<(Key, Digest), Arc<Verdict>, BySize>,
    /// What was last seen of a key in a tier. `None` inside: nothing was there.
    sightings: Map<(TierName, Key), Option<Sighting>>,
}

#[derive(Clone, Copy)]
struct Sighting {
    stored: Digest,
    /// When it was seen to change, or 0 when it was there at the first look.
    version: Version,
}

/// An accepted payload, or why it was not.
type Verdict = Result<Decoded, Rejection>;

#[derive(Clone)]
struct BySize;

// === impl BySize ===

impl Weighter<(Key, Digest), Arc<Verdict>> for BySize {
    fn weight(&self, _: &(Key, Digest), verdict: &Arc<Verdict>) -> u64 {
        let canonical = match &**verdict {
            Ok(decoded) => decoded.canonical.as_ref().map_or(0, |bytes| bytes.len()),
            Err(_) => 0,
        };
        512 + canonical as u64
    }
}

// === impl Appraiser ===

impl Appraiser {
    pub fn new(codec: Arc<dyn Codec>, policy: Arc<Policy>) -> Self {
        Self {
            codec,
            policy,
            verdicts: Map::with_weighter(10_000, VERDICT_BYTES_MAX, BySize),
            sightings: Map::new(SIGHTINGS_MAX),
        }
    }

    /// The codec, for payloads that come through this gateway.
    pub fn codec(&self) -> &dyn Codec {
        &*self.codec
    }

    /// Notes that a tier was asked and had nothing: what appears next is a change.
    pub fn saw_nothing(&self, tier: &TierName, key: &Key) {
        self.sightings.insert((tier.clone(), key.clone()), None);
    }

    /// The version of a value without a timestamp: the moment at which this gateway saw it change, or 0.
    fn unstamped(&self, tier: &TierName, key: &Key, stored: Digest, now: Time) -> Version {
        let place = (tier.clone(), key.clone());
        let version = match self.sightings.get(&place) {
            Some(Some(last)) if last.stored == stored => return last.version,
            Some(_) => Version(now.micros()),
            None => Version(0),
        };
        self.sightings.insert(place, Some(Sighting { stored, version }));
        version
    }

    /// What the codec says of the payload, now or before.
    fn verdict(&self, tier: &TierName, key: &Key, stored: Digest, payload: &Payload) -> Result<Arc<Verdict>, Unworthy> {
        let place = (key.clone(), stored);
        if let Some(known) = self.verdicts.get(&place) {
            return Ok(known);
        }
        let verdict = match self.codec.decode(key, &payload.bytes, payload.flags) {
            Ok(decoded) => Ok(decoded),
            Err(DecodeError::Rejected(rejection)) => Err(rejection),
            // The plugin failed, not the payload: nothing is learned about the payload, and the next look tries again.
            Err(DecodeError::Plugin(fault)) => return Err(Unworthy::Unjudged(fault)),
        };
        match &verdict {
            Ok(decoded) => {
                metrics::repaired(key, &decoded.schema, &decoded.repairs);
                if !decoded.repairs.is_empty() {
                    tracing::warn!(%tier, %key, repairs = decoded.repairs.len(), first = %decoded.repairs[0].message,
                        "a foreign payload was repaired for readers; the tier keeps it as its producer wrote it");
                }
            }
            Err(rejection) => {
                metrics::rejected(key, &rejection.code);
                tracing::warn!(%tier, %key, bytes = payload.bytes.len(), flags = payload.flags, digest = ?stored,
                    %rejection, "a foreign payload was refused; the last good value stays");
            }
        }
        let verdict = Arc::new(verdict);
        self.verdicts.insert(place, verdict.clone());
        Ok(verdict)
    }
}

impl Appraise for Appraiser {
    fn appraise(&self, tier: &TierName, key: &Key, payload: &Payload) -> Result<Arc<Record>, Unworthy> {
        let now = Time::now();
        let stored = Digest::of(&payload.bytes);
        let decoded = match &*self.verdict(tier, key, stored, payload)? {
            Ok(decoded) => decoded.clone(),
            Err(rejection) => return Err(Unworthy::Rejected(rejection.clone())),
        };
        let rule = self.policy.of(key);
        let about = Circumstances {
            now,
            origin: Origin::Tier(tier.clone()),
            unstamped: self.unstamped(tier, key, stored, now),
            lifetime_end: now.after(payload.remaining.unwrap_or_else(|| rule.ttl.longest())),
        };
        let mut record = record(&payload.bytes, decoded, rule, about);
        if let Some(stamp) = payload.stamp {
            // A gateway noted these when it wrote the value; the payload itself can only lower the kind.
            record.kind = record.kind.min(stamp.kind);
            record.rank = stamp.rank;
            record.version = stamp.version;
            record.produced_at = stamp.produced_at;
            record.soft_expiry = record.lifetime_end.min(stamp.fresh_until);
        }
        Ok(Arc::new(record))
    }
}
