//! [`Appraiser`]: judges bytes that somebody else stored in a shared tier.
//!
//! The same bytes are decoded once, however often they are read again: a background refresh of unchanged documents costs
//! one digest each. A repair or a rejection is counted and logged when it is first seen, not at every look.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Map;

use super::history::{History, What};
use super::policy::Policy;
use super::quarantine::Quarantine;
use super::record::{Circumstances, own_timestamp, record};
use super::symptoms::Symptoms;
use super::{Codec, DecodeError, Decoded};
use crate::record::{Digest, Key, Origin, Record, Rejection, Repair, TierName, Time, Version};
use crate::telemetry::metrics;
use crate::tier::{Appraise, Payload, Stamp, Unworthy};

/// Bytes of decoded foreign payloads that are remembered.
const VERDICT_BYTES_MAX: u64 = 64 << 20;

/// A life that ends later than before by more than this was written again; shared tiers count whole seconds.
const PROLONGED: Duration = Duration::from_secs(2);

/// What a gateway wrote before a delete, and appears in a tier so soon after it was written, is that write, late, and not the
/// same bytes set again. It is twice what a write may take by the usual deadline.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Keys per tier whose last sighting is remembered.
const SIGHTINGS_MAX: usize = 100_000;

pub(super) struct Appraiser {
    codec: Arc<dyn Codec>,
    policy: Arc<Policy>,
    verdicts: Map<Place, Arc<Decision>, BySize>,
    sightings: Map<(TierName, Key), Sighting>,
    pub quarantine: Quarantine,
    pub history: Arc<History>,
    pub symptoms: Symptoms,
}

/// What was last seen of a key in a tier.
#[derive(Clone, Copy)]
struct Sighting {
    /// Digest of the bytes; `None`: nothing was there.
    stored: Option<Digest>,
    /// When it was seen to change, or 0 when it was there at the first look.
    version: Version,
    /// The version of the last write of these bytes by a gateway that is known of.
    heard: Option<Version>,
    /// What was gone before that.
    deleted: Deleted,
    /// Whether a gateway put these bytes there, as far as can be told: this one did, or they appeared when one wrote them, and
    /// they were not seen to be written again.
    is_gateways: bool,
    /// When it was made, or written again, as far as that is known.
    renewed: Time,
    /// When this gateway saw the change, or made it, by its own clock.
    noticed: Time,
    /// The end of its life, as far as the tier tells one.
    lifetime_end: Option<Time>,
}

#[derive(Clone, Copy, Default)]
struct Deleted {
    /// Values up to this version; 0: it was no delete.
    floor: Version,
    /// The digest of what was last seen there.
    was: Option<Digest>,
}

// === impl Sighting ===

impl Sighting {
    /// Whether what was noticed is the write that a gateway began as `version`. Gateways write nothing without an end.
    fn is_write(&self, version: Version) -> bool {
        self.lifetime_end.is_some() && is_one_write(version, Version(self.noticed.micros()))
    }
}

/// A payload of a key, and the epoch of the codec that read it.
type Place = (Key, Digest, u64);

/// An accepted payload, or why it was not.
type Decision = Result<Decoded, Rejection>;

#[derive(Clone)]
struct BySize;

// === impl Deleted ===

impl Deleted {
    /// Whether bytes that appear at `now`, which a gateway wrote as `version`, are that write. Those that were there cannot
    /// come late.
    fn is_late(&self, version: Version, stored: Digest, now: Time) -> bool {
        version <= self.floor && self.was != Some(stored) && is_one_write(version, Version(now.micros()))
    }
}

/// Whether a write that began as one version can have been seen as the other. Clocks differ a little.
fn is_one_write(begun: Version, seen: Version) -> bool {
    Duration::from_micros(begun.0.abs_diff(seen.0)) <= LATE_MAX
}

// === impl BySize ===

