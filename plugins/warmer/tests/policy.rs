//! What is decided for one key, rule by rule.

mod support;

use serde_json::json;
use support::host::{Host, Origin};
use support::{NOW, SECOND, ask, attempt, missing, next_in, real, settle, source, warmer};
use tiergate_warmer::{Action, Fate, Holding, KeyState, Kind, Micros, Step, Warmer};

const TICKERS: &str = "market:tickers";
const CHART: &str = "virtuoso:beta_chart:4h";

fn ready() -> Warmer {
    let mut warmer = warmer(json!({}));
    settle(&mut warmer, NOW);
    warmer
}

fn step(state: &KeyState) -> Step {
    ask(&mut ready(), NOW, state).step
}

fn with_source(state: KeyState) -> KeyState {
    KeyState { source: source(120), ..state }
}

// === refresh ===

#[test]
fn what_is_missing_a_placeholder_or_stale_is_fetched() {
    assert_eq!(step(&with_source(missing(CHART))), Step::Refresh);
    assert_eq!(step(&with_source(KeyState { kind: Some(Kind::Placeholder), ..real(CHART) })), Step::Refresh);
    assert_eq!(step(&with_source(KeyState { fresh_until: Some(NOW), ..real(CHART) })), Step::Refresh);
    assert_eq!(step(&with_source(real(CHART))), Step::Leave);
}

#[test]
fn what_expires_within_its_lead_is_fetched_and_not_earlier() {
    // 20 % of 120 s is more than two fetches, two plans and a second.
    let until = |seconds| Some(NOW + seconds * SECOND);
    assert_eq!(step(&with_source(KeyState { fresh_until: until(24), ..real(CHART) })), Step::Refresh);
    assert_eq!(step(&with_source(KeyState { fresh_until: until(25), ..real(CHART) })), Step::Leave);
    let mut ends_in_a_tier = with_source(real(CHART));
    ends_in_a_tier.tiers[1] = Holding::Until(NOW + 20 * SECOND);
    assert_eq!(step(&ends_in_a_tier), Step::Refresh);
}

#[test]
fn a_slow_source_and_rare_plans_lengthen_the_lead() {
    let mut slow = with_source(KeyState { fresh_until: Some(NOW + 60 * SECOND), ..real(CHART) });
    slow.source.as_mut().expect("a source").cost = 30 * SECOND;
    assert_eq!(step(&slow), Step::Refresh);

    let soon = with_source(KeyState { fresh_until: Some(NOW + 60 * SECOND), ..real(CHART) });
    assert_eq!(step(&soon), Step::Leave);
    let mut seldom = ready();
    seldom.plan(NOW - 40 * SECOND, &[], 5);
    assert_eq!(ask(&mut seldom, NOW, &soon).step, Step::Refresh);
}

#[test]
fn a_value_is_fetched_again_after_its_interval_and_the_shorter_interval_counts() {
    let aged = |seconds| KeyState { produced_at: Some(NOW - seconds * SECOND), ..with_source(real(CHART)) };
    assert_eq!(step(&aged(119)), Step::Leave);
    assert_eq!(step(&aged(120)), Step::Refresh);
    assert_eq!(step(&KeyState { source: source(60), ..aged(60) }), Step::Refresh);
    assert_eq!(step(&KeyState { source: source(600), ..aged(119) }), Step::Leave);
}

#[test]
fn a_source_is_never_asked_before_its_time() {
    let mut state = with_source(missing(CHART));
    state.source.as_mut().expect("a source").not_before = NOW + 12 * SECOND;
    let action = ask(&mut ready(), NOW, &state);
    assert_eq!((action.step, next_in(&action, NOW)), (Step::Leave, Some(12)));
    assert_eq!(action.reason, "nothing is known of it; source `origin` may be asked in 12 s");
}

#[test]
fn what_is_fresh_says_for_how_long_and_when_it_is_looked_at_again() {
    let action = ask(&mut ready(), NOW, &KeyState { source: source(1000), ..real("any:key") });
    // 300 s of life less 20 % of the interval.
    assert_eq!((action.reason.as_str(), next_in(&action, NOW)), ("fresh for 5 min", Some(100)));
    let action = ask(&mut ready(), NOW, &with_source(real(CHART)));
    assert_eq!((action.reason.as_str(), next_in(&action, NOW)), ("fresh; its interval ends in 2 min", Some(120)));
}

