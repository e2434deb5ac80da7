//! The answers of the dashboard's routes against those of the old API, in the six states of the cache that were captured:
//! every name that a page depends on is there, with its type.

use std::collections::BTreeSet;

use serde_json::Value;
use tiergate_tests::{Gateway, eventually, fixture, moved_to_now};

const VIEWS: [&str; 6] = ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"];

/// Numbers of the old perpetuals that stood on nothing, each with its reason (B37). Here they are null.
const WITHOUT_SOURCE: [(&str, &str); 7] = [
    ("long_pct", "always 50: no producer tells it"),
    ("short_pct", "always 50: no producer tells it"),
    ("ls_entropy", "computed from those"),
    ("cex_pct", "always 90"),
    ("dex_pct", "always 10"),
    ("basis_pct", "always 0"),
    ("volume_24h", "the whole market's volume, which is not that of the perpetuals"),
];

/// New answers beside old ones.
struct Comparison {
    /// Whether null may stand for a value, as it does where a state lacks data.
    null_accepted: bool,
    differences: BTreeSet<String>,
}

// === impl Comparison ===

impl Comparison {
    fn compare(&mut self, path: &str, old: &Value, new: &Value) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for (name, value) in old {
                    let path = format!("{path}.{name}");
                    match new.get(name) {
                        Some(found) => self.compare(&path, value, found),
                        None => self.found(format!("{path} is missing")),
                    }
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                if !old.is_empty() && new.is_empty() && !self.null_accepted {
                    self.found(format!("{path} is empty"));
                }
                // The lists are not of the same length: what is over is compared with the last of the old elements.
                for (at, element) in new.iter().enumerate() {
                    if let Some(old) = old.get(at).or(old.last()) {
                        self.compare(&format!("{path}[]"), old, element);
                    }
                }
            }
            (Value::Null, _) => {}
            (old, Value::Null) => {
                if !self.null_accepted && !without_source(path) {
                    self.found(format!("{path}: {old} became null"));
                }
            }
            (old, new) => {
                if std::mem::discriminant(old) != std::mem::discriminant(new) {
                    self.found(format!("{path}: {old} became {new}"));
                }
            }
        }
    }

    fn found(&mut self, difference: String) {
        self.differences.insert(difference);
    }
}

/// Whether `path` is one of [`WITHOUT_SOURCE`], among the perpetuals or beside them.
fn without_source(path: &str) -> bool {
    let name = path.strip_prefix("mobile-data.").map(|name| name.strip_prefix("perps.").unwrap_or(name));
    WITHOUT_SOURCE.iter().any(|(without, _)| Some(*without) == name)
}

fn document(name: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{name}.json")))
}

/// A gateway with these payloads, once the views tell of the `section`.
async fn fed(payloads: &[(&str, Vec<u8>)], section: Option<(&str, &str)>) -> Gateway {
    let gateway = Gateway::with().start().await;
    for (key, payload) in payloads {
        let reply = gateway.put(key, payload.clone()).await;
        assert_eq!(reply.status, 200, "{key}: {}", reply.text());
    }
    if let Some((section, kind)) = section {
        eventually("the views tell of the payloads", async || {
            (gateway.mobile_data().await["sections"][section]["kind"] == kind).then_some(())
        })
        .await;
    }
    gateway
}

/// Compares every view with the old one of `state`; of those that were not captured, and those that answered with an error,
/// the shape is that of the fresh state.
async fn assert_shapes(gateway: &Gateway, state: &str, null_accepted: bool) {
    let old = |state: &str, view: &str| {
        let path = format!("{}/fixtures/http/{state}/dashboard_{view}.json", env!("CARGO_MANIFEST_DIR"));
        let answer: Value = serde_json::from_slice(&std::fs::read(path).ok()?).expect("JSON");
        let failed = matches!(answer["status"].as_str(), Some("error" | "unavailable"));
        (!failed).then_some(answer)
    };
    let mut comparison = Comparison { null_accepted, differences: BTreeSet::new() };
    for view in VIEWS {
        let old = old(state, view).or_else(|| old("fresh", view)).expect("an answer");
        let reply = gateway.get(&format!("/api/dashboard/{view}")).await;
        assert_eq!(reply.status, 200, "{view}: {}", reply.text());
        comparison.compare(view, &old, &reply.json());
    }
    let differences: Vec<String> = comparison.differences.into_iter().collect();
    assert!(differences.is_empty(), "{state}:\n{}", differences.join("\n"));
}

#[tokio::test]
async fn with_fresh_data_every_field_of_the_old_answers_has_a_value_but_for_those_that_stood_on_nothing() {
    let keys = ["analysis:signals", "market:overview", "market:movers", "market:breadth"];
    let mut payloads = keys.map(|key| (key, document(key))).to_vec();
    payloads.push(("coingecko:derivatives", document("edge/double_encoded/coingecko:derivatives")));
    let gateway = fed(&payloads, Some(("breadth", "real"))).await;
    eventually("the views tell of the derivatives", async || {
        gateway.mobile_data().await["perps"]["open_interest"].is_number().then_some(())
    })
    .await;
    assert_shapes(&gateway, "fresh", false).await;
}

#[tokio::test]
async fn without_signals_the_names_and_types_stay() {
    let payloads = ["market:overview", "market:movers"].map(|key| (key, document(key)));
    let gateway = fed(&payloads, Some(("movers", "real"))).await;
    assert_shapes(&gateway, "no_signals", true).await;
}

#[tokio::test]
async fn without_data_the_names_and_types_stay() {
    let gateway = fed(&[], None).await;
    assert_shapes(&gateway, "empty", true).await;
}

#[tokio::test]
async fn with_placeholders_only_the_names_and_types_stay() {
    let keys = ["analysis:market_regime", "market:breadth", "market:btc_dominance", "market:tickers"];
    let payloads = keys.map(|key| (key, document(&format!("warmer/{key}"))));
    let gateway = fed(&payloads, Some(("breadth", "placeholder"))).await;
    assert_shapes(&gateway, "warmer_placeholders_only", true).await;
}

#[tokio::test]
async fn with_a_nan_in_one_signal_the_names_and_types_stay() {
    let signals = moved_to_now(&fixture("edge/analysis:signals.nan.bin"));
    assert!(String::from_utf8_lossy(&signals).contains("NaN"));
    let payloads = [
        ("market:overview", document("market:overview")),
        ("market:movers", document("market:movers")),
        ("analysis:signals", signals),
    ];
    let gateway = fed(&payloads, Some(("signals", "real"))).await;
    assert_shapes(&gateway, "nan_in_one_signal", true).await;
}

#[tokio::test]
async fn with_a_null_change_in_one_signal_the_views_that_failed_then_have_the_shape_of_good_data() {
    let mut signals: Value = serde_json::from_slice(&document("analysis:signals")).unwrap();
    for list in ["signals", "recent_signals"] {
        signals[list][0]["change_24h"] = Value::Null;
    }
    let payloads = [
        ("market:overview", document("market:overview")),
        ("market:movers", document("market:movers")),
        ("analysis:signals", signals.to_string().into_bytes()),
    ];
    let gateway = fed(&payloads, Some(("signals", "real"))).await;
    // The record is left out (B34), and it alone.
    let mobile = gateway.mobile_data().await;
    assert_eq!(
        (&mobile["status"], mobile["confluence_scores"].as_array().map(Vec::len)),
        (&"success".into(), Some(19))
    );
    assert_shapes(&gateway, "null_change_in_one_signal", true).await;
}
