//! Recovery: what a store could not take while it was away waits, survives a crash, and is written when the store is back,
//! unless something greater is there by then.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, eventually, now_seconds};

/// What waits for the tier number `at`.
async fn lane(gateway: &Gateway, at: usize) -> Value {
    gateway.admin_get("/api/admin/recovery").await.json()["lanes"][at].clone()
}

/// Sends a request to a gateway whose store is away, until what is left to do waits on disk, too: a slow one may have it after
/// the writer was told.
async fn waits_on_disk(gateway: &Gateway, method: Method, path: &str, body: &str) {
    eventually("it waits on disk", async || {
        let reply = gateway.send(method.clone(), path, &[], Bytes::copy_from_slice(body.as_bytes())).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        (!reply.text().contains("in memory alone")).then_some(())
    })
    .await;
}

async fn is_empty(gateway: &Gateway, at: usize) {
    eventually("nothing waits any more", async || (lane(gateway, at).await["depth"] == 0).then_some(())).await;
}

#[tokio::test]
async fn a_write_waits_for_a_store_that_is_away_and_is_there_when_it_is_back() {
    let (mut memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).without_tasks().start().await;
    memcached.kill();
    let reply = gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "1".into()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!((reply.outcome("memcached").as_str(), reply.outcome("redis").as_str()), ("queued", "stored"));
    let newer = gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "2".into()).await;
    assert_eq!(newer.status, 202, "{}", newer.text());

    let waits = lane(&gateway, 0).await;
    assert_eq!((&waits["tier"], &waits["depth"]), (&json!("memcached"), &json!(1)), "{waits}");
    assert_eq!((&waits["items"][0]["key"], &waits["items"][0]["write"]["bytes"]), (&json!("k"), &json!(1)), "{waits}");
    eventually("its depth and age are metrics", async || {
        let depth = gateway.metric("tiergate_recovery_depth", &["\"memcached\""]).await;
        let age = gateway.metric("tiergate_recovery_oldest_age_seconds", &["\"memcached\""]).await;
        (depth == 1.0 && age > 0.0).then_some(())
    })
    .await;

    memcached.restart().await;
    let mut client = PlainMemcached::connect(memcached.port()).await;
    let (flags, value) = eventually("memcached has the value", async || client.get("k").await).await;
    assert_eq!((flags, value.as_slice()), (0, b"2".as_slice()), "the newest, as it was written");
    let left = client.ttl("k").await.expect("it lives");
    assert!((270..=300).contains(&left), "its lifetime goes on from the write: {left}");
    is_empty(&gateway, 0).await;
}

#[tokio::test]
async fn a_delete_waits_for_a_frozen_store_and_is_carried_out_when_it_goes_on() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).without_tasks().start().await;
    assert_eq!(gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "1".into()).await.status, 200);
    redis.freeze();
    let reply = gateway.send(Method::DELETE, "/api/cache/k", &[], Bytes::new()).await;
    assert_eq!((reply.status.as_u16(), reply.outcome("redis").as_str()), (202, "queued"), "{}", reply.text());
    redis.thaw();
    let mut client = PlainRedis::connect(redis.port()).await;
    eventually("it is deleted", async || client.get("k").await.is_none().then_some(())).await;
    is_empty(&gateway, 0).await;
    assert_eq!(gateway.get("/api/cache/k").await.status, 404);
}

#[tokio::test]
async fn what_waits_survives_a_killed_gateway() {
    let mut memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).without_tasks().start().await;
    assert_eq!(gateway.send(Method::PUT, "/api/cache/old?ttl=300", &[], "1".into()).await.status, 200);
    memcached.kill();
    for (key, value) in [("k", "1"), ("other", "[2]"), ("gone", "3")] {
        waits_on_disk(&gateway, Method::PUT, &format!("/api/cache/{key}?ttl=300"), value).await;
    }
    waits_on_disk(&gateway, Method::DELETE, "/api/cache/gone", "").await;

    let gateway = gateway.kill().start().await;
    assert_eq!(lane(&gateway, 0).await["depth"], 3);
    let read = gateway.get("/api/cache/k").await;
    assert_eq!((read.status.as_u16(), read.text().as_str()), (200, "1"), "readers have it meanwhile");
    assert_ne!(gateway.get("/api/cache/gone").await.status, 200);
    memcached.restart().await;
    let mut client = PlainMemcached::connect(memcached.port()).await;
    for (key, value) in [("k", "1"), ("other", "[2]")] {
        let (_, stored) = eventually("memcached has it", async || client.get(key).await).await;
        assert_eq!(stored, value.as_bytes());
    }
    is_empty(&gateway, 0).await;
    assert_eq!(client.get("gone").await, None);
    // What the journal had not forgotten yet is settled a second time, and changes nothing that says that it is newer.
    let newer = json!({ "timestamp": now_seconds(), "n": 2 }).to_string();
    client.set("k", newer.as_bytes(), 0, 300).await;
    let gateway = gateway.kill().start().await;
    is_empty(&gateway, 0).await;
    assert_eq!(client.get("k").await.map(|(_, stored)| stored), Some(newer.into_bytes()));
    assert_eq!(client.get("gone").await, None);
}