// === back-off and other feedback ===

fn after(warmer: &mut Warmer, state: &KeyState, fate: Fate, failures: u32, later: Micros) -> Action {
    let now = NOW + later * SECOND;
    ask(warmer, now, &KeyState { last_attempt: attempt(Step::Refresh, NOW, fate), failures, ..state.clone() })
}

#[test]
fn failures_double_the_pause_up_to_its_bound() {
    let state = with_source(missing(CHART));
    for (failures, pause) in [(1, 5), (2, 10), (3, 20), (7, 300), (u32::MAX, 300)] {
        let mut warmer = ready();
        let before = after(&mut warmer, &state, Fate::Failed, failures, pause - 1);
        assert_eq!((before.step, next_in(&before, NOW)), (Step::Leave, Some(pause)), "{failures}");
        assert_eq!(after(&mut warmer, &state, Fate::Failed, failures, pause).step, Step::Refresh, "{failures}");
    }
    let action = after(&mut ready(), &state, Fate::Failed, 3, 8);
    assert_eq!(action.reason, "backing off after 3 failures, next in 12 s");
}

#[test]
fn a_promotion_that_works_does_not_end_the_pause_of_a_source_that_fails() {
    let mut warmer = ready();
    let mut state = with_source(KeyState { fresh_until: Some(NOW), in_memory: false, ..real(CHART) });
    state.last_attempt = attempt(Step::Refresh, NOW, Fate::Failed);
    state.failures = 4;
    assert_eq!(ask(&mut warmer, NOW + SECOND, &state).step, Step::Promote);
    state.last_attempt = attempt(Step::Promote, NOW + SECOND, Fate::Done);
    (state.failures, state.in_memory) = (0, true);
    let action = ask(&mut warmer, NOW + 2 * SECOND, &state);
    assert_eq!((action.step, next_in(&action, NOW)), (Step::Leave, Some(40)), "{action:?}");
}

#[test]
fn what_was_already_there_is_scheduled_by_its_own_expiry() {
    let mut warmer = ready();
    let state = with_source(KeyState { produced_at: Some(NOW - 200 * SECOND), ..real(CHART) });
    assert_eq!(ask(&mut warmer, NOW, &state).step, Step::Refresh);
    let action = after(&mut warmer, &state, Fate::AlreadyThere, 0, 1);
    assert_eq!(action.step, Step::Leave, "its interval starts again: {action:?}");
    let mut ends = state.clone();
    ends.tiers[0] = Holding::Until(NOW + 40 * SECOND);
    for later in 2..15 {
        warmer.plan(NOW + later * SECOND, &[], 5);
    }
    assert_eq!(after(&mut warmer, &ends, Fate::AlreadyThere, 0, 15).step, Step::Leave);
    assert_eq!(after(&mut warmer, &ends, Fate::AlreadyThere, 0, 16).step, Step::Refresh);
}

#[test]
fn what_was_refused_is_not_proposed_again_until_the_value_changes_or_a_long_pause_is_over() {
    let refused = |state: &KeyState, later, change: fn(&mut KeyState)| {
        let mut warmer = ready();
        let proposed = ask(&mut warmer, NOW, state);
        let mut state = KeyState { last_attempt: attempt(proposed.step, NOW, Fate::Refused), ..state.clone() };
        change(&mut state);
        (proposed.step, ask(&mut warmer, NOW + later * SECOND, &state).step)
    };
    let stuck = with_source(KeyState { kind: Some(Kind::Placeholder), in_memory: false, ..real(CHART) });
    let mut lost = KeyState { in_memory: false, ..real(CHART) };
    lost.tiers = vec![Holding::Absent, Holding::Until(NOW + 3600 * SECOND)];
    for (state, step) in [(&stuck, Step::Refresh), (&missing(TICKERS), Step::Placeholder), (&lost, Step::Promote)] {
        assert_eq!(refused(state, 299, |_| {}), (step, Step::Leave));
        assert_eq!(refused(state, 300, |_| {}), (step, step));
        assert_eq!(refused(state, 30, |state| state.version += 1), (step, step));
    }
    // Old data is another matter than fresh data.
    let routine = with_source(KeyState { produced_at: Some(NOW - 200 * SECOND), ..real(CHART) });
    assert_eq!(refused(&routine, 30, |_| {}), (Step::Refresh, Step::Leave));
    assert_eq!(
        refused(&routine, 30, |state| state.fresh_until = Some(NOW + 20 * SECOND)),
        (Step::Refresh, Step::Refresh)
    );
}

