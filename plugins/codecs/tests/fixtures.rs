//! Every captured payload decodes to the kind, the repairs or the rejection that it should.

mod common;

use common::{assert_settled, fixture, key, read_fixture, repairs};
use tiergate_codecs::{Decoded, Kind};

/// Asserts what becomes of a payload, and that its canonical form is settled.
#[track_caller]
fn check(name: &str, kind: Kind, as_it_came: bool, expected_repairs: &[&str]) -> Decoded {
    let decoded = read_fixture(name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(decoded.kind, kind, "{name}");
    assert_eq!(repairs(&decoded), expected_repairs, "{name}");
    assert_eq!(decoded.canonical.is_none(), as_it_came, "{name}");
    assert_settled(key(name), &fixture(name), &decoded);
    decoded
}

#[test]
fn the_schema_writers_payloads_are_sound() {
    for folder in ["", "bridge/", "aggregator/"] {
        let overview = check(&format!("{folder}market:overview.json"), Kind::Real, true, &[]);
        assert_eq!(overview.schema_version.as_deref(), Some("1.0"));
        assert!(overview.produced_at.is_some());
        check(&format!("{folder}market:movers.json"), Kind::Real, false, &[]);
    }
    for folder in ["", "bridge/"] {
        check(&format!("{folder}market:breadth.json"), Kind::Real, true, &[]);
    }
    for folder in ["", "bridge/", "aggregator/"] {
        check(&format!("{folder}analysis:signals.json"), Kind::Real, false, &[]);
    }
}

#[test]
fn the_time_of_a_payload_is_its_own() {
    let decoded = check("analysis:signals.json", Kind::Real, false, &[]);
    assert_eq!(decoded.produced_at, Some(1_795_372_662_193_728));
}

#[test]
fn the_analyzers_payloads_are_sound() {
    for symbol in ["BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        let breakdown = check(&format!("aggregator/confluence:breakdown:{symbol}.json"), Kind::Real, true, &[]);
        assert_eq!(breakdown.produced_at, Some(1_795_372_687_000_000));
        check(&format!("aggregator/confluence:score:{symbol}.json"), Kind::Real, true, &[]);
    }
}

#[test]
fn copies_and_heartbeats_of_the_bridge_pass_as_they_are() {
    for name in [
        "bridge/system:bridge_heartbeat.json",
        "bridge/vt_shared:system:bridge_heartbeat.json",
        "bridge/vt_shared:analysis:signals.json",
        "bridge/vt_shared:market:overview.json",
    ] {
        check(name, Kind::Real, true, &[]);
    }
    for event in fixture("bridge/pubsub_events.jsonl").split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let decoded = common::read("vt_shared:events", event).unwrap();
        assert_eq!((decoded.canonical, decoded.repairs.len()), (None, 0));
    }
}

#[test]
fn the_old_warmers_values_are_placeholders() {
    for (name, as_it_came, expected) in [
        ("warmer/analysis:market_regime.json", true, &[][..]),
        ("warmer/market:breadth.json", true, &[]),
        ("warmer/market:btc_dominance.json", true, &[]),
        ("warmer/market:tickers.json", false, &[]),
        ("warmer/disabled_keys/analysis:signals.json", false, &[]),
        ("warmer/disabled_keys/market:movers.json", false, &[]),
        ("warmer/disabled_keys/market:overview.json", false, &[]),
        ("warmer/fallback_placeholders/analysis:signals.json", true, &[]),
        ("warmer/fallback_placeholders/analysis:market_regime.bin", false, &["bare-text $"]),
        ("warmer/fallback_placeholders/market:breadth.json", true, &[]),
        ("warmer/fallback_placeholders/market:btc_dominance.json", false, &[]),
        ("warmer/fallback_placeholders/market:movers.json", true, &[]),
        ("warmer/fallback_placeholders/market:overview.json", false, &[]),
        ("warmer/fallback_placeholders/market:tickers.json", true, &[]),
    ] {
        check(name, Kind::Placeholder, as_it_came, expected);
    }
    let tickers = read_fixture("warmer/market:tickers.json").unwrap();
    assert_eq!(tickers.canonical.as_deref(), Some(&b"{}"[..]));
    assert_eq!(tickers.produced_at, Some(1_795_372_937_013_803));
}

#[test]
fn the_competing_writers_shapes_are_normalised() {
    check("legacy_writer/market:overview.json", Kind::Real, false, &[]);
    check("legacy_writer/market:breadth.json", Kind::Real, true, &[]);
    check("legacy_writer/market:tickers.json", Kind::Real, true, &[]);
    check("legacy_writer/bybit_tickers/market:tickers.json", Kind::Real, false, &[]);
    check("legacy_writer/analysis:market_regime.bin", Kind::Real, false, &["bare-text $"]);
    let wrong = ["$.gainers[2]", "$.losers[0]", "$.losers[1]", "$.losers[4]"].map(|path| format!("wrong-sign {path}"));
    check("legacy_writer/market:movers.json", Kind::Real, false, &wrong.each_ref().map(String::as_str));
}

#[test]
fn the_competing_writers_defaults_are_placeholders() {
    check("legacy_writer/default/market:overview.json", Kind::Placeholder, false, &[]);
    check("legacy_writer/default/market:movers.json", Kind::Placeholder, true, &[]);
}

#[test]
fn numbers_that_json_does_not_have_become_null() {
    check(
        "edge/analysis:signals.nan.bin",
        Kind::Real,
        false,
        &[
            "non-finite-number $.signals[0].price",
            "non-finite-number $.signals[0].change_24h",
            "non-finite-number $.recent_signals[0].price",
            "non-finite-number $.recent_signals[0].change_24h",
        ],
    );
    check("edge/market:overview.nan.bin", Kind::Placeholder, false, &["non-finite-number $.btc_volatility"]);
}

#[test]
fn double_encoded_payloads_are_peeled() {
    for topic in ["trending", "derivatives", "categories", "exchanges"] {
        let name = format!("edge/double_encoded/coingecko:{topic}.json");
        let decoded = check(&name, Kind::Real, false, &["peeled-encoding $"]);
        assert_eq!(decoded.produced_at, Some(1_767_225_600_000_000));
    }
}

#[test]
fn alerts_are_dated_by_the_newest() {
    let decoded = check("edge/dashboard:alerts.json", Kind::Real, true, &[]);
    assert_eq!(decoded.produced_at, Some(1_795_372_868_285_799));
}

#[test]
fn pickles_are_refused() {
    for name in ["edge/analysis:signals.pickled.bin", "edge/dashboard:alerts.pickled.bin"] {
        assert_eq!(read_fixture(name).unwrap_err().code, "python-pickle", "{name}");
    }
}
