//! Explain: one answer says what every tier holds of a key, who wrote it, what was refused, and what a reader would get.

use std::process::Command;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Answer, Deployment, Gateway, Origin, Redis, binary, eventually, now_seconds};

/// Memory is not due for another look while a test runs.
const TRUSTED_LONG: &str = "[[ttl]]\npattern = \"k\"\nmemory = \"300s\"";

async fn explain(gateway: &Gateway, key: &str) -> Value {
    gateway.admin_get(&format!("/api/admin/explain/{key}")).await.json()
}

fn tier<'a>(explained: &'a Value, name: &str) -> &'a Value {
    let tiers = explained["tiers"].as_array().expect("tiers");
    tiers.iter().find(|tier| tier["tier"] == name).unwrap_or_else(|| panic!("no {name} in {explained}"))
}

fn value(n: u32, at: f64) -> String {
    json!({ "timestamp": at, "n": n }).to_string()
}

#[tokio::test]
async fn a_value_is_explained_tier_by_tier_with_its_writer_and_the_writes_that_were_refused() {
    let all = Deployment::with(TRUSTED_LONG).await;
    let now = now_seconds();
    let path = "/api/cache/k?ttl=300";
    assert_eq!(all.gateway.send(Method::PUT, path, &[], value(1, now).into()).await.status, 200);
    assert_eq!(all.gateway.send(Method::PUT, path, &[], value(0, now - 60.0).into()).await.status, 409);
    assert_eq!(all.gateway.put("k", "nonsense").await.status, 422);
    let explained = explain(&all.gateway, "k").await;
    for name in ["memory", "memcached", "redis"] {
        let held = tier(&explained, name);
        assert_eq!(held["holds"], "value", "{name} in {explained:#}");
        let value = &held["value"];
        assert_eq!((&value["kind"], &value["written_by"]), (&json!("real"), &json!("api")), "{name} in {explained:#}");
        let left = value["ttl_seconds"].as_f64().expect("a number");
        assert!((250.0..=301.0).contains(&left), "{left}");
        assert!(value["version"].as_u64().is_some_and(|version| version.abs_diff((now * 1e6) as u64) < 1_000));
    }
    assert_eq!(tier(&explained, "redis")["breakers"]["write"]["state"], "closed");
    let writes = explained["writes"].as_array().expect("writes");
    assert_eq!(writes.len(), 3, "{explained:#}");
    assert_eq!(writes[0]["write"]["what"], "refused");
    assert_eq!(writes[1]["tiers"]["redis"]["outcome"], "superseded");
    assert!(writes[1]["tiers"]["redis"]["reason"].is_string());
    assert_eq!((&writes[2]["tiers"]["redis"]["outcome"], &writes[2]["from"]), (&json!("stored"), &json!("api")));
    let serves = &explained["serves"];
    assert_eq!((&serves["outcome"], &serves["tier"]), (&json!("hit"), &json!("memory")), "{serves}");
    assert!(serves["why"].as_str().is_some_and(|why| why.contains("memory has it")), "{serves}");
}

#[tokio::test]
async fn foreign_writes_junk_and_deletes_are_in_it_and_asking_changes_nothing() {
    let mut all = Deployment::start().await;
    let nothing = explain(&all.gateway, "k").await;
    assert_eq!((&nothing["serves"]["outcome"], &nothing["writes"]), (&json!("miss"), &json!([])), "{nothing:#}");
    // Redis would tell the gateway of it, which would take it into memory at once.
    all.to_memcached.set("k", b"7", 0, 300).await;
    let found = explain(&all.gateway, "k").await;
    assert_eq!(found["writes"][0]["from"], "foreign", "{found:#}");
    assert_eq!(found["writes"][0]["tiers"]["memcached"]["outcome"], "found");
    assert_eq!((&found["serves"]["outcome"], &found["serves"]["tier"]), (&json!("hit"), &json!("memcached")));
    assert_eq!(tier(&found, "memory")["holds"], "nothing", "nothing was adopted");
    assert_eq!(all.to_redis.get("k").await, None, "nothing was copied");

    all.to_memcached.set("k", b"{broken", 0, 300).await;
    let junk = explain(&all.gateway, "k").await;
    assert_eq!(tier(&junk, "memcached")["holds"], "junk", "{junk:#}");
    assert_eq!(junk["quarantined"][0]["tier"], "memcached");
    assert_eq!(all.gateway.send(Method::DELETE, "/api/cache/k", &[], Bytes::new()).await.status, 200);
    let deleted = explain(&all.gateway, "k").await;
    assert_eq!(deleted["writes"][0]["write"]["what"], "delete", "{deleted:#}");
    assert!(deleted["deleted_up_to"].is_u64());
}

