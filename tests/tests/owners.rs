//! Whose value of a key counts: its owner's while that is fresh, whoever writes later.

use hyper::Method;
use serde_json::json;
use tiergate_tests::{Deployment, Gateway, Redis, fixture, moved_to_now, now_seconds};

fn value(n: u32, is_versioned: bool, at: f64) -> String {
    let mut value = json!({ "timestamp": at, "n": n });
    if is_versioned {
        value["__schema_version"] = "1.0".into();
    }
    value.to_string()
}

async fn put(gateway: &Gateway, key: &str, body: String) -> u16 {
    gateway.send(Method::PUT, &format!("/api/cache/{key}?ttl=300"), &[], body.into()).await.status.as_u16()
}

#[tokio::test]
async fn b03_owners_are_configured_per_key_and_without_any_the_newest_counts() {
    let redis = Redis::start().await;
    let rules =
        "ttl = [{ pattern = \"all:*\", owners = [] }, { pattern = \"api:*\", owners = [\"api\", \"versioned\"] }]";
    let gateway = Gateway::with().tier(redis.url()).config(rules).without_tasks().start().await;
    let now = now_seconds();
    // By default a payload that names its schema outranks one that does not, while it is fresh.
    assert_eq!(put(&gateway, "k", value(1, true, now - 2.0)).await, 200);
    assert_eq!(put(&gateway, "k", value(2, false, now - 1.0)).await, 409);
    assert_eq!(put(&gateway, "all:k", value(1, true, now - 2.0)).await, 200);
    assert_eq!(put(&gateway, "all:k", value(2, false, now - 1.0)).await, 200);

    // What a named writer wrote stays, though a producer with a schema writes later into the store.
    assert_eq!(put(&gateway, "api:k", value(1, false, now - 2.0)).await, 200);
    let mut producer = tiergate_tests::PlainRedis::connect(redis.port()).await;
    producer.setex("api:k", value(2, true, now - 1.0).as_bytes(), 300).await;
    let explained = gateway.admin_get("/api/admin/explain/api:k").await.json();
    assert_eq!(
        (&explained["tiers"][0]["value"]["rank"], &explained["tiers"][1]["value"]["rank"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(explained["serves"]["tier"], "memory", "{explained:#}");
    assert_eq!(put(&gateway, "api:k", value(3, false, now)).await, 200);
    assert_eq!(gateway.get("/api/cache/api:k").await.json()["n"], 3);
}

#[tokio::test]
async fn b02_an_empty_list_of_signals_never_replaces_one_with_signals() {
    let mut all = Deployment::start().await;
    let signals = moved_to_now(&fixture("analysis:signals.json"));
    assert_eq!(all.gateway.put("analysis:signals", signals).await.status, 200);
    let shown = all.mobile("the signals", |m| !m["confluence_scores"].as_array().is_some_and(Vec::is_empty)).await;
    let empty = json!({ "signals": [], "total_signals": 0, "timestamp": now_seconds() }).to_string();
    assert_eq!(all.gateway.put("analysis:signals", empty.clone()).await.status, 409);
    // A second writer, straight into the store.
    all.to_memcached.set("analysis:signals", empty.as_bytes(), 0, 30).await;
    all.looked_again().await;
    let after = all.gateway.mobile_data().await;
    assert_eq!(
        after["confluence_scores"].as_array().map(Vec::len),
        shown["confluence_scores"].as_array().map(Vec::len)
    );
}

#[tokio::test]
async fn b02_an_empty_list_of_alerts_or_movers_never_replaces_one_with_any() {
    let gateway = Gateway::with().without_tasks().start().await;
    let now = now_seconds();
    let movers =
        |of: &[serde_json::Value], at: f64| json!({ "timestamp": at, "gainers": of, "losers": [] }).to_string();
    let gainer = json!({ "symbol": "BTCUSDT", "change_24h": 1.5, "price": 10 });
    let alerts = json!([{ "id": "1", "type": "price", "unix_timestamp": now - 2.0 }]).to_string();
    for (key, some, none) in [
        ("dashboard:alerts", alerts, "[]".to_owned()),
        ("market:movers", movers(&[gainer], now - 2.0), movers(&[], now - 1.0)),
    ] {
        assert_eq!(put(&gateway, key, some).await, 200, "{key}");
        let told = gateway.get(&format!("/api/cache/{key}")).await.body;
        assert_eq!(put(&gateway, key, none).await, 409, "{key}");
        assert_eq!(gateway.get(&format!("/api/cache/{key}")).await.body, told, "{key}");
    }
}
