//! Incidents that a reader of a view saw, each under its number.

#[path = "support/market.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod market;

use market::{NOW, aggregator, captured, document, names, parsed, placeholders, record, view};
use serde_json::{Value, json};
use tiergate_aggregator::{Document, Error, Freshness, ViewRequest};

const VIEWS: [&str; 6] = ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"];
const OBJECTS: [&str; 4] = ["mobile-data", "overview", "symbols", "market-overview"];

fn fixture(view: &str) -> Value {
    let path = format!("{}/../../tests/fixtures/http/fresh/dashboard_{view}.json", env!("CARGO_MANIFEST_DIR"));
    parsed(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

fn without(key: &str) -> Vec<Document> {
    captured().into_iter().filter(|document| document.key != key).collect()
}

#[test]
fn every_name_that_the_old_api_answered_is_still_there() {
    let aggregator = aggregator(json!({}));
    for name in VIEWS {
        let (ours, theirs) = (view(&aggregator, NOW, name, &captured()), fixture(name));
        let missing: Vec<String> = names(&theirs).difference(&names(&ours)).cloned().collect();
        assert_eq!(missing, Vec::<String>::new(), "{name}");
        for list in ["", "/confluence_scores", "/symbols", "/signals", "/opportunities", "/top_gainers"] {
            let first = |value: &Value| value.pointer(list).and_then(|list| list.get(0)).map(names).unwrap_or_default();
            let missing: Vec<String> = first(&theirs)
                .difference(&first(&ours))
                .filter(|name| !name.contains(".components."))
                .cloned()
                .collect();
            assert_eq!(missing, Vec::<String>::new(), "records of {name}{list}");
        }
    }
}

#[test]
fn the_numbers_are_those_of_the_documents() {
    let aggregator = aggregator(json!({}));
    let (ours, theirs) =
        (view(&aggregator, NOW, "mobile-data", &without("analysis:market_regime")), fixture("mobile-data"));
    for (name, value) in theirs["market_overview"].as_object().expect("an object") {
        assert_eq!(ours["market_overview"][name], *value, "{name}");
    }
    for theirs in theirs["confluence_scores"].as_array().expect("a list") {
        let symbol = theirs["symbol"].as_str().expect("a symbol");
        if symbol == "BTCUSDT" {
            continue; // Its breakdown is newer and speaks for it.
        }
        let ours = record(&ours["confluence_scores"], symbol);
        for name in ["score", "price", "change_24h", "volume_24h", "reliability", "components", "sentiment"] {
            assert_eq!(ours[name], theirs[name], "{name} of {symbol}");
        }
    }
    assert_eq!(ours["top_movers"]["gainers"][0]["symbol"], theirs["top_movers"]["gainers"][0]["symbol"]);
}

#[test]
fn b18_a_view_shows_the_share_and_the_percentage() {
    let signals = json!({"signals": [{"symbol": "A", "score": 50, "price": 1, "change_24h": 1, "reliability": 62.5}]});
    let body = view(&aggregator(json!({})), NOW, "symbols", &[document("analysis:signals", &signals)]);
    assert_eq!(body["symbols"][0]["reliability"], 0.625);
    assert_eq!(body["symbols"][0]["reliability_percent"], 62.5);
}

#[test]
fn b34_a_record_without_a_number_that_the_page_formats_is_left_out_and_counted() {
    let signals = json!({"signals": [
        {"symbol": "A", "score": 50, "price": 1, "change_24h": null},
        {"symbol": "B", "score": 50, "price": null, "change_24h": 1},
        {"symbol": "C", "score": null, "price": 1, "change_24h": 1},
        "D",
        {"symbol": "E", "score": 50, "price": 1, "change_24h": 1},
        {"symbol": "F", "score": 50},
    ]});
    let movers =
        json!({"gainers": [{"symbol": "G", "price": null, "change": 1}, {"symbol": "H", "price": 2, "change": 1}]});
    let tickers = json!({"F": {"price": 3, "change_24h": 2, "volume_24h": 9, "high": 4, "low": 2}});
    let documents = [
        document("analysis:signals", &signals),
        document("market:movers", &movers),
        document("market:tickers", &tickers),
    ];
    let aggregator = aggregator(json!({}));
    let body = view(&aggregator, NOW, "mobile-data", &documents);
    let symbols: Vec<&Value> =
        body["confluence_scores"].as_array().expect("a list").iter().map(|card| &card["symbol"]).collect();
    assert_eq!(symbols, ["E", "F"]);
    assert_eq!(body["top_movers"]["gainers"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["left_out"], 5);
    let filled = record(&body["confluence_scores"], "F");
    assert_eq!((&filled["range_24h"], &filled["turnover_24h"]), (&json!(66.67), &json!(27.0)));
}

#[test]
fn b37_placeholders_are_named_and_never_shown() {
    let aggregator = aggregator(json!({}));
    let (held, nothing) = (placeholders(captured()), []);
    for name in VIEWS {
        let mut shown = view(&aggregator, NOW, name, &held);
        let mut empty = view(&aggregator, NOW, name, &nothing);
        if OBJECTS.contains(&name) {
            assert_eq!(shown["sections"]["overview"]["kind"], "placeholder");
            assert_eq!(empty["sections"]["overview"]["kind"], "missing");
        }
        for body in [&mut shown, &mut empty] {
            if let Some(fields) = body.as_object_mut() {
                fields.remove("sections");
                fields.remove("debug_info");
            }
        }
        assert_eq!(shown, empty, "{name}");
    }
}

#[test]
fn b37_an_empty_cache_gives_no_number_but_counts_and_the_time() {
    let body = view(&aggregator(json!({})), NOW, "mobile-data", &[]);
    for (name, value) in body["market_overview"].as_object().expect("an object") {
        assert_eq!(*value, Value::Null, "{name}");
    }
    for (name, value) in body.as_object().expect("an object") {
        assert!(!value.is_number() || ["timestamp", "left_out"].contains(&name.as_str()), "{name} is {value}");
    }
    assert_eq!(body["perps"]["cex_pct"], Value::Null);
}

#[test]
fn b38_the_set_of_fields_is_the_same_in_every_state() {
    let aggregator = aggregator(json!({}));
    for name in OBJECTS {
        let free_form = |name: &String| name.contains("components") || name.contains("interpretations");
        let set = |documents: &[Document]| {
            names(&view(&aggregator, NOW, name, documents))
                .into_iter()
                .filter(|name| !free_form(name))
                .collect::<Vec<_>>()
        };
        let full = set(&captured());
        assert_eq!(full, set(&[]), "{name} of an empty cache");
        assert_eq!(full, set(&placeholders(captured())), "{name} of placeholders");
        for document in captured() {
            assert_eq!(full, set(&without(&document.key)), "{name} without {}", document.key);
        }
    }
}

#[test]
fn b38_an_overview_is_shown_although_there_are_no_signals() {
    let body = view(&aggregator(json!({})), NOW, "mobile-data", &without("analysis:signals"));
    assert_eq!(body["status"], "success");
    assert_eq!(body["market_overview"]["trend_strength"], 60.0);
    assert_eq!(body["confluence_scores"], json!([]));
    assert_eq!(body["sections"]["signals"], json!({"kind": "missing", "freshness": "missing", "as_of": null}));
}

#[test]
fn b39_the_status_tells_whether_there_is_data() {
    let aggregator = aggregator(json!({}));
    let stale = |document| Document { freshness: Freshness::Stale, ..document };
    let states = [
        (captured(), "success", "live", "real"),
        (captured().into_iter().map(stale).collect(), "success", "stale", "stale"),
        (placeholders(captured()), "unavailable", "unavailable", "no_data"),
        (Vec::new(), "unavailable", "unavailable", "no_data"),
    ];
    for (documents, status, live, real) in states {
        for name in OBJECTS {
            let body = view(&aggregator, NOW, name, &documents);
            assert_eq!(body["status"], status, "{name}");
            assert_eq!(body["data_source"], if name == "mobile-data" { live } else { real }, "{name}");
            assert_eq!(body["source"], "tiergate");
        }
    }
}

#[test]
fn b13_the_regime_is_one_text_or_null() {
    let aggregator = aggregator(json!({}));
    let shown = |documents: &[Document]| view(&aggregator, NOW, "mobile-data", documents)["market_regime"].clone();
    assert_eq!(shown(&captured()), "BULLISH");
    assert_eq!(shown(&without("analysis:market_regime")), "Neutral: Consolidation");
    let unknown = document("analysis:market_regime", &json!({"regime": "Initializing"}));
    assert_eq!(shown(&[unknown]), Value::Null);
    let wrapped = document("market:overview", &json!({"market_regime": {"regime": "Bearish: Risk-Off"}}));
    assert_eq!(shown(&[wrapped]), "Bearish: Risk-Off");
}

#[test]
fn b41_the_volatility_is_that_of_the_overview_with_a_word_for_it() {
    let aggregator = aggregator(json!({}));
    let states = [
        (json!({"current_volatility": 2.16}), json!({"value": 2.16, "level": "normal"})),
        (json!({"market_dispersion": 8.01}), json!({"value": 8.01, "level": "elevated"})),
        (json!({"market_dispersion": 15.01}), json!({"value": 15.01, "level": "high"})),
        (json!({}), json!({"value": null, "level": null})),
    ];
    for (overview, expected) in states {
        let body = view(&aggregator, NOW, "overview", &[document("market:overview", &overview)]);
        assert_eq!(body["volatility"], expected, "{overview}");
    }
}

#[test]
fn b42_the_breadth_comes_from_its_document_else_the_overview_else_the_signals() {
    let aggregator = aggregator(json!({}));
    let shown = |documents: &[Document]| view(&aggregator, NOW, "mobile-data", documents)["market_breadth"].clone();
    let breadth = document("market:breadth", &json!({"up_count": 3, "down_count": 1, "flat_count": 2}));
    let overview = document("market:overview", &json!({"gainers": 1, "losers": 3}));
    let records = json!([{"symbol": "A", "score": 50, "change_24h": 1}, {"symbol": "B", "score": 50, "change_24h": 0}]);
    let signals = document("analysis:signals", &json!({"signals": records}));
    let expected = |up, down, flat: Value, percentage, sentiment| json!({"up": up, "down": down, "flat": flat, "breadth_percentage": percentage, "sentiment": sentiment});
    assert_eq!(shown(&[breadth, overview.clone(), signals.clone()]), expected(3, 1, json!(2), 75.0, "bullish"));
    assert_eq!(shown(&[overview, signals.clone()]), expected(1, 3, Value::Null, 25.0, "bearish"));
    assert_eq!(shown(&[signals]), expected(1, 0, json!(1), 100.0, "bullish"));
}

#[test]
fn b35_a_newer_breakdown_speaks_for_its_symbol_and_an_older_one_fills_in() {
    let aggregator = aggregator(json!({}));
    let signal = json!({"symbol": "A", "score": 80, "price": 1, "change_24h": 1, "sentiment": "LONG", "timestamp": NOW / 1_000_000});
    let signals = document("analysis:signals", &json!({"signals": [signal]}));
    let mut breakdown = document(
        "confluence:breakdown:A",
        &json!({"overall_score": 55.5, "sentiment": "NEUTRAL", "reliability": 0.7, "score_history": [80, 55.5]}),
    );
    let shown = |breakdown: &Document| {
        view(&aggregator, NOW, "symbols", &[signals.clone(), breakdown.clone()])["symbols"][0].clone()
    };
    breakdown.produced_at = NOW + 1;
    let card = shown(&breakdown);
    assert_eq!(
        (&card["score"], &card["sentiment"], &card["reliability"]),
        (&json!(55.5), &json!("NEUTRAL"), &json!(0.7))
    );
    breakdown.produced_at = NOW - 1;
    let card = shown(&breakdown);
    assert_eq!((&card["score"], &card["sentiment"], &card["reliability"]), (&json!(80.0), &json!("LONG"), &json!(0.7)));
    assert_eq!((&card["has_breakdown"], &card["score_history"]), (&json!(true), &json!([80.0, 55.5])));
}

#[test]
fn b03_a_loser_among_the_gainers_is_left_out() {
    let movers = json!({"gainers": [{"symbol": "A", "price": 1, "change": -1}], "losers": [{"symbol": "B", "price": 1, "change": -2}]});
    let body = view(&aggregator(json!({})), NOW, "mobile-data", &[document("market:movers", &movers)]);
    assert_eq!(body["top_movers"]["gainers"], json!([]));
    assert_eq!(body["top_movers"]["losers"][0]["symbol"], "B");
}

#[test]
fn movers_follow_from_the_signals_when_nobody_wrote_them() {
    let body = view(&aggregator(json!({})), NOW, "mobile-data", &without("market:movers"));
    assert_eq!(body["top_movers"]["gainers"][0]["symbol"], "TONUSDT");
    assert_eq!(body["top_movers"]["gainers"][0]["display_symbol"], "TON");
    assert_eq!(body["top_movers"]["losers"][0]["symbol"], "1000PEPEUSDT");
}

#[test]
fn perpetuals_are_told_as_far_as_the_derivatives_tell() {
    let derivatives = json!({"total_open_interest": 91e9, "contracts": [
        {"index_id": "BTC", "funding_rate": 0.02}, {"symbol": "BTCUSDT", "funding_rate": "0.04"},
        {"index_id": "ETH", "funding_rate": 9},
    ]});
    let body = view(&aggregator(json!({})), NOW, "mobile-data", &[document("coingecko:derivatives", &derivatives)]);
    assert_eq!((&body["perps"]["funding_rate"], &body["total_open_interest"]), (&json!(0.03), &json!(91e9)));
    assert_eq!((&body["funding_zscore"], &body["perps"]["long_pct"]), (&json!(1.0), &Value::Null));
}

#[test]
fn a_limit_bounds_every_list_of_records() {
    let request = |name: &str| ViewRequest { name: name.to_owned(), limit: 2 };
    let aggregator = aggregator(json!({}));
    let bodies = aggregator.compose(NOW, &VIEWS.map(request), &captured()).expect("views");
    let mobile = parsed(&bodies[0]);
    for list in ["confluence_scores", "symbols", "opportunities", "gainers"] {
        assert_eq!(mobile[list].as_array().map(Vec::len), Some(2), "{list}");
    }
    assert_eq!(parsed(&bodies[3]).as_array().map(Vec::len), Some(2));
}

#[test]
fn a_view_that_does_not_exist_is_refused_by_name() {
    let request = ViewRequest { name: "beta-chart".to_owned(), limit: 1 };
    let answer = aggregator(json!({})).compose(NOW, &[request], &[]);
    assert_eq!(answer, Err(Error::Unsupported("there is no view `beta-chart`".to_owned())));
}
