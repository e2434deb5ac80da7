//! Foreign writers and the gateway on the same keys: what they change is seen as a change, whatever this gateway wrote before.

use bytes::Bytes;
use hyper::Method;
use tiergate_tests::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, eventually};

/// A policy under which memory asks the stores again at every read.
const EAGER: &str = "ttl = [{ pattern = \"flag*\", memory = \"0s\" }]";

async fn reads(gateway: &Gateway, key: &str, value: &str) {
    let what = format!("`{key}` reads {value}");
    let path = format!("/api/cache/{key}");
    eventually(&what, async || (gateway.get(&path).await.text() == value).then_some(())).await;
}

#[tokio::test]
async fn a_value_that_is_set_back_and_forth_is_followed_each_time() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let mut to_memcached = PlainMemcached::connect(memcached.port()).await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    for tier in [memcached.url(), redis.url()] {
        let gateway = Gateway::with().tier(tier).config(EAGER).start().await;
        assert_eq!(gateway.put("flag", r#"{"on":true}"#).await.status, 200);
        for round in 0..3 {
            for value in [r#"{"on":false}"#, r#"{"on":true}"#] {
                to_memcached.set("flag", value.as_bytes(), 0, 300).await;
                to_redis.setex("flag", value.as_bytes(), 300).await;
                reads(&gateway, "flag", value).await;
                // Not put back, either: the newest is what its writer set last.
                assert_eq!(to_memcached.get("flag").await.unwrap().1, value.as_bytes(), "round {round}");
                assert_eq!(to_redis.get("flag").await.unwrap(), value.as_bytes(), "round {round}");
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_value_after_a_write_or_a_delete_through_the_gateway_is_a_change() {
    let memcached = Memcached::start().await;
    let mut foreign = PlainMemcached::connect(memcached.port()).await;
    let gateway = Gateway::with().tier(memcached.url()).config(EAGER).start().await;
    assert_eq!(gateway.put("flag:1", "1").await.status, 200);
    foreign.set("flag:1", b"2", 0, 300).await;
    reads(&gateway, "flag:1", "2").await;

    assert_eq!(gateway.put("flag:2", "1").await.status, 200);
    assert_eq!(gateway.send(Method::DELETE, "/api/cache/flag:2", &[], Bytes::new()).await.status, 200);
    // Even the very bytes that were deleted, when somebody sets them anew.
    foreign.set("flag:2", b"1", 0, 300).await;
    reads(&gateway, "flag:2", "1").await;
}

#[tokio::test]
async fn a_store_that_comes_back_empty_is_filled_from_the_slower_one_though_memory_has_the_value() {
    let (mut memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).config(EAGER).start().await;
    assert_eq!(gateway.send(Method::PUT, "/api/cache/flag?ttl=300", &[], "1".into()).await.status, 200);
    memcached.kill();
    memcached.restart().await;
    eventually("memcached has the value again", async || {
        gateway.get("/api/cache/flag").await;
        PlainMemcached::connect(memcached.port()).await.get("flag").await
    })
    .await;
}

#[tokio::test]
async fn a_renewed_value_without_a_timestamp_stays_fresh_and_one_that_nobody_renews_gets_old() {
    let memcached = Memcached::start().await;
    let rule = "ttl = [{ pattern = \"analysis:market_regime\", fresh = \"10s\" }]";
    let gateway = Gateway::with().tier(memcached.url()).config(rule).start().await;
    let mut foreign = PlainMemcached::connect(memcached.port()).await;
    let section = async || gateway.mobile_data().await["sections"]["regime"].clone();
    foreign.set("analysis:market_regime", b"BULLISH", 0, 60).await;
    eventually("a first sight is fresh", async || (section().await["freshness"] == "fresh").then_some(())).await;
    eventually("nobody renews it, so it gets old", async || (section().await["freshness"] == "stale").then_some(()))
        .await;
    // The same bytes, written again.
    foreign.set("analysis:market_regime", b"BULLISH", 0, 120).await;
    eventually("renewed, it is fresh again", async || (section().await["freshness"] == "fresh").then_some(())).await;
    eventually("and gets old again", async || (section().await["freshness"] == "stale").then_some(())).await;
    foreign.set("analysis:market_regime", b"BEARISH", 0, 60).await;
    eventually("a change is fresh", async || (section().await["freshness"] == "fresh").then_some(())).await;
}

#[tokio::test]
async fn the_answer_of_an_origin_becomes_a_payload_of_the_key_by_the_codec_that_the_writer_names() {
    let gateway = Gateway::with().start().await;
    let answer = tiergate_tests::data_file("binance-ticker-24hr-2026-03-10.json");
    let reply = gateway.send(Method::PUT, "/api/cache/market:tickers?codec=binance", &[], answer.clone().into()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let read = gateway.get("/api/cache/market:tickers").await;
    assert_eq!((read.header("tiergate-schema"), read.header("tiergate-kind")), ("market-tickers", "real"));
    let tickers = read.json();
    assert_eq!(tickers["BTCUSDT"]["price"], 70_766.63);
    assert_eq!(tickers["BTCUSDT"]["change_24h"], 4.361);
    assert!(tickers.as_object().unwrap().len() > 90);

    let unknown = gateway.send(Method::PUT, "/api/cache/market:tickers?codec=kraken", &[], answer.into()).await;
    assert_eq!(unknown.status, 422);
    assert!(unknown.text().contains("kraken") && unknown.text().contains("binance"), "{}", unknown.text());
}
