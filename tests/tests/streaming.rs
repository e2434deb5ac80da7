//! Signals are taken while their body is still arriving.

use serde_json::Value;
use tiergate_tests::{Gateway, PATIENCE, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn symbols(gateway: &Gateway) -> Option<Vec<String>> {
    let symbols = gateway.get("/api/dashboard/symbols?limit=10000").await.json()["symbols"].as_array()?.clone();
    Some(symbols.iter().filter_map(|record| record["symbol"].as_str()).map(str::to_owned).collect())
}

#[tokio::test]
async fn the_first_half_of_a_body_is_on_the_dashboard_before_the_second_half_is_sent() {
    let gateway = Gateway::with().start().await;
    let line = |symbol: &str, score: u32| {
        format!("{{\"symbol\":\"{symbol}\",\"confluence_score\":{score},\"price\":10,\"change_24h\":1}}\n")
    };
    let mut client = TcpStream::connect(&gateway.data).await.unwrap();
    let head = format!(
        "POST /api/signals HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        gateway.data
    );
    // The last line of the first half is cut in two: it belongs to the second.
    let cut = line("CUSDT", 55);
    let (begun, rest) = cut.split_at(20);
    let first = line("AUSDT", 75) + &line("BUSDT", 65) + begun;
    client.write_all((head + &chunk(&first)).as_bytes()).await.unwrap();
    eventually("the first half is on the dashboard", async || {
        (symbols(&gateway).await? == ["AUSDT", "BUSDT"]).then_some(())
    })
    .await;

    let second = chunk(&(rest.to_owned() + &line("DUSDT", 45))) + "0\r\n\r\n";
    client.write_all(second.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, report) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(report).unwrap()["accepted"], 4, "{report}");
    eventually("the second half is on the dashboard", async || {
        (symbols(&gateway).await? == ["AUSDT", "BUSDT", "CUSDT", "DUSDT"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_array_of_twenty_thousand_signals_is_taken_whole() {
    let gateway = Gateway::with().start().await;
    let one = |n: u32| {
        format!(
            "{{\"symbol\": \"S{}USDT\", \"confluence_score\": {}, \"price\": 1, \"change_24h\": 0}}",
            n % 500,
            n % 101
        )
    };
    let signals: Vec<String> = (0..20_000).map(one).collect();
    let reply = gateway.ingest(format!("[{}]", signals.join(",\n "))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!((&reply.json()["accepted"], &reply.json()["rejected"]["count"]), (&20_000.into(), &0.into()));
    eventually("every symbol is on the dashboard", async || (symbols(&gateway).await?.len() == 500).then_some(()))
        .await;
}
