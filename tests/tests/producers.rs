//! Existing producers, unchanged: what they store under plain keys in memcached or Redis is on the dashboard.

use serde_json::Value;
use tiergate_tests::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, eventually, fixture, moved_to_now};

/// The four documents of the main pipeline.
const DOCUMENTS: [&str; 4] = ["analysis:signals", "market:overview", "market:movers", "market:breadth"];

fn document(key: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{key}.json")))
}

/// Polls as a lone client does until all of the producers' data is there.
async fn is_seen(gateway: &Gateway) {
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
}

#[tokio::test]
async fn payloads_in_memcached_alone_are_on_the_dashboard() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    for key in DOCUMENTS {
        producer.set(key, &document(key), 0, 300).await;
    }
    is_seen(&gateway).await;
}

#[tokio::test]
async fn payloads_in_redis_alone_are_on_the_dashboard() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).start().await;
    let mut producer = PlainRedis::connect(redis.port()).await;
    for key in DOCUMENTS {
        producer.setex(key, &document(key), 300).await;
    }
    is_seen(&gateway).await;
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
    is_seen(&gateway).await;
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

/// An overview made `age` seconds ago that tells itself from others by its dominance.
fn overview(dominance: f64, age: f64) -> Vec<u8> {
    let mut overview: Value = serde_json::from_slice(&document("market:overview")).expect("JSON");
    overview["btc_dominance"] = dominance.into();
    overview["timestamp"] = (tiergate_tests::now_seconds() - age).into();
    overview.to_string().into_bytes()
}

async fn assert_dominance(gateway: &Gateway, dominance: f64) {
    eventually(&format!("{dominance} is on the dashboard"), async || {
        (gateway.mobile_data().await["market_overview"]["btc_dominance"] == dominance).then_some(())
    })
    .await;
}

/// Waits for two more looks into both stores, so that whatever is there has been seen.
async fn looked_again(gateway: &Gateway) {
    for tier in ["memcached", "redis"] {
        let looks = async || gateway.metric("tiergate_tier_reads_total", &[tier, "look"]).await;
        let before = looks().await;
        eventually("two more looks", async || (looks().await >= before + 2.0).then_some(())).await;
    }
}

#[tokio::test]
async fn the_same_bytes_in_both_stores_are_one_value_and_neither_store_is_written() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).without_tasks().start().await;
    let mut to_memcached = PlainMemcached::connect(memcached.port()).await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    let same = overview(58.33, 1.0);
    to_redis.setex("market:overview", &same, 300).await;
    to_memcached.set("market:overview", &same, 0, 300).await;
    assert_dominance(&gateway, 58.33).await;
    looked_again(&gateway).await;
    assert_eq!(to_memcached.get("market:overview").await, Some((0, same.clone())));
    assert_eq!(to_redis.get("market:overview").await, Some(same));
    assert_eq!(gateway.metric("tiergate_writes_total", &[]).await, 0.0);
}

#[tokio::test]
async fn of_two_values_of_one_key_the_newer_wins_whichever_store_it_is_in() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let mut to_memcached = PlainMemcached::connect(memcached.port()).await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    to_redis.setex("market:overview", &overview(51.0, 20.0), 300).await;
    to_memcached.set("market:overview", &overview(52.0, 10.0), 0, 300).await;
    assert_dominance(&gateway, 52.0).await;
    to_redis.setex("market:overview", &overview(53.0, 5.0), 300).await;
    assert_dominance(&gateway, 53.0).await;
    // What is older than that changes nothing, in either store.
    to_memcached.set("market:overview", &overview(54.0, 7.0), 0, 300).await;
    to_redis.setex("market:overview", &overview(55.0, 6.0), 300).await;
    looked_again(&gateway).await;
    assert_dominance(&gateway, 53.0).await;
}

#[tokio::test]
async fn a_breakdown_in_memcached_is_joined_into_the_scores_of_its_symbol_and_of_no_other() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    producer.set("analysis:signals", &document("aggregator/analysis:signals"), 0, 300).await;
    let breakdown = document("aggregator/confluence:breakdown:BTCUSDT");
    producer.set("confluence:breakdown:BTCUSDT", &breakdown, 0, 900).await;
    let breakdown: Value = serde_json::from_slice(&breakdown).unwrap();

    let scores = eventually("the breakdown is on the dashboard", async || {
        let scores = gateway.mobile_data().await["confluence_scores"].as_array()?.clone();
        scores.iter().any(|score| score["has_breakdown"] == true).then_some(scores)
    })
    .await;
    for score in scores {
        let joined = score["symbol"] == "BTCUSDT";
        assert_eq!(score["has_breakdown"], joined, "{score}");
        if joined {
            assert_eq!(score["score_history"], breakdown["score_history"]);
            assert_eq!(score["components"], breakdown["components"]);
            assert_eq!(score["interpretations"], breakdown["interpretations"]);
        }
    }
}
