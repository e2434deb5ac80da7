//! What the documents' timestamp says, by which a cache tells a newer document from an older one.

#[path = "support/market.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod market;

use market::{NOW, SECOND, aggregator, document, ingest, published};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tiergate_aggregator::{Aggregator, Signal};

/// A record made at `at`.
fn made(symbol: &str, score: u32, at: u64) -> Value {
    json!({"symbol": symbol, "score": score, "price": 1, "change_24h": 1, "timestamp": at as f64 / SECOND as f64})
}

/// The one timestamp of all that is published.
fn stamp(aggregator: &mut Aggregator, now: u64) -> Option<u64> {
    stamp_of(&published(aggregator, now))
}

fn stamp_of(documents: &Map<String, Value>) -> Option<u64> {
    let stamp = |document: &Value| (document["timestamp"].as_f64().expect("seconds") * 1e6).round() as u64;
    let stamps: Vec<u64> = documents.values().map(stamp).collect();
    assert!(stamps.windows(2).all(|two| two[0] == two[1]), "{stamps:?}");
    stamps.first().copied()
}

fn restored(config: Value, saved: &[u8]) -> Aggregator {
    let mut copy = aggregator(config);
    copy.restore(saved).expect("a saved state");
    copy
}

#[test]
fn documents_of_signals_of_one_moment_that_are_made_one_after_the_other_have_growing_timestamps() {
    let mut aggregator = aggregator(json!({}));
    let records = [made("A", 50, NOW), made("B", 50, NOW), made("A", 51, NOW), made("C", 50, NOW - 5 * SECOND)];
    for (step, record) in (0..).zip(records) {
        ingest(&mut aggregator, NOW + step, &[record]);
        assert_eq!(stamp(&mut aggregator, NOW + step), Some(NOW + step));
    }
    // A newer signal says how new they are, whatever came before it.
    ingest(&mut aggregator, NOW + SECOND, &[made("B", 50, NOW + SECOND)]);
    assert_eq!(stamp(&mut aggregator, NOW + SECOND), Some(NOW + SECOND));
}

#[test]
fn the_timestamp_does_not_depend_on_batches_nor_on_how_often_documents_are_asked_for() {
    let records: Vec<Value> = (0..9).map(|n| made(&format!("S{n}"), 50, NOW - n % 3)).collect();
    let (mut together, mut apart) = (aggregator(json!({})), aggregator(json!({})));
    ingest(&mut together, NOW, &records);
    for (step, record) in (0..).zip(&records) {
        ingest(&mut apart, NOW, &[]);
        apart.ingest(NOW, vec![Signal { seq: NOW + step, received_at: NOW, body: record.to_string().into_bytes() }]);
        assert_eq!(stamp(&mut apart, NOW), Some(NOW + step));
    }
    assert_eq!(stamp(&mut together, NOW), Some(NOW + 8));
}

#[test]
fn what_others_know_moves_the_timestamp_by_a_microsecond_when_it_changes() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[made("A", 50, NOW)]);
    stamp(&mut aggregator, NOW);
    let dominance = |value: f64| {
        let mut document = document("market:btc_dominance", &json!({"dominance": value}));
        document.produced_at = NOW + SECOND;
        document
    };
    for (step, value) in (1..).zip([57.0, 58.0]) {
        for times in 0..3 {
            aggregator.observe(&[dominance(value), document("market:tickers", &json!({"A": {"price": value}}))]);
            let published = stamp(&mut aggregator, NOW + SECOND);
            assert_eq!(published, (times == 0).then_some(NOW + step), "{value} for the {times}th time");
        }
    }
}

