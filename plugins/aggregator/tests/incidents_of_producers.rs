//! Incidents that began with what a producer meant: units, scores, windows, prose. Each under its number.

#[path = "support/market.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod market;

use market::{NOW, SECOND, aggregator, captured, document, ingest, published, record, view};
use serde_json::{Value, json};
use tiergate_aggregator::{Document, Freshness};

#[test]
fn b51_a_dollar_sign_stands_before_quote_units_alone() {
    let aggregator = aggregator(json!({}));
    let shown = |record: Value| {
        let signals = document("analysis:signals", &json!({ "signals": [record] }));
        view(&aggregator, NOW, "opportunities", &[signals])[0]["volume"].clone()
    };
    let coins = json!({"symbol": "A", "score": 60, "change_24h": 1, "volume_24h": 5_000_000});
    assert_eq!(shown(coins.clone()), "N/A", "coins without a price are no dollars");
    let with = |name: &str, value: Value| {
        let mut record = coins.clone();
        record[name] = value;
        record
    };
    assert_eq!(shown(with("price", json!(0.01))), "$50K");
    assert_eq!(shown(with("turnover_24h", json!(7_000_000))), "$7.0M");
    let mut both = with("price", json!(0.01));
    both["turnover_24h"] = json!(49_000);
    assert_eq!(shown(both), "$49K", "the exchange's own turnover goes first");
}

#[test]
fn b51_every_list_of_records_tells_coins_and_quote_units_apart() {
    let aggregator = aggregator(json!({}));
    let record = json!({"symbol": "A", "score": 60, "price": 10, "change_24h": 1, "volume_24h": 5});
    let signals = document("analysis:signals", &json!({ "signals": [record] }));
    let list = |name: &str, field: &str| {
        let body = view(&aggregator, NOW, name, std::slice::from_ref(&signals));
        if field.is_empty() { body } else { body[field].clone() }
    };
    for (name, field) in
        [("mobile-data", "confluence_scores"), ("symbols", "symbols"), ("overview", "signals"), ("signals", "")]
    {
        let record = &list(name, field)[0];
        assert_eq!((&record["volume_24h"], &record["turnover_24h"]), (&json!(5.0), &json!(50.0)), "{name}");
    }
    // Followed from the signals: both names of a mover's volume are in quote units.
    let mover = &list("mobile-data", "gainers")[0];
    assert_eq!((&mover["volume"], &mover["volume_24h"]), (&json!(50.0), &json!(50.0)));
}

#[test]
fn b51_the_volume_of_a_mover_is_in_quote_units_whichever_path_its_producer_took() {
    let exchange = json!({"symbol": "A", "price": 10, "change": 2, "volume": 70.0, "volume_24h": 70.0});
    // The producers' fallback path knows coins alone, under one of the names.
    let fallback = json!({"symbol": "B", "price": 10, "change": 1, "price_change_percent": 1, "volume_24h": 5});
    let movers = document("market:movers", &json!({ "gainers": [exchange, fallback] }));
    let body = view(&aggregator(json!({})), NOW, "mobile-data", &[movers]);
    for (symbol, turnover) in [("A", 70.0), ("B", 50.0)] {
        let mover = record(&body["top_movers"]["gainers"], symbol);
        assert_eq!((&mover["volume"], &mover["volume_24h"]), (&json!(turnover), &json!(turnover)), "{symbol}");
    }
}

#[test]
fn b58_without_signals_no_view_has_a_score() {
    let aggregator = aggregator(json!({}));
    let documents: Vec<Document> =
        captured().into_iter().filter(|document| document.key != "analysis:signals").collect();
    let body = view(&aggregator, NOW, "mobile-data", &documents);
    assert_eq!(body["status"], "success", "the other sections are there");
    for list in ["confluence_scores", "symbols", "top_symbols", "opportunities"] {
        assert_eq!(body[list], json!([]), "{list}");
    }
    // Prices and changes of every symbol are no reason to make one up, and neither is an analysis of one that nobody named.
    let tickers = json!({"BTCUSDT": {"price": 95000.5, "change_24h": 7.5, "volume_24h": 9000}});
    let breakdown = json!({"overall_score": 88, "sentiment": "BULLISH"});
    let documents = [document("market:tickers", &tickers), document("confluence:breakdown:BTCUSDT", &breakdown)];
    for name in ["symbols", "overview", "mobile-data"] {
        let body = view(&aggregator, NOW, name, &documents).to_string();
        assert!(!body.contains("BTCUSDT"), "{name}: {body}");
    }
    for name in ["signals", "opportunities"] {
        assert_eq!(view(&aggregator, NOW, name, &documents), json!([]), "{name}");
    }
}