#[test]
fn what_was_over_the_budget_keeps_its_place_and_rises() {
    let mut warmer = ready();
    let state = with_source(missing("virtuoso:beta_chart:24h"));
    let first = ask(&mut warmer, NOW, &state);
    let waits = |at| KeyState { last_attempt: attempt(Step::Refresh, at, Fate::OverBudget), ..state.clone() };
    let second = ask(&mut warmer, NOW + 30 * SECOND, &waits(NOW));
    let third = ask(&mut warmer, NOW + 60 * SECOND, &waits(NOW + 30 * SECOND));
    assert_eq!([first.step, second.step, third.step], [Step::Refresh; 3]);
    assert_eq!((second.priority, third.priority), (first.priority + 40, first.priority + 80));
    // Once tried, it starts anew.
    let tried = KeyState { last_attempt: attempt(Step::Refresh, NOW + 60 * SECOND, Fate::Done), ..state };
    assert_eq!(ask(&mut warmer, NOW + 90 * SECOND, &tried).priority, first.priority);
}

// === promotion ===

#[test]
fn a_value_is_promoted_where_a_faster_tier_or_memory_lacks_it() {
    let until = Holding::Until(NOW + 60 * SECOND);
    let held = |in_memory, tiers: [Holding; 3]| KeyState { in_memory, tiers: tiers.to_vec(), ..real(CHART) };
    assert_eq!(step(&held(true, [Holding::Absent, until, until])), Step::Promote);
    assert_eq!(step(&held(true, [until, Holding::Absent, until])), Step::Promote);
    assert_eq!(step(&held(false, [until, until, until])), Step::Promote);
    assert_eq!(step(&held(false, [until, Holding::Absent, Holding::Absent])), Step::Promote);
    assert_eq!(step(&held(true, [until, until, until])), Step::Leave);
    // Nothing below has it, a tier that does not answer is not known to lack it, and what ends now is not worth a copy.
    assert_eq!(step(&held(true, [until, Holding::Absent, Holding::Absent])), Step::Leave);
    assert_eq!(step(&held(true, [Holding::Unknown, until, until])), Step::Leave);
    assert_eq!(step(&held(true, [Holding::Absent, Holding::Unknown, Holding::Until(NOW + SECOND)])), Step::Leave);
    assert_eq!(step(&KeyState { kind: Some(Kind::Placeholder), ..held(false, [until, until, until]) }), Step::Leave);
}

#[test]
fn at_start_everything_comes_up_from_the_slowest_tier_in_as_many_plans_as_the_budget_needs() {
    let mut host = Host::new(warmer(json!({})));
    host.plan_every = 1;
    let keys = warmer(json!({})).watches();
    for key in &keys {
        host.write(1, key, "[]", 300);
    }
    host.run(3, |_| {});
    for key in &keys {
        assert!(host.has(0, key) && host.memory.contains_key(key), "{key}");
        assert_eq!(host.times(key, Step::Promote).len(), 1, "{key}");
    }
}

#[test]
fn memory_that_drops_a_value_does_not_make_the_warmer_bring_it_up_again_and_again() {
    let mut host = Host::new(warmer(json!({})));
    host.plan_every = 1;
    host.write(1, CHART, "[]", 3600);
    host.run(600, |host| host.memory.clear());
    assert_eq!(host.times(CHART, Step::Promote), [0, 300]);
}

