//! The keys to keep warm, and how much each matters.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::contract::Micros;
use crate::placeholder;
use crate::time::SECOND;

/// A key to keep warm.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The cache key.
    pub key: String,
    /// Its class, from 1, which goes first, to 5.
    pub priority: u8,
    /// The age at which it is fetched again. A source that wants to be asked more often is asked more often.
    pub interval_seconds: u32,
    /// What may stand for it where nothing is.
    #[serde(default)]
    pub placeholder: Placeholder,
}

/// What may stand for a key where nothing is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "true, false, or the object to put")]
pub enum Placeholder {
    /// The key's own placeholder, or nothing.
    Switch(bool),
    /// The operator's fields; the time and the mark are added.
    Fields(Map<String, Value>),
}

impl Default for Placeholder {
    fn default() -> Self {
        Self::Switch(false)
    }
}

impl Task {
    /// The age at which it is fetched again.
    pub fn interval(&self) -> Micros {
        Micros::from(self.interval_seconds) * SECOND
    }

    /// The fields of its placeholder, if it may have one.
    pub fn placeholder(&self) -> Option<Map<String, Value>> {
        match &self.placeholder {
            Placeholder::Switch(false) => None,
            Placeholder::Switch(true) => placeholder::built_in(&self.key),
            Placeholder::Fields(fields) => Some(fields.clone()),
        }
    }
}

/// The table of the dashboard. The documents of the aggregator and the charts have no placeholder: of the former somebody
/// always has the last real value, and a made-up chart helps nobody.
pub fn defaults() -> Vec<Task> {
    const TABLE: [(&str, u8, u32, bool); 12] = [
        ("market:overview", 1, 30, false),
        ("analysis:signals", 1, 30, false),
        ("market:movers", 2, 45, false),
        ("market:tickers", 2, 60, true),
        ("virtuoso:beta_chart:4h", 2, 120, false),
        ("analysis:market_regime", 3, 120, true),
        ("virtuoso:beta_chart:1h", 3, 120, false),
        ("virtuoso:beta_chart:8h", 3, 120, false),
        ("virtuoso:beta_chart:12h", 3, 120, false),
        ("market:breadth", 4, 90, true),
        ("virtuoso:beta_chart:24h", 4, 180, false),
        ("market:btc_dominance", 5, 180, true),
    ];
    let task = |(key, priority, interval_seconds, placeholder): (&str, u8, u32, bool)| Task {
        key: key.to_owned(),
        priority,
        interval_seconds,
        placeholder: Placeholder::Switch(placeholder),
    };
    TABLE.into_iter().map(task).collect()
}
