//! New producers: `POST /api/signals` and `/api/cache/{key}`. Every answer tells the outcome of every tier by name.

use bytes::Bytes;
use hyper::Method;
use serde_json::json;
use tiergate_tests::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, eventually};

#[tokio::test]
async fn a_value_is_written_to_every_tier_read_and_deleted() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let reply = gateway.put("notes:1", r#"{"a": 1}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for tier in ["memory", "memcached", "redis"] {
        assert_eq!(reply.outcome(tier), "stored", "{}", reply.text());
    }
    let read = gateway.get("/api/cache/notes:1").await;
    assert_eq!((read.status.as_u16(), read.text().as_str()), (200, r#"{"a": 1}"#));
    assert!(read.header("cache-status").starts_with("tiergate; hit; ttl="), "{}", read.header("cache-status"));

    let deleted = gateway.send(Method::DELETE, "/api/cache/notes:1", &[], Bytes::new()).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    for tier in ["memory", "memcached", "redis"] {
        assert_eq!(deleted.outcome(tier), "deleted", "{}", deleted.text());
    }
    assert_eq!(gateway.get("/api/cache/notes:1").await.status, 404);
    assert_eq!(PlainMemcached::connect(memcached.port()).await.get("notes:1").await, None);
    assert_eq!(PlainRedis::connect(redis.port()).await.get("notes:1").await, None);
}

#[tokio::test]
async fn a_time_to_live_is_kept_in_every_store() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let reply = gateway.send(Method::PUT, "/api/cache/k?ttl=40", &[], "1".into()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let ttl = PlainMemcached::connect(memcached.port()).await.ttl("k").await.unwrap();
    assert!((30..=40).contains(&ttl), "{ttl}");
    let ttl = PlainRedis::connect(redis.port()).await.pttl("k").await;
    assert!((30_000..=40_000).contains(&ttl), "{ttl}");
    // Without one, each store has its own default for the key.
    assert_eq!(gateway.put("market:overview", r#"{"total_symbols": 3, "gainers": 2}"#).await.status, 200);
    let ttl = PlainMemcached::connect(memcached.port()).await.ttl("market:overview").await.unwrap();
    assert!((20..=30).contains(&ttl), "{ttl}");
    let ttl = PlainRedis::connect(redis.port()).await.pttl("market:overview").await;
    assert!((110_000..=120_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn an_older_value_is_answered_409_and_a_newer_one_stays() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let now = tiergate_tests::now_seconds();
    let value = |at: f64| json!({ "timestamp": at, "n": at }).to_string();
    assert_eq!(gateway.put("k", value(now)).await.status, 200);
    let reply = gateway.put("k", value(now - 5.0)).await;
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(reply.outcome("memcached"), "superseded");
    let (_, stored) = PlainMemcached::connect(memcached.port()).await.get("k").await.unwrap();
    assert_eq!(String::from_utf8(stored).unwrap(), value(now));
}

#[tokio::test]
async fn signals_are_taken_as_an_array_or_as_lines_and_the_answer_lists_documents_and_tiers() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).start().await;
    let array = json!([
        { "symbol": "BTCUSDT", "confluence_score": 71.5, "price": 60000, "change_24h": 1.5 },
        { "symbol": "ETHUSDT", "confluence_score": 33.0, "price": 2500, "change_24h": -2.5 },
    ]);
    let reply = gateway.ingest(array.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let report = reply.json();
    assert_eq!((&report["accepted"], &report["rejected"]["count"]), (&json!(2), &json!(0)));
    for key in ["analysis:signals", "market:overview", "market:movers", "market:breadth"] {
        assert_eq!(report["documents"][key]["tiers"]["redis"]["outcome"], "stored", "{key} in {report}");
    }
    let lines = "{\"symbol\":\"SOLUSDT\",\"confluence_score\":50,\"price\":140,\"change_24h\":0.1}\n\
                 {\"symbol\":\"XRPUSDT\",\"confluence_score\":51,\"price\":0.5,\"change_24h\":0.2}";
    assert_eq!(gateway.ingest(lines).await.status, 200);
    eventually("all four symbols are on the dashboard", async || {
        let symbols = gateway.get("/api/dashboard/symbols").await.json();
        (symbols["symbols"].as_array()?.len() == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_large_body_of_signals_is_taken_in_a_stream() {
    let gateway = Gateway::with().start().await;
    let mut lines = String::new();
    for n in 0..50_000 {
        let (symbol, score) = (n % 1_000, n % 100);
        lines +=
            &format!("{{\"symbol\":\"S{symbol}USDT\",\"confluence_score\":{score},\"price\":1,\"change_24h\":0}}\n");
    }
    let reply = gateway.ingest(lines).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["accepted"], 50_000);
    let all = gateway.get("/api/dashboard/symbols?limit=10000").await.json();
    assert_eq!(all["symbols"].as_array().unwrap().len(), 1_000);
    let some = gateway.get("/api/dashboard/symbols").await.json();
    assert_eq!(some["symbols"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn an_embedded_gateway_stores_on_disk_and_says_so() {
    let gateway = Gateway::with().start().await;
    let reply = gateway.put("k", "[1]").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!((reply.outcome("memory").as_str(), reply.outcome("disk").as_str()), ("stored", "stored"));
    let gateway = gateway.kill().start().await;
    let read = gateway.get("/api/cache/k").await;
    assert_eq!((read.status.as_u16(), read.text().as_str()), (200, "[1]"));
}

#[tokio::test]
async fn a_unix_socket_serves_the_same_data() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiergate.sock");
    let http = format!("[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nunix = {path:?}");
    let gateway = Gateway::with().config(&http).start().await;
    assert_eq!(gateway.put("k", "7").await.status, 200);
    let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    socket.write_all(b"GET /api/cache/k HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n7"), "{answer}");
}