#[test]
fn a_promotion_that_failed_is_tried_again_soon() {
    let lost = KeyState { in_memory: false, ..real(CHART) };
    let mut warmer = ready();
    assert_eq!(ask(&mut warmer, NOW, &lost).step, Step::Promote);
    let failed = KeyState { last_attempt: attempt(Step::Promote, NOW, Fate::Failed), failures: 1, ..lost };
    let action = ask(&mut warmer, NOW + SECOND, &failed);
    assert_eq!((action.step, action.reason.as_str()), (Step::Leave, "a promotion did not help, next in 4 s"));
    assert_eq!(ask(&mut warmer, NOW + 5 * SECOND, &failed).step, Step::Promote);
}

#[test]
fn a_promotion_that_leaves_the_tier_empty_counts_as_failed() {
    let mut host = Host::new(warmer(json!({})));
    host.plan_every = 1;
    host.write(1, CHART, "too large for the faster tier", 3600);
    host.run(400, |host| host.tiers[0].held.clear());
    assert_eq!(host.times(CHART, Step::Promote), [0, 5, 15, 35, 75, 155, 315]);
}

#[test]
fn what_expires_is_fetched_before_it_is_promoted_and_what_is_merely_due_after() {
    let lacking = KeyState { in_memory: false, ..with_source(real(CHART)) };
    assert_eq!(step(&KeyState { fresh_until: Some(NOW + 5 * SECOND), ..lacking.clone() }), Step::Refresh);
    assert_eq!(step(&KeyState { produced_at: Some(NOW - 200 * SECOND), ..lacking }), Step::Promote);
}

// === placeholders ===

#[test]
fn a_placeholder_is_put_only_where_nothing_is() {
    let action = ask(&mut ready(), NOW, &missing(TICKERS));
    assert_eq!((action.step, next_in(&action, NOW)), (Step::Placeholder, Some(30)));
    assert_eq!(step(&missing(CHART)), Step::Leave, "this task has none");
    assert_eq!(step(&missing("any:key")), Step::Leave, "no task");
    assert_eq!(step(&KeyState { in_memory: true, ..missing(TICKERS) }), Step::Leave);
    assert_eq!(step(&KeyState { tiers: vec![Holding::Absent, Holding::Unknown], ..missing(TICKERS) }), Step::Leave);
    assert_eq!(step(&KeyState { tiers: vec![Holding::Until(0), Holding::Absent], ..missing(TICKERS) }), Step::Leave);
    assert_eq!(step(&KeyState { kind: Some(Kind::Placeholder), ..missing(TICKERS) }), Step::Leave);
}

#[test]
fn a_source_comes_before_a_placeholder_until_it_has_failed() {
    let mut warmer = ready();
    let state = with_source(missing(TICKERS));
    assert_eq!(ask(&mut warmer, NOW, &state).step, Step::Refresh);
    let mut early = state.clone();
    early.source.as_mut().expect("a source").not_before = NOW + 60 * SECOND;
    assert_eq!(ask(&mut warmer, NOW, &early).step, Step::Leave);
    assert_eq!(after(&mut warmer, &state, Fate::Failed, 1, 1).step, Step::Placeholder);
}

#[test]
fn placeholders_of_a_key_are_at_least_thirty_seconds_apart() {
    // Something takes each placeholder away at once.
    let mut host = Host::new(warmer(json!({})));
    host.plan_every = 1;
    host.run(121, |host| host.tiers.iter_mut().for_each(|tier| tier.held.clear()));
    assert_eq!(host.times(TICKERS, Step::Placeholder), [0, 30, 60, 90, 120]);
}

#[test]
fn an_attempt_left_in_the_future_by_a_clock_set_back_does_not_hide_the_placeholder_that_was_just_put() {
    let mut warmer = ready();
    let ahead = KeyState { last_attempt: attempt(Step::Placeholder, NOW + 7 * SECOND, Fate::Done), ..missing(TICKERS) };
    assert_eq!(ask(&mut warmer, NOW, &ahead).step, Step::Placeholder);
    assert_eq!(ask(&mut warmer, NOW + SECOND, &missing(TICKERS)).step, Step::Leave);
}

