//! Between the warmer's types and those of the contract.

use bytes::Bytes;

use crate::cache::Holding;
use crate::plugin::answer;
use crate::plugin::bindings::types;
use crate::plugin::bindings::warmer::exports::tiergate::plugin::warmer as wit;
use crate::record::{Key, Kind, Time};
use crate::source::SourceState;
use crate::warm::{Action, Attempt, Fate, KeyState, Step};

/// Keys that a warmer may watch.
const WATCHES_MAX: usize = 1_000;

/// The largest placeholder in bytes.
const PLACEHOLDER_BYTES_MAX: usize = 64 << 10;

/// The longest reason in bytes; the rest is cut.
const REASON_BYTES_MAX: usize = 256;

/// The keys that the plugin watches, or what is wrong with them.
pub(super) fn keys(keys: Vec<String>) -> Result<Vec<Key>, String> {
    if keys.len() > WATCHES_MAX {
        return Err(format!("it watches {} keys; at most {WATCHES_MAX} can be watched", keys.len()));
    }
    keys.into_iter().map(key).collect()
}

fn key(text: String) -> Result<Key, String> {
    Key::new(&text).map_err(|error| format!("{:?} is no key: {error}", answer::one_line(&text, REASON_BYTES_MAX)))
}

pub(super) fn state(state: &KeyState) -> wit::KeyState {
    wit::KeyState {
        key: state.key.to_string(),
        kind: state.kind.map(|kind| match kind {
            // An absence is remembered in memory alone, and says nothing that a plan could use.
            Kind::Placeholder | Kind::Negative => types::Kind::Placeholder,
            Kind::Real => types::Kind::Real,
        }),
        produced_at: state.produced_at.map(Time::micros),
        version: state.version,
        fresh_until: state.fresh_until.map(Time::micros),
        in_memory: state.in_memory,
        tiers: state.tiers.iter().map(holding).collect(),
        hits: state.hits,
        misses: state.misses,
        source: state.source.as_ref().map(source),
        last_attempt: state.last_attempt.as_ref().and_then(attempt),
        failures: state.failures,
    }
}

const fn holding(holding: &Holding) -> wit::Holding {
    match holding {
        Holding::Unknown => wit::Holding::Unknown,
        Holding::Absent => wit::Holding::Absent,
        Holding::Until(until) => wit::Holding::Until(until.micros()),
    }
}

fn source(source: &SourceState) -> wit::SourceState {
    wit::SourceState {
        name: source.name.to_string(),
        interval_seconds: u32::try_from(source.interval.as_secs()).unwrap_or(u32::MAX),
        not_before: source.not_before.micros(),
        cost: u64::try_from(source.cost.as_micros()).unwrap_or(u64::MAX),
    }
}

fn attempt(attempt: &Attempt) -> Option<wit::Attempt> {
    let step = match attempt.step {
        Step::PROMOTE => wit::Step::Promote,
        Step::REFRESH => wit::Step::Refresh,
        Step::PLACEHOLDER => wit::Step::Placeholder,
        _ => return None,
    };
    let fate = match attempt.fate {
        Fate::Done => wit::Fate::Done,
        Fate::AlreadyThere => wit::Fate::AlreadyThere,
        Fate::Refused => wit::Fate::Refused,
        Fate::OverBudget => wit::Fate::OverBudget,
        Fate::Failed => wit::Fate::Failed,
    };
    Some(wit::Attempt { step, at: attempt.at.micros(), fate })
}

/// The plan, or what is wrong with it.
pub(in crate::plugin) fn actions(actions: Vec<wit::Action>) -> Result<Vec<Action>, String> {
    actions.into_iter().map(action).collect()
}

fn action(action: wit::Action) -> Result<Action, String> {
    let key = key(action.key)?;
    let step = match action.step {
        wit::Step::Promote => Step::Promote,
        wit::Step::Refresh => Step::Refresh,
        wit::Step::Leave => Step::Leave,
        wit::Step::Placeholder if action.body.len() > PLACEHOLDER_BYTES_MAX => {
            return Err(format!("the placeholder for `{key}` has more than {PLACEHOLDER_BYTES_MAX} bytes"));
        }
        wit::Step::Placeholder => Step::Placeholder(Bytes::from(action.body)),
    };
    let reason = answer::one_line(&action.reason, REASON_BYTES_MAX);
    Ok(Action { key, step, priority: action.priority, next_at: action.next_at.map(Time::from_micros), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warmer_watches_as_many_keys_as_it_may_and_not_one_more() {
        let many = |count: usize| (0..count).map(|n| format!("k{n}")).collect();
        assert_eq!(keys(many(WATCHES_MAX)).map(|keys| keys.len()), Ok(1_000));
        assert_eq!(keys(many(WATCHES_MAX + 1)).unwrap_err(), "it watches 1001 keys; at most 1000 can be watched");
    }

    #[test]
    fn a_placeholder_is_taken_up_to_its_size_and_not_one_byte_above() {
        let of = |bytes: usize| wit::Action {
            key: "k".to_owned(),
            step: wit::Step::Placeholder,
            body: vec![b' '; bytes],
            priority: 1,
            next_at: None,
            reason: String::new(),
        };
        assert!(actions(vec![of(PLACEHOLDER_BYTES_MAX)]).is_ok());
        let refused = actions(vec![of(PLACEHOLDER_BYTES_MAX + 1)]).unwrap_err();
        assert_eq!(refused, "the placeholder for `k` has more than 65536 bytes");
    }
}
