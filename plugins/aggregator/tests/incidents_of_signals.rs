//! Incidents that began with a signal, each under its number.

#[path = "support/market.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod market;

use market::{NOW, SECOND, aggregator, document, ingest, parsed, published, record};
use serde_json::{Value, json};

#[test]
fn b18_reliability_is_a_share_of_one_whatever_scale_came_in() {
    let mut aggregator = aggregator(json!({}));
    let with = |symbol: &str, reliability: Value| json!({"symbol": symbol, "score": 50, "reliability": reliability});
    let records = [with("A", json!(0.9)), with("B", json!(90)), with("C", json!(9000)), with("D", json!(-1))];
    assert_eq!(ingest(&mut aggregator, NOW, &records), []);
    let documents = published(&mut aggregator, NOW);
    let signals = &documents["analysis:signals"]["signals"];
    assert_eq!(record(signals, "A")["reliability"], 0.9);
    assert_eq!(record(signals, "B")["reliability"], 0.9);
    assert_eq!(record(signals, "C").get("reliability"), None);
    assert_eq!(record(signals, "D").get("reliability"), None);
}

#[test]
fn b20_the_mean_reliability_counts_only_those_that_are_known() {
    let mut aggregator = aggregator(json!({}));
    let records = [
        json!({"symbol": "A", "score": 50, "reliability": 0.8}),
        json!({"symbol": "B", "score": 50, "reliability": 60}),
        json!({"symbol": "C", "score": 50}),
    ];
    ingest(&mut aggregator, NOW, &records);
    let mean = published(&mut aggregator, NOW)["analysis:signals"]["avg_reliability"].as_f64().expect("a mean");
    assert!((mean - 0.7).abs() < 1e-12);
}

#[test]
fn b20_without_any_reliability_the_mean_is_null() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A", "score": 50})]);
    assert_eq!(published(&mut aggregator, NOW)["analysis:signals"]["avg_reliability"], Value::Null);
}

#[test]
fn b32_a_bad_record_costs_itself_and_says_why() {
    let mut aggregator = aggregator(json!({}));
    let records = [
        json!({"symbol": "A", "confluence_score": null}),
        json!({"symbol": "B", "confluence_score": "61"}),
        json!({"symbol": "C"}),
        json!({"symbol": "D", "confluence_score": 140}),
        json!({"symbol": "E", "confluence_score": -5}),
        json!({"confluence_score": 50}),
        json!({"symbol": "", "confluence_score": 50}),
        json!({"symbol": "two words", "confluence_score": 50}),
        json!([1, 2]),
        json!({"symbol": "btc/usdt", "confluence_score": 61}),
    ];
    let rejected = ingest(&mut aggregator, NOW, &records);
    let codes: Vec<(u64, &str)> = rejected.iter().map(|rejected| (rejected.seq - NOW, rejected.code)).collect();
    let expected = [
        (0, "bad-score"),
        (1, "bad-score"),
        (2, "missing-score"),
        (3, "out-of-range"),
        (4, "out-of-range"),
        (5, "missing-symbol"),
        (6, "bad-symbol"),
        (7, "bad-symbol"),
        (8, "not-an-object"),
    ];
    assert_eq!(codes, expected);
    assert!(rejected[0].message.starts_with("$.confluence_score"));
    let documents = published(&mut aggregator, NOW);
    assert_eq!(documents["analysis:signals"]["top_symbols"], json!(["BTCUSDT"]));
}

#[test]
fn b33_a_null_score_freezes_nothing() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A", "score": 60}), json!({"symbol": "A", "score": null})]);
    published(&mut aggregator, NOW);
    ingest(&mut aggregator, NOW + SECOND, &[json!({"symbol": "A", "score": 40})]);
    let documents = published(&mut aggregator, NOW + SECOND);
    assert_eq!(documents["analysis:signals"]["signals"][0]["confluence_score"], 40.0);
}

