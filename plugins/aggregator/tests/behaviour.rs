//! What holds for any input: order, repetition, saved state, configuration, and hostile bytes.

#[path = "support/market.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod market;

use market::{NOW, SECOND, aggregator, captured, document, ingest, published, view};
use proptest::prelude::*;
use serde_json::{Value, json};
use tiergate_aggregator::{Aggregator, Document, Freshness, Kind, Signal, ViewRequest};

fn some_signals() -> Vec<Value> {
    let signal = |index: usize| {
        json!({
            "symbol": format!("S{index}USDT"), "confluence_score": (index * 37 % 101) as f64 + 0.25 * (index % 3) as f64,
            "price": 1.1 + index as f64, "change_24h": (index as f64 * 1.7) % 9.0 - 4.0, "volume_24h": 10.5 * index as f64,
            "reliability": (index % 10) as f64 / 10.0, "note": "kept",
        })
    };
    (0..40)
        .map(signal)
        .map(|mut signal| {
            if signal["confluence_score"].as_f64() > Some(100.0) {
                signal["confluence_score"] = json!(100);
            }
            signal
        })
        .collect()
}

#[test]
fn the_analyzers_nested_form_is_read_like_the_flat_one() {
    let mut aggregator = aggregator(json!({}));
    let nested = json!({
        "symbol": "btc-usdt", "confluence_score": 61, "signal_id": "12ab34cd",
        "market_data": {
            "ticker": {"last": "95000.5", "percentage": -0.7, "baseVolume": 10, "quoteVolume": 950_000, "high": 96000, "low": 94000},
            "ohlcv": [[1, 2, 3, 4, 5, 6]],
        },
    });
    let candles =
        json!({"symbol": "eth/usdt", "confluence_score": 50, "market_data": {"ohlcv": [[1, 2, 3, 4, 3100, 6]]}});
    assert_eq!(ingest(&mut aggregator, NOW, &[nested, candles]), []);
    let documents = published(&mut aggregator, NOW);
    let signals = &documents["analysis:signals"]["signals"];
    let btc = market::record(signals, "BTCUSDT");
    assert_eq!(
        (&btc["price"], &btc["change_24h"], &btc["turnover_24h"]),
        (&json!(95000.5), &json!(-0.7), &json!(950_000.0))
    );
    assert_eq!((&btc["signal_id"], btc.get("market_data")), (&json!("12ab34cd"), None));
    assert_eq!(market::record(signals, "ETHUSDT")["price"], 3100.0);
}

#[test]
fn a_timestamp_may_be_in_seconds_or_milliseconds_and_not_in_the_future() {
    let mut aggregator = aggregator(json!({}));
    let now = NOW / SECOND;
    let with = |symbol: &str, at: u64| json!({"symbol": symbol, "score": 50, "timestamp": at});
    let records = [with("A", now - 5), with("B", (now - 5) * 1000), with("C", now + 1), with("D", now + 60)];
    ingest(&mut aggregator, NOW, &records);
    let documents = published(&mut aggregator, NOW);
    let at = |symbol| market::record(&documents["analysis:signals"]["signals"], symbol)["timestamp"].as_f64();
    let expected = [now - 5, now - 5, now + 1, now].map(|at| Some(at as f64));
    assert_eq!(["A", "B", "C", "D"].map(at), expected);
    // D was taken after C, which is the newest: a microsecond more.
    assert_eq!(documents["market:overview"]["timestamp"], (NOW + SECOND + 1) as f64 / SECOND as f64);
}

#[test]
fn a_document_begins_and_ends_as_the_schema_says() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &some_signals());
    for document in aggregator.documents(NOW).expect("documents") {
        let text = String::from_utf8(document.body).expect("UTF-8");
        assert!(text.starts_with(r#"{"timestamp":1795373000.000039,"version":"1.0","#), "{text}");
        let tail = format!(r#""__schema_version":"1.0","__cache_key":"{}"}}"#, document.key);
        assert!(text.ends_with(&tail), "{text}");
        assert_eq!(document.ttl_seconds, 300);
    }
}

#[test]
fn signals_of_independent_symbols_may_come_in_any_order() {
    let mut signals = some_signals();
    let (mut there, mut back) = (aggregator(json!({})), aggregator(json!({})));
    ingest(&mut there, NOW, &signals);
    signals.reverse();
    ingest(&mut back, NOW, &signals);
    assert_eq!(there.documents(NOW), back.documents(NOW));
}

#[test]
fn a_signal_that_comes_twice_counts_once_and_is_published_once() {
    let mut aggregator = aggregator(json!({}));
    let signal = [json!({"symbol": "A", "score": 50, "timestamp": NOW / SECOND})];
    ingest(&mut aggregator, NOW, &signal);
    assert_eq!(published(&mut aggregator, NOW)["analysis:signals"]["total_signals"], 1);
    ingest(&mut aggregator, NOW + SECOND, &signal);
    assert!(published(&mut aggregator, NOW + SECOND).is_empty());
}

#[test]
fn the_history_holds_the_last_24_changes_of_the_score() {
    let mut aggregator = aggregator(json!({}));
    let signals: Vec<Value> = (0..60).map(|step| json!({"symbol": "A", "score": f64::from(step / 2) + 0.04})).collect();
    ingest(&mut aggregator, NOW, &signals);
    let documents = published(&mut aggregator, NOW);
    let history = documents["analysis:signals"]["signals"][0]["score_history"].as_array().expect("a list").clone();
    assert_eq!(history.len(), 24);
    assert_eq!((&history[0], &history[23]), (&json!(6.0), &json!(29.0)));
}

#[test]
fn saved_state_gives_the_same_next_documents() {
    let mut original = aggregator(json!({}));
    original.observe(&captured());
    ingest(&mut original, NOW, &some_signals());
    published(&mut original, NOW);
    ingest(&mut original, NOW + SECOND, &some_signals()[..7]);
    let saved = original.save().expect("state");
    let mut copy = aggregator(json!({}));
    copy.restore(&saved).expect("a saved state");
    assert_eq!(copy.save().expect("state"), saved);
    for step in 2..5 {
        let now = NOW + step * 100 * SECOND;
        let next = &some_signals()[step as usize * 3..];
        assert_eq!(ingest(&mut original, now, next), ingest(&mut copy, now, next));
        assert_eq!(original.documents(now), copy.documents(now));
    }
}

#[test]
fn a_state_that_cannot_be_read_changes_nothing() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &some_signals());
    let before = aggregator.save().expect("state");
    let other_format = String::from_utf8(before.clone()).expect("UTF-8").replacen("\"format\":1", "\"format\":9", 1);
    for bad in [b"".as_slice(), b"{}", b"[1]", other_format.as_bytes()] {
        assert!(aggregator.restore(bad).is_err());
        assert_eq!(aggregator.save().expect("state"), before);
    }
}

