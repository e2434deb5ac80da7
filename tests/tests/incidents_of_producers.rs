//! Incidents that began with what producers write, each under its number, through the whole gateway: lives that end, pickles,
//! spellings, units, ages, windows, prose.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{
    Browser, Deployment, Gateway, Memcached, PlainMemcached, PlainRedis, data_file, eventually, fixture, moved_to_now,
    now_seconds,
};

fn document(key: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{key}.json")))
}

fn signal(symbol: &str, score: f64) -> Value {
    json!({ "symbol": symbol, "confluence_score": score, "price": 10.0, "change_24h": 1.5, "volume_24h": 5_000.0 })
}

/// The symbols of a list of records, in its order.
fn symbols(records: &Value) -> Vec<&str> {
    let records = records.as_array().unwrap_or_else(|| panic!("a list, not {records}"));
    records.iter().map(|record| record["symbol"].as_str().expect("a symbol")).collect()
}

/// The gateway killed and started again. What changes in the stores meanwhile no gateway sees happen.
async fn started_again(all: Deployment, change: impl AsyncFnOnce(&mut PlainMemcached, &mut PlainRedis)) -> Deployment {
    let Deployment { memcached, redis, gateway, mut to_memcached, mut to_redis } = all;
    let starting = gateway.kill();
    change(&mut to_memcached, &mut to_redis).await;
    let gateway = starting.start().await;
    Deployment { memcached, redis, gateway, to_memcached, to_redis }
}

#[tokio::test]
async fn b11_movers_and_the_regime_outlive_their_time_as_old_and_end_at_the_hard_limit_without_a_zero() {
    let rules = "ttl = [{ pattern = \"market:movers\", grace = \"20s\" }, { pattern = \"analysis:market_regime\", grace = \"20s\" }]";
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).config(rules).without_tasks().start().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    producer.set("market:movers", &document("market:movers"), 0, 15).await;
    producer.set("analysis:market_regime", b"BULLISH", 0, 15).await;
    let is_shown = |mobile: &Value, freshness: &str| {
        mobile["top_movers"]["gainers"][0]["symbol"] == "TONUSDT"
            && mobile["market_regime"] == "BULLISH"
            && ["movers", "regime"].iter().all(|section| mobile["sections"][section]["freshness"] == freshness)
    };
    eventually("both are shown", async || is_shown(&gateway.mobile_data().await, "fresh").then_some(())).await;
    eventually("memcached has forgotten both", async || {
        let gone =
            producer.get("market:movers").await.is_none() && producer.get("analysis:market_regime").await.is_none();
        gone.then_some(())
    })
    .await;
    let mobile = eventually("both are shown as old", async || {
        let mobile = gateway.mobile_data().await;
        is_shown(&mobile, "stale").then_some(mobile)
    })
    .await;
    assert_eq!(mobile["data_source"], "stale");
    assert!(mobile["sections"]["movers"]["as_of"].as_f64().is_some_and(|at| at <= now_seconds()), "{mobile}");
    let read = gateway.get("/api/cache/market:movers").await;
    assert!(read.status == 200 && !read.header("age").is_empty(), "{}", read.text());

    let mobile = eventually("the hard limit", async || {
        let mobile = gateway.mobile_data().await;
        let gone = |section: &str| mobile["sections"][section]["kind"] == "missing";
        (gone("movers") && gone("regime")).then_some(mobile)
    })
    .await;
    assert_eq!((&mobile["status"], &mobile["data_source"]), (&json!("unavailable"), &json!("unavailable")));
    assert_eq!((&mobile["top_movers"]["gainers"], &mobile["market_regime"]), (&json!([]), &Value::Null));
    for (name, fact) in mobile["market_overview"].as_object().expect("an object") {
        assert_eq!(*fact, Value::Null, "{name} is invented");
    }
    assert_eq!(gateway.get("/api/cache/market:movers").await.status, 404);
}