#[test]
fn a_signal_that_is_refused_does_not_move_the_timestamp() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[made("A", 50, NOW)]);
    stamp(&mut aggregator, NOW);
    let before = aggregator.save().expect("state");
    let refused = [json!({"symbol": "A"}), json!({"score": 5}), json!([]), made("B", 101, NOW)];
    assert_eq!(ingest(&mut aggregator, NOW + 1, &refused).len(), refused.len());
    assert_eq!(aggregator.save().expect("state"), before);
    ingest(&mut aggregator, NOW + 2, &[made("B", 50, NOW)]);
    assert_eq!(stamp(&mut aggregator, NOW + 2), Some(NOW + 1));
}

#[test]
fn versions_of_other_rules_come_to_the_same_timestamps_for_the_same_signals() {
    let mut both = [aggregator(json!({"dedupe": "newest"})), aggregator(json!({"dedupe": "highest"}))];
    let records = [made("A", 50, NOW), made("B", 50, NOW), made("A", 40, NOW + SECOND), made("B", 60, NOW - SECOND)];
    for one in &mut both {
        ingest(one, NOW, &records);
    }
    let [newest, highest] = both.each_mut().map(|one| published(one, NOW));
    assert_ne!(newest, highest);
    assert_eq!((stamp_of(&newest), stamp_of(&highest)), (Some(NOW + SECOND + 1), Some(NOW + SECOND + 1)));
}

#[test]
fn a_timestamp_that_moved_is_no_reason_to_publish() {
    let mut aggregator = aggregator(json!({}));
    for step in 0..3 {
        ingest(&mut aggregator, NOW + step, &[made("A", 50, NOW)]);
        assert_eq!(stamp(&mut aggregator, NOW + step), (step == 0).then_some(NOW));
    }
    ingest(&mut aggregator, NOW + 3, &[made("A", 51, NOW)]);
    let documents = published(&mut aggregator, NOW + 3);
    assert_eq!(documents.keys().collect::<Vec<_>>(), ["analysis:signals"], "the market is as it was");
    assert_eq!(stamp_of(&documents), Some(NOW + 3));
}

#[test]
fn one_that_was_saved_and_restored_in_between_goes_on_with_the_same_timestamps() {
    let mut original = aggregator(json!({}));
    ingest(&mut original, NOW, &[made("A", 50, NOW), made("B", 50, NOW)]);
    original.observe(&[document("market:btc_dominance", &json!({"dominance": 57}))]);
    original.documents(NOW).expect("documents");
    ingest(&mut original, NOW + 5, &[made("C", 50, NOW)]);
    let saved = original.save().expect("state");
    let mut copy = restored(json!({}), &saved);
    assert_eq!(copy.save().expect("state"), saved);
    for (step, symbol) in (6..).zip(["D", "A", "D"]) {
        for one in [&mut original, &mut copy] {
            ingest(one, NOW + step, &[made(symbol, step as u32, NOW)]);
        }
        let documents = original.documents(NOW + step).expect("documents");
        assert!(!documents.is_empty());
        assert_eq!(copy.documents(NOW + step), Ok(documents));
    }
    assert_eq!(copy.save(), original.save());
}

#[test]
fn a_state_that_was_saved_before_there_was_a_stamp_goes_on_from_the_newest_record() {
    let mut old = aggregator(json!({}));
    ingest(&mut old, NOW, &[made("A", 50, NOW - SECOND), made("B", 50, NOW), made("C", 50, NOW - SECOND)]);
    old.documents(NOW).expect("documents");
    let mut state: Map<String, Value> = serde_json::from_slice(&old.save().expect("state")).expect("an object");
    assert_eq!(state.remove("stamp"), Some(json!(NOW + 1)));
    let mut new = restored(json!({}), &serde_json::to_vec(&state).expect("JSON"));
    let again = new.save().expect("state");
    assert_eq!(restored(json!({}), &again).save(), Ok(again));
    ingest(&mut new, NOW, &[made("D", 50, NOW)]);
    assert_eq!(stamp(&mut new, NOW), Some(NOW + 1));
}

