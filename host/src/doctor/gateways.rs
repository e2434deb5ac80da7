//! Several gateways held together: whether each sees what the others write, and whether they are of one time and version.

use std::time::Duration;

use super::{Code, Finding, Place, Report, span};
use crate::record::{Time, Version};

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

    fn asked(url: &str, version: &str, at: Time) -> Asked {
        let report = Report {
            gateway: "a".into(),
            version: version.into(),
            at,
            took_seconds: 0.1,
            findings: Vec::new(),
            tiers: Vec::new(),
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
        assert_eq!(versions(&[a, b]).len(), 1);
    }
}
