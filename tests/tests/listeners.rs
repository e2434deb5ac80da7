//! The listeners: signs of life, and clients that are slow or never end.

use std::io::Result;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tiergate_tests::{Gateway, PATIENCE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn healthz_and_readyz_answer_without_a_token_and_readyz_names_the_tiers() {
    let gateway = Gateway::with().start().await;
    let health = gateway.get("/healthz").await;
    assert_eq!((health.status.as_u16(), health.json()["status"].as_str()), (200, Some("ok")));
    // It has no data yet; that it lives and that it is ready are two things (B59).
    let ready = gateway.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()["status"].as_str()), (503, Some("waiting")));
    let tiers = ready.json()["tiers"].clone();
    assert_eq!(tiers.as_array().map(Vec::len), Some(1), "{tiers}");
    assert!(tiers[0].as_str().is_some_and(|tier| tier.starts_with("disk")), "{tiers}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.send(Method::POST, path, &[], Bytes::new()).await.status, 405, "{path}");
    }
    let admin =
        answer_to(&gateway.admin, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(admin.unwrap().starts_with("HTTP/1.1 200"));
}

/// A gateway that waits a moment for slow clients, with a value under `k`: long enough for a slow disk to serve others.
async fn impatient() -> Gateway {
    let http =
        "[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nhead_deadline = \"5s\"\nbody_pause_max = \"5s\"";
    let gateway = Gateway::with().config(http).start().await;
    assert_eq!(gateway.put("k", "1").await.status, 200);
    gateway
}

/// All that comes back until the connection is closed.
async fn answer_to(address: &str, request: &str) -> Result<String> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("the gateway closes the connection")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The answer to a request that is never finished; others are served while it waits.
async fn answer_while_others_are_served(gateway: &Gateway, request: String) -> String {
    let address = gateway.data.clone();
    let waiting = tokio::spawn(async move { answer_to(&address, &request).await });
    let mut served = 0;
    while !waiting.is_finished() {
        assert_eq!(gateway.get("/api/cache/k").await.status, 200);
        assert_eq!(gateway.put("k2", served.to_string()).await.status, 200);
        served += 1;
    }
    assert!(served > 1, "nobody else was served");
    waiting.await.expect("no panic").expect("an answer or an end")
}

fn details(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}"))
}

#[tokio::test]
async fn a_connection_with_half_a_head_is_closed_at_the_deadline_and_others_are_served_meanwhile() {
    let gateway = impatient().await;
    let answer = answer_while_others_are_served(&gateway, "GET /api/cache/k HTTP/1.1\r\nhos".to_owned()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_body_that_pauses_is_answered_408_and_others_are_served_meanwhile() {
    let gateway = impatient().await;
    let request = format!("PUT /api/cache/k HTTP/1.1\r\nhost: {}\r\ncontent-length: 9\r\n\r\n[1, 2", gateway.data);
    let answer = answer_while_others_are_served(&gateway, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(details(&answer).to_string().contains("slow-body"), "{answer}");
    assert_eq!(gateway.get("/api/cache/k").await.text(), "1", "the old value stays");
}

#[tokio::test]
async fn a_stream_of_signals_that_pauses_is_answered_408_with_what_was_taken() {
    let gateway = impatient().await;
    let line = "{\"symbol\":\"BTCUSDT\",\"confluence_score\":50}\n";
    let request = format!(
        "POST /api/signals HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{line}\r\n",
        gateway.data,
        line.len()
    );
    let answer = answer_while_others_are_served(&gateway, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(details(&answer)["details"]["accepted"], 1, "{answer}");
}