#[tokio::test]
async fn b11_a_limit_that_passes_while_the_views_are_composed_is_kept_too() {
    let memcached = Memcached::start().await;
    let rule = "ttl = [{ pattern = \"market:movers\", grace = \"5ms\" }]";
    let gateway = Gateway::with().tier(memcached.url()).config(rule).start().await;
    let mut producer = PlainMemcached::connect(memcached.port()).await;
    producer.set("market:movers", &document("market:movers"), 0, 15).await;
    let stands_as = async |kind: &str| {
        eventually(kind, async || (gateway.mobile_data().await["sections"]["movers"]["kind"] == kind).then_some(()))
            .await;
    };
    stands_as("real").await;
    // Its life ends, the views are composed with it as old, and meanwhile its hard limit passes.
    stands_as("missing").await;
}

#[tokio::test]
async fn b17_alerts_are_read_as_json_and_a_pickle_over_them_is_opaque() {
    let mut all = Deployment::with("ttl = [{ pattern = \"dashboard:alerts\", memory = \"0s\" }]").await;
    let alerts = fixture("edge/dashboard:alerts.json");
    all.to_memcached.set("dashboard:alerts", &alerts, 0, 600).await;
    all.to_redis.setex("dashboard:alerts", &alerts, 600).await;
    let path = "/api/cache/dashboard:alerts";
    let read = eventually("the alerts", async || {
        let read = all.gateway.get(path).await;
        (read.status == 200).then_some(read)
    })
    .await;
    assert_eq!(read.body, alerts);
    assert_eq!(read.json()[0]["symbol"], "BTCUSDT");

    let pickle = fixture("edge/dashboard:alerts.pickled.bin");
    all.to_memcached.set("dashboard:alerts", &pickle, 1, 600).await;
    eventually("the pickle is refused and the list is put back", async || {
        assert_eq!(all.gateway.get(path).await.body, alerts, "the last good value stays");
        let refused = all.gateway.metric("tiergate_rejections_total", &["python-pickle"]).await >= 1.0;
        (refused && all.to_memcached.get("dashboard:alerts").await == Some((0, alerts.clone()))).then_some(())
    })
    .await;
    assert_eq!(all.gateway.put("dashboard:alerts", pickle.clone()).await.status, 422);

    // Where nothing else was ever there, a pickle is nothing: it is not opened, and not served either.
    let mut all = started_again(all, async |to_memcached, to_redis| {
        to_redis.del("dashboard:alerts").await;
        to_memcached.set("dashboard:alerts", &pickle, 1, 600).await;
    })
    .await;
    let read = all.gateway.get(path).await;
    assert_eq!(read.status, 404, "{}", read.text());
    assert_eq!(all.to_memcached.get("dashboard:alerts").await, Some((1, pickle)), "its writer's bytes stay");
}

#[tokio::test]
async fn b19_a_read_answers_the_value_and_nothing_else_whichever_tier_had_it() {
    let mut all = Deployment::start().await;
    let value = r#"{"n": 1.50, "pair": ["a tuple is a list", "l1"]}"#;
    let answered_by = async |all: &Deployment, tier: &str| {
        let read = all.gateway.get("/api/cache/typed").await;
        assert_eq!((read.status.as_u16(), read.text().as_str()), (200, value), "from {tier}");
        let status = read.header("cache-status");
        assert!(status.starts_with("tiergate; hit") && status.contains(tier), "{status}, not {tier}");
    };
    for store in ["memcached", "redis"] {
        assert_eq!(all.gateway.put("typed", value).await.status, 200);
        answered_by(&all, "memory").await;
        all = started_again(all, async |to_memcached, to_redis| match store {
            "memcached" => to_redis.del("typed").await,
            _ => to_memcached.delete("typed").await,
        })
        .await;
        answered_by(&all, store).await;
        answered_by(&all, "memory").await;
    }

    // What had to be mended is the same value at every read, too, and no text around one. No view and no task of the warmer
    // reads this key before the test does, and a gateway that starts later hears of no change.
    all.to_redis.setex("coingecko:trending", &fixture("edge/double_encoded/coingecko:trending.json"), 300).await;
    let all = all.forgetful().await;
    let (below, above) = (
        all.gateway.get("/api/cache/coingecko:trending").await,
        all.gateway.get("/api/cache/coingecko:trending").await,
    );
    let came_from = (below.header("cache-status"), above.header("cache-status"));
    assert!(came_from.0.contains("redis") && came_from.1.contains("memory"), "{came_from:?}");
    assert!(below.json().is_object(), "{}", below.text());
    assert_eq!(below.body, above.body);
}

