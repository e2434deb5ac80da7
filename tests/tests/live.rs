//! The live document, the stream of its changes, and the WebSocket of the page before this one.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Gateway, NO_TASKS, PATIENCE, eventually, fixture, moved_to_now};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

const LIVE: &str = "/api/dashboard/live";

fn signals(price: f64) -> String {
    let text = String::from_utf8(moved_to_now(&fixture("analysis:signals.json"))).expect("text");
    let mut signals: Value = serde_json::from_str(&text).expect("JSON");
    let stamp = signals["timestamp"].as_f64().expect("a time");
    // A later payload of the same producer.
    signals["timestamp"] = json!(stamp + price / 1e6);
    signals["signals"][0]["price"] = json!(price);
    signals.to_string()
}

fn first_symbol() -> String {
    let signals: Value = serde_json::from_slice(&fixture("analysis:signals.json")).expect("JSON");
    signals["signals"][0]["symbol"].as_str().expect("a name").to_owned()
}

async fn fed(more: &str) -> Gateway {
    let gateway = Gateway::with().config(NO_TASKS).config(more).start().await;
    assert_eq!(gateway.put("analysis:signals", signals(1.0)).await.status, 200);
    eventually("the symbols are live", async || {
        (gateway.get(LIVE).await.json()["symbols"].as_object()?.len() == 20).then_some(())
    })
    .await;
    gateway
}

/// A stream as a client reads it.
struct Stream {
    connection: TcpStream,
    read: Vec<u8>,
}

impl Stream {
    async fn open(gateway: &Gateway, since: &str, more: &str) -> Self {
        let mut connection = TcpStream::connect(&gateway.data).await.expect("the gateway listens");
        let path = format!("/api/dashboard/stream?since={since}");
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{more}\r\n", gateway.data);
        connection.write_all(head.as_bytes()).await.expect("written");
        Self { connection, read: Vec::new() }
    }

    async fn until(&mut self, found: impl Fn(&[u8]) -> bool) {
        timeout(PATIENCE, async {
            while !found(&self.read) {
                assert_ne!(
                    self.connection.read_buf(&mut self.read).await.expect("read"),
                    0,
                    "the stream ended: {}",
                    self.text()
                );
            }
        })
        .await
        .unwrap_or_else(|_| panic!("not told: {}", self.text()));
    }

    /// Reads until the patch to this version has come whole.
    async fn until_told(&mut self, version: &Value) {
        self.until(|read| events(&String::from_utf8_lossy(read), "patch").iter().any(|told| told["to"] == *version))
            .await;
    }

