//! Tiers: whether each answers, takes writes and gives them back, has room, tells the right time, and what became of it lately.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Code, Doctor, Finding, Place, RECENT, REMEMBERED, Tried, span};
use crate::cache::{Degraded, Unverified, Verified};
use crate::record::{TierName, Time, Version};
use crate::tier::breaker::Phase;
use crate::tier::{Clock, Examination, Health, Side, Tier, TierError};

/// How far a server's clock may be from this one beyond what cannot be told: what a payload's timestamp may be ahead.
const CLOCK_APART_MAX: Duration = Version::AHEAD_MAX;

/// Share of a server's memory, in percent, from which one that does not evict has little left.
const NEARLY_FULL_PERCENT: u64 = 90;

/// Words by which servers refuse a login.
const LOGIN_REFUSED: [&str; 5] = ["NOAUTH", "WRONGPASS", "AuthenticationFailed", "unauthenticated", "invalid password"];

/// Words by which servers say that they have no memory left.
const FULL: [&str; 2] = ["OOM", "out of memory"];

/// The least versions that have what the gateway uses: meta commands; `CLIENT TRACKING` and RESP3.
const LEAST: [(&str, u64, u64); 2] = [("memcached", 1, 6), ("redis", 6, 0)];

impl Doctor {
    /// Tries every tier at once.
    pub(super) async fn tiers(&self) -> (Vec<Tried>, Vec<Finding>) {
        let looks = self.cache.tiers().iter().enumerate().map(|(at, tier)| self.tier(at, tier));
        let (tried, findings): (Vec<_>, Vec<_>) = join_all(looks).await.into_iter().unzip();
        (tried, findings.into_iter().flatten().collect())
    }

    /// Tiers that do not tell of changes; with none, everything is being looked at again after one did not.
    pub(super) fn changes(&self) -> Vec<Finding> {
        let Some(Degraded { since, why, silent }) = self.cache.degraded() else { return Vec::new() };
        let lasting = span(Time::now().since(since));
        if silent.is_empty() {
            return vec![
                Code::ChangesMissed.at(Place::default(), format!("for {lasting}: {why}; it is being made up for")),
            ];
        }
        let of_tier = |(tier, why): (&TierName, &String)| {
            Code::ChangesMissed.at(Place::tier(tier), format!("for {lasting}: {why}"))
        };
        silent.iter().map(of_tier).collect()
    }

    async fn tier(&self, at: usize, tier: &Arc<dyn Tier>) -> (Tried, Vec<Finding>) {
        let (examined, verified) = tokio::join!(tier.examine(), self.cache.verify(at));
        let mut findings = Findings { place: Place::tier(tier.name()), list: Vec::new() };
        match &examined {
            Ok(examination) => {
                self.cache.note_health_of(at, &examination.health);
                findings.examined(tier, examination);
                self.item_limit(&mut findings, examination.health.item_bytes_max);
                if let Err(why) = &verified {
                    findings.unverified(why, &self.cache.verified()[at]);
                }
            }
            Err(error) => findings.no_answer(tier, error),
        }
        findings.breakers(tier);
        self.past(at, &mut findings);
        self.lane(at, &mut findings);
        let tried = Tried {
            tier: tier.name().to_string(),
            summary: tier.summary(),
            shared: tier.is_shared(),
            canary: verified.ok(),
        };
        (tried, findings.list)
    }

    /// What the tier takes at most, against what the gateway takes and what there is.
    fn item_limit(&self, findings: &mut Findings, limit: Option<usize>) {
        let Some(limit) = limit else { return };
        match self.cache.largest().filter(|(_, bytes)| *bytes > limit) {
            Some((key, bytes)) => {
                let place = Place::key(key).in_tier(findings.place.tier.as_ref());
                let evidence = format!("the value has {bytes} bytes, and an item at most {limit}");
                findings.list.push(Code::ItemLimitTooSmall.at(place, evidence));
            }
            None if limit < self.value_bytes_max => {
                let evidence = format!("{limit} bytes; `http.value_bytes_max` is {}", self.value_bytes_max);
                findings.add(Code::ItemLimitBelowValueLimit, evidence);
            }
            None => {}
        }
    }

