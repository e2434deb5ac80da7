//! [`Finding`]: one thing that is wrong, or not as one would have it: what, where, by what that is known, and what to do.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Nothing is lost yet.
    Warning,
    /// Somebody should do something now.
    Problem,
}

/// Where it is. What does not matter is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The slot of the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The gateway's admin listener, where several were asked; its name, where that is all that is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

/// One thing that was found. Names and texts are owned, so that those of another version of the gateway can be told too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its name, which stays the same.
    pub code: String,
    /// Where.
    #[serde(rename = "where")]
    pub place: Place,
    /// What, in a sentence without its subject, which is the place.
    pub what: String,
    /// By what that is known.
    pub evidence: String,
    /// What to do.
    pub fix: String,
}

macro_rules! codes {
    ($($code:ident $name:literal $severity:ident $what:literal, $fix:literal;)*) => {
        /// What can be found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $(#[doc = $what] $code,)* }

        impl Code {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// Its name, which stays the same.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            const fn told(self) -> (Severity, &'static str, &'static str) {
                match self { $(Self::$code => (Severity::$severity, $what, $fix),)* }
            }
        }
    };
}

codes! {
    // Tiers.
    TierUnreachable "tier-unreachable" Problem "cannot be connected to", "start the server, or correct its address in `tiers`";
    TierSilent "tier-silent" Problem "takes connections and does not answer", "look at the server: it is frozen, overloaded, or cut off";
    TierLoginRefused "tier-login-refused" Problem "refuses the user or the password", "correct them in `tiers`, or on the server";
    TierRefuses "tier-refuses" Problem "refuses what it is asked", "see the server's own words: it may be a replica, still loading, or not allow the command";
    TierFull "tier-full" Problem "has no memory left and refuses writes", "give it more memory, or let it evict";
    TierNearlyFull "tier-nearly-full" Warning "has little memory left and does not evict", "give it more memory, or let it evict";
    TierEvicts "tier-evicts" Warning "drops values that have not ended, to make room", "give it more memory, or store less in it";
    TierSlow "tier-slow" Warning "answers slowly", "look at its load and at the network between";
    TierTooOld "tier-too-old" Problem "is of a version that lacks what the gateway needs", "update it: memcached 1.6, Redis 6";
    TierRestarted "tier-restarted" Warning "was started again", "nothing, if that was meant; what it had lost was put back from memory";
    TierReplaced "tier-replaced" Warning "is another server than before", "make sure that every gateway and producer means the same server";
    WriteNotVerified "write-not-verified" Problem "does not give back what was written to it", "look at the server, and at what stands between it and the gateway";
    BreakerOpen "breaker-open" Problem "is not asked at present, because it did not answer", "it is tried again by itself; look at the server";
    ChangesMissed "changes-missed" Warning "does not tell this gateway of the changes that others make", "look at the connection; memory is not trusted meanwhile, and everything is looked at again";
    LaneWaiting "lane-waiting" Warning "has not yet got values that wait for it", "they are written when it answers; see `GET /api/admin/recovery`";
    LaneFull "lane-full" Problem "has a full lane: further writes that it misses are lost to it", "bring it back, or raise `recovery.keys_max` and `recovery.bytes_max`";
    ClockApart "clock-apart" Problem "has another time than its neighbour", "let NTP set the clocks of all machines";
    ItemLimitTooSmall "item-limit-too-small" Problem "does not take values as large as those that are written", "raise its limit (memcached: `-I`)";
    ItemLimitBelowValueLimit "item-limit-below-value-limit" Note "takes smaller values than the gateway does", "raise its limit (memcached: `-I`), or lower `http.value_bytes_max`";
    CheckNotDone "check-not-done" Warning "could not be looked at in every respect", "mend what kept the check from being done, and ask again";
    // Values and those who write them.
    OwnerSilent "owner-silent" Problem "is not renewed any more", "start its producer; see `tiergate cache explain`";
    DocumentMissing "document-missing" Warning "was never written", "start its producer, or take it out of `market.required`";
    PayloadQuarantined "payload-quarantined" Problem "holds a payload that is no value of its key", "stop the producer that writes it; `tiergate quarantine show`";
    PayloadEncodedTwice "payload-encoded-twice" Warning "is written by a producer that encodes it more than once", "let the producer encode once";
    PayloadNotFinite "payload-not-finite" Warning "is written by a producer with NaN or infinity, which JSON has not", "let the producer write null, or nothing";
    PayloadRepaired "payload-repaired" Warning "is mended for its readers", "mend its producer";
    PayloadRefused "payload-refused" Warning "was brought in a form that is no value of the key, and was refused", "mend its producer, which was told";
    ClockAhead "clock-ahead" Warning "is written by a producer whose clock is ahead", "let NTP set the producer's clock; the moment of arrival counts meanwhile";
    LifeEndless "life-endless" Warning "is stored without an end", "let its producer give it a time to live";
    LifeTooLong "life-too-long" Warning "is stored for longer than anybody can mean", "let its producer give it a time to live of minutes";
    ValueVanished "value-vanished" Warning "was there, with time left, and is gone", "look for who deletes it, for evictions, and for a time to live over 30 days, which memcached takes for a date of 1970";
    PlaceholderOverData "placeholder-over-data" Warning "was overwritten by a stand-in while real data was known", "stop whoever warms the key with stand-ins; the real data was kept";
    SecondWriter "second-writer" Warning "is written by somebody whom its owner outranks", "stop one of the two, or set `owners`; the owner's value is shown meanwhile";
    ForeignWriter "foreign-writer" Note "is written through a gateway and past it", "let one writer own the key, or set `owners`";
    WriteFailed "write-failed" Problem "did not take writes", "see the reason; the writers were told";
    WriteRefused "write-refused" Warning "was written with a stand-in or a remembered absence, which was refused", "stop whoever writes it; it was told";
    WriteSuperseded "write-superseded" Note "was written with older values than are known", "nothing, if two writers are meant";
    TiersApart "tiers-apart" Warning "holds an older value than another tier, and keeps it", "see `tiergate cache explain`";
    // Plugins.
    PluginFailing "plugin-failing" Problem "loses instances", "`tiergate plugin rollback`, or mend it; its last good values are shown meanwhile";
    PluginOnProbation "plugin-on-probation" Note "is on probation", "nothing; it is rolled back by itself if it does worse than the one before";
    PluginRolledBack "plugin-rolled-back" Warning "did not pass its probation", "see `tiergate plugin audit` and mend it; the one before serves";
    // Gateways.
    GatewayUnreachable "gateway-unreachable" Problem "does not answer", "start it, or correct `--admin`";
    GatewayNotAsked "gateway-not-asked" Note "is known by its heartbeats, and did not answer here", "name its admin listener by `--admin`, too, and its token by `--admin-token-file`; if it has ended, it is forgotten within a minute";
    GatewayRefused "gateway-refused" Problem "does not answer the question", "see its own words; `--admin-token-file` may name another gateway's token";
    GatewaysApart "gateways-apart" Problem "does not see what another gateway wrote", "let all gateways name the same servers in `tiers`";
    ValuesApart "values-apart" Problem "serves an older value than another gateway, and keeps it", "see `tiergate cache explain` at both";
    GatewayVersions "gateway-versions" Warning "is of another version than the others", "bring all gateways to one version";
    MoreFindings "more-findings" Note "has more findings than are listed", "begin with those that are";
}

