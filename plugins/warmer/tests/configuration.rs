//! The operator's document: what it can say, and how it is told what is wrong.

mod support;

use serde_json::{Value, json};
use support::{NOW, SECOND, ask, attempt, missing, source, warmer};
use tiergate_warmer::{Fate, KeyState, Step, Warmer};

fn refusal(config: &Value) -> String {
    Warmer::new(config.to_string().as_bytes()).expect_err("it must be refused").to_string()
}

fn task(change: Value) -> Value {
    let mut task = json!({"key": "my:key", "priority": 3, "interval_seconds": 60});
    for (name, value) in change.as_object().expect("an object") {
        task[name] = value.clone();
    }
    task
}

#[test]
fn an_empty_document_gives_the_table_of_the_dashboard() {
    let watches = warmer(json!({})).watches();
    assert_eq!(watches.len(), 12);
    for key in ["market:overview", "analysis:signals", "market:btc_dominance", "virtuoso:beta_chart:24h"] {
        assert!(watches.iter().any(|watched| watched == key), "{key}");
    }
}

#[test]
fn tasks_that_are_given_replace_the_table() {
    assert_eq!(warmer(json!({"tasks": [task(json!({}))]})).watches(), ["my:key"]);
    assert!(warmer(json!({"tasks": []})).watches().is_empty());
}

#[test]
fn the_pauses_are_the_operators() {
    let mut warmer = warmer(json!({"backoff_seconds": 7, "backoff_max_seconds": 11, "tasks": [task(json!({}))]}));
    let failed = |failures| KeyState {
        source: source(60),
        last_attempt: attempt(Step::Refresh, NOW, Fate::Failed),
        failures,
        ..missing("my:key")
    };
    assert_eq!(ask(&mut warmer, NOW, &failed(1)).next_at, Some(NOW + 7 * SECOND));
    let last = KeyState { last_attempt: attempt(Step::Refresh, NOW + SECOND, Fate::Failed), ..failed(2) };
    assert_eq!(ask(&mut warmer, NOW + SECOND, &last).next_at, Some(NOW + 12 * SECOND));
}

#[test]
fn what_is_wrong_is_named() {
    let of_task = |change| json!({"tasks": [task(json!({})), task(change)]});
    let cases = [
        (json!({"lead": 1}), "unknown field `lead`, expected one of `tasks`, `lead_ratio`"),
        (json!([]), "it must be a JSON object"),
        (json!({"lead_ratio": 1.5}), "`lead_ratio` is 1.5; it is a share from 0 to 1"),
        (json!({"backoff_seconds": 0}), "`backoff_seconds` is 0; it lies between 1 and 86400"),
        (json!({"backoff_seconds": "5s"}), "`backoff_seconds`: invalid type"),
        (json!({"backoff_seconds": 20, "backoff_max_seconds": 10}), "`backoff_max_seconds` (10) must not be below"),
        (json!({"backoff_max_seconds": 86_401}), "`backoff_max_seconds` is 86401"),
        (json!({"placeholder_pause_seconds": 0}), "`placeholder_pause_seconds` is 0"),
        (json!({"half_life_seconds": 0}), "`half_life_seconds` is 0"),
        (json!({"keys_max": 11}), "`keys_max` is 11; it lies between the number of tasks (12) and 10000"),
        (json!({"keys_max": 10_001}), "`keys_max` is 10001"),
        (of_task(json!({"key": "other", "every": 3})), "`tasks[1].every`: unknown field `every`"),
        (
            of_task(json!({"key": "two words"})),
            "`tasks[1].key` is \"two words\"; a key is 1 to 250 printable ASCII bytes",
        ),
        (of_task(json!({})), "`tasks[1].key`: `my:key` is given twice"),
        (
            of_task(json!({"key": "b", "priority": 6})),
            "`tasks[1].priority` is 6; the classes are 1, which goes first, to 5",
        ),
        (of_task(json!({"key": "b", "interval_seconds": 0})), "`tasks[1].interval_seconds` is 0"),
        (
            of_task(json!({"key": "b", "placeholder": true})),
            "`tasks[1].placeholder` is true, and `b` has none of its own",
        ),
        (of_task(json!({"key": "b", "placeholder": "x"})), "`tasks[1].placeholder`: true, false, or the object to put"),
        (of_task(json!({"key": "b", "placeholder": {"status": 1}})), "`tasks[1].placeholder` has a `status`"),
    ];
    for (config, part) in cases {
        let told = refusal(&config);
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
    let told = Warmer::new(b"{} {}").expect_err("two documents").to_string();
    assert!(told.contains("trailing characters"), "{told}");
}
