//! What holds for any input: whatever a host tells, no plan breaks these.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use support::{NOW, SECOND, warmer};
use tiergate_warmer::{Action, Attempt, Fate, Holding, KeyState, Kind, Micros, SourceState, Step};

const KEYS: [&str; 8] = [
    "market:tickers",
    "market:breadth",
    "analysis:market_regime",
    "market:overview",
    "virtuoso:beta_chart:4h",
    "any:read",
    "any:other",
    "any:third",
];

/// Times around the plans, and the ends of the range.
fn times() -> impl Strategy<Value = Micros> {
    prop_oneof![
        8 => (0..2000_u64).prop_map(|seconds| NOW - 1000 * SECOND + seconds * SECOND),
        1 => Just(0),
        1 => Just(Micros::MAX),
        1 => any::<Micros>(),
    ]
}

fn holdings() -> impl Strategy<Value = Vec<Holding>> {
    let holding =
        prop_oneof![1 => Just(Holding::Unknown), 3 => Just(Holding::Absent), 2 => times().prop_map(Holding::Until)];
    prop::collection::vec(holding, 0..4)
}

fn sources() -> impl Strategy<Value = SourceState> {
    let cost = prop_oneof![4 => 0..30 * SECOND, 1 => any::<Micros>()];
    (prop_oneof![4 => 0..600_u32, 1 => any::<u32>()], times(), cost).prop_map(|(interval_seconds, not_before, cost)| {
        SourceState { name: "origin".to_owned(), interval_seconds, not_before, cost }
    })
}

fn attempts() -> impl Strategy<Value = Attempt> {
    let steps = prop::sample::select(vec![Step::Promote, Step::Refresh, Step::Placeholder, Step::Leave]);
    let fates =
        prop::sample::select(vec![Fate::Done, Fate::AlreadyThere, Fate::Refused, Fate::OverBudget, Fate::Failed]);
    (steps, times(), fates).prop_map(|(step, at, fate)| Attempt { step, at, fate })
}

fn states() -> impl Strategy<Value = KeyState> {
    let kinds = prop::option::of(prop::sample::select(vec![Kind::Placeholder, Kind::Real]));
    let counts = || prop_oneof![4 => 0..1000_u64, 1 => any::<u64>()];
    let value = (kinds, prop::option::of(times()), 0..3_u64, prop::option::of(times()), any::<bool>(), holdings());
    let failures = prop_oneof![4 => 0..9_u32, 1 => any::<u32>()];
    let rest = (counts(), counts(), prop::option::of(sources()), prop::option::of(attempts()), failures);
    (prop::sample::select(KEYS.to_vec()), value, rest).prop_map(|(key, value, rest)| KeyState {
        key: key.to_owned(),
        kind: value.0,
        produced_at: value.1,
        version: value.2,
        fresh_until: value.3,
        in_memory: value.4,
        tiers: value.5,
        hits: rest.0,
        misses: rest.1,
        source: rest.2,
        last_attempt: rest.3,
        failures: rest.4,
    })
}

/// What holds for one action.
fn assert_lawful(now: Micros, state: &KeyState, action: &Action) {
    assert!(!action.reason.is_empty(), "{action:?}");
    assert_eq!(action.step == Step::Leave, action.priority == 0, "{action:?}");
    assert_eq!(action.step == Step::Placeholder, !action.body.is_empty(), "{action:?}");
    match action.step {
        Step::Refresh => {
            let source = state.source.as_ref().expect("a refresh needs a source");
            assert!(source.not_before <= now, "{state:?}");
        }
        Step::Promote => {
            assert_ne!(state.kind, Some(Kind::Placeholder), "{state:?}");
            let until = |holding: &Holding| matches!(holding, Holding::Until(until) if *until > now);
            let slowest = state.tiers.iter().rposition(until).expect("a promotion needs a tier that has it");
            let lacks = !state.in_memory || state.tiers[..slowest].iter().any(|holding| *holding != Holding::Unknown);
            assert!(lacks, "{state:?}");
        }
        Step::Placeholder => {
            assert_eq!((state.kind, state.in_memory), (None, false));
            assert!(state.tiers.iter().all(|holding| *holding == Holding::Absent), "{state:?}");
        }
        Step::Leave => {}
    }
}

fn assert_lawful_plan(now: Micros, states: &[KeyState], actions: &[Action]) {
    let mut first: BTreeMap<&str, &KeyState> = BTreeMap::new();
    for state in states {
        first.entry(&state.key).or_insert(state);
    }
    let named: BTreeSet<&str> = actions.iter().map(|action| action.key.as_str()).collect();
    assert_eq!(named.len(), actions.len(), "one action for each key");
    assert!(named.iter().eq(first.keys()), "every key that was told, and no other");
    assert!(actions.is_sorted_by_key(|action| std::cmp::Reverse(action.priority)));
    for action in actions {
        assert_lawful(now, first[action.key.as_str()], action);
    }
}