#[test]
fn a_placeholder_lives_its_life_and_is_replaced_when_it_is_gone() {
    let mut host = Host::new(warmer(json!({})));
    host.plan_every = 1;
    host.run(95, |_| {});
    assert_eq!(host.times(TICKERS, Step::Placeholder), [0, 30, 60, 90]);
    host.write(1, TICKERS, "[]", 3600);
    host.run(60, |_| {});
    assert_eq!(host.times(TICKERS, Step::Placeholder), [0, 30, 60, 90]);
}

// === keys of nobody's table ===

#[test]
fn a_key_that_is_read_is_kept_warm_without_a_task_and_one_that_is_not_is_left() {
    let mut warmer = ready();
    let mut lost = KeyState { in_memory: false, ..real("any:key") };
    assert_eq!(ask(&mut warmer, NOW, &lost).reason, "not read, and no task");
    lost.hits = 10;
    assert_eq!(ask(&mut warmer, NOW, &lost).step, Step::Promote);
    // The reads lose their weight.
    lost.hits = 0;
    let later = ask(&mut warmer, NOW + 7200 * SECOND, &KeyState { tiers: vec![Holding::Until(Micros::MAX)], ..lost });
    assert_eq!(later.step, Step::Leave);
}

#[test]
fn a_source_without_a_task_is_asked_at_its_own_interval_and_after_the_table_unless_it_is_read() {
    let mut warmer = ready();
    let quiet = with_source(missing("any:quiet"));
    let read = KeyState { misses: 50, ..with_source(missing("any:read")) };
    let task = with_source(missing("market:breadth"));
    let actions = warmer.plan(NOW, &[quiet, task, read], 3);
    assert_eq!(
        actions.iter().map(|action| &*action.key).collect::<Vec<_>>(),
        ["any:read", "market:breadth", "any:quiet"]
    );

    let mut host = Host::new(support::warmer(json!({"tasks": []}))).origin("any:quiet", Origin::every(60));
    host.plan_every = 1;
    host.run(301, |_| {});
    assert_eq!(host.times("any:quiet", Step::Refresh), [0, 60, 120, 180, 240, 300]);
}

#[test]
fn misses_without_a_source_are_named() {
    let action = ask(&mut ready(), NOW, &KeyState { misses: 12, ..missing("any:key") });
    assert_eq!(
        (action.step, action.reason.as_str()),
        (Step::Leave, "12 reads found nothing, and no source can bring it")
    );
}

// === the order ===

#[test]
fn within_a_class_what_is_read_more_and_what_costs_more_goes_first() {
    let order = |states: &[KeyState]| -> Vec<String> {
        ready().plan(NOW, states, 9).into_iter().map(|action| action.key).collect()
    };
    let [h1, h8, h12] = ["1h", "8h", "12h"].map(|hours| with_source(missing(&format!("virtuoso:beta_chart:{hours}"))));
    let keys = [&h1, &h8, &h12].map(|state| state.key.clone());
    let read = [h1.clone(), KeyState { misses: 300, ..h8.clone() }, KeyState { misses: 5000, ..h12.clone() }];
    assert_eq!(order(&read), [keys[2].clone(), keys[1].clone(), keys[0].clone()]);
    let mut costly = [h1, h8, h12].map(|state| KeyState { misses: 100, ..state });
    costly[1].source.as_mut().expect("a source").cost = 20 * SECOND;
    assert_eq!(order(&costly)[0], keys[1]);
}

#[test]
fn a_task_that_fails_yields_its_place_to_a_lower_class() {
    let mut warmer = ready();
    let mut failing = with_source(missing("virtuoso:beta_chart:4h"));
    let healthy = with_source(missing("market:btc_dominance"));
    let first = |warmer: &mut Warmer, now, failing: &KeyState| {
        warmer.plan(now, &[failing.clone(), healthy.clone()], 1)[0].key.clone()
    };
    assert_eq!(first(&mut warmer, NOW, &failing), failing.key);
    (failing.last_attempt, failing.failures) = (attempt(Step::Refresh, NOW, Fate::Failed), 4);
    // Its pause is over, and both are due.
    assert_eq!(first(&mut ready(), NOW + 100 * SECOND, &failing), healthy.key);
}

