//! Explain: one answer says what every tier holds of a key, who wrote it, what was refused, and what a reader would get.

use std::process::Command;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Deployment, Gateway, binary, eventually, now_seconds};

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
    let all = Deployment::start().await;
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
    let all = Deployment::start().await;
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
    all.thaw();
    eventually("the replay is among the writes", async || {
        let explained = explain(&all.gateway, "k").await;
        let newest = &explained["writes"][0];
        (newest["from"] == "recovery" && newest["tiers"]["memcached"]["outcome"] == "stored").then_some(())
    })
    .await;
}