#[test]
fn b31_bare_nan_and_infinity_cost_their_fields_only() {
    let mut aggregator = aggregator(json!({}));
    let body = br#"{"symbol": "A", "score": 61.5, "price": Infinity, "change_24h": NaN, "note": "NaN \" -Infinity"}"#;
    let signal = tiergate_aggregator::Signal { seq: 1, received_at: NOW, body: body.to_vec() };
    assert_eq!(aggregator.ingest(NOW, vec![signal]), []);
    let documents = published(&mut aggregator, NOW);
    let record = record(&documents["analysis:signals"]["signals"], "A");
    assert_eq!((record.get("price"), record.get("change_24h")), (None, None));
    assert_eq!(record["note"], "NaN \" -Infinity");
}

#[test]
fn b34_a_bad_optional_field_costs_that_field() {
    let mut aggregator = aggregator(json!({}));
    let bad = json!({
        "symbol": "A", "score": 75, "price": 0, "change_24h": null, "volume_24h": -1, "high_24h": [], "low_24h": {},
        "reliability": "much", "components": {"technical": 60, "volume": null, "orderflow": {"score": 40}, "x": 900},
        "sentiment": 7, "timestamp": "soon", "interpretations": "prose",
    });
    assert_eq!(ingest(&mut aggregator, NOW, &[bad]), []);
    let documents = published(&mut aggregator, NOW);
    let record = record(&documents["analysis:signals"]["signals"], "A");
    for name in ["price", "change_24h", "volume_24h", "high_24h", "low_24h", "reliability", "interpretations"] {
        assert_eq!(record.get(name), None, "{name}");
    }
    assert_eq!(record["components"], json!({"technical": 60.0, "orderflow": 40.0}));
    assert_eq!((&record["sentiment"], &record["signal_type"]), (&json!("LONG"), &json!("LONG")));
    assert_eq!(record["timestamp"], (NOW / SECOND) as f64);
}

#[test]
fn b35_a_score_falls_when_the_newest_signal_says_so() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A", "score": 80}), json!({"symbol": "A", "score": 55})]);
    let documents = published(&mut aggregator, NOW);
    assert_eq!(documents["analysis:signals"]["total_signals"], 1);
    assert_eq!(documents["analysis:signals"]["signals"][0]["confluence_score"], 55.0);
    assert_eq!(documents["analysis:signals"]["signals"][0]["score_history"], json!([80.0, 55.0]));
}

#[test]
fn b35_an_older_signal_is_taken_and_changes_nothing() {
    let mut aggregator = aggregator(json!({}));
    let at = |score: u32, seconds: u64| json!({"symbol": "A", "score": score, "timestamp": NOW / SECOND - seconds});
    ingest(&mut aggregator, NOW, &[at(55, 10)]);
    published(&mut aggregator, NOW);
    assert_eq!(ingest(&mut aggregator, NOW, &[at(80, 20)]), []);
    assert!(published(&mut aggregator, NOW).is_empty());
}

