//! Short ways to ask the warmer about a key, and a simulated host.
#![allow(dead_code, reason = "no test file uses all of it")]

pub mod host;

use serde_json::Value;
use tiergate_warmer::{Action, Attempt, Fate, Holding, KeyState, Kind, Micros, SourceState, Step, Warmer};

/// One second.
pub const SECOND: Micros = 1_000_000;
/// When the tests take place.
pub const NOW: Micros = 1_795_373_000 * SECOND;

/// A warmer with this configuration.
pub fn warmer(config: Value) -> Warmer {
    Warmer::new(config.to_string().as_bytes()).expect("a valid configuration")
}

/// A key of which nothing is known; two tiers answered so.
pub fn missing(key: &str) -> KeyState {
    KeyState {
        key: key.to_owned(),
        kind: None,
        produced_at: None,
        version: 0,
        fresh_until: None,
        in_memory: false,
        tiers: vec![Holding::Absent, Holding::Absent],
        hits: 0,
        misses: 0,
        source: None,
        last_attempt: None,
        failures: 0,
    }
}

/// A key whose data was made just now and lives 300 s, everywhere.
pub fn real(key: &str) -> KeyState {
    let end = NOW + 300 * SECOND;
    KeyState {
        kind: Some(Kind::Real),
        produced_at: Some(NOW),
        version: NOW,
        fresh_until: Some(end),
        in_memory: true,
        tiers: vec![Holding::Until(end), Holding::Until(end)],
        ..missing(key)
    }
}

/// A source that may be asked at any time.
pub fn source(interval_seconds: u32) -> Option<SourceState> {
    Some(SourceState { name: "origin".to_owned(), interval_seconds, not_before: 0, cost: SECOND / 5 })
}

/// What became of an action.
pub fn attempt(step: Step, at: Micros, fate: Fate) -> Option<Attempt> {
    Some(Attempt { step, at, fate })
}

/// The action for a single key.
pub fn ask(warmer: &mut Warmer, now: Micros, state: &KeyState) -> Action {
    let mut actions = warmer.plan(now, std::slice::from_ref(state), 5);
    assert_eq!(actions.len(), 1, "{actions:?}");
    let action = actions.remove(0);
    assert_eq!(action.key, state.key);
    action
}

/// Plans for nobody once a second until `now`, so that the warmer knows how far plans are apart.
pub fn settle(warmer: &mut Warmer, now: Micros) {
    for back in (1..=30).rev() {
        warmer.plan(now - back * SECOND, &[], 5);
    }
}

/// When a leave is looked at again, in seconds from `now`.
pub fn next_in(action: &Action, now: Micros) -> Option<u64> {
    action.next_at.map(|at| at.saturating_sub(now) / SECOND)
}
