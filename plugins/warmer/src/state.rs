//! What is remembered from plan to plan, and how it is saved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contract::{Error, Micros};
use crate::known::Remembered;
use crate::time::{SECOND, since};

/// The form of the saved state.
const FORMAT: u32 = 1;

/// The longest gap between two plans that is believed; a longer one was a pause of the machine.
const GAP_MAX: Micros = 300 * SECOND;

/// The gap that is assumed until there were two plans: the tick of the warmer that this one replaces.
const GAP_UNKNOWN: Micros = 30 * SECOND;

/// A key that was not mentioned for so many half-lives is forgotten.
const FORGOTTEN_AFTER: Micros = 12;

/// Everything that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: u32,
    planned_at: Option<Micros>,
    /// How far plans are apart: the longest gap of late, so that what is due in between is done before it.
    gap: Micros,
    /// What is remembered of each key.
    pub keys: BTreeMap<String, Remembered>,
}

// === impl State ===

impl Default for State {
    fn default() -> Self {
        Self { format: FORMAT, planned_at: None, gap: GAP_UNKNOWN, keys: BTreeMap::new() }
    }
}

impl State {
    /// Reads saved state.
    pub fn from_json(saved: &[u8]) -> Result<Self, Error> {
        let refuse = |why: String| Error::InvalidInput(format!("saved state of the warmer: {why}"));
        let state: Self = serde_json::from_slice(saved).map_err(|error| refuse(error.to_string()))?;
        if state.format != FORMAT {
            return Err(refuse(format!("format {} is not known; this version reads format {FORMAT}", state.format)));
        }
        match state.keys.iter().find(|(_, known)| !(known.reads.is_finite() && known.reads >= 0.0)) {
            Some((key, known)) => Err(refuse(format!("{} reads per second of `{key}`", known.reads))),
            None => Ok(state),
        }
    }

    /// How far plans are apart.
    pub fn gap(&self) -> Micros {
        self.gap
    }

    /// Begins a plan; answers the time since the last one, if there was one.
    pub fn begin(&mut self, now: Micros) -> Option<Micros> {
        let elapsed = self.planned_at.map(|at| now.saturating_sub(at));
        // A plan out of turn does not shorten the gap to the next one.
        self.gap = elapsed.unwrap_or(0).max(self.gap / 4 * 3).min(GAP_MAX);
        self.planned_at = Some(now);
        elapsed
    }

    /// Forgets what was not mentioned for long, and over `keys_max` what was mentioned longest ago and read least.
    pub fn forget(&mut self, now: Micros, half_life: Micros, keys_max: usize, is_task: impl Fn(&str) -> bool) {
        let kept_for = half_life.saturating_mul(FORGOTTEN_AFTER);
        self.keys.retain(|_, known| since(known.seen_at, now) <= kept_for);
        let too_many = self.keys.len().saturating_sub(keys_max);
        if too_many == 0 {
            return;
        }
        let mut keys: Vec<(bool, Micros, f64, String)> =
            self.keys.iter().map(|(key, known)| (is_task(key), known.seen_at, known.reads, key.clone())).collect();
        keys.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)).then_with(|| b.3.cmp(&a.3)));
        for (.., key) in keys.into_iter().take(too_many) {
            self.keys.remove(&key);
        }
    }
}