#[test]
fn composing_changes_nothing_and_repeats_itself() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &some_signals());
    let before = aggregator.save().expect("state");
    let first = view(&aggregator, NOW, "mobile-data", &captured());
    assert_eq!(view(&aggregator, NOW, "mobile-data", &captured()), first);
    assert_eq!(aggregator.save().expect("state"), before);
}

#[test]
fn what_it_publishes_is_what_its_views_show() {
    let mut aggregator = aggregator(json!({}));
    let mut signals = some_signals();
    signals[0]["symbol"] = json!("BTCUSDT");
    ingest(&mut aggregator, NOW, &signals);
    let documents: Vec<Document> =
        published(&mut aggregator, NOW).iter().map(|(key, body)| document(key, body)).collect();
    let body = view(&aggregator, NOW, "mobile-data", &documents);
    assert_eq!(body["confluence_scores"].as_array().map(Vec::len), Some(40));
    assert_eq!((&body["left_out"], &body["btc_price"]), (&json!(0), &json!(1.1)));
    let overview = view(&aggregator, NOW, "overview", &documents);
    assert_eq!(overview["signals"][0]["note"], "kept");
}

#[test]
fn a_wrong_configuration_is_refused_by_the_name_of_its_field() {
    let wrong = [
        (json!({"windo_seconds": 1}), "windo_seconds"),
        (json!({"window_seconds": 0}), "window_seconds"),
        (json!({"symbols_max": 0}), "symbols_max"),
        (json!({"ttl_seconds": 0}), "ttl_seconds"),
        (json!({"long_threshold": 170}), "long_threshold"),
        (json!({"short_threshold": 80}), "short_threshold"),
        (json!({"dedupe": "oldest"}), "oldest"),
    ];
    for (config, name) in wrong {
        let error = Aggregator::new(config.to_string().as_bytes()).expect_err("a wrong configuration");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// JSON of all shapes, with the names that mean something.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "symbol",
        "score",
        "confluence_score",
        "signals",
        "gainers",
        "losers",
        "price",
        "change_24h",
        "timestamp",
        "BTCUSDT",
        "components",
        "market_data",
        "ticker",
        "reliability",
        "regime",
        "market_regime",
        "dominance",
        "overall_score",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0.0..100.0).prop_map(Value::from),
        prop::sample::select(vec!["BTCUSDT", "", "LONG", "é", "1e999"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        any_json().prop_map(|value| json!({"symbol": "BTCUSDT", "score": 50, "price": value}).to_string().into_bytes()),
        Just(b"{\"symbol\": \"A\", \"score\": NaN, \"x\": \"\\".to_vec()),
        Just("[".repeat(100_000).into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_and_no_times_make_it_panic(
        bodies in prop::collection::vec(any_body(), 1..6),
        now in any::<u64>(),
        received_at in any::<u64>(),
        limit in any::<u32>(),
    ) {
        let mut aggregator = aggregator(json!({"symbols_max": 2}));
        let signals = bodies.iter().enumerate().map(|(seq, body)| Signal { seq: seq as u64, received_at, body: body.clone() });
        aggregator.ingest(now, signals.collect());
        let documents: Vec<Document> = bodies.iter().zip(Aggregator::inputs()).map(|(body, key)| Document {
            key: key.replace('*', "BTCUSDT"),
            kind: Kind::Real,
            freshness: Freshness::Stale,
            produced_at: received_at,
            version: 0,
            body: body.clone(),
        }).collect();
        aggregator.observe(&documents);
        for publication in aggregator.documents(now).expect("documents") {
            market::parsed(&publication.body);
        }
        for name in ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"] {
            let request = ViewRequest { name: name.to_owned(), limit };
            let bodies = aggregator.compose(now, &[request], &documents).expect("views");
            market::parsed(&bodies[0]);
        }
        let saved = aggregator.save().expect("state");
        prop_assert!(aggregator.restore(&saved).is_ok());
        for body in &bodies {
            // Refused or not, it must come back.
            let _outcome = aggregator.restore(body).is_ok() || Aggregator::new(body).is_ok();
        }
    }
}
