//! Payloads of any kind get an answer: accepted and settled, or refused with a reason. Never a panic.

mod common;

use common::{assert_settled, document, fixture, read, repairs};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};
use tiergate_codecs::{Kind, decode};

const KEYS: [&str; 12] = [
    "analysis:signals",
    "analysis:market_regime",
    "market:overview",
    "market:movers",
    "market:breadth",
    "market:tickers",
    "market:btc_dominance",
    "confluence:breakdown:BTCUSDT",
    "confluence:score:BTCUSDT",
    "coingecko:trending",
    "dashboard:alerts",
    "any:key",
];

/// Names and texts that mean something to some schema.
const WORDS: [&str; 26] = [
    "signals",
    "recent_signals",
    "symbol",
    "score",
    "confluence_score",
    "reliability",
    "components",
    "gainers",
    "top_gainers",
    "losers",
    "change",
    "tickers",
    "price",
    "status",
    "fallback",
    "regime",
    "market_regime",
    "dominance",
    "up_count",
    "down_count",
    "timestamp",
    "total_volume",
    "total_volume_24h",
    "volatility",
    "57.0",
    "{\"a\":[1]}",
];

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(&WORDS[..]), inner, 0..8)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn check_all(payload: &[u8]) {
    for key in KEYS {
        match read(key, payload) {
            Ok(decoded) => assert_settled(key, payload, &decoded),
            Err(rejection) => assert!(!rejection.code.is_empty() && rejection.path.starts_with('$'), "{rejection:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_answered(payload in prop::collection::vec(any::<u8>(), 0..200), flags in any::<u32>()) {
        check_all(&payload);
        for key in KEYS {
            let _answered = decode(key, &payload, flags);
        }
    }

    #[test]
    fn arbitrary_documents_settle_after_one_decoding(value in values(), layers in 0..4) {
        let mut payload = value.to_string();
        for _ in 0..layers {
            payload = Value::from(payload).to_string();
        }
        check_all(payload.as_bytes());
    }

    #[test]
    fn damaged_payloads_are_answered(at in 0_usize..500, damage in r#"[\]\[{}",:0-9eNaInfity\\. -]{0,12}"#) {
        for name in ["edge/analysis:signals.nan.bin", "market:overview.json", "edge/double_encoded/coingecko:trending.json"] {
            let mut payload = fixture(name);
            let start = at.min(payload.len());
            let end = (start + damage.len()).min(payload.len());
            payload.splice(start..end, damage.bytes());
            check_all(&payload);
        }
    }
}

#[test]
fn broken_json_is_refused_with_its_place() {
    let rejection = read("any:key", "{\n  \"a\": NaN,\n  \"b\": x}").unwrap_err();
    assert_eq!(rejection.code, "not-json");
    assert!(rejection.message.contains("line 3, column 8, byte 21"), "{}", rejection.message);
    let rejection = read("any:key", "{\"a\": }").unwrap_err();
    assert!(rejection.message.contains("line 1, column 7, byte 6"), "{}", rejection.message);
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_offset() {
    let rejection = read("any:key", b"{\"a\": \"\xff\"}").unwrap_err();
    assert_eq!(rejection.code, "invalid-utf8");
    assert!(rejection.message.contains("byte 7"), "{}", rejection.message);
}

#[test]
fn a_byte_order_mark_is_removed() {
    let payload = "\u{feff}{\"a\":1}";
    assert_eq!(document("any:key", payload), json!({"a": 1}));
    assert_eq!(repairs(&read("any:key", payload).unwrap()), ["byte-order-mark $"]);
}

#[test]
fn null_is_no_value_of_any_key() {
    for key in KEYS {
        assert_eq!(read(key, " null ").unwrap_err().code, "null-value", "{key}");
    }
}

#[test]
fn a_mark_makes_a_placeholder_of_any_document() {
    for mark in ["cache_warmer_generated", "warming_placeholder", "fallback", "warming"] {
        let decoded = read("virtuoso:beta_chart:4h", format!(r#"{{"status": "{mark}"}}"#)).unwrap();
        assert_eq!((decoded.kind, decoded.canonical), (Kind::Placeholder, None));
    }
    assert_eq!(read("any:key", r#"{"status": "healthy"}"#).unwrap().kind, Kind::Real);
}

#[test]
fn too_deep_a_document_is_refused() {
    for payload in ["[".repeat(100_000), format!("{}NaN", "[".repeat(100_000)), r#"{"a":"#.repeat(100_000)] {
        assert_eq!(read("any:key", payload).unwrap_err().code, "too-deep");
    }
}

#[test]
fn a_field_that_is_given_twice_counts_once() {
    let payload = r#"{"gainers": 1, "gainers": 2}"#;
    assert_eq!(document("market:overview", payload), json!({"gainers": 2}));
    assert_eq!(repairs(&read("market:overview", payload).unwrap()), ["duplicate-field $"]);
}

#[test]
fn the_list_of_repairs_is_bounded() {
    let payload = format!(
        r#"{{"signals": [{} {{"symbol": "A", "score": NaN}}, {{"symbol": "A", "score": 1}}]}}"#,
        "NaN,".repeat(1000)
    );
    let repairs = read("analysis:signals", payload).unwrap().repairs;
    assert_eq!((repairs.len(), repairs[64].code), (65, "more-repairs"));
}

#[test]
fn large_payloads_are_answered_in_linear_time() {
    let many: String = (0..50_000).map(|i| format!(r#""k{i}": NaN, "#)).collect();
    let payload = format!(r#"{{{many} "z": 1, "z": 2}}"#);
    let decoded = read("any:key", &payload).unwrap();
    assert_settled("any:key", payload.as_bytes(), &decoded);
}