#[tokio::test]
async fn a_newer_value_of_somebody_else_in_the_store_that_is_back_is_not_overwritten() {
    let mut memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).without_tasks().start().await;
    memcached.kill();
    let value = |n: u32, at: f64| json!({ "timestamp": at, "n": n }).to_string();
    for key in ["newer", "older"] {
        let path = format!("/api/cache/{key}?ttl=300");
        waits_on_disk(&gateway, Method::PUT, &path, &value(1, now_seconds())).await;
    }
    // The gateway is stopped while the store comes back, so that the producer is certainly first.
    let stopped = gateway.kill();
    memcached.restart().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    producer.set("newer", value(2, now_seconds()).as_bytes(), 0, 300).await;
    producer.set("older", value(2, now_seconds() - 60.0).as_bytes(), 0, 300).await;
    let gateway = stopped.start().await;
    is_empty(&gateway, 0).await;
    let mut stored = async |key: &str| {
        let (_, stored) = producer.get(key).await.expect("a value");
        serde_json::from_slice::<Value>(&stored).expect("JSON")["n"].clone()
    };
    assert_eq!((stored("newer").await, stored("older").await), (json!(2), json!(1)));
    assert_eq!(gateway.metric("tiergate_recovery_total", &["memcached", "superseded"]).await, 1.0);
}

#[tokio::test]
async fn a_full_lane_is_told_to_the_writer() {
    let memcached = Memcached::start().await;
    let limits = "[recovery]\nkeys_max = 2";
    let gateway = Gateway::with().tier(memcached.url()).config(limits).without_tasks().start().await;
    memcached.freeze();
    let mut outcomes = Vec::new();
    for key in ["a", "b", "c", "a"] {
        let reply = gateway.put(key, "1").await;
        outcomes.push((reply.status.as_u16(), reply.outcome("memcached")));
        if key == "c" {
            assert!(reply.text().contains("its lane is full: 2 keys wait"), "{}", reply.text());
        }
    }
    let told: Vec<_> = outcomes.iter().map(|(status, outcome)| (*status, outcome.as_str())).collect();
    assert_eq!(told, [(202, "queued"), (202, "queued"), (503, "failed"), (202, "queued")]);
    assert_eq!(gateway.metric("tiergate_recovery_total", &["memcached", "overflow"]).await, 1.0);
}

#[tokio::test]
async fn what_a_full_store_or_one_with_another_password_refuses_waits_too() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).without_tasks().start().await;
    let mut client = PlainRedis::connect(redis.port()).await;
    for (name, setting, wrong, right, count) in [
        // More than are tried at once, and one alone.
        ("full", "maxmemory", "1", "0", 50),
        ("locked", "requirepass", "another", "", 50),
        ("alone", "maxmemory", "1", "0", 1),
    ] {
        client.set_config(setting, wrong).await;
        client.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        let keys: Vec<String> = (0..count).map(|n| format!("{name}:{n}")).collect();
        for key in &keys {
            let reply = gateway.send(Method::PUT, &format!("/api/cache/{key}?ttl=300"), &[], "1".into()).await;
            assert_eq!((reply.status.as_u16(), reply.outcome("redis").as_str()), (202, "queued"), "{}", reply.text());
        }
        let breakers = gateway.admin_get("/api/admin/tiers").await.json()["tiers"][0]["breakers"].clone();
        assert_eq!(breakers["write"]["state"], "closed", "a refusal is an answer: {breakers}");
        assert_eq!(lane(&gateway, 0).await["depth"], count);
        eventually("it was tried again", async || {
            let lane = lane(&gateway, 0).await;
            lane["items"].as_array()?.iter().any(|item| item["tries"].as_u64() >= Some(3)).then_some(())
        })
        .await;
        client.set_config(setting, right).await;
        is_empty(&gateway, 0).await;
        for key in &keys {
            assert_eq!(client.get(key).await.as_deref(), Some(&b"1"[..]), "{key}");
            let explained = gateway.admin_get(&format!("/api/admin/explain/{key}")).await.json();
            let told = &explained["writes"][0]["tiers"]["redis"];
            assert!(told["outcome"] == "stored" && told["reason"].is_string(), "{explained:#}");
        }
    }
}