#[tokio::test]
async fn b43_movers_and_breadth_go_the_way_of_every_other_document() {
    let mut all = Deployment::start().await;
    let falling = json!({ "symbol": "DOWNUSDT", "confluence_score": 30, "price": 2, "change_24h": -3.5 });
    let reply = all.gateway.ingest(json!([signal("UPUSDT", 70.0), falling]).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for (key, field, expected) in
        [("market:movers", "/gainers/0/symbol", json!("UPUSDT")), ("market:breadth", "/up_count", json!(1))]
    {
        let (flags, in_memcached) = all.to_memcached.get(key).await.expect("a value in memcached");
        let in_redis = all.to_redis.get(key).await.expect("a value in Redis");
        assert_eq!((flags, &in_memcached), (0, &in_redis), "{key}");
        let document: Value = serde_json::from_slice(&in_redis).expect("plain JSON");
        assert_eq!(document.pointer(field), Some(&expected), "{key}");
        assert_eq!(all.gateway.get(&format!("/api/cache/{key}")).await.body, in_redis, "{key}");
    }
    let mobile = all.mobile("both in the view", |m| m["market_breadth"]["up"] == 1).await;
    assert_eq!(symbols(&mobile["top_movers"]["gainers"]), ["UPUSDT"]);
    assert_eq!(symbols(&mobile["top_movers"]["losers"]), ["DOWNUSDT"]);
    assert_eq!(mobile["market_breadth"]["down"], 1);
}

/// A chart that somebody made `age` seconds ago.
fn chart(writer: &str, age: f64) -> Vec<u8> {
    let chart = json!({ "chart_data": {}, "performance_order": [writer], "generated_at": now_seconds() - age });
    chart.to_string().into_bytes()
}

#[tokio::test]
async fn b44_a_chart_is_found_under_either_spelling_of_its_timeframe_whoever_wrote_it() {
    let mut all = Deployment::start().await;
    let reads = async |all: &Deployment, timeframe: &str| {
        all.gateway.get(&format!("/api/cache/virtuoso:beta_chart:{timeframe}")).await
    };
    // The warmer writes one spelling and the endpoint asks for the other, or the other way round, in either store.
    let (warmed, fallback) = (chart("warmer", 0.0), chart("endpoint", 0.0));
    all.to_memcached.set("virtuoso:beta_chart:4h", &warmed, 0, 300).await;
    all.to_memcached.set("virtuoso:beta_chart:8.0h", &fallback, 0, 120).await;
    all.to_redis.setex("virtuoso:beta_chart:1.0h", &fallback, 120).await;
    all.to_redis.setex("virtuoso:beta_chart:0.25h", &warmed, 300).await;
    for (timeframe, written) in [
        ("4h", &warmed),
        ("4.0h", &warmed),
        ("8h", &fallback),
        ("8.0h", &fallback),
        ("1h", &fallback),
        ("1.0h", &fallback),
        ("0.25h", &warmed),
        ("0.250h", &warmed),
    ] {
        let read = reads(&all, timeframe).await;
        assert_eq!((read.status.as_u16(), &read.body[..]), (200, &written[..]), "{timeframe}: {}", read.text());
    }

    // Of two the greater one is answered, and a value through the gateway has one spelling everywhere.
    let (old, new) = (chart("warmer", 900.0), chart("endpoint", 1.0));
    all.to_memcached.set("virtuoso:beta_chart:24.0h", &new, 0, 300).await;
    all.to_memcached.set("virtuoso:beta_chart:24h", &old, 0, 300).await;
    assert_eq!(reads(&all, "24h").await.body, new);
    let posted = chart("new producer", 0.0);
    let reply = all.gateway.put("virtuoso:beta_chart:12.0h", posted.clone()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["key"]), (200, &json!("virtuoso:beta_chart:12h")));
    assert_eq!(all.to_memcached.get("virtuoso:beta_chart:12h").await, Some((0, posted.clone())));
    assert_eq!(all.to_memcached.get("virtuoso:beta_chart:12.0h").await, None);
    assert_eq!(reads(&all, "12.0h").await.body, posted);

    // A delete means both, or the other spelling would bring the chart back.
    let deleted = all.gateway.send(Method::DELETE, "/api/cache/virtuoso:beta_chart:24.0h", &[], Bytes::new()).await;
    assert_eq!((deleted.status.as_u16(), deleted.outcome("memcached").as_str()), (200, "deleted"));
    for timeframe in ["24h", "24.0h"] {
        assert_eq!(all.to_memcached.get(&format!("virtuoso:beta_chart:{timeframe}")).await, None);
        assert_eq!(reads(&all, timeframe).await.status, 404);
    }
}