#[test]
fn b64_a_document_with_a_longer_window_mixes_no_old_scores_with_current_symbols() {
    let aggregator = aggregator(json!({}));
    let now = NOW / SECOND;
    let signal = |symbol: &str, score: u32, age: u64| json!({"symbol": symbol, "score": score, "price": 1, "change_24h": 1, "timestamp": now - age});
    let records = [signal("OLD", 99, 7_200), signal("EDGE", 98, 600), signal("LATE", 60, 599), signal("NEW", 40, 0)];
    let signals = document("analysis:signals", &json!({ "signals": records }));
    let shown = |documents: &[Document]| -> Vec<String> {
        let body = view(&aggregator, NOW, "mobile-data", documents);
        assert_eq!(body["left_out"], 0, "what is past the window is not counted as unreadable");
        let scores = body["confluence_scores"].as_array().expect("a list").clone();
        scores.iter().map(|score| score["symbol"].as_str().expect("a symbol").to_owned()).collect()
    };
    assert_eq!(shown(std::slice::from_ref(&signals)), ["LATE", "NEW"]);
    let opportunities = view(&aggregator, NOW, "opportunities", std::slice::from_ref(&signals));
    assert!(!opportunities.to_string().contains("OLD"), "{opportunities}");
    // A fresh analysis of its own makes a symbol current.
    let breakdown = document("confluence:breakdown:OLD", &json!({"overall_score": 55}));
    assert_eq!(shown(&[signals, breakdown]), ["LATE", "OLD", "NEW"]);
}

#[test]
fn b64_the_last_signals_of_a_producer_that_died_stay_however_old() {
    let aggregator = aggregator(json!({}));
    let signal =
        |symbol: &str| json!({"symbol": symbol, "score": 60, "price": 1, "change_24h": 1, "timestamp": NOW / SECOND});
    let mut signals = document("analysis:signals", &json!({"signals": [signal("A"), signal("B")]}));
    signals.freshness = Freshness::Stale;
    // One symbol is still analysed by another program; that makes the others no older than they are.
    let hours_later = NOW + 7_200 * SECOND;
    let mut breakdown = document("confluence:breakdown:A", &json!({"overall_score": 55}));
    breakdown.produced_at = hours_later;
    let body = view(&aggregator, hours_later, "symbols", &[signals, breakdown]);
    assert_eq!((body["symbols"].as_array().map(Vec::len), &body["data_source"]), (Some(2), &json!("stale")));
}

#[test]
fn b65_prose_is_passed_on_as_it_is_and_does_not_grow_when_it_comes_back() {
    let mut aggregator = aggregator(json!({}));
    let prose = json!({"overall": "Balanced.", "orderflow": "ok", "price_structure": ""});
    let mut signal = json!({"symbol": "A", "score": 60, "price": 1, "change_24h": 1, "interpretations": prose.clone()});
    for round in 0..10 {
        signal["timestamp"] = json!(NOW / SECOND + round);
        ingest(&mut aggregator, NOW + round * SECOND, &[signal.clone()]);
        let documents = published(&mut aggregator, NOW + round * SECOND);
        // What was published is posted again, as a program would that reads and writes the same key.
        signal = record(&documents["analysis:signals"]["signals"], "A").clone();
        assert_eq!(signal["interpretations"], prose, "round {round}");
        let signals = document("analysis:signals", &documents["analysis:signals"]);
        let breakdown =
            document("confluence:breakdown:A", &json!({"overall_score": 60, "interpretations": prose.clone()}));
        let body = view(&aggregator, NOW, "symbols", &[signals, breakdown]);
        assert_eq!(body["symbols"][0]["interpretations"], prose, "round {round}");
    }
}