#[test]
fn with_one_place_and_all_due_everything_gets_its_turn() {
    // So many that all reach the greatest priority, where only the wait decides.
    let mut host = Host::new(warmer(json!({"tasks": []})));
    (host.budget, host.plan_every) = (1, 1);
    let keys: Vec<String> = (0..250).map(|n| format!("k:{n:03}")).collect();
    for key in &keys {
        host = host.origin(key, Origin::every(1).living(3));
    }
    host.run(800, |_| {});
    for key in &keys {
        let times = host.times(key, Step::Refresh);
        assert!(times.len() >= 3, "{key}: {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 260), "{key}: {times:?}");
    }
}

#[test]
fn a_low_class_under_a_flood_of_high_ones_waits_and_is_served() {
    let mut tasks: Vec<_> =
        (0..9).map(|n| json!({"key": format!("high:{n}"), "priority": 1, "interval_seconds": 1})).collect();
    tasks.push(json!({"key": "low", "priority": 5, "interval_seconds": 1}));
    let mut host = Host::new(warmer(json!({ "tasks": tasks })));
    (host.budget, host.plan_every) = (1, 5);
    for key in (0..9).map(|n| format!("high:{n}")).chain(["low".to_owned()]) {
        host = host.origin(&key, Origin::every(1));
    }
    host.run(1800, |host| host.tiers.iter_mut().for_each(|tier| tier.held.clear()));
    let times = host.times("low", Step::Refresh);
    assert!(times.len() >= 6 && times.windows(2).all(|pair| pair[1] - pair[0] <= 300), "{times:?}");
}

#[test]
fn what_stands_behind_the_budget_is_told_its_number() {
    let states: Vec<KeyState> = ["a", "b", "c"].map(|key| with_source(missing(key))).to_vec();
    let actions = ready().plan(NOW, &states, 2);
    assert_eq!(actions[2].reason, "nothing is known of it; number 3 for 2 places");
    assert!(!actions[1].reason.contains("number"));
}

// === state ===

#[test]
fn the_same_state_and_arguments_give_the_same_answer_also_after_save_and_restore() {
    let mut host = Host::new(warmer(json!({}))).origin(CHART, Origin::every(60).failing());
    host.write(1, "market:movers", "[]", 300);
    host.run(200, |host| host.read(TICKERS, 7));

    let mut original = ready();
    let states = [with_source(missing(CHART)), KeyState { hits: 7, ..real(TICKERS) }, missing("market:breadth")];
    original.plan(NOW, &states, 1);
    let failed = KeyState { last_attempt: attempt(Step::Refresh, NOW, Fate::Failed), failures: 1, ..states[0].clone() };
    original.plan(NOW + SECOND, &[failed], 1);
    let saved = original.save().expect("state");
    let mut copy = warmer(json!({}));
    copy.restore(&saved).expect("its own state");
    for second in 2..40 {
        let now = NOW + second * SECOND;
        assert_eq!(original.plan(now, &states, 2), copy.plan(now, &states, 2), "second {second}");
        assert_eq!(original.save(), copy.save(), "second {second}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_the_state_is_as_before() {
    let mut warmer = ready();
    warmer.plan(NOW, &[with_source(missing(CHART))], 5);
    let before = warmer.save().expect("state");
    let mut later: serde_json::Value = serde_json::from_slice(&before).expect("JSON");
    later["format"] = json!(2);
    let mut wrong: serde_json::Value = serde_json::from_slice(&before).expect("JSON");
    wrong["keys"][CHART]["reads"] = json!(-1.0);
    let (later, wrong) = (later.to_string(), wrong.to_string());
    let told = |saved: &[u8], warmer: &mut Warmer| warmer.restore(saved).expect_err("it must be refused").to_string();
    assert!(told(later.as_bytes(), &mut warmer).contains("format 2 is not known"));
    assert!(told(wrong.as_bytes(), &mut warmer).contains("-1 reads per second"));
    for garbage in [&b""[..], b"{}", b"null", b"\xff\xfe", b"{\"format\":1}", &before[..before.len() / 2]] {
        assert!(told(garbage, &mut warmer).contains("saved state of the warmer"));
    }
    assert_eq!(warmer.save().expect("state"), before);
}
