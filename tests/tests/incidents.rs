//! One test per incident of the old system, by its number, through the whole gateway. What
//! a formula or a schema alone can show is tested beside the plugin that has it, under the same number.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Deployment, Gateway, Memcached, eventually, fixture, moved_to_now, now_seconds};

fn document(key: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{key}.json")))
}

fn signals(records: &Value) -> Vec<u8> {
    let document =
        json!({ "timestamp": now_seconds(), "version": "1.0", "signals": records, "__schema_version": "1.0" });
    document.to_string().into_bytes()
}

fn record(symbol: &str, score: f64) -> Value {
    json!({ "symbol": symbol, "confluence_score": score, "sentiment": "NEUTRAL", "reliability": 0.8, "price": 10.0,
            "change_24h": 1.5, "volume_24h": 1000.0 })
}

fn symbols(mobile: &Value) -> Vec<String> {
    let scores = mobile["confluence_scores"].as_array().expect("a list");
    scores.iter().map(|score| score["symbol"].as_str().expect("a symbol").to_owned()).collect()
}

#[tokio::test]
async fn b01_an_ipv4_address_is_dialled_as_written_and_localhost_finds_an_ipv4_server() {
    let memcached = Memcached::start().await;
    for host in ["127.0.0.1", "localhost"] {
        let gateway = Gateway::with().tier(format!("memcached://{host}:{}", memcached.port())).start().await;
        let reply = gateway.put("k", "1").await;
        assert_eq!((reply.status.as_u16(), reply.outcome("memcached").as_str()), (200, "stored"), "{}", reply.text());
    }
}

#[tokio::test]
async fn b13_a_regime_object_or_text_is_one_string_on_the_dashboard() {
    let mut all = Deployment::start().await;
    let placeholder = moved_to_now(&fixture("warmer/analysis:market_regime.json"));
    all.to_memcached.set("analysis:market_regime", &placeholder, 0, 300).await;
    all.to_memcached.set("market:overview", &document("market:overview"), 0, 300).await;
    // The placeholder is not shown; the overview's label is.
    all.mobile("the overview's regime", |m| m["market_regime"] == "Neutral: Consolidation").await;
    let regime = json!({ "regime": "Bullish: Risk-On", "confidence": 0.8, "last_updated": now_seconds() });
    all.to_memcached.set("analysis:market_regime", regime.to_string().as_bytes(), 0, 300).await;
    let mobile = all.mobile("the regime of the object", |m| m["market_regime"] == "Bullish: Risk-On").await;
    assert_eq!(mobile["market_overview"]["market_regime"], "Bullish: Risk-On");
    assert_eq!(mobile["regime"], "Bullish: Risk-On");
}

#[tokio::test]
async fn b14_a_bare_regime_text_is_read() {
    let mut all = Deployment::start().await;
    all.to_memcached.set("analysis:market_regime", &fixture("legacy_writer/analysis:market_regime.bin"), 0, 300).await;
    all.mobile("the bare text", |m| m["market_regime"] == "BULLISH").await;
    assert!(all.gateway.metric("tiergate_repairs_total", &["bare-text"]).await >= 1.0);
}

#[tokio::test]
async fn b15_a_doubly_encoded_payload_is_shown_right_counted_and_left_as_it_is_in_its_store() {
    let mut all = Deployment::start().await;
    let twice = Value::String(String::from_utf8(document("market:overview")).unwrap()).to_string();
    all.to_redis.setex("market:overview", twice.as_bytes(), 300).await;
    all.mobile("the overview", |m| m["market_overview"]["btc_dominance"] == 57.21).await;
    assert_eq!(all.gateway.metric("tiergate_repairs_total", &["peeled-encoding"]).await, 1.0);
    let read = all.gateway.get("/api/cache/market:overview").await;
    assert_eq!(read.json()["btc_dominance"], 57.21, "an object, not a text");
    assert_eq!(read.header("tiergate-repairs"), "1");
    all.looked_again().await;
    assert_eq!(all.to_redis.get("market:overview").await.unwrap(), twice.as_bytes());
    assert_eq!(all.to_memcached.get("market:overview").await, None, "a repair is not written to a store");

    let fixture = fixture("edge/double_encoded/coingecko:derivatives.json");
    all.to_redis.setex("coingecko:derivatives", &fixture, 300).await;
    let read = eventually("derivatives", async || {
        let read = all.gateway.get("/api/cache/coingecko:derivatives").await;
        (read.status == 200).then_some(read)
    })
    .await;
    assert_eq!(read.json()["total_open_interest"], 91_000_000_000.0);
}

