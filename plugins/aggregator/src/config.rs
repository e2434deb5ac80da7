//! The operator's document for this plugin. Unknown fields and impossible values are refused by name.

use serde::Deserialize;

use crate::contract::{Error, Micros};
use crate::time::SECOND;

/// Which of several signals of one symbol is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dedupe {
    /// The newest, so that a score can fall again (B35).
    #[default]
    Newest,
    /// The highest of the window, as the old aggregator did. When it leaves the window the next signal takes its place.
    Highest,
}

/// How signals are read and added up.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Records that are this old or older are not shown (B64).
    pub window_seconds: u32,
    /// Which of several signals of one symbol is shown.
    pub dedupe: Dedupe,
    /// From this score up a signal that names no direction is `LONG`.
    pub long_threshold: f64,
    /// From this score down a signal that names no direction is `SHORT`.
    pub short_threshold: f64,
    /// From this score up a record is marked `high_quality`. It filters nothing.
    pub high_quality_score: f64,
    /// Symbols that are remembered; over it the one that was silent longest is forgotten (B61).
    pub symbols_max: usize,
    /// Bytes of their records, by estimate. What is saved and what is published must fit with room to spare into one answer
    /// to the host (16 MiB) and into the time that one call has: an aggregator that cannot be saved takes no more signals.
    pub bytes_max: usize,
    /// Time to live of the published documents.
    pub ttl_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_seconds: 600,
            dedupe: Dedupe::Newest,
            long_threshold: 70.0,
            short_threshold: 35.0,
            high_quality_score: 60.0,
            symbols_max: 20_000,
            bytes_max: 8 << 20,
            ttl_seconds: 300,
        }
    }
}

impl Config {
    /// Reads the operator's JSON; `{}` gives the defaults.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let config: Self = serde_json::from_slice(json)
            .map_err(|error| Error::InvalidInput(format!("configuration of the aggregator: {error}")))?;
        config.check()?;
        Ok(config)
    }

    /// The window in microseconds.
    pub fn window(&self) -> Micros {
        u64::from(self.window_seconds) * SECOND
    }

    fn check(&self) -> Result<(), Error> {
        let scores = [
            ("long_threshold", self.long_threshold),
            ("short_threshold", self.short_threshold),
            ("high_quality_score", self.high_quality_score),
        ];
        for (name, score) in scores {
            if !(0.0..=100.0).contains(&score) {
                return Err(Error::InvalidInput(format!("`{name}` is {score}; a score lies between 0 and 100")));
            }
        }
        if self.short_threshold >= self.long_threshold {
            return Err(Error::InvalidInput(format!(
                "`short_threshold` ({}) must be below `long_threshold` ({})",
                self.short_threshold, self.long_threshold
            )));
        }
        let sizes = [
            ("window_seconds", self.window_seconds == 0),
            ("symbols_max", self.symbols_max == 0),
            ("bytes_max", self.bytes_max == 0),
            ("ttl_seconds", self.ttl_seconds == 0),
        ];
        for (name, is_zero) in sizes {
            if is_zero {
                return Err(Error::InvalidInput(format!("`{name}` must be at least 1")));
            }
        }
        Ok(())
    }
}
