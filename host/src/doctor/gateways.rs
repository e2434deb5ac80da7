//! Several gateways held together: whether each sees what the others write, whether all serve the same, whether they are of
//! one time and version, and whether they are all that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Code, Finding, Place, Report, span};
use crate::cache::Neighbour;
use crate::record::{Order, Time, Version};

/// How far a gateway's clock may be from the one of whoever asks: an answer is some time on its way.
const CLOCK_APART_MAX: Duration = Duration::from_secs(2);

/// A gateway that answered.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The URL of its admin listener.
    pub url: String,
    /// What it found.
    pub report: Report,
    /// When its answer came, by the clock of whoever asked.
    pub answered: Time,
}

/// What a gateway serves of the keys that are compared.
#[derive(Clone, Debug)]
pub struct Serves {
    /// The URL of its admin listener.
    pub url: String,
    /// By key. What it has nothing of is left out.
    pub values: BTreeMap<String, Order>,
}

/// A gateway that serves a lesser value of a key than another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The key.
    pub key: String,
    /// The URL of its admin listener.
    pub url: String,
    /// What it serves.
    pub serves: Order,
    /// The gateway that serves the greatest value, and that value.
    pub greatest: (String, Order),
}

/// What one gateway sees of another one's canary in one tier: its version, nothing, or why it cannot tell.
pub type Sees = Result<Option<Version>, String>;

/// The gateway's findings, with its place where there are several.
pub fn located(asked: &Asked, is_one_of_many: bool) -> impl Iterator<Item = Finding> {
    asked.report.findings.iter().cloned().map(move |mut finding| {
        if is_one_of_many {
            finding.place.gateway = Some(asked.url.clone());
        }
        finding
    })
}

/// Whether the gateway's clock is right, as far as whoever asks knows.
pub fn clock(asked: &Asked) -> Option<Finding> {
    let (theirs, ours) = (asked.report.at, asked.answered);
    let apart = theirs.since(ours).max(ours.since(theirs));
    let word = if theirs > ours { "ahead of" } else { "behind" };
    let evidence = format!("its clock is {} {word} that of this machine", span(apart));
    (apart > CLOCK_APART_MAX).then(|| Code::ClockApart.at(Place::gateway(&asked.url), evidence))
}

/// Gateways of another version than the first.
pub fn versions(all: &[Asked]) -> Vec<Finding> {
    let Some((first, others)) = all.split_first() else { return Vec::new() };
    let other = others.iter().filter(|other| other.report.version != first.report.version);
    other
        .map(|other| {
            let evidence = format!("{}; {} is of {}", other.report.version, first.url, first.report.version);
            Code::GatewayVersions.at(Place::gateway(&other.url), evidence)
        })
        .collect()
}

/// Gateways that those who answered know by their heartbeats, and that are none of them.
pub fn not_asked(all: &[Asked]) -> Vec<Finding> {
    let answered: BTreeSet<&str> = all.iter().map(|asked| &*asked.report.gateway).collect();
    let mut known: BTreeMap<&str, (Duration, &Neighbour, &str)> = BTreeMap::new();
    for Asked { url, report, .. } in all {
        for neighbour in report.neighbours.iter().filter(|neighbour| !answered.contains(&*neighbour.name)) {
            let silence = report.at.since(neighbour.heard);
            if known.get(&*neighbour.name).is_none_or(|(shortest, ..)| silence < *shortest) {
                known.insert(&neighbour.name, (silence, neighbour, url));
            }
        }
    }
    let found = known.into_iter().map(|(name, (silence, neighbour, url))| {
        let evidence = format!("version {}, heard of {} ago by {url}", neighbour.version, span(silence));
        Code::GatewayNotAsked.at(Place::gateway(name), evidence)
    });
    found.collect()
}

