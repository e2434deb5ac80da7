//! Bad input gets a clear answer that names the culprit and the fix, and loses nothing.

use bytes::Bytes;
use hyper::Method;
use tiergate_tests::{Gateway, Memcached, PlainMemcached, Redis, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_bad_key_is_answered_400_with_the_rule_and_nothing_reaches_a_tier() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).without_tasks().start().await;
    for (path, rule) in [
        ("a%20b", "0x20"),
        ("a%0D%0Aset%20pwn%200%200%201%0D%0AZ", "0x0d"),
        ("a%07", "0x07"),
        ("caf%C3%A9", "0xc3"),
        (&*"k".repeat(251), "251"),
    ] {
        let reply = gateway.put(path, "1").await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert!(reply.text().contains(rule), "{path}: {}", reply.text());
        let before = gateway.metric("tiergate_writes_total", &["memcached"]).await;
        assert_eq!(before, 0.0, "{path}");
    }
    assert_eq!(PlainMemcached::connect(memcached.port()).await.get("pwn").await, None);
    assert_eq!(gateway.put(&"k".repeat(250), "1").await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_while_it_streams() {
    let http = "[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nvalue_bytes_max = \"1KiB\"\nsignal_bytes_max = \"100B\"";
    let gateway = Gateway::with().config(http).start().await;
    let value = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert_eq!(gateway.put("k", value(1024)).await.status, 200);
    assert_eq!(gateway.put("k", value(1025)).await.status, 413);
    assert_eq!(gateway.get("/api/cache/k").await.body.len(), 1024, "the old value stays");

    // A client that never ends is told in the middle of its body.
    let mut client = TcpStream::connect(&gateway.data).await.unwrap();
    let head = format!("PUT /api/cache/k HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", gateway.data);
    client.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..5 {
        client.write_all(b"100\r\n").await.unwrap();
        client.write_all(&[b'1'; 256]).await.unwrap();
        client.write_all(b"\r\n").await.unwrap();
    }
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    let long = format!("{{\"symbol\":\"BTCUSDT\",\"confluence_score\":50,\"note\":\"{}\"}}", "x".repeat(100));
    let reply = gateway.ingest(long).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
}

#[tokio::test]
async fn malformed_json_is_answered_422_with_its_position_and_the_old_value_stays() {
    let gateway = Gateway::with().start().await;
    assert_eq!(gateway.put("k", r#"{"a": 1}"#).await.status, 200);
    let reply = gateway.put("k", "{\"a\": 1,\n  \"b\" 2}").await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let text = reply.text();
    assert!(text.contains("not-json") && text.contains("line 2"), "{text}");
    assert_eq!(gateway.get("/api/cache/k").await.text(), r#"{"a": 1}"#);

    let reply = gateway.ingest(r#"[{"symbol": "BTCUSDT", "confluence_score": 50},, 1]"#).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert!(reply.text().contains("byte 47"), "{}", reply.text());
}

#[tokio::test]
async fn a_refused_payload_is_answered_422_with_code_and_path() {
    let gateway = Gateway::with().start().await;
    let reply = gateway.put("market:breadth", r#"{"up_count": -3, "down_count": 1, "flat_count": 0}"#).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let details = reply.json()["details"].clone();
    assert_eq!(details["path"], "$.up_count", "{details}");
    assert!(details["code"].is_string(), "{details}");
}

#[tokio::test]
async fn other_bad_requests_are_named() {
    let gateway = Gateway::with().start().await;
    for (method, path, status, word) in [
        (Method::GET, "/nowhere", 404, "/nowhere"),
        (Method::POST, "/api/cache/k", 405, "PUT"),
        (Method::PUT, "/api/cache/k?ttl=soon", 400, "soon"),
        (Method::PUT, "/api/cache/k?ttl=0", 400, "1 second"),
        (Method::PUT, "/api/cache/k?tll=5", 400, "tll"),
        (Method::GET, "/api/dashboard/symbols?limit=0", 400, "limit"),
        (Method::GET, "/api/dashboard/symbols?limit=10001", 400, "limit"),
        (Method::POST, "/api/signals", 422, "no signal"),
    ] {
        let reply = gateway.send(method.clone(), path, &[], Bytes::new()).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}: {}", reply.text());
        assert!(reply.text().contains(word), "{method} {path}: {}", reply.text());
    }
}

#[tokio::test]
async fn other_origins_and_unknown_hosts_are_refused() {
    let gateway = Gateway::with().start().await;
    let put = async |headers: &[(&str, &str)]| {
        gateway.send(Method::PUT, "/api/cache/k", headers, "1".into()).await.status.as_u16()
    };
    assert_eq!(put(&[("origin", "https://evil.example")]).await, 403);
    assert_eq!(put(&[("host", "evil.example")]).await, 421);
    let own = format!("http://{}", gateway.data);
    assert_eq!(put(&[("origin", &own)]).await, 200);
}

#[tokio::test]
async fn a_listener_that_others_reach_takes_writes_with_the_token_only() {
    let http = "[http]\nlisten = \"0.0.0.0:0\"\nadmin = \"127.0.0.1:0\"\nwrite_token = \"0123456789abcdef\"";
    let mut gateway = Gateway::with().config(http).start().await;
    gateway.data = gateway.data.replace("0.0.0.0", "127.0.0.1");
    let put = async |headers: &[(&str, &str)]| {
        gateway.send(Method::PUT, "/api/cache/k", headers, "1".into()).await.status.as_u16()
    };
    assert_eq!(put(&[]).await, 401);
    assert_eq!(put(&[("authorization", "Bearer 0123456789abcdeX")]).await, 401);
    assert_eq!(put(&[("authorization", "Bearer 0123456789abcdef")]).await, 200);
    assert_eq!(gateway.get("/api/cache/k").await.status, 200, "reading needs no token");
    assert!(!gateway.log().join("\n").contains("0123456789abcdef"), "the token is in the log");
}

#[tokio::test]
async fn the_admin_listener_asks_for_its_token() {
    let gateway = Gateway::with().start().await;
    let mut plain = TcpStream::connect(&gateway.admin).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(gateway.admin_get("/metrics").await.status, 200);
    assert_eq!(gateway.admin_get("/api/admin/plugins").await.status, 200);
    let tiers = gateway.admin_get("/api/admin/tiers").await.json();
    assert_eq!(tiers["tiers"][0]["state"]["answers"], true, "{tiers}");
}

#[tokio::test]
async fn half_a_request_and_five_thousand_idle_connections_leave_others_served() {
    let gateway = Gateway::with().start().await;
    assert_eq!(gateway.put("k", "1").await.status, 200);
    rlimit::increase_nofile_limit(12_000).unwrap();
    let mut idle = Vec::new();
    for n in 0..5_000 {
        let mut stream = TcpStream::connect(&gateway.data).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET /api/cache/k HTT").await.unwrap();
        }
        idle.push(stream);
    }
    for _ in 0..50 {
        assert_eq!(gateway.get("/api/cache/k").await.status, 200);
        assert_eq!(gateway.put("k2", "2").await.status, 200);
    }
    drop(idle);
}

#[tokio::test]
async fn a_store_that_answers_nothing_costs_one_deadline_and_the_other_serves() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    assert_eq!(gateway.put("k", r#"{"n": 1}"#).await.status, 200);
    memcached.freeze();
    let reply = gateway.put("k", r#"{"n": 2}"#).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.outcome("redis"), "stored");
    assert_eq!(reply.outcome("memcached"), "queued", "{}", reply.text());
    assert_eq!(gateway.get("/api/cache/k").await.text(), r#"{"n": 2}"#);
    // A key that memory does not know is found in the other store.
    let mut producer = tiergate_tests::PlainRedis::connect(redis.port()).await;
    producer.setex("other", b"5", 60).await;
    let read = gateway.get("/api/cache/other").await;
    assert_eq!((read.status.as_u16(), read.text().as_str()), (200, "5"));
    memcached.thaw();
    eventually("memcached is written again", async || {
        (gateway.put("k", r#"{"n": 3}"#).await.outcome("memcached") == "stored").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_that_answers_nonsense_is_told_from_a_miss() {
    let nonsense = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nonsense.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = nonsense.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                while client.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {
                    if client.write_all(b"HTTP/1.0 200 lies\r\n\r\n").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(format!("memcached://127.0.0.1:{port}")).tier(redis.url()).start().await;
    let reply = gateway.put("k", "1").await;
    assert_eq!((reply.status.as_u16(), reply.outcome("redis").as_str()), (202, "stored"), "{}", reply.text());
    let missing = gateway.get("/api/cache/absent").await;
    assert_eq!(missing.status, 503, "an error is no miss: {}", missing.text());
    assert!(missing.text().contains("memcached"), "{}", missing.text());
}