#[tokio::test]
async fn b51_the_page_shows_coins_as_coins_and_dollars_as_dollars() {
    let gateway = Gateway::with().start().await;
    assert_eq!(gateway.ingest(signal("XYZUSDT", 80.0).to_string()).await.status, 200);
    let browser = Browser::open(1280, 900).await;
    browser.page.goto(&format!("http://{}/mobile", gateway.data)).await.unwrap();
    let field = async |selector: &str| {
        let script = "return document.querySelector(arguments[0])?.textContent ?? '';";
        let text = browser.page.execute(script, vec![json!(selector)]).await.expect("a script runs");
        text.as_str().expect("a text").to_owned()
    };
    eventually("the row", async || (browser.count("#rows > li").await == 1).then_some(())).await;
    // What is folded away counts as well.
    browser.page.execute("document.querySelector('#rows summary').click();", vec![]).await.expect("a script runs");
    eventually("it opens", async || (browser.count("#rows dd[data-f=volume]").await == 1).then_some(())).await;
    // 5,000 coins at 10 dollars.
    for (selector, expected) in [
        ("#rows .wide [data-f=turnover]", "$50.0K"),
        ("#rows dd[data-f=turnover]", "$50.0K"),
        ("#rows dd[data-f=volume]", "5.00K XYZ"),
        ("#opportunity-list [data-f=volume]", "Volume $50.0K"),
        ("#total_volume_24h", "$50.0K"),
    ] {
        assert_eq!(field(selector).await, expected, "{selector}");
    }
    browser.page.clone().close().await.unwrap();
}