#[tokio::test]
async fn what_waits_for_a_frozen_store_is_in_it_and_the_command_line_says_it_to_a_person() {
    let all = Deployment::with(TRUSTED_LONG).await;
    all.memcached.freeze();
    let reply = all.gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "1".into()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let explained = eventually("the store does not answer", async || {
        let explained = explain(&all.gateway, "k").await;
        (tier(&explained, "memcached")["holds"] == "no_answer").then_some(explained)
    })
    .await;
    assert!(tier(&explained, "memcached")["waits"]["write"]["version"].is_u64(), "{explained:#}");
    let (admin, token) = (format!("http://{}", all.gateway.admin), all.gateway.data_dir().join("admin.token"));
    let run = async |more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["cache", "explain", "k", "--admin", &admin, "--admin-token-file"]).arg(&token).args(more);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let text = run(&[]).await;
    for words in ["a reader gets: hit from memory", "no answer", "waits for", "last writes", "by api: real", "queued"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let json: Value = serde_json::from_str(&run(&["--json"]).await).expect("JSON");
    assert_eq!(json["key"], "k");
    // Of those that answer, none has this one.
    let unknown = explain(&all.gateway, "unknown").await;
    let serves = &unknown["serves"];
    assert_eq!((&serves["outcome"], &serves["value"]), (&json!("unavailable"), &Value::Null), "{unknown:#}");
    let failed: Vec<&String> = serves["failed"].as_object().expect("tiers").keys().collect();
    assert_eq!(failed, ["memcached"], "{unknown:#}");
    assert_eq!(serves["why"], "no tier that answered has a live value, and some did not answer");
    let (_, text) = all.gateway.command(&["cache", "explain", "unknown"]).await;
    assert!(text.contains("a reader gets: unavailable") && text.contains("memcached did not answer: "), "{text}");
    let open = eventually("nobody waits for the store", async || {
        let explained = explain(&all.gateway, "k").await;
        let breaker = tier(&explained, "memcached")["breakers"]["read"].clone();
        (breaker["state"] == "open").then_some(breaker)
    })
    .await;
    let why = open["why"].as_str().expect("a reason");
    let text = run(&[]).await;
    assert!(text.contains("read breaker open for ") && text.contains(why), "{why} is not in\n{text}");
    all.thaw();
    eventually("the write has ended, with a reason", async || {
        let explained = explain(&all.gateway, "k").await;
        let written = explained["writes"].as_array()?.iter().find(|written| written["from"] == "api")?;
        let told = &written["tiers"]["memcached"];
        (told["outcome"] == "stored" && told["reason"].is_string()).then_some(())
    })
    .await;
}

/// What `Cache-Status` tells a reader besides the time left, and what is explained that it would.
async fn told(gateway: &Gateway, explained: &Value) -> (String, String) {
    let read = gateway.get("/api/cache/k").await;
    let (_, detail) = read.header("cache-status").split_once("detail=").expect("a detail");
    let serves = &explained["serves"];
    let parts = [&serves["tier"], &serves["stale_why"]].into_iter().filter_map(Value::as_str);
    (detail.trim_matches('"').trim_end_matches("; degraded").to_owned(), parts.collect::<Vec<_>>().join("; "))
}

