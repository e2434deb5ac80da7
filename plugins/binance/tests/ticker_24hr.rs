//! One real answer of Binance, of 10 March 2026 (`tests/data/README.md` names its source), and answers that are wrong.

use std::path::Path;

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use serde_json::{Value, json};
use tiergate_binance::{Decoded, Kind, PATTERN, Rejection, claims, decode};

fn answer() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/binance-ticker-24hr-2026-03-10.json");
    std::fs::read(path).expect("the recorded answer is part of the repository")
}

fn read(payload: impl AsRef<[u8]>) -> Result<Decoded, Rejection> {
    decode(PATTERN, payload.as_ref(), 0)
}

fn map(decoded: &Decoded) -> Value {
    serde_json::from_slice(decoded.canonical.as_deref().expect("a new form")).expect("strict JSON")
}

#[test]
fn one_key_is_claimed_and_no_dashboard_key() {
    let claims = claims();
    assert_eq!((claims.len(), claims[0].pattern, claims[0].schema), (1, "binance:ticker-24hr", "market-tickers"));
}

#[test]
fn the_recorded_answer_becomes_a_map_of_a_hundred_tickers() {
    let decoded = read(answer()).unwrap();
    let map = map(&decoded);
    assert_eq!(map.as_object().unwrap().len(), 100);
    assert_eq!((decoded.kind, decoded.repairs.len()), (Kind::Real, 0));
    assert_eq!(
        map["BTCUSDT"],
        json!({
            "price": 70766.63, "change_24h": 4.361, "volume_24h": 30145.53139, "turnover_24h": 2085220624.624061,
            "high": 71097.64, "low": 67344.45, "bid": 70766.62, "ask": 70766.63, "trades": 4770334,
        })
    );
}

#[test]
fn the_time_is_the_latest_close_in_microseconds() {
    let rows: Vec<Value> = serde_json::from_slice(&answer()).unwrap();
    let latest = rows.iter().filter_map(|row| row["closeTime"].as_u64()).max().unwrap();
    assert_eq!(read(answer()).unwrap().produced_at, Some(latest * 1000));
}

#[test]
fn decoding_the_canonical_map_changes_nothing() {
    let first = read(answer()).unwrap();
    let second = read(first.canonical.unwrap()).unwrap();
    assert_eq!((second.canonical, second.kind, second.repairs.len()), (None, Kind::Real, 0));
}

#[test]
fn one_object_is_read_like_a_list_of_one() {
    let row = br#"{"symbol": "BTCUSDT", "lastPrice": "70766.63000000", "priceChangePercent": "4.361"}"#;
    assert_eq!(map(&read(row).unwrap()), json!({"BTCUSDT": {"price": 70766.63, "change_24h": 4.361}}));
}

#[test]
fn b32_a_bad_row_costs_itself() {
    let answer = br#"[
        {"symbol": "AUSDT", "lastPrice": "1.5", "priceChangePercent": "0"},
        {"symbol": "BUSDT", "lastPrice": "NaN", "priceChangePercent": "0"},
        {"lastPrice": "1", "priceChangePercent": "0"}, 7,
        {"symbol": "OLDUSDT", "lastPrice": "0.00000000", "priceChangePercent": "0.000"}
    ]"#;
    let decoded = read(answer).unwrap();
    assert_eq!(map(&decoded), json!({"AUSDT": {"price": 1.5, "change_24h": 0.0}}));
    let paths: Vec<_> = decoded.repairs.iter().map(|repair| (repair.code, repair.path.as_str())).collect();
    let dropped = |path| ("dropped-record", path);
    assert_eq!(paths, [dropped("$[1]"), dropped("$[2]"), dropped("$[3]"), dropped("$")]);
}

#[test]
fn the_list_of_repairs_is_bounded() {
    let answer =
        format!("[{}{}]", "{},".repeat(1000), r#"{"symbol": "A", "lastPrice": "1", "priceChangePercent": "0"}"#);
    let repairs = read(answer).unwrap().repairs;
    assert_eq!((repairs.len(), repairs[64].code), (65, "more-repairs"));
}

#[test]
fn an_error_of_binance_is_a_rejection_that_carries_its_code_and_text() {
    let rejection = read(br#"{"code": -1003, "msg": "Too much request weight used"}"#).unwrap_err();
    assert_eq!(rejection.code, "upstream-error");
    assert!(rejection.message.contains("-1003") && rejection.message.contains("request weight"), "{rejection:?}");
}

#[test]
fn an_answer_that_says_nothing_is_a_placeholder() {
    assert_eq!(read(b"[]").unwrap().kind, Kind::Placeholder);
    assert_eq!(read(b"{}").unwrap().kind, Kind::Placeholder);
}

#[test]
fn what_is_no_answer_of_binance_is_refused() {
    for (payload, code) in [
        (&b""[..], "not-json"),
        (b"<html>", "not-json"),
        (b"[{]", "not-json"),
        (b"\xff", "invalid-utf8"),
        (b"null", "wrong-shape"),
        (b"\"text\"", "wrong-shape"),
        (b"[1, 2]", "no-valid-record"),
        (br#"{"symbol": "A"}"#, "no-valid-record"),
        (br#"{"A": {"price": 1e999}}"#, "wrong-shape"),
        (br#"{"A": {"high": 1}}"#, "wrong-shape"),
    ] {
        assert_eq!(read(payload).unwrap_err().code, code, "{}", payload.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_answer_never_panics(at in 0_usize..4000, bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut answer = answer();
        answer.truncate(4096);
        answer.splice(at..at + bytes.len().min(4096 - at), bytes);
        if let Ok(Decoded { canonical: Some(canonical), .. }) = read(&answer) {
            let again = read(&canonical).expect("an own answer is accepted");
            assert_eq!(again.canonical, None);
        }
    }
}