#[test]
fn the_timestamp_does_not_go_back_when_the_newest_record_is_forgotten() {
    let config = json!({"symbols_max": 2});
    let mut first = aggregator(config.clone());
    // The producer's clock is as far ahead as is believed.
    ingest(&mut first, NOW, &[made("A", 50, NOW + SECOND), made("B", 50, NOW)]);
    assert_eq!(stamp(&mut first, NOW), Some(NOW + SECOND + 1));
    ingest(&mut first, NOW + 2, &[made("C", 50, NOW)]);
    assert_eq!(stamp(&mut first, NOW + 2), Some(NOW + SECOND + 2));
    let mut second = restored(config, &first.save().expect("state"));
    ingest(&mut second, NOW + 3, &[made("B", 51, NOW)]);
    assert_eq!(stamp(&mut second, NOW + 3), Some(NOW + SECOND + 3));
}

#[test]
fn the_timestamp_does_not_go_back_when_a_higher_score_of_an_earlier_moment_takes_the_newest_ones_place() {
    let mut aggregator = aggregator(json!({"dedupe": "highest"}));
    ingest(&mut aggregator, NOW, &[made("A", 50, NOW)]);
    assert_eq!(stamp(&mut aggregator, NOW), Some(NOW));
    ingest(&mut aggregator, NOW + 1, &[made("A", 80, NOW - 500 * SECOND)]);
    let documents = published(&mut aggregator, NOW + 1);
    assert_eq!(documents["analysis:signals"]["signals"][0]["confluence_score"], 80.0);
    assert_eq!(stamp_of(&documents), Some(NOW + 1));
}

/// A step of a history; each comes some seconds after the one before.
#[derive(Clone, Debug)]
enum Step {
    /// A record of one of few symbols, made some seconds ago or ahead.
    Ingest { symbol: usize, score: u32, age: i64 },
    /// What another producer knows.
    Observe(u32),
    /// The state goes to another instance.
    Restore,
}

fn any_step() -> impl Strategy<Value = Step> {
    let age = prop::sample::select(vec![-2, -1, 0, 0, 0, 3, 599, 700]);
    prop_oneof![
        6 => (0..4_usize, 49..52_u32, age).prop_map(|(symbol, score, age)| Step::Ingest { symbol, score, age }),
        1 => (56..58_u32).prop_map(Step::Observe),
        1 => Just(Step::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_all_that_is_published_the_later_is_the_newer(
        steps in prop::collection::vec((any_step(), prop::sample::select(vec![0, 0, 0, 1, 60, 300]), any::<bool>()), 1..40),
        highest in any::<bool>(),
    ) {
        let config = json!({"symbols_max": 3, "dedupe": if highest { "highest" } else { "newest" }});
        let mut one = aggregator(config.clone());
        let (mut now, mut last) = (NOW, 0);
        for (at, (step, later, asked)) in (0..).zip(steps) {
            now += later * SECOND;
            match step {
                Step::Ingest { symbol, score, age } => {
                    let made = now.saturating_add_signed(-age * SECOND as i64);
                    let body = self::made(&format!("S{symbol}"), score, made).to_string().into_bytes();
                    one.ingest(now, vec![Signal { seq: at, received_at: now, body }]);
                }
                Step::Observe(value) => {
                    let mut known = document("market:btc_dominance", &json!({"dominance": value}));
                    known.produced_at = now;
                    one.observe(&[known]);
                }
                Step::Restore => one = restored(config.clone(), &one.save().expect("state")),
            }
            let documents = if asked { published(&mut one, now) } else { Map::new() };
            if let Some(stamp) = stamp_of(&documents) {
                prop_assert!(stamp > last, "{} after {}", stamp, last);
                prop_assert!(stamp <= now + SECOND + at, "{} at {}", stamp, now);
                let records = documents.get("analysis:signals").and_then(|signals| signals["signals"].as_array());
                let of = |record: &Value| (record["timestamp"].as_f64().expect("seconds") * 1e6).round() as u64;
                prop_assert!(records.into_iter().flatten().all(|record| of(record) <= stamp));
                last = stamp;
            }
        }
    }
}