    async fn until_text(&mut self, text: &str) {
        self.until(|read| String::from_utf8_lossy(read).contains(text)).await;
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// The data of the events with this name that have come whole.
fn events(text: &str, event: &str) -> Vec<Value> {
    let events = text.split("\n\n").filter(|one| one.contains(&format!("event: {event}\n")));
    events.filter_map(|one| serde_json::from_str(one.split("data: ").nth(1)?).ok()).collect()
}

#[tokio::test]
async fn the_live_document_holds_every_symbol_once_and_has_a_validator() {
    let gateway = fed("").await;
    let whole = gateway.get(LIVE).await;
    let body = whole.json();
    assert_eq!((&body["symbols_total"], &body["status"]), (&json!(20), &json!("success")));
    assert!(body.get("top_symbols").is_none() && body.get("confluence_scores").is_none());
    let again = gateway.send(Method::GET, LIVE, &[("if-none-match", whole.header("etag"))], Bytes::new()).await;
    assert_eq!(again.status, 304);

    let three = gateway.get(&format!("{LIVE}?limit=3")).await.json();
    let best = gateway.get("/api/dashboard/symbols?limit=3").await.json();
    let mut names: Vec<&str> =
        best["symbols"].as_array().unwrap().iter().map(|s| s["symbol"].as_str().unwrap()).collect();
    names.sort_unstable();
    let shown: Vec<&String> = three["symbols"].as_object().unwrap().keys().collect();
    assert_eq!(shown, names);
    assert_eq!((&three["symbols_total"], &three["version"]), (&json!(20), &body["version"]));
    assert_eq!(gateway.get(&format!("{LIVE}?limit=0")).await.status, 400);
}

#[tokio::test]
async fn a_change_is_told_as_a_merge_patch_from_the_version_that_the_client_has() {
    let gateway = fed("").await;
    let before = gateway.get(LIVE).await.json();
    let version = before["version"].as_str().unwrap();
    let mut stream = Stream::open(&gateway, version, "").await;
    stream.until_text("retry: ").await;
    assert_eq!(gateway.put("analysis:signals", signals(4321.0625)).await.status, 200);
    stream.until_text("4321.0625").await;
    assert!(!stream.text().contains("event: reset"), "{}", stream.text());
    assert!(stream.text().starts_with("HTTP/1.1 200") && stream.text().contains("text/event-stream"));

    let served = gateway.get(LIVE).await.json();
    stream.until_told(&served["version"]).await;
    let mut document = before.clone();
    for told in events(&stream.text(), "patch") {
        if document["version"] == served["version"] {
            break;
        }
        assert_eq!(told["from"], document["version"]);
        merge(&mut document, &told["patch"]);
        document["version"] = told["to"].clone();
    }
    assert_eq!(document["symbols"][first_symbol()]["price"], 4321.0625);
    assert_eq!(document["symbols"].as_object().unwrap().len(), 20);
    assert_eq!(document, served, "the patched document is the one that is served");

    // Who comes back with the old version gets the same patches; who never had one is told to fetch the document.
    let mut late = Stream::open(&gateway, version, "").await;
    late.until_text("4321.0625").await;
    assert!(!late.text().contains("event: reset"));
    let mut known = Stream::open(&gateway, "other", &format!("last-event-id: {version}\r\n")).await;
    known.until_text("4321.0625").await;
    let mut new = Stream::open(&gateway, "other-1", "").await;
    new.until_text("event: reset").await;
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else { return *target = patch.clone() };
    if !target.is_object() {
        *target = json!({});
    }
    let members = target.as_object_mut().expect("an object");
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[tokio::test]
async fn a_stream_is_compressed_for_who_takes_gzip() {
    let gateway = fed("").await;
    let mut stream = Stream::open(&gateway, "none", "accept-encoding: gzip, br\r\n").await;
    let gzip = |read: &[u8]| read.windows(3).position(|three| three == [0x1f, 0x8b, 8]);
    stream.until(|read| gzip(read).is_some_and(|at| read.len() > at + 60)).await;
    let head = stream.text();
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: Accept-Encoding"), "{head}");
    assert!(!head.contains("event: reset"), "it is not plain");
}

#[tokio::test]
async fn as_many_streams_as_allowed_are_served_and_one_more_is_refused_until_one_ends() {
    let gateway = fed("[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nstreams_max = 1").await;
    let mut first = Stream::open(&gateway, "none", "").await;
    first.until_text("event: reset").await;
    let mut second = Stream::open(&gateway, "none", "").await;
    second.until_text("streams-full").await;
    assert!(second.text().starts_with("HTTP/1.1 503"), "{}", second.text());
    assert_eq!(gateway.get(LIVE).await.status, 200, "who may not listen may still ask");
    drop(first);
    eventually("the place is free again", async || {
        let mut third = Stream::open(&gateway, "none", "").await;
        third.until_text("HTTP/1.1 ").await;
        third.text().starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_when_the_gateway_is_told_to_stop() {
    let gateway = fed("").await;
    let mut stream = Stream::open(&gateway, "none", "").await;
    stream.until_text("event: reset").await;
    let pid = gateway.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    timeout(PATIENCE, stream.connection.read_to_end(&mut stream.read)).await.expect("the stream ends").unwrap();
    eventually("the gateway has drained", async || {
        let log = gateway.log();
        assert!(!log.iter().any(|line| line.contains("were still open")), "{log:?}");
        let gone = TcpStream::connect(&gateway.data).await.is_err();
        gone.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_before_this_one_is_told_to_fetch_its_symbols() {
    let gateway = fed("").await;
    let (mut socket, _) = connect_async(format!("ws://{}/ws", gateway.data)).await.unwrap();
    let mut said = async |text: Option<&str>, wanted: &str| {
        if let Some(text) = text {
            socket.send(Message::text(text)).await.unwrap();
        }
        loop {
            let message = timeout(PATIENCE, socket.next()).await.expect("an answer").unwrap().unwrap();
            let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if message["type"] == wanted {
                return message;
            }
        }
    };
    assert!(said(Some(r#"{"type":"ping"}"#), "pong").await["timestamp"].is_number());
    let subscribed = said(Some(r#"{"type":"subscribe","channel":"signals"}"#), "subscribed").await;
    assert_eq!(subscribed["channel"], "signals");
    assert_eq!(gateway.put("analysis:signals", signals(7.0)).await.status, 200);
    said(None, "price_update").await;
    socket.send(Message::text("no json")).await.unwrap();
    let end = timeout(PATIENCE, async { while !matches!(socket.next().await, None | Some(Ok(Message::Close(_)))) {} });
    end.await.expect("what is no JSON ends the connection");
}

#[tokio::test]
async fn a_web_socket_of_another_origin_is_refused_and_a_plain_request_is_told_of_the_stream() {
    let gateway = fed("").await;
    let mut foreign = format!("ws://{}/ws", gateway.data).into_client_request().unwrap();
    foreign.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    match connect_async(foreign).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 403),
        other => panic!("{other:?}"),
    }
    let mut own = format!("ws://{}/ws", gateway.data).into_client_request().unwrap();
    own.headers_mut().insert("origin", format!("http://{}", gateway.data).parse().unwrap());
    assert!(connect_async(own).await.is_ok());
    assert_eq!(gateway.get("/ws").await.status, 426);
    assert_eq!(gateway.send(Method::POST, "/api/dashboard/stream", &[], Bytes::new()).await.status, 405);
}

#[tokio::test]
async fn a_message_as_long_as_allowed_is_answered_and_a_longer_one_ends_the_connection() {
    let gateway = fed("").await;
    let ping = |bytes: usize| {
        let start = r#"{"type":"ping","pad":""#;
        format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
    };
    for (bytes, answered) in [(4_096, true), (4_097, false)] {
        let (mut socket, _) = connect_async(format!("ws://{}/ws", gateway.data)).await.unwrap();
        socket.send(Message::text(ping(bytes))).await.unwrap();
        let got = timeout(Duration::from_secs(20), async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) if text.contains("pong") => return true,
                    Some(Ok(Message::Text(_))) => {}
                    _ => return false,
                }
            }
        });
        assert_eq!(got.await.expect("an answer or an end"), answered, "{bytes}");
    }
}

#[tokio::test]
async fn what_the_page_before_this_one_asks_for_is_answered_from_the_cache_or_404_in_json() {
    let gateway = fed("").await;
    assert_eq!(gateway.get("/api/dashboard/alerts").await.json(), json!([]));
    let alerts = json!([{ "id": "2", "type": "price", "details": {} },
                        { "id": "1", "type": "regime_change", "details": { "confidence": 0.79 } },
                        { "id": "0", "type": "regime_change", "details": { "confidence": 0.80 } }]);
    assert_eq!(gateway.put("dashboard:alerts", alerts.to_string()).await.status, 200);
    let told = gateway.get("/api/dashboard/alerts?limit=50").await.json();
    assert_eq!(
        (told[0]["id"].as_str(), told[1]["id"].as_str(), told.as_array().unwrap().len()),
        (Some("2"), Some("0"), 2)
    );
    for (limit, status) in [("1", 200), ("100", 200), ("101", 400), ("0", 400), ("x", 400)] {
        assert_eq!(gateway.get(&format!("/api/dashboard/alerts?limit={limit}")).await.status, status, "{limit}");
    }

    let chart = json!({ "chart_data": {}, "performance_order": ["BTCUSDT"], "generated_at": 1 });
    assert_eq!(gateway.get("/api/dashboard/beta-chart?timeframe=4").await.status, 404);
    assert_eq!(gateway.put("virtuoso:beta_chart:4h", chart.to_string()).await.status, 200);
    for timeframe in ["4", "4.0", "4h"] {
        let shown = gateway.get(&format!("/api/dashboard/beta-chart?timeframe={timeframe}")).await.json();
        assert_eq!((&shown["from_cache"], &shown["performance_order"][0]), (&json!(true), &json!("BTCUSDT")));
    }
    assert_eq!(gateway.get("/api/dashboard/beta-chart?timeframe=5").await.status, 400);

    for missing in ["categories", "cycle-phase"] {
        assert_eq!(gateway.get(&format!("/api/coingecko/{missing}")).await.status, 503);
    }
    let summary = gateway.get("/api/coingecko/summary").await.json();
    assert_eq!(summary["data"]["categories"]["available"], false);
    let categories =
        json!({ "categories": [], "top_performers": ["a", "b", "c", "d"], "rotation_signal": "x", "updated_at": 1 });
    assert_eq!(gateway.put("coingecko:categories", categories.to_string()).await.status, 200);
    assert_eq!(gateway.get("/api/coingecko/categories").await.json()["data"], categories);
    let summary = gateway.get("/api/coingecko/summary").await.json();
    assert_eq!(summary["data"]["categories"]["top_performers"], json!(["a", "b", "c"]));

    let signals = gateway.get("/api/dashboard/signals-from-cache").await.json();
    assert_eq!(signals, gateway.get("/api/cache/analysis:signals").await.json());
    eventually("the view has the scores", async || {
        let mobile = gateway.get("/api/dashboard/mobile-data-from-cache").await.json();
        let scores = mobile["confluence_scores"].as_array()?.len();
        (scores > 0 && mobile["confluence_scores"] == gateway.mobile_data().await["confluence_scores"]).then_some(())
    })
    .await;

    let pulse = gateway.get("/api/dashboard/perpetuals-pulse").await.json();
    assert_eq!((&pulse["status"], &pulse["funding_rate"]), (&json!("unavailable"), &Value::Null));
    for path in ["/api/dashboard/news", "/api/coingecko/coins", "/api/dashboard/trade-signals"] {
        let reply = gateway.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (404, Some("no-route")), "{path}");
    }
}