#[tokio::test]
async fn b54_the_age_is_that_of_the_stored_data_and_symbols_that_leave_are_forgotten() {
    let mut all = Deployment::start().await;
    let age = async |all: &Deployment| all.gateway.metric("cache_age_seconds", &["\"market:overview\""]).await;
    let mut overview: Value = serde_json::from_slice(&document("market:overview")).expect("JSON");
    overview["timestamp"] = json!(now_seconds() - 5_000.0);
    // A store that is written every second does not make the data in it any younger.
    for ttl in [300, 310, 320] {
        all.to_memcached.set("market:overview", overview.to_string().as_bytes(), 0, ttl).await;
        all.looked_again().await;
    }
    let old = eventually("the age", async || Some(age(&all).await).filter(|age| *age > 0.0)).await;
    assert!((5_000.0..5_100.0).contains(&old), "{old}");
    // And no clock of this process calls data old that is new.
    all.to_memcached.set("market:overview", &document("market:overview"), 0, 300).await;
    eventually("the new age", async || (age(&all).await < 100.0).then_some(())).await;

    let with = |symbols: &[&str]| {
        let signals: Vec<Value> = symbols.iter().map(|symbol| signal(symbol, 60.0)).collect();
        json!({ "timestamp": now_seconds(), "signals": signals, "__schema_version": "1.0" }).to_string().into_bytes()
    };
    all.to_memcached.set("analysis:signals", &with(&["STAYUSDT", "GONEUSDT"]), 0, 300).await;
    let breakdown = json!({ "overall_score": 61, "timestamp": now_seconds() }).to_string();
    all.to_memcached.set("confluence:breakdown:GONEUSDT", breakdown.as_bytes(), 0, 900).await;
    all.mobile("both, one with its breakdown", |m| {
        symbols(&m["confluence_scores"]).len() == 2 && m.to_string().contains("\"has_breakdown\":true")
    })
    .await;
    all.to_memcached.set("analysis:signals", &with(&["STAYUSDT"]), 0, 300).await;
    let mobile = all.mobile("one of them", |m| symbols(&m["confluence_scores"]) == ["STAYUSDT"]).await;
    assert!(!mobile.to_string().contains("GONE"), "{mobile}");
    all.looked_again().await;
    let metrics = all.gateway.admin_get("/metrics").await.text();
    assert!(metrics.contains("cache_age_seconds{key=\"analysis:signals\"}"), "{metrics}");
    assert!(!metrics.contains("GONE"), "no series is kept for a symbol");
}