    /// What was seen to happen to its server.
    fn past(&self, at: usize, findings: &mut Findings) {
        let now = Time::now();
        if let Some(replaced) = self.cache.replaced(at).filter(|replaced| now.since(replaced.at) < REMEMBERED) {
            let code = if replaced.is_other { Code::TierReplaced } else { Code::TierRestarted };
            let ago = span(now.since(replaced.at));
            findings.add(code, format!("{ago} ago: {} answers, and {} did before", replaced.now, replaced.before));
        }
        if let Some(evicted) = self.cache.evicted(at).filter(|evicted| now.since(evicted.at) < RECENT) {
            findings.add(
                Code::TierEvicts,
                format!("{} since it started, the last {} ago", evicted.total, span(now.since(evicted.at))),
            );
        }
    }

    /// What waits for it.
    fn lane(&self, at: usize, findings: &mut Findings) {
        let Some(lane) = self.cache.recovery(1).into_iter().nth(at).filter(|lane| lane.depth > 0) else { return };
        let first = lane.items.first();
        let (key, why) = first.map_or(("-", "-"), |item| (item.key.as_str(), item.why.as_str()));
        let oldest = lane.oldest.map_or_else(String::new, span);
        let evidence = format!(
            "{} keys of {}, {} bytes of {}; the oldest, `{key}`, for {oldest}: {why}",
            lane.depth, lane.limits.items_max, lane.bytes, lane.limits.bytes_max
        );
        let is_full = lane.depth >= lane.limits.items_max || lane.bytes >= lane.limits.bytes_max / 100 * 95;
        findings.add(if is_full { Code::LaneFull } else { Code::LaneWaiting }, evidence);
    }
}

/// What is found of one tier.
struct Findings {
    place: Place,
    list: Vec<Finding>,
}

// === impl Findings ===

impl Findings {
    fn add(&mut self, code: Code, evidence: impl Into<String>) {
        self.list.push(code.at(self.place.clone(), evidence));
    }

    /// A tier that did not let itself be looked at.
    fn no_answer(&mut self, tier: &Arc<dyn Tier>, error: &TierError) {
        self.add(unanswered(error), format!("{}: {error}", tier.summary()));
        self.add(Code::CheckNotDone, format!("version, clock, memory and limits: {error}"));
    }

    fn examined(&mut self, tier: &Arc<dyn Tier>, Examination { health, round_trip, clock }: &Examination) {
        // A tier in this process is as fast as its disk.
        let slow = tier.breakers().map(|both| both.read.slow());
        if let Some(slow) = slow.filter(|slow| round_trip > slow) {
            self.add(
                Code::TierSlow,
                format!("the smallest question took {}, which is over {}", span(*round_trip), span(slow)),
            );
        }
        if let Some(clock) = clock {
            self.clock(clock);
        }
        self.version(tier.name(), health);
        self.memory(health);
    }

    fn clock(&mut self, clock: &Clock) {
        let (apart, is_ahead) = clock.apart();
        if apart > CLOCK_APART_MAX {
            let word = if is_ahead { "ahead of" } else { "behind" };
            self.add(Code::ClockApart, format!("its clock is {} {word} this gateway's", span(apart)));
        }
    }

