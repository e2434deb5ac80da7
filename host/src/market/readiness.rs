//! [`Readiness`]: whether those that must write have written (B59).
//!
//! A process that serves but whose producers never came up looks healthy and shows nothing. So the gateway is ready only
//! once every required document has had real data, be it from before a restart; how old it is, is told beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Aggregator, AggregatorError, Config, Market, VIEWS};
use crate::record::{Key, Time};

/// How the dashboard stands.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether every view has been composed.
    pub composed: bool,
    /// Required documents that never had real data.
    pub waiting_for: Vec<Key>,
    /// The age of the last real data of each document that ever had some.
    pub ages: BTreeMap<Key, Duration>,
}

/// Why there is no market.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MarketError {
    /// The aggregator cannot say what its views are composed from.
    #[error(transparent)]
    Aggregator(#[from] AggregatorError),
    /// A required document would never come.
    #[error("the dashboard has no document `{key}`; it has: {known}")]
    NoDocument {
        /// Its place among the required ones.
        at: usize,
        /// Its key.
        key: Key,
        /// The documents that every view needs.
        known: String,
    },
    /// Signals are to be shared, and there is nothing to share them over.
    #[error("signals are shared over Redis; name one in `tiers`")]
    NoLog,
}

// === impl Readiness ===

impl Readiness {
    /// Whether there is nothing to wait for.
    pub fn is_ready(&self) -> bool {
        self.composed && self.waiting_for.is_empty()
    }
}

// === impl Config ===

impl Config {
    /// The keys, or prefixes that end in `*`, that `aggregator` composes its views from.
    ///
    /// # Errors
    ///
    /// When it cannot say, or a required document is not among them: nobody would look for that one.
    pub async fn inputs(&self, aggregator: &dyn Aggregator) -> Result<Vec<String>, MarketError> {
        let inputs = aggregator.inputs().await?;
        let is_missing = |key: &Key| inputs.iter().all(|input| input != key.as_str());
        match self.required.iter().position(is_missing) {
            None => Ok(inputs),
            Some(at) => {
                let known: Vec<&str> =
                    inputs.iter().map(String::as_str).filter(|input| !input.ends_with('*')).collect();
                Err(MarketError::NoDocument { at, key: self.required[at].clone(), known: known.join(", ") })
            }
        }
    }
}

// === impl Market ===

impl Market {
    /// How the dashboard stands now.
    pub fn readiness(&self) -> Readiness {
        let now = Time::now();
        let ages: BTreeMap<Key, Duration> =
            self.documents.made().into_iter().map(|(key, made)| (key, now.since(made))).collect();
        Readiness {
            composed: (0..VIEWS.len()).all(|view| self.snapshot(view).is_some()),
            waiting_for: self.config.required.iter().filter(|key| !ages.contains_key(*key)).cloned().collect(),
            ages,
        }
    }
}