// === impl Severity ===

impl Severity {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

// === impl Place ===

impl Place {
    /// A tier.
    pub fn tier(tier: impl ToString) -> Self {
        Self { tier: Some(tier.to_string()), ..Self::default() }
    }

    /// A key, whatever tier has it.
    pub fn key(key: impl ToString) -> Self {
        Self { key: Some(key.to_string()), ..Self::default() }
    }

    /// A plugin, by its slot.
    pub fn plugin(slot: impl ToString) -> Self {
        Self { plugin: Some(slot.to_string()), ..Self::default() }
    }

    /// A gateway, by the URL of its admin listener, or else its name.
    pub fn gateway(url: impl ToString) -> Self {
        Self { gateway: Some(url.to_string()), ..Self::default() }
    }

    /// The same in this tier, if any.
    pub fn in_tier(self, tier: Option<impl ToString>) -> Self {
        Self { tier: tier.map(|tier| tier.to_string()), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tier, key, plugin, gateway } = self;
        let plugin = plugin.as_ref().map(|slot| format!("plugin {slot}"));
        let at = gateway.as_ref().map(|url| format!("gateway {url}"));
        let parts: Vec<String> = [
            key.clone(),
            tier.as_ref().map(|tier| if key.is_some() { format!("in {tier}") } else { tier.clone() }),
            plugin,
            at,
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(if parts.is_empty() { "gateway".to_owned() } else { parts.join(" ") }.as_str())
    }
}

// === impl Code ===

impl Code {
    /// The finding of this code.
    pub fn at(self, place: Place, evidence: impl Into<String>) -> Finding {
        let (severity, what, fix) = self.told();
        Finding {
            severity,
            code: self.as_str().to_owned(),
            place,
            what: what.to_owned(),
            evidence: evidence.into(),
            fix: fix.to_owned(),
        }
    }
}

impl fmt::Display for Finding {
    /// One line, which changes nothing of the terminal that shows it: some of it are words of others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, code, place, what, evidence, fix } = self;
        let told = format!("{:<8} {code}: {place} {what} ({}); {fix}", severity.as_str(), evidence.replace('\n', " "));
        for character in told.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_a_finding_is_one_line() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let place = Place::key("market:overview").in_tier(Some("memcached"));
        let line = Code::PayloadNotFinite.at(place, "at $.price:\nNaN").to_string();
        assert_eq!(line.lines().count(), 1);
        assert!(line.starts_with("warning  payload-not-finite: market:overview in memcached is written by"), "{line}");
        let line = Code::TierRefuses.at(Place::tier("redis"), "é: \u{1b}[2J\r\u{7}\u{9b}1m").to_string();
        assert!(line.contains("(é: \\u{1b}[2J\\r\\u{7}\\u{9b}1m); "), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