    fn version(&mut self, tier: &TierName, health: &Health) {
        let known = LEAST.iter().find(|(kind, ..)| tier.as_str().starts_with(kind));
        let (Some(version), Some((kind, major, minor))) = (&health.version, known) else { return };
        let mut numbers = version.split('.').map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(a)), Some(Ok(b))) if (a, b) >= (*major, *minor) => {}
            (Some(Ok(_)), Some(Ok(_))) => self.add(Code::TierTooOld, format!("{kind} {version}")),
            _ => self.add(Code::CheckNotDone, format!("its version: {version:?} is none")),
        }
    }

    fn memory(&mut self, health: &Health) {
        let fact = |names: [&str; 2]| {
            health.facts.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, v)| v.as_str())
        };
        let bytes = |names| fact(names).and_then(|text| text.parse::<u64>().ok());
        let never_evicts = matches!(fact(["maxmemory_policy", "evicts"]), Some("noeviction" | "off"));
        let (Some(used), Some(limit)) = (bytes(["used_memory", "bytes"]), bytes(["maxmemory", "limit_maxbytes"]))
        else {
            return;
        };
        if never_evicts && limit > 0 && used >= limit / 100 * NEARLY_FULL_PERCENT {
            self.add(Code::TierNearlyFull, format!("{used} of {limit} bytes are used"));
        }
    }

    /// A tier that answers, and through which the canary did not go.
    fn unverified(&mut self, why: &Unverified, last: &Verified) {
        let ever =
            if last.ever { "the last write was verified" } else { "no write was ever verified; this gateway started" };
        let evidence = format!("{why}; {ever} {} ago", span(last.age));
        let code = match why {
            Unverified::NotStored { why, .. } if says(why, &FULL) => Code::TierFull,
            Unverified::NotStored { why, .. } if says(why, &LOGIN_REFUSED) => Code::TierLoginRefused,
            _ => Code::WriteNotVerified,
        };
        self.add(code, evidence);
    }

    fn breakers(&mut self, tier: &Arc<dyn Tier>) {
        let Some(both) = tier.breakers() else { return };
        for side in [Side::Read, Side::Write] {
            let standing = both.of(side).standing();
            if standing.phase != Phase::Closed {
                let why = standing.why.as_deref().unwrap_or("no reason is known");
                self.add(
                    Code::BreakerOpen,
                    format!("{}s, {} for {}: {why}", side.as_str(), standing.phase.as_str(), span(standing.lasting)),
                );
            }
        }
    }
}

/// What is wrong with a tier that answered with this error.
fn unanswered(error: &TierError) -> Code {
    match error {
        TierError::Deadline(_) => Code::TierSilent,
        TierError::Refused(words) if says(words, &LOGIN_REFUSED) => Code::TierLoginRefused,
        TierError::Refused(words) if says(words, &FULL) => Code::TierFull,
        TierError::Refused(_) => Code::TierRefuses,
        TierError::Connect(_) | TierError::Broken(_) | TierError::Unavailable(_) => Code::TierUnreachable,
    }
}