#[test]
fn b35_the_highest_of_the_window_is_there_for_those_who_ask_for_it() {
    let mut aggregator = aggregator(json!({"dedupe": "highest"}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A", "score": 80}), json!({"symbol": "A", "score": 55})]);
    assert_eq!(published(&mut aggregator, NOW)["analysis:signals"]["signals"][0]["confluence_score"], 80.0);
    let later = NOW + 601 * SECOND;
    ingest(&mut aggregator, later, &[json!({"symbol": "A", "score": 55})]);
    assert_eq!(published(&mut aggregator, later)["analysis:signals"]["signals"][0]["confluence_score"], 55.0);
}

#[test]
fn b37_what_cannot_be_computed_is_null_or_absent() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A", "score": 50})]);
    let documents = published(&mut aggregator, NOW);
    let overview = &documents["market:overview"];
    for name in [
        "trend_strength",
        "market_dispersion",
        "average_change",
        "avg_volatility",
        "btc_price",
        "btc_volatility",
        "btc_vol_days",
        "total_volume_24h",
        "total_volume",
    ] {
        assert_eq!(overview[name], Value::Null, "{name}");
    }
    for name in ["btc_dominance", "eth_dominance", "total_market_cap", "fear_greed_value", "defi_market_cap"] {
        assert_eq!(overview.get(name), None, "{name}");
    }
    // Nobody knows a price or a change, so there is nothing to say about movers and breadth.
    assert_eq!(documents.keys().collect::<Vec<_>>(), ["analysis:signals", "market:overview"]);
}

#[test]
fn b37_an_aggregator_that_has_ingested_nothing_publishes_nothing() {
    let mut aggregator = aggregator(json!({}));
    aggregator.observe(&market::captured());
    assert!(published(&mut aggregator, NOW).is_empty());
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A"})]);
    assert!(published(&mut aggregator, NOW).is_empty());
}

#[test]
fn b37_what_others_know_is_carried_over_for_ten_minutes_and_never_from_itself() {
    let mut aggregator = aggregator(json!({}));
    aggregator.observe(&[document("market:overview", &json!({"fear_greed_value": 44, "btc_dominance": 57.2}))]);
    let signal = [json!({"symbol": "A", "score": 50, "price": 2, "volume_24h": 3, "change_24h": 1})];
    ingest(&mut aggregator, NOW + 600 * SECOND, &signal);
    let documents = published(&mut aggregator, NOW + 600 * SECOND);
    let ours = documents["market:overview"].clone();
    assert_eq!((&ours["fear_greed_value"], &ours["btc_dominance"]), (&json!(44), &json!(57.2)));
    // Its own document comes back through the cache, young again; that must not keep the old value alive.
    let mut back = document("market:overview", &ours);
    back.produced_at = NOW + 600 * SECOND;
    aggregator.observe(&[back]);
    ingest(&mut aggregator, NOW + 601 * SECOND, &signal);
    let later = published(&mut aggregator, NOW + 601 * SECOND);
    assert_eq!(later["market:overview"].get("fear_greed_value"), None);
    assert_eq!(later["market:overview"].get("btc_dominance"), None);
}

#[test]
fn b42_breadth_is_computed_from_the_signals() {
    let mut aggregator = aggregator(json!({}));
    let with = |symbol: &str, change: f64| json!({"symbol": symbol, "score": 50, "change_24h": change});
    ingest(&mut aggregator, NOW, &[with("A", 1.0), with("B", 2.0), with("C", -1.0), with("D", 0.0)]);
    let documents = published(&mut aggregator, NOW);
    let breadth = &documents["market:breadth"];
    assert_eq!(
        (&breadth["up_count"], &breadth["down_count"], &breadth["flat_count"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(breadth["market_sentiment"], "bullish");
}

#[test]
fn b51_a_volume_of_the_market_is_in_quote_units() {
    let mut aggregator = aggregator(json!({}));
    let records = [
        json!({"symbol": "A", "score": 50, "price": 10, "volume_24h": 5, "change_24h": 1}),
        json!({"symbol": "B", "score": 50, "price": 10, "volume_24h": 5, "turnover_24h": 70, "change_24h": -1}),
    ];
    ingest(&mut aggregator, NOW, &records);
    let documents = published(&mut aggregator, NOW);
    assert_eq!(documents["market:overview"]["total_volume_24h"], 120.0);
    assert_eq!(documents["market:movers"]["volume_leaders"][0]["symbol"], "B");
    assert_eq!(documents["market:movers"]["gainers"][0]["volume"], 50.0);
}

#[test]
fn b52_no_list_is_published_twice() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "A", "score": 50, "price": 1, "change_24h": 1})]);
    let documents = published(&mut aggregator, NOW);
    assert_eq!(documents["analysis:signals"].get("recent_signals"), None);
    assert_eq!(documents["market:movers"].get("top_gainers"), None);
    assert_eq!(documents["market:movers"].get("top_losers"), None);
}

