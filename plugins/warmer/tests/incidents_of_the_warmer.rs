//! The incidents of the old warmer, replayed against this one. The numbers are those of `tests/CONTRACT.md`.

mod support;

use serde_json::{Value, json};
use support::host::{Host, Origin};
use support::{SECOND, warmer};
use tiergate_warmer::{Fate, Kind, Step};

const BETA: [&str; 5] = [
    "virtuoso:beta_chart:4h",
    "virtuoso:beta_chart:1h",
    "virtuoso:beta_chart:8h",
    "virtuoso:beta_chart:12h",
    "virtuoso:beta_chart:24h",
];
const DOMINANCE: &str = "market:btc_dominance";

/// The table of the old warmer as it was measured: five charts, and the dominance behind them.
fn charts_and_dominance() -> Value {
    let mut tasks: Vec<Value> = [(2, 120), (3, 120), (3, 120), (3, 120), (4, 180)]
        .iter()
        .zip(BETA)
        .map(|((priority, interval), key)| json!({"key": key, "priority": priority, "interval_seconds": interval}))
        .collect();
    tasks.push(json!({"key": DOMINANCE, "priority": 5, "interval_seconds": 180, "placeholder": true}));
    json!({ "tasks": tasks })
}

#[test]
fn b5_a_placeholder_never_touches_what_is_there() {
    // A producer keeps the key alive in one tier only, a second longer than it takes to write it again.
    let mut host = Host::new(warmer(json!({})));
    host.plan_every = 1;
    host.run(600, |host| {
        if (host.now / SECOND).is_multiple_of(25) {
            host.write(0, "market:breadth", r#"{"up_count":3}"#, 26);
        }
    });
    assert_eq!(host.times("market:breadth", Step::Placeholder), [] as [u64; 0]);
    assert_eq!(host.tiers[0].held["market:breadth"].body, r#"{"up_count":3}"#);
}

#[test]
fn b6_a_list_a_text_a_double_encoded_object_and_a_value_only_in_the_slowest_tier_are_equally_real() {
    for body in ["[1,2,3]", "\"BULLISH\"", r#""{\"regime\":\"BULLISH\"}""#, "57.3", r#"{"status":"warming"}"#] {
        for tier in [0, 1] {
            let mut host = Host::new(warmer(json!({})));
            host.write(tier, "analysis:market_regime", body, 3600);
            host.run(1800, |_| {});
            let placed = host.times("analysis:market_regime", Step::Placeholder);
            assert!(placed.is_empty(), "{body} in tier {tier}: a placeholder at {placed:?}");
            assert_eq!(host.tiers[tier].held["analysis:market_regime"].body, body);
        }
    }
}

#[test]
fn b6_no_placeholder_while_a_tier_that_does_not_answer_may_hold_data() {
    let mut host = Host::new(warmer(json!({})));
    host.tiers[1].silent = true;
    host.run(600, |_| {});
    assert_eq!(host.runs, [], "nothing is proposed");
    host.tiers[1].silent = false;
    host.run(30, |_| {});
    assert_eq!(host.tiers[1].held["market:breadth"].kind, Kind::Placeholder);
}

#[test]
fn b7_five_failing_tasks_do_not_starve_the_sixth() {
    let mut host = Host::new(warmer(charts_and_dominance()));
    for key in BETA {
        host = host.origin(key, Origin::every(60).failing());
    }
    host = host.origin(DOMINANCE, Origin::every(180));
    host.run(1200, |_| {});
    let times = host.times(DOMINANCE, Step::Refresh);
    // Every 180 s; a fetch may come early by its lead, and late by a plan.
    assert!(times[0] <= 60, "first at {} s", times[0]);
    assert!(times.windows(2).all(|pair| (90..=210).contains(&(pair[1] - pair[0]))), "{times:?}");
    assert!(times.len() >= 6, "{times:?}");
}

#[test]
fn b7_the_pause_after_failures_counts_from_the_last_attempt_and_grows() {
    // w5: a task that never succeeds, and one that succeeds once and then fails.
    for succeeds_once in [false, true] {
        let mut host = Host::new(warmer(charts_and_dominance())).origin(BETA[0], Origin::every(1));
        host.plan_every = 1;
        host.run(1800, |host| {
            let done = host.runs.iter().any(|run| run.fate == Fate::Done);
            host.origins.get_mut(BETA[0]).expect("it is there").fails = done || !succeeds_once;
        });
        let failed: Vec<u64> = host
            .tried(BETA[0])
            .iter()
            .filter(|run| run.fate == Fate::Failed)
            .map(|run| (run.at - support::NOW) / SECOND)
            .collect();
        let pauses: Vec<u64> = failed.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.starts_with(&[5, 10, 20, 40, 80, 160, 300]), "{pauses:?}");
        assert!(pauses[7..].iter().all(|pause| *pause == 300), "{pauses:?}");
    }
}

#[test]
fn b8_a_warmed_key_is_never_absent() {
    // warmer_gap: intervals of 120 and 180 s, 1800 s. The values live 300 s as then, or less than their interval.
    for (plan_every, life_seconds) in [(1, 300), (10, 300), (30, 300), (1, 60), (10, 80), (30, 100)] {
        let mut host = Host::new(warmer(charts_and_dominance()));
        host.plan_every = plan_every;
        let keys: Vec<&str> = BETA.into_iter().chain([DOMINANCE]).collect();
        for key in &keys {
            host = host.origin(key, Origin::every(30).living(life_seconds));
        }
        let mut holes = Vec::new();
        host.run(1800, |host| {
            let up = host.now > support::NOW + 60 * SECOND;
            holes.extend(keys.iter().filter(|key| up && !(host.has(0, key) && host.has(1, key))).copied());
        });
        assert!(holes.is_empty(), "a plan every {plan_every} s, {life_seconds} s of life: {holes:?}");
    }
}

#[test]
fn b8_a_key_that_was_found_in_place_is_fetched_before_it_expires() {
    // The old skip: while somebody's value is good, a fetch does nothing, and the value goes on ageing to its end.
    let mut host = Host::new(warmer(charts_and_dominance())).origin(DOMINANCE, Origin::every(180).skipping());
    host.write(0, DOMINANCE, r#"{"dominance":58.1}"#, 300);
    host.write(1, DOMINANCE, r#"{"dominance":58.1}"#, 300);
    let mut absent = 0;
    host.run(1800, |host| absent += u64::from(!host.has(0, DOMINANCE)));
    let skipped = host.tried(DOMINANCE).iter().filter(|run| run.fate == Fate::AlreadyThere).count();
    assert!(skipped > 0, "the old skip was not met");
    assert_eq!(absent, 0, "{:?}", host.tried(DOMINANCE));
}

#[test]
fn b10_every_watched_key_is_accounted_for_in_every_plan() {
    let mut warmer = warmer(json!({}));
    let states: Vec<_> = warmer.watches().iter().map(|key| support::missing(key)).collect();
    assert_eq!(states.len(), 12);
    for action in warmer.plan(support::NOW, &states, 5) {
        assert!(!action.reason.is_empty(), "{action:?}");
    }
}

#[test]
fn b11_an_old_value_is_kept_through_a_slow_cycle_and_fetched_again() {
    let mut host = Host::new(warmer(json!({}))).origin("market:movers", Origin::every(30).failing());
    host.write(1, "market:movers", r#"{"gainers":[]}"#, 3600);
    host.run(900, |_| {});
    let steps: Vec<Step> = host.tried("market:movers").iter().map(|run| run.step).collect();
    assert!(steps.contains(&Step::Promote) && steps.contains(&Step::Refresh), "{steps:?}");
    assert!(!steps.contains(&Step::Placeholder), "{steps:?}");
    assert_eq!(host.memory["market:movers"].body, r#"{"gainers":[]}"#);
    host.origins.get_mut("market:movers").expect("it is there").fails = false;
    host.run(330, |_| {});
    assert_eq!(host.memory["market:movers"].body, "fetched");
}

#[test]
fn b60_a_key_without_a_source_is_only_ever_promoted() {
    let mut host = Host::new(warmer(json!({})));
    for key in ["market:overview", "analysis:signals", "market:movers", BETA[0], "any:other"] {
        host.write(1, key, "{}", 600);
    }
    host.run(900, |host| host.read("any:other", 3));
    let steps = |key| host.tried(key).iter().map(|run| run.step).collect::<Vec<_>>();
    for key in ["market:overview", "analysis:signals", "market:movers", BETA[0], "any:other"] {
        let steps = steps(key);
        assert!(!steps.is_empty() && steps.iter().all(|step| *step == Step::Promote), "{key}: {steps:?}");
    }
}

#[test]
fn b61_what_nobody_mentions_is_forgotten_and_the_rest_is_bounded() {
    let mut warmer = warmer(json!({"keys_max": 20, "half_life_seconds": 60}));
    let crowd = |from: usize| -> Vec<_> { (from..from + 500).map(|n| support::real(&format!("crowd:{n}"))).collect() };
    for round in 0..5 {
        let mut states = crowd(round * 500);
        states.extend(warmer.watches().iter().map(|key| support::real(key)));
        warmer.plan(support::NOW + round as u64 * SECOND, &states, 5);
        assert_eq!(warmer.remembered(), 20);
    }
    let saved: Value = serde_json::from_slice(&warmer.save().expect("state")).expect("JSON");
    for key in warmer.watches() {
        assert!(saved["keys"].get(&key).is_some(), "{key} is a task");
    }
    warmer.plan(support::NOW + 3600 * SECOND, &[], 5);
    assert_eq!(warmer.remembered(), 0);
}
