//! Existing producers, unchanged: what they store under plain keys in memcached or Redis is on the dashboard.

use std::time::Instant;

use serde_json::Value;
use tiergate_tests::{
    Gateway, Memcached, PlainMemcached, PlainRedis, Redis, SEEN_WITHIN, eventually, fixture, moved_to_now,
};

/// The four documents of the main pipeline.
const DOCUMENTS: [&str; 4] = ["analysis:signals", "market:overview", "market:movers", "market:breadth"];

fn document(key: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{key}.json")))
}

/// Polls as a lone client does until all of the producers' data is there, and checks the bound.
async fn assert_seen(gateway: &Gateway, stored: Instant) {
    eventually("the producers' data is on the dashboard", async || {
        let mobile = gateway.mobile_data().await;
        let whole = mobile["status"] == "success"
            && mobile["confluence_scores"].as_array().is_some_and(|scores| scores.len() == 20)
            && mobile["market_overview"]["btc_dominance"] == 57.21
            && mobile["market_breadth"]["up"] == 12
            && mobile["top_movers"]["gainers"][0]["symbol"] == "TONUSDT";
        whole.then_some(())
    })
    .await;
    let took = stored.elapsed();
    assert!(took < SEEN_WITHIN, "seen after {took:?}");
}

#[tokio::test]
async fn payloads_in_memcached_alone_are_on_the_dashboard_within_two_seconds() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    for key in DOCUMENTS {
        producer.set(key, &document(key), 0, 300).await;
    }
    assert_seen(&gateway, Instant::now()).await;
}

#[tokio::test]
async fn payloads_in_redis_alone_are_on_the_dashboard_within_two_seconds() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).start().await;
    let mut producer = PlainRedis::connect(redis.port()).await;
    for key in DOCUMENTS {
        producer.setex(key, &document(key), 300).await;
    }
    assert_seen(&gateway, Instant::now()).await;
}

#[tokio::test]
async fn payloads_in_either_of_two_stores_are_on_the_dashboard_and_are_not_altered_there() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let mut to_memcached = PlainMemcached::connect(memcached.port()).await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    let signals = document("analysis:signals");
    to_memcached.set("analysis:signals", &signals, 0, 300).await;
    for key in ["market:overview", "market:movers", "market:breadth"] {
        to_redis.setex(key, &document(key), 300).await;
    }
    assert_seen(&gateway, Instant::now()).await;
    assert_eq!(to_memcached.get("analysis:signals").await, Some((0, signals)));
}

#[tokio::test]
async fn a_newer_payload_replaces_the_older_one_on_the_dashboard() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    for dominance in ["57.21", "58.33"] {
        let overview = String::from_utf8(document("market:overview")).unwrap().replace("57.21", dominance);
        producer.set("market:overview", overview.as_bytes(), 0, 300).await;
        eventually(dominance, async || {
            let seen = gateway.mobile_data().await["market_overview"]["btc_dominance"].to_string();
            (seen == dominance).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_the_gateway_writes_reads_back_as_plain_json_under_the_plain_key_with_flags_zero() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let overview = document("market:overview");
    let reply = gateway.put("market:overview", overview.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (flags, stored) = PlainMemcached::connect(memcached.port()).await.get("market:overview").await.unwrap();
    assert_eq!((flags, &stored), (0, &overview));
    assert_eq!(PlainRedis::connect(redis.port()).await.get("market:overview").await.as_ref(), Some(&overview));

    let mut signals = String::new();
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        signals +=
            &format!("{{\"symbol\": \"{symbol}\", \"confluence_score\": 61.5, \"price\": 10, \"change_24h\": 1}}\n");
    }
    let reply = gateway.ingest(signals).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (flags, stored) = PlainMemcached::connect(memcached.port()).await.get("analysis:signals").await.unwrap();
    assert_eq!(flags, 0);
    assert_eq!(Some(&stored), PlainRedis::connect(redis.port()).await.get("analysis:signals").await.as_ref());
    let document: Value = serde_json::from_slice(&stored).expect("plain JSON, encoded once");
    assert_eq!(document["total_signals"], 2);
    assert_eq!(document["__schema_version"], "1.0");
}

#[tokio::test]
async fn old_timestamps_are_shown_as_stale_with_their_age() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let overview = fixture("market:overview.json");
    let made = serde_json::from_slice::<Value>(&overview).unwrap()["timestamp"].as_f64().unwrap();
    PlainMemcached::connect(memcached.port()).await.set("market:overview", &overview, 0, 300).await;
    let section = eventually("the overview is on the dashboard", async || {
        let section = gateway.mobile_data().await["sections"]["overview"].clone();
        (section["kind"] == "real").then_some(section)
    })
    .await;
    assert_eq!(section["freshness"], "stale", "{section}");
    assert!((section["as_of"].as_f64().unwrap() - made).abs() < 0.001, "{section}");
    let reply = gateway.get("/api/dashboard/mobile-data").await;
    let age: f64 = reply.header("age").parse().unwrap();
    assert!((age - (tiergate_tests::now_seconds() - made)).abs() < 5.0, "Age: {age}");
    assert!(reply.header("cache-status").contains("stale"), "{}", reply.header("cache-status"));
}