fn says(words: &str, any: &[&str]) -> bool {
    any.iter().any(|word| words.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found of a server whose clock is this far ahead, or behind, and which took 3 ms to tell.
    fn found(micros: i64) -> Vec<String> {
        let ours = Time::from_micros(1_700_000_000_000_000);
        let theirs = Time::from_micros(ours.micros().saturating_add_signed(micros));
        let mut findings = Findings { place: Place::tier(TierName::new("redis")), list: Vec::new() };
        findings.clock(&Clock { theirs, ours, precision: Duration::from_millis(3) });
        findings.list.into_iter().map(|finding| format!("{finding:?}")).collect()
    }

    /// What is found of a server of this version.
    fn of_version(tier: &str, version: Option<&str>) -> Vec<String> {
        let tier = TierName::new(tier);
        let mut findings = Findings { place: Place::tier(&tier), list: Vec::new() };
        findings.version(&tier, &Health { version: version.map(str::to_owned), ..Health::default() });
        findings.list.into_iter().map(|finding| finding.code).collect()
    }

    fn findings() -> Findings {
        Findings { place: Place::tier("redis"), list: Vec::new() }
    }

    #[test]
    fn a_tier_that_does_not_let_itself_be_looked_at_is_told_by_what_it_says() {
        let refused = |words: &str| TierError::Refused(words.to_owned());
        for (error, code) in [
            (TierError::Deadline(Duration::from_secs(1)), "tier-silent"),
            (TierError::Connect("refused".to_owned()), "tier-unreachable"),
            (TierError::Broken("reset".to_owned()), "tier-unreachable"),
            (TierError::Unavailable("5 calls failed".into()), "tier-unreachable"),
            (refused("WRONGPASS invalid username-password pair"), "tier-login-refused"),
            (refused("NOAUTH Authentication required"), "tier-login-refused"),
            (refused("OOM command not allowed"), "tier-full"),
            (refused("LOADING Redis is loading the dataset in memory"), "tier-refuses"),
        ] {
            assert_eq!(unanswered(&error).as_str(), code, "{error}");
        }
    }

    #[test]
    fn a_canary_that_did_not_come_back_is_told_by_what_became_of_it() {
        let not_stored = |why: &str| Unverified::NotStored { label: "failed", why: why.to_owned() };
        for (why, code) in [
            (Unverified::Gone, "write-not-verified"),
            (Unverified::Otherwise, "write-not-verified"),
            (Unverified::NotRead(TierError::Deadline(Duration::from_secs(1))), "write-not-verified"),
            (not_stored("refused: NOREPLICAS Not enough good replicas to write."), "write-not-verified"),
            (not_stored("refused: OOM command not allowed"), "tier-full"),
            (not_stored("refused: NOAUTH Authentication required."), "tier-login-refused"),
        ] {
            for (ever, last) in [(true, "the last write was verified 7s ago"), (false, "no write was ever verified")] {
                let age = Duration::from_secs(7);
                let verified = Verified { tier: TierName::new("redis"), age, ever, failure: Some(why.clone()) };
                let mut findings = findings();
                findings.unverified(&why, &verified);
                let [finding] = &findings.list[..] else { panic!("one finding: {:?}", findings.list) };
                assert_eq!((finding.code.as_str(), &finding.place), (code, &Place::tier("redis")), "{why}");
                assert!(finding.evidence.contains(&why.to_string()) && finding.evidence.contains(last), "{finding}");
            }
        }
    }

    #[test]
    fn a_server_that_does_not_evict_is_nearly_full_from_nine_tenths_of_its_memory_and_one_that_evicts_never_is() {
        let found = |facts: [(&str, &str); 3]| -> Vec<String> {
            let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let mut findings = findings();
            findings.memory(&Health { facts, ..Health::default() });
            findings.list.into_iter().map(|finding| finding.code).collect()
        };
        let redis = |used, policy| found([("used_memory", used), ("maxmemory", "1000"), ("maxmemory_policy", policy)]);
        let memcached = |used, evicts| found([("bytes", used), ("limit_maxbytes", "1000"), ("evicts", evicts)]);
        for nearly_full in [redis("900", "noeviction"), memcached("900", "off"), redis("1100", "noeviction")] {
            assert_eq!(nearly_full, ["tier-nearly-full"]);
        }
        for fine in [
            redis("899", "noeviction"),
            memcached("890", "off"),
            redis("1000", "allkeys-lru"),
            memcached("1000", "on"),
            found([("used_memory", "900"), ("maxmemory", "0"), ("maxmemory_policy", "noeviction")]),
        ] {
            assert_eq!(fine, [""; 0]);
        }
    }

    #[test]
    fn a_server_is_too_old_below_the_least_version_that_has_what_the_gateway_uses() {
        for (tier, least, older) in [("memcached", "1.6.0", "1.5.22"), ("redis", "6.0.0", "5.0.14")] {
            assert_eq!(of_version(tier, Some(least)), [""; 0], "{tier}");
            assert_eq!(of_version(tier, Some(older)), ["tier-too-old"], "{tier}");
            assert_eq!(of_version(tier, Some("unknown")), ["check-not-done"], "{tier}");
        }
        assert_eq!(of_version("redis", Some("10.0")), [""; 0], "numbers, and not texts, are compared");
        assert_eq!((of_version("redis", None), of_version("disk", Some("0.1"))), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_servers_clock_may_be_as_far_away_as_a_timestamp_may_be_ahead_and_no_further() {
        let most = (CLOCK_APART_MAX + Duration::from_millis(3)).as_micros() as i64;
        assert!(found(0).is_empty() && found(most).is_empty() && found(-most).is_empty());
        let [ahead, behind] = [found(most + 1), found(-most - 1)].map(|found| found.concat());
        assert!(ahead.contains("ahead of this gateway's") && ahead.contains("redis"), "{ahead}");
        assert!(behind.contains("behind this gateway's"), "{behind}");
    }
}