/// Which gateways serve lesser values than another one does.
pub fn behind(all: &[Serves]) -> Vec<Behind> {
    let mut by_key: BTreeMap<&String, Vec<(&String, Order)>> = BTreeMap::new();
    for Serves { url, values } in all {
        for (key, order) in values {
            by_key.entry(key).or_default().push((url, *order));
        }
    }
    let mut behind = Vec::new();
    for (key, served) in by_key {
        let Some((best, greatest)) = served.iter().max_by_key(|(_, order)| *order) else { continue };
        // The same data may be known under other circumstances.
        let lesser = served.iter().filter(|(_, order)| order.digest != greatest.digest);
        behind.extend(lesser.map(|(url, order)| Behind {
            key: key.clone(),
            url: (*url).clone(),
            serves: *order,
            greatest: ((*best).clone(), *greatest),
        }));
    }
    behind
}

/// Those that were behind at first and, a moment later, still are with the very same value: it is not on its way to them.
pub fn values(first: &[Behind], second: &[Behind]) -> Vec<Finding> {
    let same = |a: &Behind, b: &Behind| (&a.key, &a.url, a.serves.digest) == (&b.key, &b.url, b.serves.digest);
    let kept = second.iter().filter(|now| first.iter().any(|then| same(then, now)));
    let found = kept.map(|Behind { key, url, serves, greatest: (other, greater) }| {
        let told = |order: &Order| format!("version {}, SHA-1 {}", order.version.0, order.digest.hex());
        let evidence = format!("it serves {}; {other} serves {}", told(serves), told(greater));
        Code::ValuesApart.at(Place { key: Some(key.clone()), ..Place::gateway(url) }, evidence)
    });
    found.collect()
}

