//! The demo, and what is seen after a restart.

use serde_json::{Value, json};
use tiergate_tests::{Gateway, eventually, now_seconds};

#[tokio::test]
async fn the_demo_serves_31_real_symbols_with_nothing_installed_and_nothing_configured() {
    let gateway = Gateway::with().demo().start().await;
    let mobile = eventually("31 symbols", async || {
        let mobile = gateway.mobile_data().await;
        (mobile["confluence_scores"].as_array()?.len() == 31).then_some(mobile)
    })
    .await;
    assert_eq!(mobile["status"], "success");
    let record = &mobile["confluence_scores"][0];
    for component in ["technical", "volume", "price_structure"] {
        assert!(record["components"][component].is_number(), "{record}");
    }
    // What candles cannot tell is absent, not 50.
    for component in ["orderbook", "orderflow", "sentiment"] {
        assert!(record["components"].get(component).is_none_or(Value::is_null), "{record}");
    }
    let page = gateway.get("/mobile").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let first = mobile["confluence_scores"].clone();
    eventually("the market moves", async || (gateway.mobile_data().await["confluence_scores"] != first).then_some(()))
        .await;
}

#[tokio::test]
async fn after_a_kill_the_last_known_values_are_there_at_once_with_their_age() {
    let gateway = Gateway::with().start().await;
    let made = now_seconds() - 30.0;
    let signal =
        json!({ "symbol": "BTCUSDT", "confluence_score": 61.5, "price": 60000, "change_24h": 1.5, "timestamp": made });
    let reply = gateway.ingest(signal.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let gateway = gateway.kill().start().await;
    // The first answer of the new process; nothing has been posted to it.
    let mobile = gateway.mobile_data().await;
    assert_eq!(mobile["confluence_scores"][0]["symbol"], "BTCUSDT", "{mobile}");
    let as_of = mobile["sections"]["signals"]["as_of"].as_f64().expect("a moment");
    assert!((as_of - made).abs() < 1.0, "{as_of} for {made}");
}

#[tokio::test]
async fn a_demo_that_was_killed_shows_the_last_known_symbols_in_its_first_answer_and_from_when_they_are() {
    let mut gateway = Gateway::with().demo().start().await;
    eventually("31 symbols", async || {
        (gateway.mobile_data().await["confluence_scores"].as_array()?.len() == 31).then_some(())
    })
    .await;
    // The feed goes on a second after the start, and on a slow machine before the first answer: then that tells of new ones.
    for _ in 0..5 {
        let starting = gateway.kill();
        let killed = now_seconds();
        gateway = starting.start().await;
        let mobile = gateway.mobile_data().await;
        assert_eq!(mobile["confluence_scores"].as_array().map(Vec::len), Some(31), "{mobile}");
        let as_of = mobile["sections"]["signals"]["as_of"].as_f64().expect("a moment");
        assert!(as_of > killed - 60.0, "{as_of} for a demo that was killed at {killed}");
        if as_of < killed {
            return;
        }
    }
    panic!("the first answer never told of what was known before");
}