#[tokio::test]
async fn a_value_that_is_due_for_another_look_is_explained_as_the_reader_is_told_of_it() {
    let all = Deployment::start().await;
    assert_eq!(all.gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "1".into()).await.status, 200);
    let due = eventually("it is due", async || {
        let explained = explain(&all.gateway, "k").await;
        (explained["serves"]["stale_why"] == "revalidating").then_some(explained)
    })
    .await;
    let (read, explained) = told(&all.gateway, &due).await;
    assert_eq!((&*read, &*explained), ("memory; revalidating", "memory; revalidating"), "{due:#}");
    assert!(due["serves"]["why"].as_str().is_some_and(|why| why.contains("due for another look")), "{due:#}");
    eventually("the read had it looked at", async || {
        (explain(&all.gateway, "k").await["serves"]["outcome"] == "hit").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_value_that_its_producer_has_not_renewed_is_explained_as_the_reader_is_told_of_it() {
    let all = Deployment::with(TRUSTED_LONG).await;
    let old = value(1, now_seconds() - 7_200.0);
    assert_eq!(all.gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], old.into()).await.status, 200);
    let stale = explain(&all.gateway, "k").await;
    let (read, explained) = told(&all.gateway, &stale).await;
    assert_eq!((&*read, &*explained), ("memory; stale", "memory; stale"), "{stale:#}");
    let why = stale["serves"]["why"].as_str().expect("a reason");
    assert!(why.contains("memory has it") && why.contains("past its freshness and served as stale"), "{why}");
}

#[tokio::test]
async fn what_another_gateway_wrote_before_this_one_began_is_explained_to_be_another_gateways() {
    let mut all = Deployment::start().await;
    assert_eq!(all.gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "1".into()).await.status, 200);
    all.to_redis.setex("foreign", b"1", 300).await;
    let later = Gateway::with().tier(all.memcached.url()).tier(all.redis.url()).start().await;
    let explained = explain(&later, "k").await;
    for name in ["memcached", "redis"] {
        assert_eq!(tier(&explained, name)["value"]["written_by"], "another gateway", "{name} in {explained:#}");
    }
    let foreign = explain(&later, "foreign").await;
    assert_eq!(tier(&foreign, "redis")["value"]["written_by"], "foreign", "{foreign:#}");
}

#[tokio::test]
async fn in_degraded_mode_is_explained_that_the_tiers_are_asked_first_as_the_reader_is_told() {
    let mut all = Deployment::with(TRUSTED_LONG).await;
    assert_eq!(all.gateway.send(Method::PUT, "/api/cache/k?ttl=300", &[], "1".into()).await.status, 200);
    assert_eq!(explain(&all.gateway, "k").await["serves"]["outcome"], "hit");
    all.redis.kill();
    let suspect = eventually("changes are missed", async || {
        let explained = explain(&all.gateway, "k").await;
        (explained["serves"]["stale_why"] == "tier-failed").then_some(explained)
    })
    .await;
    let (read, explained) = told(&all.gateway, &suspect).await;
    assert_eq!((&*read, &*explained), ("memory; tier-failed", "memory; tier-failed"), "{suspect:#}");
    let why = suspect["serves"]["why"].as_str().expect("a reason");
    assert!(why.contains("changes may be missed (redis: ") && why.contains("did not answer"), "{why}");
    let (_, text) = all.gateway.command(&["cache", "explain", "k"]).await;
    assert!(text.contains("a reader gets: "), "{text}");
}