#[test]
fn b61_over_the_limit_the_symbol_that_was_silent_longest_is_forgotten() {
    let mut aggregator = aggregator(json!({"symbols_max": 2}));
    let with = |symbol: &str| json!({"symbol": symbol, "score": 50});
    ingest(&mut aggregator, NOW, &[with("A"), with("B"), with("A"), with("C")]);
    assert_eq!(aggregator.symbols(), 2);
    assert_eq!(published(&mut aggregator, NOW)["analysis:signals"]["top_symbols"], json!(["A", "C"]));
}

#[test]
fn b61_large_records_push_out_others_before_a_call_answers_more_than_its_host_takes() {
    const ANSWER_BYTES_MAX: usize = 16 << 20;
    let prose = |text: &str| json!({ "overall": text.repeat(4_000 / text.len()) });
    let numbers: Vec<f64> = (0..500).map(|n| 1e15 + f64::from(n)).collect();
    // As posted, they take very different room where they are saved.
    for free in [prose("prose "), prose("\u{1}"), json!({ "numbers": numbers })] {
        let mut aggregator = aggregator(json!({}));
        for n in 0..4_000 {
            let signal = json!({"symbol": format!("S{n}"), "score": 50, "price": 1, "change_24h": 1, "interpretations": free.clone()});
            assert_eq!(ingest(&mut aggregator, NOW, &[signal]), []);
        }
        let saved = aggregator.save().expect("a state");
        assert!(saved.len() < ANSWER_BYTES_MAX, "{} bytes are saved", saved.len());
        let documents = aggregator.documents(NOW).expect("documents");
        let bytes: usize = documents.iter().map(|document| document.body.len()).sum();
        assert!(bytes < ANSWER_BYTES_MAX, "{bytes} bytes are published");
        // It is a bound, and not next to nothing.
        assert!(aggregator.symbols() > 300, "{} symbols are left", aggregator.symbols());
        let top = parsed(&documents[0].body)["signals"].to_string();
        assert!(top.contains("\"S3999\"") && !top.contains("\"S0\""), "the newest stay");
    }
}

#[test]
fn b61_the_bytes_are_counted_anew_when_a_record_is_replaced_or_restored() {
    let record = |symbol: &str, bytes: usize| json!({"symbol": symbol, "score": 50, "note": "x".repeat(bytes)});
    let mut first = aggregator(json!({"bytes_max": 10_000}));
    ingest(&mut first, NOW, &[record("A", 5_000), record("B", 10)]);
    // A shrinks, which makes room for C; then it grows and pushes out the one that was silent longest.
    ingest(&mut first, NOW + 1, &[record("A", 10), record("C", 5_000)]);
    assert_eq!(first.symbols(), 3);
    let mut second = aggregator(json!({"bytes_max": 10_000}));
    second.restore(&first.save().expect("a state")).expect("restored");
    for aggregator in [&mut first, &mut second] {
        ingest(aggregator, NOW + 2, &[record("A", 3_900)]);
        assert_eq!(aggregator.symbols(), 2);
        assert_eq!(published(aggregator, NOW + 2)["analysis:signals"]["top_symbols"], json!(["A", "C"]));
    }
    // One record over the bound is still the best that is known.
    ingest(&mut first, NOW + 3, &[record("D", 60_000)]);
    assert_eq!(first.symbols(), 1);
}

#[test]
fn b64_records_older_than_the_window_are_not_mixed_in() {
    let mut aggregator = aggregator(json!({}));
    ingest(&mut aggregator, NOW, &[json!({"symbol": "OLD", "score": 99, "change_24h": 5})]);
    let later = NOW + 600 * SECOND;
    ingest(&mut aggregator, later, &[json!({"symbol": "NEW", "score": 40, "change_24h": -1})]);
    let documents = published(&mut aggregator, later);
    assert_eq!(documents["analysis:signals"]["top_symbols"], json!(["NEW"]));
    assert_eq!(documents["market:overview"]["total_symbols"], 1);
    assert_eq!(documents["market:overview"]["gainers"], 0);
}
