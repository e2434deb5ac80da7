//! Values and those who write them: what had to be mended, refused or put back, and which writes were lost.

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Doctor, Finding, Place, RECENT, span};
use crate::cache::{FOREIGN, Seen, Symptom, What, Written};
use crate::record::{Key, Time};

impl Doctor {
    pub(super) fn writes(&self) -> Vec<Finding> {
        let now = Time::now();
        let since = now.before(RECENT);
        let mut findings: Vec<Finding> = self.cache.symptoms(since).iter().map(|seen| symptom(seen, now)).collect();
        findings.extend(self.quarantined(since));
        findings.extend(lost(&self.cache.writes(since), now));
        findings
    }

    /// Payloads that stand in a tier and stand for nothing. One that was not seen lately is there no more, or nobody looks.
    fn quarantined(&self, since: Time) -> Vec<Finding> {
        let lately = self.cache.quarantine().into_iter().filter(|entry| entry.last_seen >= since);
        lately
            .map(|entry| {
                let evidence =
                    format!("number {}, {} bytes, flags {}: {}", entry.id, entry.bytes_len, entry.flags, entry.error);
                Code::PayloadQuarantined.at(Place::key(&entry.key).in_tier(Some(&entry.tier)), evidence)
            })
            .collect()
    }
}

fn symptom(seen: &Seen, now: Time) -> Finding {
    let code = match &seen.symptom {
        Symptom::Repaired(code) => match &**code {
            "peeled-encoding" => Code::PayloadEncodedTwice,
            "non-finite-number" => Code::PayloadNotFinite,
            _ => Code::PayloadRepaired,
        },
        Symptom::ClockAhead => Code::ClockAhead,
        Symptom::Endless => Code::LifeEndless,
        Symptom::LongLived => Code::LifeTooLong,
        Symptom::Vanished => Code::ValueVanished,
        Symptom::Placeholder => Code::PlaceholderOverData,
        Symptom::Outranked => Code::SecondWriter,
    };
    let repair = match &seen.symptom {
        Symptom::Repaired(repair) => format!("{repair} "),
        _ => String::new(),
    };
    let evidence = format!("{} ago: {repair}{}", span(now.since(seen.last)), seen.evidence);
    Code::at(code, Place::key(&seen.key).in_tier(seen.tier.as_ref()), evidence)
}

