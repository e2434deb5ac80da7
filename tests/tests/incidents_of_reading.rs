//! Incidents that readers met, each under its number, through the whole gateway: stand-ins taken for data, data that nobody
//! renews, numbers of another scale, servers that ask themselves, addresses that lead nowhere.

use std::path::Path;

use serde_json::{Value, json};
use tiergate_tests::{Deployment, Gateway, Memcached, PlainMemcached, eventually, fixture, moved_to_now, now_seconds};

/// The overview as its producer writes it, of `age` seconds ago.
fn overview(age: f64) -> Vec<u8> {
    let mut overview: Value = serde_json::from_slice(&fixture("market:overview.json")).expect("JSON");
    overview["timestamp"] = json!(now_seconds() - age);
    overview.to_string().into_bytes()
}

#[tokio::test]
async fn b04_what_the_warmer_puts_after_a_start_is_marked_and_never_served_as_success() {
    let memcached = Memcached::start().await;
    let quick = "[warmer]\nevery = \"100ms\"";
    let gateway = Gateway::with().tier(memcached.url()).config(quick).start().await;
    let mut store = PlainMemcached::connect(memcached.port()).await;
    eventually("the warmer's stand-in", async || store.get("market:breadth").await).await;
    let mobile = eventually("the dashboard knows it", async || {
        let mobile = gateway.mobile_data().await;
        (mobile["sections"]["breadth"]["kind"] == "placeholder").then_some(mobile)
    })
    .await;
    assert_eq!((&mobile["status"], &mobile["data_source"]), (&json!("unavailable"), &json!("unavailable")));
    for (name, fact) in mobile["market_overview"].as_object().expect("an object") {
        assert!(!fact.is_number(), "{name} is {fact}, and nobody has said so");
    }
    for (name, fact) in mobile["market_breadth"].as_object().into_iter().flatten() {
        assert!(!fact.is_number(), "{name} of the breadth is {fact}, and nobody has said so");
    }

    // Its owner has written: provenance and age are told.
    store.set("market:overview", &overview(7.0), 0, 300).await;
    let mobile = eventually("real data", async || {
        let mobile = gateway.mobile_data().await;
        (mobile["status"] == "success").then_some(mobile)
    })
    .await;
    let section = &mobile["sections"]["overview"];
    assert_eq!((&section["kind"], &section["freshness"]), (&json!("real"), &json!("fresh")));
    assert!(section["as_of"].as_f64().is_some_and(|at| now_seconds() - at > 6.0), "{section}");
}

#[tokio::test]
async fn b12_data_that_nobody_renews_is_served_on_as_old_and_its_age_is_there_to_alarm_on() {
    let mut all = Deployment::with("ttl = [{ pattern = \"market:overview\", fresh = \"120s\" }]").await;
    // As it is two minutes after the producer began to spin.
    all.to_memcached.set("market:overview", &overview(125.0), 0, 300).await;
    let mobile = all.mobile("the old overview", |m| m["sections"]["overview"]["freshness"] == "stale").await;
    assert_eq!((&mobile["status"], &mobile["data_source"]), (&json!("success"), &json!("stale")));
    assert_eq!(mobile["market_overview"]["btc_dominance"], 57.21);
    eventually("its age in the metrics", async || {
        (all.gateway.metric("cache_age_seconds", &["market:overview"]).await >= 120.0).then_some(())
    })
    .await;
    let ready = all.gateway.get("/readyz").await.json();
    assert!(ready["age_seconds"]["market:overview"].as_f64().is_some_and(|age| age >= 120.0), "{ready}");
}

#[tokio::test]
async fn b40_a_trend_of_two_minutes_ago_is_the_same_trend_marked_as_old() {
    let mut all = Deployment::with("ttl = [{ pattern = \"market:overview\", fresh = \"60s\" }]").await;
    all.to_memcached.set("market:overview", &overview(150.0), 0, 300).await;
    let mobile = all.mobile("the old overview", |m| m["sections"]["overview"]["freshness"] == "stale").await;
    assert_eq!((&mobile["trend_strength"], &mobile["market_overview"]["trend_strength"]), (&json!(60.0), &json!(60.0)));
    let as_of = mobile["sections"]["overview"]["as_of"].as_f64().expect("a time");
    assert!((140.0..200.0).contains(&(now_seconds() - as_of)), "{as_of}");
}

#[tokio::test]
async fn b55_no_route_asks_this_server_over_http() {
    let all = Deployment::start().await;
    all.gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await;
    all.gateway.put("analysis:signals", moved_to_now(&fixture("analysis:signals.json"))).await;
    all.mobile("the signals", |mobile| mobile["confluence_scores"].as_array().is_some_and(|all| !all.is_empty())).await;
    let answered = async || all.gateway.metric("tiergate_http_requests_total", &["listener=\"data\""]).await;
    let before = answered().await;
    for _ in 0..5 {
        for path in ["/api/dashboard/signals", "/api/dashboard/perpetuals-pulse", "/api/dashboard/overview"] {
            assert_eq!(all.gateway.get(path).await.status, 200, "{path}");
        }
    }
    assert_eq!(answered().await - before, 15.0, "only what was asked here was answered");
}

/// Every address in the files of the page: what stands in quotes and begins with a slash.
fn addresses(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the page") {
        let path = entry.expect("a file").path();
        // Pictures name nothing.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let quoted = text.split(['"', '\'', '`']).filter(|piece| piece.starts_with('/'));
        let is_address =
            |piece: &&str| piece[1..].starts_with(|c: char| c.is_ascii_lowercase()) && !piece.contains(' ');
        found.extend(quoted.filter(is_address).map(|piece| piece.split("${").next().unwrap_or(piece).to_owned()));
    }
    found.sort();
    found.dedup();
    found
}

#[tokio::test]
async fn b57_every_address_in_the_page_answers() {
    let gateway = Gateway::with().start().await;
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/http/assets");
    let addresses = addresses(&assets);
    assert!(addresses.iter().any(|address| address == "/api/dashboard/live"), "{addresses:?}");
    assert!(addresses.len() > 15, "{addresses:?}");
    eventually("the views", async || gateway.is_composed().await.then_some(())).await;
    // The service worker answers these itself; what operators ask for needs arguments and is tried elsewhere; streams do
    // not end.
    let elsewhere = |address: &&String| {
        address.starts_with("/saved/") || address.starts_with("/api/admin/") || address.ends_with("/stream")
    };
    for address in addresses.iter().filter(|address| !elsewhere(address)) {
        let mut reply = gateway.get(address).await;
        if reply.status == 404 {
            // What only the console has is at its own listener.
            reply = gateway.admin_get(address).await;
        }
        assert!(reply.status.is_success(), "{address}: {}", reply.status);
    }
}