impl Weighter<Place, Arc<Decision>> for BySize {
    fn weight(&self, _: &Place, verdict: &Arc<Decision>) -> u64 {
        let held = match &**verdict {
            Ok(Decoded { canonical, repairs, .. }) => {
                canonical.as_ref().map_or(0, |bytes| bytes.len())
                    + repairs.iter().map(Repair::bytes_held).sum::<usize>()
            }
            Err(Rejection { message, path, .. }) => message.len() + path.len(),
        };
        512 + held as u64
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
            quarantine: Quarantine::default(),
            history: Arc::new(History::new()),
            symptoms: Symptoms::new(),
        }
    }

    /// The codec, for payloads that come through this gateway.
    pub fn codec(&self) -> &dyn Codec {
        &*self.codec
    }

    /// Notes that a tier has nothing: what appears next is a change.
    pub fn saw_nothing(&self, tier: &TierName, key: &Key, now: Time) {
        let last = self.sightings.get(&(tier.clone(), key.clone()));
        if last.is_none_or(|last| last.stored.is_some()) {
            self.saw_removed(tier, key, Version(0), now);
        }
    }

    /// Notes that values up to this version were removed from a tier, whatever was known to be there. Of what appears next a
    /// note is believed that is newer than they were.
    pub fn saw_removed(&self, tier: &TierName, key: &Key, floor: Version, now: Time) {
        let place = (tier.clone(), key.clone());
        let last = self.sightings.get(&place);
        let version = last.map_or(floor, |last| last.version.max(floor));
        let deleted = Deleted { floor, was: last.and_then(|last| last.stored.or(last.deleted.was)) };
        let nothing = Sighting {
            stored: None,
            version,
            heard: None,
            deleted,
            is_gateways: false,
            renewed: now,
            noticed: now,
            lifetime_end: None,
        };
        self.sightings.insert(place, nothing);
    }

    /// Whether a look that began at `begun` brings what was replaced or removed before it ended. To take that for a change
    /// would bring it back.
    pub fn is_overtaken(&self, tier: &TierName, key: &Key, bytes: &[u8], begun: Time) -> bool {
        let last = self.sightings.get(&(tier.clone(), key.clone()));
        last.is_some_and(|last| last.noticed >= begun && last.stored != Some(Digest::of(bytes)))
    }

    /// What was last seen to be in a tier: its version, the end of its life, and when this gateway noticed it.
    pub fn last_seen(&self, tier: &TierName, key: &Key) -> Option<(Version, Option<Time>, Time)> {
        let last = self.sightings.get(&(tier.clone(), key.clone()))?;
        last.stored.map(|_| (last.version, last.lifetime_end, last.noticed))
    }

    /// Notes that a tier took a value from this gateway: other bytes that appear next are a change.
    pub fn saw_stored(&self, tier: &TierName, key: &Key, record: &Record, now: Time) {
        let Some(wire) = record.wire() else { return };
        let stored = if wire == &record.bytes { record.digest } else { Digest::of(wire) };
        let lifetime_end = Some(record.lifetime_end);
        let stored = Some(stored);
        let sighting = Sighting {
            stored,
            version: record.version,
            heard: Some(record.version),
            deleted: Deleted::default(),
            is_gateways: true,
            renewed: now,
            noticed: now,
            lifetime_end,
        };
        self.sightings.insert((tier.clone(), key.clone()), sighting);
    }

    /// Whether what was last seen in a tier is what a gateway put there, and nobody was seen to have written it again.
    pub fn is_gateways(&self, tier: &TierName, key: &Key) -> bool {
        self.sightings.get(&(tier.clone(), key.clone())).is_some_and(|last| last.is_gateways)
    }

    /// Takes note that a gateway gave this version to these bytes when it wrote them.
    pub fn heard(&self, tier: &TierName, key: &Key, stored: Digest, version: Version) {
        let place = (tier.clone(), key.clone());
        let last = self.sightings.get(&place).filter(|last| last.stored == Some(stored));
        if let Some(last) = last {
            let is_gateways = last.is_gateways || last.is_write(version);
            self.sightings.insert(place, Sighting { heard: last.heard.max(Some(version)), is_gateways, ..last });
        }
    }

    /// Where what was seen to appear in a tier after the delete of values up to `floor` turned out to be a write from before
    /// it that came late, it is that from now on. Says which version it seemed to be.
    pub fn was_late(&self, tier: &TierName, key: &Key, floor: Version) -> Option<Version> {
        let place = (tier.clone(), key.clone());
        let last = self.sightings.get(&place)?;
        let heard = last.heard.filter(|heard| *heard <= floor)?;
        if last.version <= floor || last.deleted.was == last.stored || !is_one_write(heard, last.version) {
            return None;
        }
        self.sightings.insert(place, Sighting { version: heard, ..last });
        Some(last.version)
    }

    /// What this gateway knows of when a value was made. `own` is the payload's own timestamp.
    ///
    /// The same bytes keep the version of their first sighting, unless a gateway has noted since that it wrote them anew. For
    /// others a gateway's note beside the value is believed when it is newer than the last sighting, or they come late after
    /// a delete; otherwise it is a note about the same bytes of an earlier time, which somebody set, replaced, and set again.
    ///
    /// Says besides whether it is a change that no gateway noted: somebody else's write.
    fn sight(
        &self,
        place: (TierName, Key),
        stored: Digest,
        payload: &Payload,
        own: Option<Time>,
        now: Time,
    ) -> (Sighting, bool) {
        let lifetime_end = payload.remaining.map(|remaining| now.after(remaining));
        let last = self.sightings.get(&place);
        let (sighting, is_foreign) = match last {
            Some(last) if last.stored == Some(stored) => {
                let ends = last.lifetime_end.zip(lifetime_end);
                let prolonged = ends.is_some_and(|(old, new)| new > old.after(PROLONGED));
                let anew = payload.stamp.filter(|note| own.is_none() && note.version > last.version);
                // Another end, or no note any more, is of another write.
                let same_end = !prolonged && ends.is_some_and(|(old, new)| old <= new.after(PROLONGED));
                let is_noted = payload.stamp.is_some_and(|note| note.version == last.version);
                let last = Sighting { is_gateways: last.is_gateways && same_end && is_noted, ..last };
                let sighting = match anew {
                    Some(Stamp { version, produced_at, .. }) => {
                        let (heard, renewed) = (last.heard.max(Some(version)), last.renewed.max(produced_at));
                        let anew = Sighting { version, heard, renewed, noticed: now, lifetime_end, ..last };
                        Sighting { is_gateways: anew.is_write(version), ..anew }
                    }
                    None if prolonged => Sighting { renewed: now, noticed: now, lifetime_end, ..last },
                    None => last,
                };
                (sighting, prolonged && anew.is_none())
            }
            _ => {
                let newer = |note: &Stamp| {
                    own.is_some()
                        || last.is_none_or(|last| {
                            note.version > last.version || last.deleted.is_late(note.version, stored, now)
                        })
                };
                let note = payload.stamp.filter(newer);
                let first_look = if last.is_none() { Version(0) } else { Version(now.micros()) };
                let version =
                    note.map(|note| note.version).or(own.map(|at| Version(at.micros()))).unwrap_or(first_look);
                let renewed = note.map_or(now, |note| note.produced_at);
                let sighting = Sighting {
                    stored: Some(stored),
                    version,
                    heard: note.map(|note| note.version),
                    deleted: last.filter(|last| last.stored.is_none()).map(|last| last.deleted).unwrap_or_default(),
                    is_gateways: false,
                    renewed,
                    noticed: now,
                    lifetime_end,
                };
                let is_gateways = note.is_some_and(|note| sighting.is_write(note.version));
                (Sighting { is_gateways, ..sighting }, note.is_none())
            }
        };
        self.sightings.insert(place, sighting);
        (sighting, is_foreign)
    }

    /// What the codec says of the payload, now or before. Of several who ask at once one asks the codec.
    fn verdict(
        &self,
        tier: &TierName,
        key: &Key,
        stored: Digest,
        payload: &Payload,
    ) -> Result<Arc<Decision>, Unworthy> {
        let place = (key.clone(), stored, self.codec.epoch());
        self.verdicts.get_or_insert_with(&place, || match self.codec.decode(key, &payload.bytes, payload.flags) {
            Ok(decoded) => {
                tell_repairs(tier, key, &decoded);
                Ok(Arc::new(Ok(decoded)))
            }
            Err(DecodeError::Rejected(rejection)) => {
                metrics::rejected(key, &rejection.code);
                tracing::warn!(%tier, %key, bytes = payload.bytes.len(), flags = payload.flags, digest = ?stored,
                    %rejection, "a foreign payload was refused; the last good value stays");
                Ok(Arc::new(Err(rejection)))
            }
            // The plugin failed, not the payload: nothing is learned about the payload, and the next look tries again.
            Err(DecodeError::Plugin(fault)) => Err(Unworthy::Unjudged(fault)),
        })
    }
}