/// What became of writes, where it was not `stored`, and who shares a key with whom.
fn lost(writes: &[(Key, Written)], now: Time) -> Vec<Finding> {
    let mut groups: BTreeMap<(&str, Place), (usize, &Written, String)> = BTreeMap::new();
    let mut writers: BTreeMap<&Key, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for (key, written) in writes.iter().filter(|(_, written)| !written.is_mend()) {
        let mut count = |code: Code, place: Place, why: String| {
            if written.is_told() {
                return; // It is a finding of the gateway that told.
            }
            let group = groups.entry((code.as_str(), place)).or_insert((0, written, String::new()));
            group.0 += 1;
            if group.1.at <= written.at {
                (group.1, group.2) = (written, why);
            }
        };
        if let (What::Refused { error, .. }, false) = (&written.what, &*written.from == FOREIGN) {
            count(Code::PayloadRefused, Place::key(key), format!("by {}: {error}", written.from));
        }
        for (tier, outcome, reason) in &written.outcomes {
            let why = format!("`{key}` by {}: {}", written.from, reason.as_deref().unwrap_or(outcome));
            let of_key = Place::key(key).in_tier(Some(tier));
            match *outcome {
                "failed" | "unknown" => count(Code::WriteFailed, Place::tier(tier), why),
                "rejected" if why.contains("takes at most") => count(Code::ItemLimitTooSmall, of_key, why),
                "refused" => count(Code::WriteRefused, Place::key(key), why),
                "superseded" => count(Code::WriteSuperseded, Place::key(key), why),
                _ => {}
            }
            let (through, past) = writers.entry(key).or_default();
            if *outcome == "found" {
                past.insert(tier.as_str())
            } else {
                through.insert(&*written.from)
            };
        }
    }
    let code_of =
        |name: &str| Code::ALL.iter().find(|code| code.as_str() == name).copied().unwrap_or(Code::WriteFailed);
    let mut findings: Vec<Finding> = groups
        .into_iter()
        .map(|((name, place), (count, last, why))| {
            let evidence =
                format!("{count} in the last {}, the last {} ago: {why}", span(RECENT), span(now.since(last.at)));
            code_of(name).at(place, evidence)
        })
        .collect();
    findings.extend(writers.into_iter().filter(|(_, (through, past))| !through.is_empty() && !past.is_empty()).map(
        |(key, (through, past))| {
            let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
            let evidence = format!("through this one by {}; past it, seen in {}", list(through), list(past));
            Code::ForeignWriter.at(Place::key(key), evidence)
        },
    ));
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::{Kind, TierName, Version};

    fn written(key: &str, from: &str, outcome: &'static str, reason: &str) -> (Key, Written) {
        let what = What::Value { kind: Kind::Real, version: Version(1), bytes_len: 1, repairs: 0 };
        let outcomes = vec![(TierName::new("redis"), outcome, Some(reason.to_owned()))];
        (Key::new(key).unwrap(), Written { at: Time::now(), from: from.into(), what, outcomes })
    }

    fn codes(writes: &[(Key, Written)]) -> Vec<(String, Place)> {
        lost(writes, Time::now()).into_iter().map(|finding| (finding.code, finding.place)).collect()
    }

    #[test]
    fn lost_writes_are_counted_by_tier_or_key_and_stored_ones_are_no_finding() {
        let all = [
            written("a", "api", "stored", ""),
            written("b", "api", "failed", "OOM"),
            written("c", "api", "failed", "OOM"),
            written("d", "api", "rejected", "the item has 9 bytes; the tier takes at most 8"),
        ];
        let tier_of = |key: &str| Place::key(key).in_tier(Some("redis"));
        assert_eq!(codes(&all[..1]), []);
        assert_eq!(
            codes(&all),
            [("item-limit-too-small".into(), tier_of("d")), ("write-failed".into(), Place::tier("redis"))]
        );
        assert!(lost(&all, Time::now())[1].evidence.starts_with("2 in the last 1m"));
    }

    #[test]
    fn what_was_refused_and_what_lost_is_told_by_key_with_its_writer() {
        let now = Time::now();
        let refused = |from: &str| {
            let what = What::Refused { bytes_len: 2, error: "no number at $.price".to_owned() };
            (Key::new("a").unwrap(), Written { at: now, from: from.into(), what, outcomes: Vec::new() })
        };
        let all = [
            refused("api"),
            // A payload that was found is in quarantine, and its writer heard nothing.
            refused(FOREIGN),
            written("b", "warmer", "refused", "a real value is there"),
            written("c", "api", "superseded", "a newer value is there"),
            written("d", "api", "unknown", "no answer"),
        ];
        let told: Vec<_> = lost(&all, now).into_iter().map(|f| (f.code, f.place, f.evidence)).collect();
        let expected = [
            ("payload-refused", Place::key("a"), "by api: no number at $.price"),
            ("write-failed", Place::tier("redis"), "`d` by api: no answer"),
            ("write-refused", Place::key("b"), "`b` by warmer: a real value is there"),
            ("write-superseded", Place::key("c"), "`c` by api: a newer value is there"),
        ];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for ((code, place, evidence), (named, at, words)) in told.iter().zip(expected) {
            assert_eq!((code.as_str(), place), (named, &at));
            assert!(evidence.starts_with("1 in the last 1m") && evidence.ends_with(words), "{evidence}");
        }
    }

    #[test]
    fn every_symptom_has_a_finding_of_its_own_with_the_key_the_tier_and_what_was_mended() {
        let now = Time::now();
        for (symptom, code) in [
            (Symptom::Repaired("peeled-encoding".into()), "payload-encoded-twice"),
            (Symptom::Repaired("non-finite-number".into()), "payload-not-finite"),
            (Symptom::Repaired("trailing-comma".into()), "payload-repaired"),
            (Symptom::ClockAhead, "clock-ahead"),
            (Symptom::Endless, "life-endless"),
            (Symptom::LongLived, "life-too-long"),
            (Symptom::Vanished, "value-vanished"),
            (Symptom::Placeholder, "placeholder-over-data"),
            (Symptom::Outranked, "second-writer"),
        ] {
            let repair = match &symptom {
                Symptom::Repaired(repair) => format!("{repair} "),
                _ => String::new(),
            };
            let (key, tier) = (Key::new("k").unwrap(), Some(TierName::new("redis")));
            let seen = Seen { key, tier, symptom, evidence: "at $: so it is".to_owned(), first: now, last: now };
            let found = super::symptom(&seen, now.after(Duration::from_secs(2)));
            assert_eq!((found.code.as_str(), found.place), (code, Place::key("k").in_tier(Some("redis"))));
            assert_eq!(found.evidence, format!("2s ago: {repair}at $: so it is"));
        }
    }

    #[test]
    fn a_key_that_is_written_through_a_gateway_and_past_it_is_told_and_one_that_is_not_is_not() {
        let (through, past) = (written("k", "aggregator", "stored", ""), written("k", FOREIGN, "found", ""));
        assert_eq!(codes(std::slice::from_ref(&through)), []);
        assert_eq!(codes(std::slice::from_ref(&past)), []);
        assert_eq!(codes(&[through, past]), [("foreign-writer".into(), Place::key("k"))]);
    }
}