/// What `reader`, asked about the canary that `writer` wrote to a shared tier, says against their sharing that tier.
pub fn shared(writer: &Asked, tier: &str, written: Version, reader: &Asked, sees: Option<&Sees>) -> Option<Finding> {
    let place = || Place::gateway(&reader.url).in_tier(Some(tier));
    let by = &writer.url;
    match sees {
        Some(Ok(Some(seen))) if *seen >= written => None,
        Some(Ok(Some(seen))) => {
            Some(Code::GatewaysApart.at(place(), format!("{by} wrote version {}, and {} is seen", written.0, seen.0)))
        }
        Some(Ok(None)) => {
            Some(Code::GatewaysApart.at(place(), format!("{by} wrote a canary and read it back, and it is not there")))
        }
        Some(Err(why)) => Some(Code::CheckNotDone.at(place(), format!("the canary of {by}: {why}"))),
        None => {
            Some(Code::GatewaysApart.at(place(), format!("{by} has a tier of this name, and this gateway has none")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Digest, Kind};

    fn asked(url: &str, version: &str, at: Time) -> Asked {
        let report = Report {
            gateway: "a".into(),
            version: version.into(),
            at,
            took_seconds: 0.1,
            findings: Vec::new(),
            tiers: Vec::new(),
            neighbours: Vec::new(),
        };
        Asked { url: url.into(), report, answered: Time::from_micros(100_000_000) }
    }

    #[test]
    fn a_clock_that_is_two_seconds_off_may_be_right_and_one_that_is_more_off_is_not() {
        let off = |seconds: u64| clock(&asked("a", "1", Time::from_micros(seconds * 1_000_000)));
        assert!(off(98).is_none() && off(102).is_none());
        assert!(off(97).unwrap().evidence.contains("3s behind"));
        assert!(off(103).unwrap().evidence.contains("3s ahead of"));
    }

    #[test]
    fn a_reader_shares_a_tier_when_it_sees_the_canary_or_a_later_one() {
        let (a, b) = (asked("a", "1", Time::now()), asked("b", "2", Time::now()));
        let code = |sees: Option<Sees>| shared(&a, "redis", Version(5), &b, sees.as_ref()).map(|finding| finding.code);
        assert_eq!([code(Some(Ok(Some(Version(5))))), code(Some(Ok(Some(Version(6)))))], [None, None]);
        for apart in [Some(Ok(Some(Version(4)))), Some(Ok(None)), None] {
            assert_eq!(code(apart).as_deref(), Some("gateways-apart"));
        }
        assert_eq!(code(Some(Err("silent".into()))).as_deref(), Some("check-not-done"));
    }

    #[test]
    fn every_gateway_of_another_version_than_the_first_is_named() {
        let all = ["1", "2", "1", "3"].map(|version| asked(&format!("of {version}"), version, Time::now()));
        let found = versions(&all);
        let places: Vec<_> = found.iter().map(|finding| (finding.code.as_str(), &finding.place)).collect();
        let [two, three] = [Place::gateway("of 2"), Place::gateway("of 3")];
        assert_eq!(places, [("gateway-versions", &two), ("gateway-versions", &three)]);
        assert!(found[0].evidence.starts_with("2; of 1 is of 1"), "{}", found[0].evidence);
        assert_eq!((versions(&all[..1]).len(), versions(&[]).len()), (0, 0));
    }

    #[test]
    fn gateways_that_are_known_and_did_not_answer_are_told_once_by_whoever_heard_of_them_last() {
        let of = |name: &str, url: &str, heard: &[(&str, u64)]| {
            let mut asked = asked(url, "1", Time::from_micros(100_000_000));
            asked.report.gateway = name.to_owned();
            let neighbour = |(name, seconds): &(&str, u64)| Neighbour {
                name: (*name).to_owned(),
                version: "1".to_owned(),
                heard: Time::from_micros(seconds * 1_000_000),
            };
            asked.report.neighbours = heard.iter().map(neighbour).collect();
            asked
        };
        let all = [of("a", "of a", &[("b", 99), ("c", 90)]), of("b", "of b", &[("a", 99), ("c", 98), ("d", 60)])];
        let told: Vec<_> = not_asked(&all).into_iter().map(|finding| (finding.place, finding.evidence)).collect();
        let expected = [("c", "version 1, heard of 2s ago by of b"), ("d", "version 1, heard of 40s ago by of b")];
        assert_eq!(told, expected.map(|(name, evidence)| (Place::gateway(name), evidence.to_owned())));
        assert_eq!(not_asked(&all[..1]).len(), 2, "nobody asked `b`");
        // One of a version before this tells of no neighbours.
        let mut before = serde_json::to_value(&all[0].report).unwrap();
        before.as_object_mut().unwrap().remove("neighbours");
        assert_eq!(serde_json::from_value::<Report>(before).unwrap().neighbours, []);
    }

    /// A gateway that serves these versions.
    fn serves(url: &str, values: &[(&str, u64)]) -> Serves {
        let order = |version: u64| Order {
            kind: Some(Kind::Real),
            rank: 0,
            version: Version(version),
            digest: Digest::of(&version.to_be_bytes()),
        };
        let values = values.iter().map(|(key, version)| ((*key).to_owned(), order(*version)));
        Serves { url: url.to_owned(), values: values.collect() }
    }

    #[test]
    fn a_gateway_is_behind_where_it_keeps_a_lesser_value_and_not_where_one_is_on_its_way_or_missing() {
        let all = |b: u64| [serves("a", &[("k", 3), ("only", 1)]), serves("b", &[("k", b)]), serves("c", &[("k", 3)])];
        let first = behind(&all(2));
        assert_eq!(first.iter().map(|behind| (&*behind.url, &*behind.key)).collect::<Vec<_>>(), [("b", "k")]);
        let found = values(&first, &behind(&all(2)));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code.as_str(), found[0].place.to_string()), ("values-apart", "k gateway b".to_owned()));
        // It has another one by now, though again not the last.
        assert_eq!(values(&first, &behind(&all(1))), []);
        assert_eq!(values(&first, &behind(&all(3))), []);
    }
}
