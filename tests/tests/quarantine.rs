//! Quarantine: payloads that stand for no value are kept for the operator, who removes exactly those bytes and never others.

use std::process::Command;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Deployment, Gateway, Reply, binary, eventually, fixture, moved_to_now, now_seconds};

const KEY: &str = "analysis:signals";
const PICKLE: &[u8] = b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x05alert\x94\x8c\x03buy\x94s.";

async fn entries(gateway: &Gateway) -> Vec<Value> {
    gateway.admin_get("/api/admin/quarantine").await.json()["entries"].as_array().expect("a list").clone()
}

/// The entry of `KEY` in this tier, once there is one.
async fn entry(gateway: &Gateway, tier: &str) -> Value {
    eventually("it is in quarantine", async || {
        entries(gateway).await.into_iter().find(|entry| entry["key"] == KEY && entry["tier"] == tier)
    })
    .await
}

async fn delete(gateway: &Gateway, id: &Value) -> Reply {
    gateway.admin_send(Method::DELETE, &format!("/api/admin/quarantine/{id}"), Bytes::new()).await
}

#[tokio::test]
async fn b16_a_pickle_is_kept_with_its_origin_and_removed_by_the_operator_alone() {
    let mut all = Deployment::start().await;
    let before = now_seconds();
    all.to_memcached.set(KEY, PICKLE, 1, 300).await;
    let entry = entry(&all.gateway, "memcached").await;
    let [first, last] = ["first_seen", "last_seen"].map(|seen| entry[seen].as_f64().expect("Unix seconds"));
    assert!(before <= first && first <= last && last <= now_seconds(), "{before}, {entry}");
    assert_eq!((&entry["bytes"], &entry["flags"]), (&json!(PICKLE.len()), &json!(1)), "{entry}");
    assert!(
        entry["head"].as_str().is_some_and(|head| head.starts_with("\\x80\\x04") && head.contains("alert")),
        "{entry}"
    );
    assert!(
        entry["error"]["code"].is_string() && entry["digest"].as_str().is_some_and(|hex| hex.len() == 40),
        "{entry}"
    );
    let one = all.gateway.admin_get(&format!("/api/admin/quarantine/{}", entry["id"])).await.json();
    assert_eq!(one["digest"], entry["digest"]);
    assert_eq!(all.gateway.metric("tiergate_quarantine_entries", &[]).await, 1.0);
    // However often it is looked at, it is one entry, and stays where its producer put it.
    all.looked_again().await;
    let kept = entries(&all.gateway).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["first_seen"], entry["first_seen"]);
    assert_eq!(all.to_memcached.get(KEY).await.map(|(_, value)| value).as_deref(), Some(PICKLE));

    let deleted = delete(&all.gateway, &entry["id"]).await;
    assert_eq!((deleted.status.as_u16(), &deleted.json()["outcome"]), (200, &json!("deleted")), "{}", deleted.text());
    assert_eq!(all.to_memcached.get(KEY).await, None);
    assert_eq!(entries(&all.gateway).await.len(), 0);
    assert_eq!(delete(&all.gateway, &entry["id"]).await.status, 404);
}

#[tokio::test]
async fn what_was_written_over_the_quarantined_bytes_stays() {
    let mut all = Deployment::start().await;
    all.to_redis.setex(KEY, PICKLE, 300).await;
    let entry = entry(&all.gateway, "redis").await;
    let good = moved_to_now(&fixture("analysis:signals.json"));
    all.to_redis.setex(KEY, &good, 300).await;
    let refused = delete(&all.gateway, &entry["id"]).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(all.to_redis.get(KEY).await.as_deref(), Some(&*good));
    assert_eq!(entries(&all.gateway).await.len(), 0, "it is no longer there, so it is forgotten");
}

#[tokio::test]
async fn the_command_line_lists_shows_and_deletes() {
    let mut all = Deployment::start().await;
    all.to_memcached.set(KEY, PICKLE, 1, 300).await;
    let id = entry(&all.gateway, "memcached").await["id"].to_string();
    let (admin, token) = (format!("http://{}", all.gateway.admin), all.gateway.data_dir().join("admin.token"));
    let quarantine = async |words: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("quarantine").args(words).args(["--admin", &admin, "--admin-token-file"]).arg(&token);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, listed) = quarantine(&["list"]).await;
    assert!(code == Some(0) && listed.contains(KEY), "{listed}");
    let (code, shown) = quarantine(&["show", &id]).await;
    assert!(code == Some(0) && shown.contains("\"digest\""), "{shown}");
    let (code, deleted) = quarantine(&["delete", &id]).await;
    assert!(code == Some(0) && deleted.contains("deleted"), "{deleted}");
    let (code, unknown) = quarantine(&["show", &id]).await;
    assert!(code == Some(3) && unknown.contains("there is no quarantined payload"), "{unknown}");
    assert_eq!(all.to_memcached.get(KEY).await, None);
}