#[tokio::test]
async fn age_size_schema_and_repairs_of_a_value_that_was_encoded_twice_are_in_it() {
    let mut all = Deployment::start().await;
    let (payload, age) = (value(1, now_seconds() - 100.0), 100.0..1_000.0);
    let twice = Value::String(payload.clone()).to_string();
    all.to_memcached.set("k", twice.as_bytes(), 0, 300).await;
    let explained = explain(&all.gateway, "k").await;
    let (held, value) = (tier(&explained, "memcached"), &tier(&explained, "memcached")["value"]);
    assert!(value["age_seconds"].as_f64().is_some_and(|seconds| age.contains(&seconds)), "{explained:#}");
    assert_eq!((&held["stored_bytes"], &value["bytes"]), (&json!(twice.len()), &json!(payload.len())), "{explained:#}");
    assert_eq!(value["schema"], "json", "{explained:#}");
    let repairs: Vec<&Value> = value["repairs"].as_array().expect("repairs").iter().map(|one| &one["code"]).collect();
    assert_eq!(repairs, ["peeled-encoding"], "{explained:#}");
    let (_, text) = all.gateway.command(&["cache", "explain", "k"]).await;
    for words in ["old, json, ", &format!("{} bytes, by foreign, 1 repairs (first: ", twice.len())] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

/// A gateway whose source of `k` asks the origin, and waits long for its answer.
async fn sourced(origin: &Origin, redis: Option<&Redis>) -> Gateway {
    let source = format!(
        "[warmer]\nevery = \"100ms\"\n[[source]]\nname = \"slow\"\nkey = \"k\"\nurl = \"{}\"\ninterval = \"60s\"\ntimeout = \"60s\"",
        origin.url("/k")
    );
    let starting = Gateway::with().config(&source);
    redis.into_iter().fold(starting, |starting, redis| starting.tier(redis.url())).start().await
}

#[tokio::test]
async fn while_a_source_is_slow_every_gateway_names_the_one_that_holds_the_lease_of_its_load() {
    let (origin, redis) = (Origin::start(Answer::json(value(1, now_seconds()))).await, Redis::start().await);
    origin.pause();
    let ours = sourced(&origin, Some(&redis)).await;
    let lease = async |gateway: &Gateway| explain(gateway, "k").await["load"]["lease"].clone();
    let held =
        eventually("this one holds it", async || Some(lease(&ours).await).filter(|lease| lease["state"] == "held"))
            .await;
    let name = ours.admin_get("/api/admin/doctor").await.json()["gateway"].clone();
    assert_eq!((&held["tier"], &held["gateway"], &held["own"]), (&json!("redis"), &name, &json!(true)), "{held}");
    assert!(held["ttl_seconds"].as_f64().is_some_and(|left| (0.0..=62.0).contains(&left)), "{held}");
    let load = explain(&ours, "k").await["load"].clone();
    assert_eq!((&load["source"], &load["loading"]), (&json!("slow"), &json!(true)), "{load}");
    let (_, text) = ours.command(&["cache", "explain", "k"]).await;
    let name = name.as_str().expect("a name");
    assert!(
        text.contains(&format!("by source slow; lease: held in redis by gateway {name} (this one) for ")),
        "{text}"
    );

    let other = sourced(&origin, Some(&redis)).await;
    let held = lease(&other).await;
    assert_eq!((&held["gateway"], &held["own"]), (&json!(name), &json!(false)), "{held}");
    origin.resume();
    eventually("nobody holds it", async || (lease(&ours).await["state"] == "free").then_some(())).await;
    assert_eq!(explain(&ours, "no:source").await["load"], Value::Null);

    redis.freeze();
    let unknown = eventually("Redis does not tell", async || {
        Some(lease(&ours).await).filter(|lease| lease["state"] == "unknown")
    })
    .await;
    assert!(unknown["tier"] == "redis" && unknown["why"].is_string(), "{unknown}");
    let (_, text) = ours.command(&["cache", "explain", "k"]).await;
    assert!(text.contains("lease: redis did not tell: "), "{text}");
}

#[tokio::test]
async fn that_there_is_no_shared_store_for_the_lease_of_a_load_is_said() {
    let origin = Origin::start(Answer::json(value(1, now_seconds()))).await;
    let gateway = sourced(&origin, None).await;
    assert_eq!(explain(&gateway, "k").await["load"]["lease"], json!({ "state": "no_store" }));
    let (_, text) = gateway.command(&["cache", "explain", "k"]).await;
    assert!(text.contains("loaded by source slow; lease: none, for no tier"), "{text}");
}
