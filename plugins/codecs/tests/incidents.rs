//! The incidents of the producers' contract that a codec makes impossible, by number.

mod common;

use common::{assert_settled, document, fixture, fixtures, key, read, read_fixture, repairs};
use serde_json::{Value, json};
use tiergate_codecs::{Kind, decode};

fn signals(records: &str) -> String {
    format!(r#"{{"signals": [{records}], "total_signals": 9}}"#)
}

#[test]
fn b3_a_mover_of_the_wrong_sign_leaves_the_list() {
    let movers = document("market:movers", fixture("legacy_writer/market:movers.json"));
    let symbols = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|mover| mover["symbol"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(symbols(&movers["gainers"]), ["TONUSDT", "ADAUSDT", "LINKUSDT", "LTCUSDT"]);
    assert_eq!(symbols(&movers["losers"]), ["DOTUSDT", "APTUSDT"]);
}

#[test]
fn b13_the_regime_has_one_type_for_every_reader() {
    let key = "analysis:market_regime";
    assert_eq!(document(key, "BULLISH"), json!({"regime": "BULLISH"}));
    assert_eq!(document(key, r#""BULLISH""#), json!({"regime": "BULLISH"}));
    assert_eq!(document(key, r#"{"regime": "BULLISH"}"#), json!({"regime": "BULLISH"}));
    let overview =
        document("market:overview", r#"{"market_regime": {"regime": "Bull", "confidence": 1}, "gainers": 2}"#);
    assert_eq!(overview, json!({"market_regime": "Bull", "gainers": 2, "market_regime_details": {"confidence": 1}}));
}

#[test]
fn b13_a_regime_that_is_no_label_is_a_placeholder() {
    for payload in [r#"{"regime": null}"#, r#"{"regime": "Initializing"}"#, "unknown", r#""""#, "None"] {
        assert_eq!(read("analysis:market_regime", payload).unwrap().kind, Kind::Placeholder, "{payload}");
    }
}

#[test]
fn b14_bare_words_are_accepted_for_the_scalar_key() {
    let decoded = read("analysis:market_regime", "Neutral: Consolidation\n").unwrap();
    assert_eq!(decoded.canonical.as_deref(), Some(&br#"{"regime":"Neutral: Consolidation"}"#[..]));
    assert_eq!((decoded.kind, repairs(&decoded)), (Kind::Real, vec!["bare-text $".to_owned()]));
}

#[test]
fn b14_what_is_neither_json_nor_a_few_words_is_refused() {
    let long = "x".repeat(65);
    for payload in [r#"{"regime": "#, "[BULLISH", "BULL\u{7}ISH", &long, "", "-"] {
        assert_eq!(read("analysis:market_regime", payload).unwrap_err().code, "not-json", "{payload:?}");
    }
    assert_eq!(read("market:overview", "BULLISH").unwrap_err().code, "not-json");
    assert_eq!(read("market:btc_dominance", "BULLISH").unwrap_err().code, "not-json");
    assert_eq!(read("any:key", "BULLISH").unwrap_err().code, "not-json");
}

#[test]
fn b15_two_extra_layers_of_encoding_are_removed_and_a_third_is_refused() {
    let mut payload = r#"{"coins":[]}"#.to_owned();
    for layers in 1..=3 {
        payload = serde_json::to_string(&payload).unwrap();
        for key in ["coingecko:trending", "any:key"] {
            let decoded = read(key, &payload);
            if layers == 3 {
                assert_eq!(decoded.unwrap_err().code, "encoded-too-deep");
            } else {
                let decoded = decoded.unwrap();
                assert_eq!(decoded.canonical.as_deref(), Some(&br#"{"coins":[]}"#[..]));
                assert_eq!(repairs(&decoded), ["peeled-encoding $"]);
                assert!(decoded.repairs[0].message.starts_with(&layers.to_string()));
            }
        }
    }
}

#[test]
fn b15_text_that_only_looks_like_json_stays_text_where_text_is_a_value() {
    for text in [r#""{not json}""#, r#""plain""#, r#""\"quoted\"""#] {
        let decoded = read("any:key", text).unwrap();
        assert_eq!((decoded.canonical, decoded.repairs.len()), (None, 0), "{text}");
    }
    assert_eq!(read("coingecko:trending", r#""{not json}""#).unwrap_err().code, "not-json");
    assert_eq!(read("coingecko:trending", r#""plain""#).unwrap_err().code, "wrong-shape");
}

#[test]
fn b16_a_pickle_is_refused_by_its_flag_and_by_its_first_byte() {
    let by_flag = decode("analysis:signals", br#"{"signals": []}"#, 1).unwrap_err();
    let by_byte = decode("any:key", &fixture("edge/analysis:signals.pickled.bin"), 0).unwrap_err();
    assert_eq!((by_flag.code, by_byte.code), ("python-pickle", "python-pickle"));
    assert!(by_byte.message.contains("JSON"));
}

#[test]
fn b16_of_the_other_flags_only_compression_is_refused() {
    for flags in [2, 4, 16] {
        assert!(decode("any:key", b"42", flags).is_ok(), "{flags}");
    }
    assert_eq!(decode("any:key", b"42", 8).unwrap_err().code, "compressed");
    assert_eq!(decode("any:key", b"42", 24).unwrap_err().code, "compressed");
}

#[test]
fn b18_reliability_has_one_scale() {
    let record = |reliability: &str| format!(r#"{{"symbol": "A", "score": 1, "reliability": {reliability}}}"#);
    for (written, meant) in
        [("0.9", json!(0.9)), ("1", json!(1)), ("83.5", json!(0.835)), ("100", json!(1.0)), ("0", json!(0))]
    {
        let signals = document("analysis:signals", signals(&record(written)));
        assert_eq!(signals["signals"][0]["reliability"], meant, "{written}");
    }
    for unknown in ["10000", "-1", r#""high""#] {
        let decoded = read("analysis:signals", signals(&record(unknown))).unwrap();
        assert_eq!(repairs(&decoded), ["reliability-scale $.signals[0].reliability"], "{unknown}");
        let signals = document("analysis:signals", signals(&record(unknown)));
        assert_eq!(signals["signals"][0]["reliability"], Value::Null, "{unknown}");
    }
}

#[test]
fn b20_the_average_reliability_is_on_the_same_scale() {
    let payload = r#"{"signals": [{"symbol": "A", "score": 1}], "avg_reliability": 75.0}"#;
    assert_eq!(document("analysis:signals", payload)["avg_reliability"], json!(0.75));
    assert_eq!(repairs(&read("analysis:signals", payload).unwrap()), ["reliability-scale $.avg_reliability"]);
    let breakdown = r#"{"overall_score": 60, "reliability": 80}"#;
    assert_eq!(document("confluence:breakdown:A", breakdown)["reliability"], json!(0.8));
}

#[test]
fn b31_numbers_that_json_does_not_have_become_null_for_every_key() {
    let payload = r#"{"a": NaN, "b": [Infinity, -Infinity, 1e999], "c": "NaN"}"#;
    assert_eq!(document("any:key", payload), json!({"a": null, "b": [null, null, null], "c": "NaN"}));
    assert_eq!(read("any:key", payload).unwrap().repairs.len(), 4);
    assert_eq!(read("market:btc_dominance", "NaN").unwrap_err().code, "null-value");
}

#[test]
fn b32_a_bad_signal_costs_itself() {
    let good = r#"{"symbol": "A", "confluence_score": 60}"#;
    for bad in [
        "null",
        "[]",
        r#"{"confluence_score": 60}"#,
        r#"{"symbol": "", "confluence_score": 60}"#,
        r#"{"symbol": 7, "confluence_score": 60}"#,
        r#"{"symbol": "B"}"#,
        r#"{"symbol": "B", "confluence_score": null}"#,
        r#"{"symbol": "B", "confluence_score": "60"}"#,
        r#"{"symbol": "B", "score": true}"#,
    ] {
        let payload = signals(&format!("{bad}, {good}"));
        let decoded = read("analysis:signals", &payload).unwrap();
        assert_eq!(repairs(&decoded), ["dropped-record $.signals[0]"], "{bad}");
        let expected = json!({"signals": [{"symbol": "A", "confluence_score": 60}], "total_signals": 1});
        assert_eq!(document("analysis:signals", &payload), expected, "{bad}");
        assert_eq!(read("analysis:signals", signals(bad)).unwrap_err().code, "no-valid-record", "{bad}");
    }
}

#[test]
fn b32_a_bad_mover_ticker_or_alert_costs_itself() {
    let movers = r#"{"gainers": [{"symbol": "A", "change": 1}, {"symbol": "B"}, 3], "losers": null}"#;
    assert_eq!(document("market:movers", movers)["gainers"], json!([{"symbol": "A", "change": 1}]));
    let tickers = r#"{"A": {"price": 1}, "B": {"price": "?"}, "C": 5, "timestamp": 1795372662}"#;
    assert_eq!(document("market:tickers", tickers), json!({"A": {"price": 1}}));
    assert_eq!(repairs(&read("market:tickers", tickers).unwrap()), ["dropped-record $.B", "dropped-record $.C"]);
    assert_eq!(document("dashboard:alerts", r#"[{"id": 1}, "x"]"#), json!([{"id": 1}]));
    assert_eq!(read("dashboard:alerts", r#"["x"]"#).unwrap_err().code, "no-valid-record");
}

#[test]
fn b34_a_null_change_stays_null_and_is_no_repair() {
    let payload = signals(r#"{"symbol": "A", "score": 1, "change_24h": null}"#);
    let decoded = read("analysis:signals", payload).unwrap();
    assert_eq!((decoded.canonical, decoded.repairs.len()), (None, 0));
}

#[test]
fn b36_unknown_fields_pass_untouched() {
    let payload =
        r#"{"z": {"y": [1, 2.50]}, "signals": [{"symbol": "A", "score": 1, "new": [true]}], "recent_signals": []}"#;
    let text = String::from_utf8(read("analysis:signals", payload).unwrap().canonical.unwrap()).unwrap();
    assert_eq!(text, r#"{"z":{"y":[1,2.5]},"signals":[{"symbol":"A","score":1,"new":[true]}]}"#);
}

#[test]
fn b37_defaults_that_look_like_data_are_placeholders() {
    for payload in [
        "{}",
        r#"{"trend_strength": 50, "total_market_cap": 3000000000000, "btc_dominance": 59.3}"#,
        r#"{"trend_strength": 0, "gainers": null, "losers": null, "total_symbols": 0, "total_volume_24h": 0.0}"#,
    ] {
        assert_eq!(read("market:overview", payload).unwrap().kind, Kind::Placeholder, "{payload}");
    }
    assert_eq!(read("market:overview", r#"{"gainers": 3}"#).unwrap().kind, Kind::Real);
    assert_eq!(read("market:overview", r#"{"trend_strength": 61}"#).unwrap().kind, Kind::Real);
}

#[test]
fn b37_nothing_is_filled_in() {
    assert_eq!(document("market:overview", r#"{"gainers": 3}"#), json!({"gainers": 3}));
    assert_eq!(document("market:movers", r#"{"gainers": []}"#), json!({"gainers": []}));
}

#[test]
fn b41_fields_of_older_producers_get_their_present_names() {
    let payload = r#"{"btc_dom": 57, "average_change_24h": 1.5, "market_state": "Bull", "spot_count": 3, "volatility": 2,
        "total_symbols_monitored": 20, "total_symbols": 10, "total_volume": 5, "avg_volatility": 20.0}"#;
    assert_eq!(
        document("market:overview", payload),
        json!({"btc_dominance": 57, "average_change": 1.5, "market_regime": "Bull", "spot_symbols": 3,
            "market_dispersion": 2, "total_symbols_monitored": 20, "total_symbols": 10, "total_volume": 5,
            "avg_volatility": 20.0, "total_volume_24h": 5})
    );
    assert_eq!(read("market:overview", payload).unwrap().repairs.len(), 0);
}

#[test]
fn b41_a_field_out_of_range_is_null_and_the_rest_stays() {
    let payload = r#"{"btc_dominance": 130, "total_volume_24h": -1, "total_volume": 7, "gainers": 3}"#;
    let expected = json!({"btc_dominance": null, "total_volume_24h": 7, "total_volume": 7, "gainers": 3});
    assert_eq!(document("market:overview", payload), expected);
    let repairs = repairs(&read("market:overview", payload).unwrap());
    assert_eq!(repairs, ["out-of-range $.btc_dominance", "out-of-range $.total_volume_24h"]);
}

#[test]
fn b42_a_negative_or_missing_count_is_refused_by_its_path() {
    for (payload, path) in [
        (r#"{"up_count": -1, "down_count": 0}"#, "$.up_count"),
        (r#"{"up_count": 1, "down_count": "2"}"#, "$.down_count"),
        (r#"{"up_count": 1}"#, "$.down_count"),
        (r#"{"up_count": 1, "down_count": 1, "flat_count": -3}"#, "$.flat_count"),
    ] {
        let rejection = read("market:breadth", payload).unwrap_err();
        assert_eq!((rejection.code, rejection.path.as_str()), ("wrong-shape", path));
    }
}

#[test]
fn b45_tickers_of_all_shapes_become_one_map() {
    assert_eq!(
        document("market:tickers", fixture("legacy_writer/bybit_tickers/market:tickers.json")),
        json!({"BTCUSDT": {"price": 95400.5, "turnover_24h": 9100000000.1_f64, "change_24h": 1.23, "high": 96000.0,
            "low": 94000.0, "volume_24h": 95000.1}})
    );
    let wrapped = r#"{"tickers": {"A": {"price": 1}}, "last_updated": 1795372937.5, "total_count": 1}"#;
    assert_eq!(document("market:tickers", wrapped), json!({"A": {"price": 1}}));
    assert_eq!(read("market:tickers", wrapped).unwrap().produced_at, Some(1_795_372_937_500_000));
    let repeated = r#"{"tickers": [{"symbol": "A", "price": 1}, {"symbol": "A", "price": 2}]}"#;
    assert_eq!(document("market:tickers", repeated), json!({"A": {"price": 2}}));
}

#[test]
fn b46_the_dominance_is_an_object_whatever_was_written() {
    let key = "market:btc_dominance";
    for payload in ["57.21", r#""57.21""#, r#"{"dominance": 57.21}"#] {
        assert_eq!(document(key, payload), json!({"dominance": 57.21}), "{payload}");
    }
    assert_eq!(read(key, "57.21").unwrap().repairs, []);
    assert_eq!(repairs(&read(key, "+57.21").unwrap()), ["bare-text $"]);
    assert_eq!(read(key, "157").unwrap_err().code, "out-of-range");
    assert_eq!(read(key, "-1").unwrap_err().code, "out-of-range");
    assert_eq!(read(key, "{}").unwrap_err().path, "$.dominance");
}

#[test]
fn b46_the_old_warmers_constant_is_a_placeholder_and_stays_one() {
    let decoded = read_fixture("warmer/fallback_placeholders/market:btc_dominance.json").unwrap();
    assert_eq!(decoded.kind, Kind::Placeholder);
    let again = read("market:btc_dominance", decoded.canonical.unwrap()).unwrap();
    assert_eq!(again.kind, Kind::Placeholder);
    assert_eq!(read("market:btc_dominance", r#"{"dominance": 57.0}"#).unwrap().kind, Kind::Real);
}

#[test]
fn b47_a_score_is_an_object_whatever_was_written() {
    assert_eq!(document("confluence:score:A", "63.5"), json!({"score": 63.5}));
    assert_eq!(document("confluence:score:A", r#"{"score": 63.5}"#), json!({"score": 63.5}));
    assert_eq!(read("confluence:score:A", r#"{"score": null}"#).unwrap_err().path, "$.score");
    assert_eq!(read("confluence:breakdown:A", "{}").unwrap_err().path, "$.overall_score");
}

#[test]
fn b47_components_that_hold_objects_become_numbers() {
    let payload = r#"{"overall_score": 1, "components": {"volume": {"score": 7, "why": "x"}, "technical": 5}}"#;
    assert_eq!(document("confluence:breakdown:A", payload)["components"], json!({"volume": 7, "technical": 5}));
}

#[test]
fn b52_a_list_under_two_names_is_stored_once() {
    let payload = fixture("analysis:signals.json");
    let decoded = read("analysis:signals", &payload).unwrap();
    let canonical = decoded.canonical.unwrap();
    assert!(canonical.len() < payload.len() * 6 / 10, "{} of {}", canonical.len(), payload.len());
    let signals: Value = serde_json::from_slice(&canonical).unwrap();
    assert_eq!((signals["signals"].as_array().unwrap().len(), signals.get("recent_signals")), (20, None));
    let movers = document("market:movers", fixture("market:movers.json"));
    assert_eq!((movers.get("top_gainers"), movers.get("top_losers")), (None, None));
}

#[test]
fn b52_an_alias_fills_its_primary_and_one_that_disagrees_is_reported() {
    let alias = r#"{"recent_signals": [{"symbol": "A", "score": 1}], "signals": []}"#;
    assert_eq!(document("analysis:signals", alias), json!({"signals": [{"symbol": "A", "score": 1}]}));
    let other = r#"{"signals": [{"symbol": "A", "score": 1}], "recent_signals": [{"symbol": "B", "score": 1}]}"#;
    assert_eq!(document("analysis:signals", other), json!({"signals": [{"symbol": "A", "score": 1}]}));
    assert_eq!(repairs(&read("analysis:signals", other).unwrap()), ["alias-disagrees $.recent_signals"]);
}

#[test]
fn b56_a_number_in_a_string_is_a_number_and_anything_else_is_null() {
    let payload = signals(r#"{"symbol": "A", "score": 1, "price": "95000.5", "volume": {}}"#);
    let record = &document("analysis:signals", &payload)["signals"][0];
    assert_eq!(*record, json!({"symbol": "A", "score": 1, "price": 95000.5, "volume": null}));
    let repairs = repairs(&read("analysis:signals", payload).unwrap());
    assert_eq!(repairs, ["numeric-text $.signals[0].price", "wrong-type $.signals[0].volume"]);
}

#[test]
fn b17_alerts_written_as_json_are_a_list_and_a_pickle_of_them_is_never_opened() {
    let written = fixture("edge/dashboard:alerts.json");
    let decoded = read("dashboard:alerts", &written).unwrap();
    assert_eq!((decoded.canonical, decoded.kind, decoded.repairs.len()), (None, Kind::Real, 0));
    let pickle = fixture("edge/dashboard:alerts.pickled.bin");
    // Known by its flag, and where a store keeps no flags by its first byte.
    for flags in [0, 1] {
        assert_eq!(decode("dashboard:alerts", &pickle, flags).unwrap_err().code, "python-pickle");
    }
}

#[test]
fn b65_decoding_its_own_answer_changes_nothing_however_often() {
    let prose = "Order flow is balanced \u{2013} \"quoted\", 61.5 %, short enough for a stock sentence.";
    let written = json!({
        "overall_score": 61.5, "reliability": 73.0, "symbol": "BTCUSDT",
        "components": { "orderflow": { "score": 55 }, "price_structure": "48.25" },
        "interpretations": { "overall": prose, "orderflow": "ok", "price_structure": "", "volume": prose },
    });
    let mut payload = written.to_string().into_bytes();
    let first = read("confluence:breakdown:BTCUSDT", &payload).unwrap().canonical.expect("it needs mending");
    for _ in 0..10 {
        let decoded = read("confluence:breakdown:BTCUSDT", &payload).unwrap();
        payload = decoded.canonical.unwrap_or(payload);
        assert_eq!(String::from_utf8_lossy(&payload), String::from_utf8_lossy(&first));
    }
    let settled: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(settled["interpretations"], written["interpretations"]);
    assert_eq!(settled["reliability"], 0.73);
}

#[test]
fn b65_every_captured_payload_is_settled_after_one_decoding() {
    let mut settled = 0;
    for name in fixtures() {
        let Ok(decoded) = read_fixture(&name) else {
            assert!(name.contains("pickled"), "{name} is refused");
            continue;
        };
        assert_settled(key(&name), &fixture(&name), &decoded);
        settled += 1;
    }
    assert!(settled > 40, "only {settled} payloads were found");
}
