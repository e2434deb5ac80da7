//! The doctor: looks at a live deployment end to end, in seconds, and says what is wrong, where, and what to do.
//!
//! [`Doctor::look`] tries every tier with a canary, reads what the other rooms publish, and answers [`Finding`]s. It owns
//! nothing and changes nothing but its canaries. [`gateways`] holds the reports of several gateways together. A check that
//! could not be made is a finding too.

mod documents;
mod finding;
pub mod gateways;
mod plugins;
mod tiers;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use finding::{Code, Finding, Place, Severity};

use crate::cache::{Cache, Neighbour};
use crate::market::Market;
use crate::plugin::Operator;
use crate::record::{TierName, Time, Version};
use crate::tier::{TierError, canary};

/// Findings of one report; beyond it the least are left out, and that is said.
const FINDINGS_MAX: usize = 200;

/// What happened to a value is told this long.
const RECENT: Duration = Duration::from_secs(60);

/// What happened to a server or a plugin is told this long.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The doctor's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// A document of the dashboard whose data is older than this has a producer that fell silent.
    pub silent_after: Duration,
}

/// Looks at this gateway and the tiers below it.
pub struct Doctor {
    config: Config,
    /// The largest value that the gateway takes, in bytes.
    value_bytes_max: usize,
    cache: Arc<Cache>,
    market: Arc<Market>,
    plugins: Arc<Operator>,
    /// One look at a time.
    turn: Mutex<()>,
}

/// What one gateway found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its name among the gateways that share tiers; another one at each start.
    pub gateway: String,
    /// Its version.
    pub version: String,
    /// Its time when it answered, in Unix microseconds.
    pub at: Time,
    /// How long it looked.
    pub took_seconds: f64,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// The tiers below memory, from the fastest to the slowest.
    pub tiers: Vec<Tried>,
    /// The other gateways that it knows by their heartbeats.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

/// A tier that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub tier: String,
    /// What operators see: "redis at 127.0.0.1:6379".
    pub summary: String,
    /// Whether other processes read and write it too.
    pub shared: bool,
    /// The version of the canary that was written and read back; none where that failed.
    pub canary: Option<Version>,
}

impl Default for Config {
    fn default() -> Self {
        Self { silent_after: Duration::from_secs(120) }
    }
}

// === impl Doctor ===

impl Doctor {
    /// A doctor of the gateway that these rooms are of.
    pub fn new(
        config: Config,
        value_bytes_max: usize,
        cache: Arc<Cache>,
        market: Arc<Market>,
        plugins: Arc<Operator>,
    ) -> Self {
        Self { config, value_bytes_max, cache, market, plugins, turn: Mutex::default() }
    }

    /// Looks at everything, now.
    pub async fn look(&self) -> Report {
        let _turn = self.turn.lock().await;
        let begun = Instant::now();
        // What takes time is done at once; the rest tells how things stand when that is known.
        let ((tiers, mut findings), apart) = tokio::join!(self.tiers(), self.apart());
        findings.extend(apart);
        findings.extend(self.documents());
        findings.extend(self.writes());
        findings.extend(self.plugins());
        findings.extend(self.changes());
        sort(&mut findings);
        Report {
            gateway: canary::gateway().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Time::now(),
            took_seconds: begun.elapsed().as_secs_f64(),
            findings,
            tiers,
            neighbours: self.cache.neighbours(),
        }
    }

    /// What this gateway sees of the canary of another one, or its own; `None` where that is no name of a gateway.
    pub async fn canary_of(&self, gateway: &str) -> Option<Vec<(TierName, Result<Option<Version>, TierError>)>> {
        self.cache.canary_of(gateway).await
    }
}

/// The worst first, each once, and no more than [`FINDINGS_MAX`].
pub fn sort(findings: &mut Vec<Finding>) {
    findings.sort_by(|a, b| (b.severity, &a.code, &a.place).cmp(&(a.severity, &b.code, &b.place)));
    findings.dedup();
    if findings.len() > FINDINGS_MAX {
        let evidence = format!("{} are left out", findings.len() - FINDINGS_MAX);
        findings.truncate(FINDINGS_MAX);
        findings.push(Code::MoreFindings.at(Place::default(), evidence));
    }
}

/// A span for people: `2m 5s`.
fn span(span: Duration) -> String {
    let whole = if span < Duration::from_secs(1) {
        Duration::from_millis(span.as_millis() as u64)
    } else {
        Duration::from_secs(span.as_secs())
    };
    humantime::format_duration(whole).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_each_once_and_what_is_left_out_is_said() {
        let mut findings = vec![
            Code::TierSlow.at(Place::tier("redis"), "slow"),
            Code::TierSilent.at(Place::tier("redis"), "silent"),
            Code::TierSlow.at(Place::tier("redis"), "slow"),
        ];
        sort(&mut findings);
        assert_eq!(findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), ["tier-silent", "tier-slow"]);
        let mut many: Vec<Finding> =
            (0..FINDINGS_MAX + 3).map(|n| Code::OwnerSilent.at(Place::key(n), "long")).collect();
        sort(&mut many);
        assert_eq!(many.len(), FINDINGS_MAX + 1);
        assert_eq!(
            (many[FINDINGS_MAX].code.as_str(), many[FINDINGS_MAX].evidence.as_str()),
            ("more-findings", "3 are left out")
        );
    }
}
