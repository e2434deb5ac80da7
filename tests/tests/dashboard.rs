//! The dashboard's routes: validators, encodings, and limits.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::Bytes;
use hyper::Method;
use serde_json::json;
use tiergate_tests::{Gateway, PATIENCE, eventually, fixture, moved_to_now, now_seconds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const VIEWS: [&str; 6] = ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"];

async fn fed() -> Gateway {
    // A placeholder that comes later would have the views composed anew between two requests.
    let gateway = Gateway::with().without_tasks().start().await;
    for key in ["analysis:signals", "market:overview", "market:movers", "market:breadth"] {
        let reply = gateway.put(key, moved_to_now(&fixture(&format!("{key}.json")))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    eventually("the dashboard is fed", async || {
        let mobile = gateway.mobile_data().await;
        // What only the last document tells, and the one before it: all of them are composed.
        let is_whole = mobile["market_breadth"]["flat"].is_number() && mobile["sections"]["movers"]["kind"] == "real";
        (mobile["confluence_scores"].as_array()?.len() == 20 && is_whole).then_some(())
    })
    .await;
    gateway
}

#[tokio::test]
async fn a_view_has_a_validator_and_is_not_sent_again() {
    let gateway = fed().await;
    for view in VIEWS {
        let path = format!("/api/dashboard/{view}");
        let first = gateway.get(&path).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with('"') && !first.header("cache-status").is_empty() && !first.header("age").is_empty());
        let again = gateway.send(Method::GET, &path, &[("if-none-match", &etag)], Bytes::new()).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{view}");
        assert_eq!(again.header("etag"), etag);
    }
}

#[tokio::test]
async fn a_view_is_compressed_with_a_validator_for_each_encoding() {
    let gateway = fed().await;
    let path = "/api/dashboard/mobile-data";
    let accept =
        async |encoding: &str| gateway.send(Method::GET, path, &[("accept-encoding", encoding)], Bytes::new()).await;
    let (plain, gzip, brotli) = (accept("identity").await, accept("gzip").await, accept("gzip, br").await);
    assert_eq!([plain.header("vary"), gzip.header("vary"), brotli.header("vary")], ["Accept-Encoding"; 3]);
    assert_eq!((gzip.header("content-encoding"), brotli.header("content-encoding")), ("gzip", "br"));
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut unzipped).unwrap();
    assert_eq!(unzipped, plain.body);
    let mut unbrotlied = Vec::new();
    brotli::Decompressor::new(&brotli.body[..], 4096).read_to_end(&mut unbrotlied).unwrap();
    assert_eq!(unbrotlied, plain.body);
    assert_ne!(gzip.header("etag"), brotli.header("etag"));
    assert!(brotli.body.len() * 3 < plain.body.len());
}

#[tokio::test]
async fn head_answers_the_headers_alone_and_a_limit_bounds_every_list() {
    let gateway = fed().await;
    let head = gateway.send(Method::HEAD, "/api/dashboard/symbols", &[], Bytes::new()).await;
    let get = gateway.get("/api/dashboard/symbols").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    let three = gateway.get("/api/dashboard/symbols?limit=3").await.json();
    assert_eq!(three["symbols"].as_array().unwrap().len(), 3);
    assert_eq!(three["symbols"][0], get.json()["symbols"][0], "the best scores stay");
}

#[tokio::test]
async fn of_signals_of_one_moment_the_one_that_was_answered_last_is_kept() {
    let gateway = Gateway::with().start().await;
    let moment = now_seconds();
    for price in 1..=20 {
        let signal = json!({ "symbol": "BTCUSDT", "confluence_score": 60, "price": price, "timestamp": moment });
        let reply = gateway.ingest(signal.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let signals = gateway.get("/api/cache/analysis:signals").await.json();
        assert_eq!(signals["signals"][0]["price"].as_f64(), Some(f64::from(price)), "{signals}");
    }
}

#[tokio::test]
async fn the_age_of_every_document_is_a_metric() {
    let gateway = fed().await;
    let age = eventually("the age", async || {
        let metrics = gateway.admin_get("/metrics").await.text();
        let line =
            metrics.lines().find(|line| line.starts_with("cache_age_seconds{key=\"market:overview\"}"))?.to_owned();
        line.rsplit(' ').next()?.parse::<f64>().ok()
    })
    .await;
    assert!((0.0..20.0).contains(&age), "{age}");
}

/// The first answer in `answers`, and what follows it.
fn first(answers: &[u8]) -> (BTreeMap<String, String>, &[u8], &[u8]) {
    let end = answers.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, rest) = answers.split_at(end);
    let lines = std::str::from_utf8(head).expect("text").trim_end().split("\r\n");
    let named = lines.map(|line| line.split_once(": ").unwrap_or(("", line)));
    let head: BTreeMap<_, _> = named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (body, rest) = rest.split_at(head["content-length"].parse().expect("a length"));
    (head, body, rest)
}

#[tokio::test]
async fn requests_sent_together_are_answered_alike_whether_plain_or_not() {
    let gateway = fed().await;
    let request = |more: &str| {
        format!("GET /api/dashboard/mobile-data HTTP/1.1\r\nhost: {}\r\naccept-encoding: {more}\r\n\r\n", gateway.data)
    };
    // The ninth has a condition, which ends the fast lane, and closes the connection.
    let plain = request("identity").repeat(7) + &request("gzip");
    let requests = plain + &request("identity\r\nif-none-match: \"other\"\r\nconnection: close");
    let mut client = TcpStream::connect(&gateway.data).await.unwrap();
    client.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut answers)).await.expect("the gateway closes the connection").unwrap();

    let mut rest = &answers[..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (mut head, body, more) = first(rest);
        // These tell of the moment.
        assert!(["date", "age", "cache-status"].iter().all(|name| head.remove(*name).is_some()), "{head:?}");
        all.push((head, body));
        rest = more;
    }
    assert_eq!(all.len(), 9);
    let (library, gzip) = (all.pop().unwrap(), all.pop().unwrap());
    assert_eq!(gzip.0["content-encoding"], "gzip");
    for mut plain in all {
        assert_eq!(plain.0.insert("connection".to_owned(), "close".to_owned()), None);
        assert_eq!(plain.0, library.0);
        assert!(plain.1 == library.1, "the same bytes");
    }
}
