//! What the warmer puts is what its readers expect, and nothing in it can be taken for data.

mod support;

use serde_json::{Value, json};
use support::{NOW, ask, missing, warmer};
use tiergate_codecs::Kind;
use tiergate_warmer::Step;

/// The keys that have a placeholder by default.
const KEYS: [&str; 4] = ["analysis:market_regime", "market:breadth", "market:btc_dominance", "market:tickers"];

fn placeholder(config: Value, key: &str) -> Vec<u8> {
    let action = ask(&mut warmer(config), NOW, &missing(key));
    assert_eq!(action.step, Step::Placeholder, "{key}: {}", action.reason);
    action.body
}

fn recorded(key: &str) -> Value {
    let path = format!("{}/../../tests/fixtures/warmer/{key}.json", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn each_is_accepted_by_its_codec_without_a_repair_and_known_for_a_placeholder() {
    for key in KEYS {
        let body = placeholder(json!({}), key);
        let decoded = tiergate_codecs::decode(key, &body, 0).unwrap_or_else(|refused| panic!("{key}: {refused:?}"));
        assert_eq!(
            (decoded.kind, decoded.produced_at, decoded.repairs),
            (Kind::Placeholder, Some(NOW), vec![]),
            "{key}"
        );
    }
}

#[test]
fn without_its_mark_it_is_still_no_data() {
    for key in KEYS {
        let mut document: Value = serde_json::from_slice(&placeholder(json!({}), key)).expect("JSON");
        document.as_object_mut().expect("an object").remove("status");
        let decoded = tiergate_codecs::decode(key, document.to_string().as_bytes(), 0);
        assert_eq!(decoded.map(|decoded| decoded.kind), Ok(Kind::Placeholder), "{key}");
    }
}

#[test]
fn each_has_the_fields_and_types_of_the_recorded_one_and_none_of_its_made_up_numbers() {
    for key in KEYS {
        let (ours, theirs): (Value, Value) =
            (serde_json::from_slice(&placeholder(json!({}), key)).expect("JSON"), recorded(key));
        let (ours, theirs) = (ours.as_object().expect("an object"), theirs.as_object().expect("an object"));
        assert!(ours.keys().eq(theirs.keys()), "{key}");
        for (name, value) in ours.iter().filter(|(name, _)| *name != "last_updated") {
            assert_eq!(std::mem::discriminant(value), std::mem::discriminant(&theirs[name]), "{key}.{name}");
            assert!(value.as_f64().is_none_or(|number| number == 0.0), "{key}.{name} is {value}");
        }
        assert_eq!(ours["status"], "cache_warmer_generated");
        assert_eq!(
            (&ours["last_updated"], &ours["datetime"]),
            (&json!(1_795_373_000.0), &json!("2026-11-22T18:43:20.000000+00:00"))
        );
    }
}

#[test]
fn nothing_else_of_the_table_has_one() {
    let mut warmer = warmer(json!({}));
    for key in warmer.watches() {
        let step = ask(&mut warmer, NOW, &missing(&key)).step;
        assert_eq!(step == Step::Placeholder, KEYS.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn the_operators_own_gets_the_time_and_the_mark() {
    let task = json!({"key": "my:key", "priority": 3, "interval_seconds": 60, "placeholder": {"items": []}});
    let document: Value = serde_json::from_slice(&placeholder(json!({"tasks": [task]}), "my:key")).expect("JSON");
    let expected = json!({
        "items": [], "last_updated": 1_795_373_000.0, "datetime": "2026-11-22T18:43:20.000000+00:00",
        "status": "cache_warmer_generated",
    });
    assert_eq!(document, expected);
}