fn tell_repairs(tier: &TierName, key: &Key, decoded: &Decoded) {
    metrics::repaired(key, &decoded.schema, &decoded.repairs);
    if let Some(first) = decoded.repairs.first() {
        tracing::warn!(%tier, %key, repairs = decoded.repairs.len(), first = %first.message,
            "a foreign payload was repaired for readers; the tier keeps it as its producer wrote it");
    }
}

impl Appraise for Appraiser {
    fn appraise(&self, tier: &TierName, key: &Key, payload: &Payload) -> Result<Arc<Record>, Unworthy> {
        let now = Time::now();
        let stored = Digest::of(&payload.bytes);
        let decoded = match &*self.verdict(tier, key, stored, payload)? {
            Ok(decoded) => decoded.clone(),
            Err(rejection) => {
                if self.quarantine.note(tier, key, stored, payload, rejection, now) {
                    self.history.found(key, tier, What::rejected(payload.bytes.len(), rejection));
                }
                return Err(Unworthy::Rejected(rejection.clone()));
            }
        };
        self.symptoms.of_payload(key, Some(tier), &decoded, now);
        self.symptoms.of_life(key, tier, payload);
        let rule = self.policy.of(key);
        let own = own_timestamp(&decoded, now);
        let (sighting, is_foreign) = self.sight((tier.clone(), key.clone()), stored, payload, own, now);
        let about = Circumstances {
            origin: Origin::Tier(tier.clone()),
            version: sighting.version,
            produced_at: own.unwrap_or(sighting.renewed),
            lifetime_end: now.after(payload.remaining.unwrap_or_else(|| rule.ttl.longest())),
        };
        let mut record = record(&payload.bytes, decoded, rule, about);
        if let Some(note) = payload.stamp.filter(|note| note.version == record.version) {
            // The gateway that wrote it knew these; the payload itself can only lower the kind.
            record.kind = record.kind.min(note.kind);
            record.rank = note.rank;
            record.soft_expiry = record.lifetime_end.min(note.fresh_until.max(record.soft_expiry));
        }
        if is_foreign {
            self.history.found(key, tier, What::value(&record));
        }
        Ok(Arc::new(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::Plain;
    use crate::record::Kind;

    /// The version of a gateway's bytes, which it wrote at 9 s, and which appear that much later in a tier from where `was`
    /// was deleted a microsecond after; and whether they count as somebody else's.
    fn seen_after(pause: Duration, was: Option<&[u8]>) -> (Version, bool) {
        let (tier, key, written) = (TierName::new("memcached"), Key::new("k").unwrap(), Time::from_micros(9_000_000));
        let version = Version(written.micros());
        let note = Stamp { kind: Kind::Real, rank: 0, version, produced_at: written, fresh_until: Time::NEVER };
        let payload = |bytes: &[u8]| Payload {
            bytes: bytes.to_vec().into(),
            flags: 0,
            remaining: Some(Duration::from_secs(60)),
            stamp: (bytes == b"1").then_some(note),
        };
        let appraiser = Appraiser::new(Arc::new(Plain), Arc::new(Policy::with(Vec::new()).unwrap()));
        let place = (tier.clone(), key.clone());
        if let Some(was) = was {
            appraiser.sight(place.clone(), Digest::of(was), &payload(was), None, written);
        }
        let floor = Version(version.0 + 1);
        appraiser.saw_removed(&tier, &key, floor, written.after(Duration::from_micros(1)));
        let seen = written.after(pause);
        let (sighting, is_foreign) = appraiser.sight(place, Digest::of(b"1"), &payload(b"1"), None, seen);
        assert_eq!(sighting.is_gateways, !is_foreign);
        (sighting.version, is_foreign)
    }

    /// Whether bytes count as a gateway's that were seen at 9 s, and at 20 s again with `remaining` left, once a gateway tells
    /// that it wrote them as this version.
    fn is_gateways_once_heard(version: Version, remaining: Duration) -> bool {
        let (tier, key) = (TierName::new("memcached"), Key::new("k").unwrap());
        let payload = |remaining| Payload { bytes: "1".into(), flags: 0, remaining: Some(remaining), stamp: None };
        let appraiser = Appraiser::new(Arc::new(Plain), Arc::new(Policy::with(Vec::new()).unwrap()));
        for (seconds, remaining) in [(9, Duration::from_secs(60)), (20, remaining)] {
            let (place, now) = ((tier.clone(), key.clone()), Time::from_micros(seconds * 1_000_000));
            appraiser.sight(place, Digest::of(b"1"), &payload(remaining), None, now);
        }
        appraiser.heard(&tier, &key, Digest::of(b"1"), version);
        appraiser.is_gateways(&tier, &key)
    }

    #[test]
    fn what_was_seen_before_it_is_told_of_counts_as_a_gateways_unless_it_was_set_again_since() {
        let (as_it_was, set_again) = (Duration::from_secs(49), Duration::from_secs(60));
        let at = |micros: u64| Version(9_000_000 - micros);
        assert!(is_gateways_once_heard(at(500_000), as_it_was));
        assert!(!is_gateways_once_heard(at(500_001), as_it_was), "no write takes so long");
        assert!(!is_gateways_once_heard(at(500_000), set_again));
    }

    #[test]
    fn a_gateways_write_that_comes_late_after_a_delete_is_told_from_the_same_bytes_set_again() {
        let (late, anew) =
            ((Version(9_000_000), false), |pause: Duration| (Version(9_000_000 + pause.as_micros() as u64), true));
        let later = LATE_MAX + Duration::from_micros(1);
        assert_eq!(seen_after(LATE_MAX, None), late);
        assert_eq!(seen_after(LATE_MAX, Some(b"2")), late);
        assert_eq!(seen_after(later, None), anew(later), "no write takes so long");
        assert_eq!(seen_after(LATE_MAX, Some(b"1")), anew(LATE_MAX), "it had been there, and was deleted");
    }
}