#[tokio::test]
async fn b16_a_pickle_over_the_signals_key_keeps_the_last_good_value() {
    let mut all = Deployment::start().await;
    all.to_memcached.set("analysis:signals", &document("analysis:signals"), 0, 300).await;
    let before = all.mobile("the signals", |m| symbols(m).len() == 20).await;
    all.to_memcached.set("analysis:signals", &fixture("edge/analysis:signals.pickled.bin"), 1, 300).await;
    eventually("the pickle is refused", async || {
        (all.gateway.metric("tiergate_rejections_total", &["python-pickle"]).await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(symbols(&all.gateway.mobile_data().await), symbols(&before));
    eventually("the last good value is put back over the pickle", async || {
        let (flags, stored) = all.to_memcached.get("analysis:signals").await?;
        (flags == 0 && stored.starts_with(b"{\"timestamp\"")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn b18_reliability_is_one_scale_with_a_percentage_beside_it() {
    let mut all = Deployment::start().await;
    let mut percent = record("AUSDT", 60.0);
    percent["reliability"] = json!(83.33);
    all.to_memcached.set("analysis:signals", &signals(&json!([percent, record("BUSDT", 50.0)])), 0, 300).await;
    let mobile = all.mobile("the signals", |m| symbols(m).len() == 2).await;
    let of = |at: usize, field: &str| mobile["confluence_scores"][at][field].as_f64().unwrap();
    assert!((of(0, "reliability") - 0.8333).abs() < 1e-9 && (of(0, "reliability_percent") - 83.33).abs() < 0.01);
    assert!((of(1, "reliability") - 0.8).abs() < 1e-9 && (of(1, "reliability_percent") - 80.0).abs() < 0.01);
}

#[tokio::test]
async fn b20_an_average_of_reliability_has_no_defaults_in_it() {
    let gateway = Gateway::with().start().await;
    let mut without = record("BUSDT", 50.0);
    without.as_object_mut().unwrap().remove("reliability");
    let reply = gateway.ingest(json!([record("AUSDT", 60.0), without]).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = gateway.get("/api/cache/analysis:signals").await.json();
    assert_eq!(document["avg_reliability"], 0.8, "{document}");
}

#[tokio::test]
async fn b26_a_promoted_value_keeps_its_remaining_lifetime() {
    let mut all = Deployment::start().await;
    all.to_redis.setex("market:overview", &document("market:overview"), 20).await;
    let ttl =
        eventually("the value is promoted to memcached", async || all.to_memcached.ttl("market:overview").await).await;
    assert!((1..=20).contains(&ttl), "{ttl} s, and not the default");
    assert!(all.to_redis.pttl("market:overview").await <= 20_000, "the slower store is not prolonged");
}

#[tokio::test]
async fn b28_delete_removes_the_key_from_every_tier_and_says_so() {
    let mut all = Deployment::start().await;
    assert_eq!(all.gateway.put("market:overview", document("market:overview")).await.status, 200);
    all.mobile("the overview", |m| m["sections"]["overview"]["kind"] == "real").await;
    let reply = all.gateway.send(Method::DELETE, "/api/cache/market:overview", &[], Bytes::new()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for tier in ["memory", "memcached", "redis"] {
        assert_eq!(reply.outcome(tier), "deleted", "{}", reply.text());
    }
    assert_eq!(all.to_memcached.get("market:overview").await, None);
    assert_eq!(all.to_redis.get("market:overview").await, None);
    all.mobile("the overview is gone", |m| m["sections"]["overview"]["kind"] == "missing").await;
    assert_eq!(all.gateway.get("/api/cache/market:overview").await.status, 404);
}

#[tokio::test]
async fn b29_a_write_with_a_store_down_says_so_in_answer_log_and_metrics_and_the_dashboard_goes_on() {
    let mut all = Deployment::start().await;
    all.memcached.kill();
    let reply = all.gateway.put("market:overview", document("market:overview")).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!((reply.outcome("memcached").as_str(), reply.outcome("redis").as_str()), ("queued", "stored"));
    assert!(reply.json()["tiers"]["memcached"]["reason"].is_string(), "{}", reply.text());
    all.mobile("the data", |m| m["market_overview"]["btc_dominance"] == 57.21).await;
    assert!(all.gateway.metric("tiergate_writes_total", &["memcached", "queued"]).await >= 1.0);
    let told = |line: &String| line.contains("a write was not stored") && line.contains("memcached");
    assert!(all.gateway.log().iter().any(told), "the log does not tell");
    eventually("the metrics say which tier does not answer", async || {
        let answers = async |tier: &str| all.gateway.metric("tiergate_tier_answers", &[&format!("\"{tier}\"")]).await;
        (answers("memcached").await == 0.0 && answers("redis").await == 1.0).then_some(())
    })
    .await;

    all.redis.kill();
    let overview = String::from_utf8(document("market:overview")).unwrap().replace("57.21", "58.33");
    let reply = all.gateway.put("market:overview", overview).await;
    assert_eq!(reply.status, 202, "no store took it, and it waits for both: {}", reply.text());
    for tier in ["memcached", "redis"] {
        assert_eq!(reply.outcome(tier), "queued", "{}", reply.text());
        assert!(reply.json()["tiers"][tier]["reason"].is_string(), "{}", reply.text());
    }
    let mobile = all.mobile("the data, from memory", |m| m["market_overview"]["btc_dominance"] == 58.33).await;
    assert_eq!(mobile["status"], "success");
}

#[tokio::test]
async fn b30_a_payload_that_cannot_be_encoded_reaches_no_tier_and_the_old_value_stays_in_all() {
    let mut all = Deployment::start().await;
    assert_eq!(all.gateway.put("k", r#"{"n": 1}"#).await.status, 200);
    let reply = all.gateway.put("k", "{\"n\": float32(2)}").await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert_eq!(all.gateway.get("/api/cache/k").await.text(), r#"{"n": 1}"#);
    assert_eq!(all.to_memcached.get("k").await.unwrap().1, br#"{"n": 1}"#);
    assert_eq!(all.to_redis.get("k").await.unwrap(), br#"{"n": 1}"#);
}

#[tokio::test]
async fn b31_nan_and_infinity_become_null_and_every_answer_is_strict_json() {
    let mut all = Deployment::start().await;
    all.to_memcached.set("analysis:signals", &moved_to_now(&fixture("edge/analysis:signals.nan.bin")), 0, 300).await;
    eventually("the payload is repaired", async || {
        (all.gateway.metric("tiergate_repairs_total", &["non-finite-number"]).await >= 1.0).then_some(())
    })
    .await;
    for view in ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"] {
        let reply = all.gateway.get(&format!("/api/dashboard/{view}")).await;
        assert_eq!(reply.status, 200);
        // The strict parser refuses bare NaN.
        reply.json();
    }
    let read = all.gateway.get("/api/cache/analysis:signals").await.json();
    assert_eq!((&read["signals"][0]["price"], &read["signals"][0]["confluence_score"]), (&Value::Null, &json!(61.5)));
}

#[tokio::test]
async fn b32_one_bad_record_costs_itself_and_not_its_batch() {
    let mut all = Deployment::start().await;
    let batch = json!([
        record("AUSDT", 70.0),
        { "symbol": "NULLUSDT", "confluence_score": null, "sentiment": null },
        "not an object",
        { "confluence_score": 50 },
        record("BUSDT", 60.0),
    ]);
    all.to_memcached.set("analysis:signals", &signals(&batch), 0, 300).await;
    let mobile = all.mobile("the two good records", |m| symbols(m).len() == 2).await;
    assert_eq!(symbols(&mobile), ["AUSDT", "BUSDT"]);
    assert_eq!(all.gateway.metric("tiergate_repairs_total", &["dropped-record"]).await, 3.0);

    let reply = all.gateway.ingest(batch.to_string()).await;
    let report = reply.json();
    assert_eq!((&report["accepted"], &report["rejected"]["count"]), (&json!(2), &json!(3)), "{report}");
    assert_eq!(report["rejected"]["first"][0]["index"], 1);
}

#[tokio::test]
async fn b33_a_null_score_poisons_nothing_that_comes_after_it() {
    let gateway = Gateway::with().start().await;
    let reply = gateway.ingest(json!([{ "symbol": "AUSDT", "confluence_score": null }]).to_string()).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    for score in [55.0, 65.0] {
        assert_eq!(gateway.ingest(json!([record("AUSDT", score)]).to_string()).await.status, 200);
        let document = gateway.get("/api/cache/analysis:signals").await.json();
        assert_eq!(document["signals"][0]["confluence_score"], score);
    }
}

#[tokio::test]
async fn b34_a_null_change_leaves_out_its_record_and_the_page_stays() {
    let mut all = Deployment::start().await;
    let mut unchanged = record("NULLUSDT", 90.0);
    unchanged["change_24h"] = Value::Null;
    all.to_memcached.set("analysis:signals", &signals(&json!([unchanged, record("AUSDT", 60.0)])), 0, 300).await;
    let mobile = all.mobile("the other record", |m| symbols(m) == ["AUSDT"]).await;
    assert_eq!((&mobile["status"], &mobile["left_out"]), (&json!("success"), &json!(1)));
}

#[tokio::test]
async fn b35_the_newest_score_of_a_symbol_counts_and_not_the_highest() {
    let gateway = Gateway::with().start().await;
    for score in [80.0, 55.0] {
        assert_eq!(gateway.ingest(json!([record("AUSDT", score)]).to_string()).await.status, 200);
    }
    let document = gateway.get("/api/cache/analysis:signals").await.json();
    assert_eq!(document["signals"].as_array().unwrap().len(), 1);
    assert_eq!(document["signals"][0]["confluence_score"], 55.0);
}

#[tokio::test]
async fn b36_unknown_fields_pass_through() {
    let all = Deployment::start().await;
    let document = json!({ "timestamp": now_seconds(), "signals": [{ "symbol": "AUSDT", "confluence_score": 60, "from_the_future": [1, 2] }],
                           "recent_signals_v9": 7, "__schema_version": "1.0" });
    assert_eq!(all.gateway.put("analysis:signals", document.to_string()).await.status, 200);
    let read = all.gateway.get("/api/cache/analysis:signals").await.json();
    assert_eq!((&read["recent_signals_v9"], &read["signals"][0]["from_the_future"]), (&json!(7), &json!([1, 2])));
}

#[tokio::test]
async fn b37_defaults_and_zeros_are_never_shown_as_data() {
    let mut all = Deployment::start().await;
    for name in ["warmer/disabled_keys/market:overview.json", "legacy_writer/default/market:overview.json"] {
        all.to_memcached.set("market:overview", &moved_to_now(&fixture(name)), 0, 300).await;
        let mobile = all.mobile(name, |m| m["sections"]["overview"]["kind"] == "placeholder").await;
        assert_eq!(mobile["status"], "unavailable", "{name}");
        for field in ["trend_strength", "gainers", "losers", "total_market_cap", "btc_dominance", "fear_greed_value"] {
            assert_eq!(mobile["market_overview"][field], Value::Null, "{name}: {field}");
        }
        all.to_memcached.delete("market:overview").await;
    }
}

#[tokio::test]
async fn b38_sections_are_independent_and_the_set_of_fields_is_constant() {
    let mut all = Deployment::start().await;
    let fields = |mobile: &Value| {
        let of = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        (of(mobile), of(&mobile["market_overview"]))
    };
    let empty = fields(&all.gateway.mobile_data().await);
    all.to_memcached.set("market:overview", &document("market:overview"), 0, 300).await;
    let mobile = all.mobile("the overview without signals", |m| m["market_overview"]["btc_dominance"] == 57.21).await;
    assert_eq!((&mobile["status"], &mobile["confluence_scores"]), (&json!("success"), &json!([])));
    assert_eq!(mobile["market_overview"]["trend_strength"], 60.0);
    assert_eq!(fields(&mobile), empty);
    all.to_memcached.set("analysis:signals", &document("analysis:signals"), 0, 300).await;
    let mobile = all.mobile("both", |m| symbols(m).len() == 20).await;
    assert_eq!(fields(&mobile), empty);
}

#[tokio::test]
async fn b39_an_empty_cache_answers_unavailable() {
    let all = Deployment::start().await;
    let reply = all.gateway.get("/api/dashboard/mobile-data").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("unavailable")));
    assert_eq!(all.gateway.get("/api/dashboard/symbols").await.json()["status"], "unavailable");
}

#[tokio::test]
async fn b41_the_overview_view_shows_volatility_and_regime_under_the_names_that_are_written() {
    let mut all = Deployment::start().await;
    all.to_memcached.set("market:overview", &document("market:overview"), 0, 300).await;
    all.mobile("the overview", |m| m["market_overview"]["btc_dominance"] == 57.21).await;
    let overview = all.gateway.get("/api/dashboard/overview").await.json();
    assert_eq!((&overview["volatility"]["value"], &overview["volatility"]["level"]), (&json!(2.16), &json!("normal")));
    assert_eq!(overview["market_regime"], "Neutral: Consolidation");
}

#[tokio::test]
async fn b42_breadth_is_on_the_mobile_view_even_when_nobody_writes_it() {
    let mut all = Deployment::start().await;
    all.to_memcached.set("market:overview", &document("market:overview"), 0, 300).await;
    let mobile = all.mobile("breadth", |m| m["market_breadth"]["up"] == 12).await;
    let breadth = json!({ "up": 12, "down": 8, "breadth_percentage": 60.0, "sentiment": "bullish" });
    for (field, value) in breadth.as_object().unwrap() {
        assert_eq!(&mobile["market_breadth"][field], value, "{field} in {}", mobile["market_breadth"]);
    }
}

#[tokio::test]
async fn b45_all_three_shapes_of_tickers_are_read_as_one() {
    let mut all = Deployment::start().await;
    for (name, price) in
        [("legacy_writer/market:tickers.json", 95400.0), ("legacy_writer/bybit_tickers/market:tickers.json", 95400.5)]
    {
        all.to_memcached.set("market:tickers", &fixture(name), 0, 300).await;
        eventually(name, async || {
            let read = all.gateway.get("/api/cache/market:tickers").await;
            (read.status == 200 && read.json()["BTCUSDT"]["price"] == price).then_some(())
        })
        .await;
    }
    all.to_memcached.set("market:tickers", &moved_to_now(&fixture("warmer/market:tickers.json")), 0, 300).await;
    all.looked_again().await;
    let read = all.gateway.get("/api/cache/market:tickers").await.json();
    assert_eq!(read["BTCUSDT"]["price"], 95400.5, "the placeholder is not adopted");
}

#[tokio::test]
async fn b46_the_dominance_object_is_used() {
    let mut all = Deployment::start().await;
    let dominance =
        json!({ "dominance": 58.44, "change_24h": 0.1, "last_updated": now_seconds(), "status": "coingecko_fetched" });
    all.to_memcached.set("market:btc_dominance", dominance.to_string().as_bytes(), 0, 300).await;
    all.mobile("the dominance", |m| m["btc_dominance"] == 58.44).await;
}

#[tokio::test]
async fn b47_a_confluence_score_is_readable_as_object_or_number() {
    let mut all = Deployment::start().await;
    let object = moved_to_now(&fixture("aggregator/confluence:score:BTCUSDT.json"));
    all.to_memcached.set("confluence:score:BTCUSDT", &object, 0, 900).await;
    all.to_memcached.set("confluence:score:ETHUSDT", b"42.5", 0, 900).await;
    for (symbol, score) in [("BTCUSDT", 63.185_865_370_148_52), ("ETHUSDT", 42.5)] {
        let read = all.gateway.get(&format!("/api/cache/confluence:score:{symbol}")).await;
        assert_eq!(read.json()["score"], score, "{}", read.text());
    }
}

#[tokio::test]
async fn b48_a_value_too_large_for_memcached_is_told_and_the_old_one_is_not_left_there() {
    let mut all = Deployment::start().await;
    assert_eq!(all.gateway.put("big", json!({ "n": 1 }).to_string()).await.status, 200);
    let big = json!({ "n": 2, "pad": "x".repeat(1 << 20) }).to_string();
    let reply = all.gateway.put("big", big.clone()).await;
    assert_eq!(reply.status, 207, "{}", reply.text());
    assert_eq!((reply.outcome("memcached").as_str(), reply.outcome("redis").as_str()), ("rejected", "stored"));
    let reason = reply.json()["tiers"]["memcached"]["reason"].to_string();
    assert!(reason.contains("at most"), "{reason}");
    assert_eq!(all.to_memcached.get("big").await, None, "nobody reads the old value as current");
    assert_eq!(all.to_redis.get("big").await.unwrap(), big.as_bytes());
    assert_eq!(all.gateway.get("/api/cache/big").await.body, big.as_bytes());
}

#[tokio::test]
async fn b49_a_key_over_250_bytes_is_refused_at_the_edge() {
    let all = Deployment::start().await;
    let reply = all.gateway.put(&"k".repeat(251), "1").await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("250") && reply.text().contains("251"), "{}", reply.text());
    assert_eq!(all.gateway.put(&"k".repeat(250), "1").await.status, 200);
}

#[tokio::test]
async fn b50_what_one_reader_does_with_a_value_is_not_seen_by_the_next() {
    let all = Deployment::start().await;
    assert_eq!(all.gateway.put("analysis:signals", document("analysis:signals")).await.status, 200);
    let first = all.gateway.get("/api/cache/analysis:signals").await;
    // The dashboard reads the same record, joins and sorts it.
    all.mobile("the signals", |m| symbols(m).len() == 20).await;
    all.gateway.get("/api/dashboard/symbols?limit=3").await;
    let second = all.gateway.get("/api/cache/analysis:signals").await;
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("etag"), second.header("etag"));
}

#[tokio::test]
async fn b52_lists_are_stored_once() {
    let gateway = Gateway::with().start().await;
    assert_eq!(gateway.ingest(json!([record("AUSDT", 60.0)]).to_string()).await.status, 200);
    for (key, aliases) in
        [("analysis:signals", &["recent_signals"][..]), ("market:movers", &["top_gainers", "top_losers"])]
    {
        let document = gateway.get(&format!("/api/cache/{key}")).await.json();
        for alias in aliases {
            assert_eq!(document.get(alias), None, "{key}");
        }
    }
    let twice = document("analysis:signals");
    assert_eq!(gateway.put("analysis:signals", twice.clone()).await.status, 200);
    let once = gateway.get("/api/cache/analysis:signals").await;
    assert!(once.body.len() * 10 < twice.len() * 6, "{} of {} bytes", once.body.len(), twice.len());
    assert_eq!(once.json()["signals"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_placeholder_through_the_gateway_never_replaces_real_data_however_it_races() {
    let mut all = Deployment::start().await;
    let placeholder = moved_to_now(&fixture("warmer/disabled_keys/analysis:signals.json"));
    for round in 0..20 {
        let (key, real) = (format!("race:{round}"), json!({ "timestamp": now_seconds(), "round": round }).to_string());
        let (first, second) =
            tokio::join!(all.gateway.put(&key, real.clone()), all.gateway.put(&key, placeholder.clone()));
        assert_eq!(first.status, 200, "{}", first.text());
        assert!(matches!(second.status.as_u16(), 200 | 207 | 409), "{}", second.text());
        assert_eq!(all.to_memcached.get(&key).await.unwrap().1, real.as_bytes());
        assert_eq!(all.to_redis.get(&key).await.unwrap(), real.as_bytes());
        assert_eq!(all.gateway.get(&format!("/api/cache/{key}")).await.text(), real);
    }
    let reply = all.gateway.put("race:0", placeholder).await;
    assert_eq!(reply.status, 409, "{}", reply.text());
    for tier in ["memory", "memcached", "redis"] {
        assert_eq!(reply.outcome(tier), "refused", "{}", reply.text());
    }
}

#[tokio::test]
async fn a_placeholder_set_by_a_foreign_client_never_reaches_the_dashboard_while_real_data_lives() {
    let mut all = Deployment::start().await;
    assert_eq!(all.gateway.put("market:overview", document("market:overview")).await.status, 200);
    all.mobile("the overview", |m| m["market_overview"]["btc_dominance"] == 57.21).await;
    let placeholder = moved_to_now(&fixture("warmer/disabled_keys/market:overview.json"));
    all.to_memcached.set("market:overview", &placeholder, 0, 300).await;
    all.to_redis.setex("market:overview", &placeholder, 300).await;
    eventually("the real value is put back in both stores", async || {
        let mobile = all.gateway.mobile_data().await;
        assert_eq!(mobile["market_overview"]["btc_dominance"], 57.21);
        let (_, in_memcached) = all.to_memcached.get("market:overview").await?;
        let in_redis = all.to_redis.get("market:overview").await?;
        (in_memcached == in_redis && in_redis != placeholder).then_some(())
    })
    .await;
    eventually("both are counted", async || {
        (all.gateway.metric("tiergate_copies_total", &["put_back", "stored"]).await >= 2.0).then_some(())
    })
    .await;
    let explained = all.gateway.admin_get("/api/admin/explain/market:overview").await.json();
    let is_told = |from: &str, told: Value| {
        let is_it = |written: &Value| written["from"] == from && written["tiers"]["redis"] == told;
        explained["writes"].as_array().is_some_and(|writes| writes.iter().any(is_it))
    };
    for (from, told) in [
        ("foreign", json!({ "outcome": "found", "reason": "a real value is there" })),
        ("this gateway", json!({ "outcome": "stored", "reason": "put_back" })),
    ] {
        assert!(is_told(from, told), "{from} is not in {explained:#}");
    }
}