/// Plans, each some time after the one before.
fn plans() -> impl Strategy<Value = Vec<(u64, Vec<KeyState>, u32)>> {
    let gap = prop_oneof![8 => 0..60 * SECOND, 1 => any::<u64>()];
    let max_actions = prop_oneof![4 => 0..6_u32, 1 => any::<u32>()];
    prop::collection::vec((gap, prop::collection::vec(states(), 0..10), max_actions), 1..8)
}

/// Saved states of the right form and any content.
fn absurd_states() -> impl Strategy<Value = serde_json::Value> {
    let track = || {
        let fates = prop::sample::select(vec!["done", "already-there", "refused", "over-budget", "failed"]);
        (times(), fates, any::<u32>()).prop_map(|(at, fate, failures)| {
            let value = json!({"version": 1, "kind": "real", "fresh": true});
            json!({"last": {"at": at, "fate": fate, "value": value}, "failures": failures})
        })
    };
    let known = (times(), 0.0..f64::MAX, times(), times(), [track(), track(), track()]).prop_map(
        |(seen_at, reads, due_since, placed_at, [refresh, promote, placeholder])| {
            json!({
                "seen_at": seen_at, "reads": reads, "due_since": due_since, "placed_at": placed_at,
                "refresh": refresh, "promote": promote, "placeholder": placeholder,
            })
        },
    );
    let keys = prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), known, 0..8);
    (prop::option::of(times()), any::<u64>(), keys)
        .prop_map(|(planned_at, gap, keys)| json!({"format": 1, "planned_at": planned_at, "gap": gap, "keys": keys}))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_breaks_a_law(plans in plans(), keys_max in 12..16_usize) {
        let mut warmer = warmer(json!({"keys_max": keys_max}));
        let mut now = NOW;
        let mut placed: BTreeMap<String, Micros> = BTreeMap::new();
        for (gap, states, max_actions) in plans {
            now = now.saturating_add(gap);
            let actions = warmer.plan(now, &states, max_actions);
            assert_lawful_plan(now, &states, &actions);
            prop_assert!(warmer.remembered() <= keys_max);
            for state in &states {
                // What the budget did not reach was not put.
                if state.last_attempt.is_some_and(|last| (last.step, last.fate) == (Step::Placeholder, Fate::OverBudget)) {
                    placed.remove(&state.key);
                }
            }
            for action in actions.iter().filter(|action| action.step == Step::Placeholder) {
                if let Some(before) = placed.insert(action.key.clone(), now) {
                    prop_assert!(now - before >= 30 * SECOND, "{action:?} {} after another", now - before);
                }
            }
        }
    }

    #[test]
    fn the_answer_depends_on_state_and_arguments_alone(plans in plans()) {
        let (mut one, mut other) = (warmer(json!({})), warmer(json!({})));
        let mut now = NOW;
        for (gap, states, max_actions) in plans {
            now = now.saturating_add(gap);
            prop_assert_eq!(one.plan(now, &states, max_actions), other.plan(now, &states, max_actions));
            let saved = one.save().expect("state");
            prop_assert_eq!(&saved, &other.save().expect("state"));
            // From here on the other is a new instance that was given the state.
            other = warmer(json!({}));
            other.restore(&saved).expect("its own state");
        }
    }

    #[test]
    fn a_clock_that_jumps_breaks_nothing(nows in prop::collection::vec(times(), 1..8), states in prop::collection::vec(states(), 0..10)) {
        let mut warmer = warmer(json!({}));
        for now in nows {
            assert_lawful_plan(now, &states, &warmer.plan(now, &states, 5));
        }
    }

    #[test]
    fn a_state_of_absurd_numbers_breaks_nothing(state in absurd_states(), states in prop::collection::vec(states(), 0..10)) {
        let mut warmer = warmer(json!({}));
        warmer.restore(state.to_string().as_bytes()).expect("a state of the right form");
        for second in 0..3 {
            let now = NOW + second * SECOND;
            assert_lawful_plan(now, &states, &warmer.plan(now, &states, 5));
            warmer.save().expect("state");
        }
    }

    #[test]
    fn any_bytes_as_state_or_configuration_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut warmer = warmer(json!({}));
        let before = warmer.save().expect("state");
        prop_assert!(warmer.restore(&bytes).is_err());
        prop_assert_eq!(warmer.save().expect("state"), before);
        prop_assert!(tiergate_warmer::Warmer::new(&bytes).is_err());
    }
}