#[tokio::test]
async fn b54_a_placeholder_that_is_renewed_does_not_make_the_data_look_young() {
    let mut all = Deployment::start().await;
    let age = async |all: &Deployment, key: &str| {
        let metrics = all.gateway.admin_get("/metrics").await.text();
        let line = metrics.lines().find(|line| line.starts_with(&format!("cache_age_seconds{{key=\"{key}\"}}")))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let placeholder = moved_to_now(&fixture("warmer/market:breadth.json"));
    all.to_memcached.set("market:breadth", &placeholder, 0, 300).await;
    all.mobile("the placeholder", |m| m["sections"]["breadth"]["kind"] == "placeholder").await;
    // The age of another document is told after the placeholder's would have been.
    all.to_memcached.set("market:overview", &document("market:overview"), 0, 300).await;
    eventually("the age of real data", async || age(&all, "market:overview").await).await;
    assert_eq!(age(&all, "market:breadth").await, None, "a placeholder has no age");
}

#[tokio::test]
async fn b58_a_score_is_served_as_it_was_posted_and_none_is_computed() {
    let gateway = Gateway::with().start().await;
    // An exchange's whole market, and no analysis of it.
    let market = data_file("binance-ticker-24hr-2026-03-10.json");
    let reply = gateway.send(Method::PUT, "/api/cache/market:tickers?codec=binance", &[], market.into()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mobile = eventually("the tickers", async || {
        let mobile = gateway.mobile_data().await;
        (mobile["sections"]["tickers"]["kind"] == "real").then_some(mobile)
    })
    .await;
    for list in ["confluence_scores", "symbols", "opportunities"] {
        assert_eq!(mobile[list], json!([]), "{list}");
    }
    assert_eq!(gateway.get("/api/cache/analysis:signals").await.status, 404);

    let posted = [("BTCUSDT", 12.34), ("ETHUSDT", 98.76), ("NOWHEREUSDT", 50.01)];
    let signals: Vec<Value> = posted.iter().map(|(symbol, score)| signal(symbol, *score)).collect();
    assert_eq!(gateway.ingest(json!(signals).to_string()).await.status, 200);
    let scores = eventually("the scores", async || {
        let scores = gateway.mobile_data().await["confluence_scores"].clone();
        (scores.as_array().map(Vec::len) == Some(3)).then_some(scores)
    })
    .await;
    for (symbol, score) in posted {
        let shown = scores.as_array().expect("a list").iter().find(|shown| shown["symbol"] == symbol);
        assert_eq!(shown.expect("the symbol")["score"], score, "{symbol}");
    }
}

#[tokio::test]
async fn b64_a_signal_past_the_window_is_not_shown_with_current_symbols() {
    let mut all = Deployment::start().await;
    let aged = |symbol: &str, score: f64, age: f64| {
        let mut signal = signal(symbol, score);
        signal["timestamp"] = json!(now_seconds() - age);
        signal
    };
    // Through the gateway, and from a producer whose window is two hours.
    let signals = [aged("OLDUSDT", 99.0, 660.0), aged("NEWUSDT", 40.0, 0.0)];
    assert_eq!(all.gateway.ingest(json!(signals).to_string()).await.status, 200);
    let mobile = all.mobile("the new signal", |m| symbols(&m["confluence_scores"]).contains(&"NEWUSDT")).await;
    assert_eq!(symbols(&mobile["confluence_scores"]), ["NEWUSDT"]);

    let mixed = [aged("ANCIENTUSDT", 99.0, 7_000.0), aged("RECENTUSDT", 60.0, 300.0), aged("OTHERUSDT", 41.0, 0.0)];
    let document = json!({ "timestamp": now_seconds(), "signals": mixed, "__schema_version": "1.0" });
    all.to_redis.setex("analysis:signals", document.to_string().as_bytes(), 300).await;
    let mobile = all.mobile("the other producer's", |m| symbols(&m["confluence_scores"]).contains(&"OTHERUSDT")).await;
    assert_eq!(symbols(&mobile["confluence_scores"]), ["RECENTUSDT", "OTHERUSDT"]);
    for view in ["overview", "symbols", "signals", "opportunities"] {
        let body = all.gateway.get(&format!("/api/dashboard/{view}")).await.text();
        assert!(!body.contains("ANCIENT"), "{view}: {body}");
    }
}

#[tokio::test]
async fn b65_a_breakdown_that_is_read_and_written_ten_times_is_the_same_bytes() {
    let all = Deployment::start().await;
    let prose = "Order flow is balanced.";
    let written = json!({
        "overall_score": 61.5, "sentiment": "NEUTRAL", "reliability": 73, "timestamp": now_seconds(),
        "components": { "orderflow": { "score": 55 }, "technical": 48.25 },
        "interpretations": { "overall": "", "orderflow": prose, "price_structure": "" },
    });
    let key = "confluence:breakdown:BTCUSDT";
    let reply = all.gateway.put(key, written.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let first = all.gateway.get(&format!("/api/cache/{key}")).await;
    assert_eq!(first.json()["interpretations"], written["interpretations"]);
    let mut all = all;
    for round in 0..10 {
        // Half of the reads come from a store, as after a restart.
        if round % 5 == 4 {
            all = all.forgetful().await;
        }
        let read = all.gateway.get(&format!("/api/cache/{key}")).await;
        assert_eq!(read.text(), first.text(), "round {round}");
        let reply = all.gateway.put(key, read.body).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["repairs"]), (200, &json!([])), "{}", reply.text());
        assert_eq!(all.to_memcached.get(key).await.expect("a value").1, first.body, "round {round}");
    }
    // A view joins it in, and leaves it as it is.
    assert_eq!(all.gateway.ingest(signal("BTCUSDT", 60.0).to_string()).await.status, 200);
    let mobile = all.mobile("the breakdown", |m| m["confluence_scores"][0]["has_breakdown"] == true).await;
    assert_eq!(mobile["confluence_scores"][0]["interpretations"]["orderflow"], prose);
    assert_eq!(all.gateway.get(&format!("/api/cache/{key}")).await.text(), first.text());
}
