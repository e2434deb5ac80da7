//! Warming through the whole gateway: the built-in warmer, real stores, and origins that do what origins do.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{
    Answer, Gateway, Memcached, Origin, PlainMemcached, PlainRedis, Redis, Starting, data_file, eventually, fixture,
    moved_to_now, now_seconds,
};

/// The recorded answer of Binance's `ticker/24hr`.
fn recorded() -> Vec<u8> {
    data_file("binance-ticker-24hr-2026-03-10.json")
}

/// A source of `key` at `path` of the origin.
fn source(origin: &Origin, path: &str, key: &str, more: &str) -> String {
    let name = key.replace(':', "-");
    let url = origin.url(path);
    format!(
        "[[source]]\nname = \"{name}\"\nkey = \"{key}\"\nurl = \"{url}\"\ninterval = \"1s\"\ntimeout = \"1s\"\n{more}\n"
    )
}

/// A payload of any key that no codec of a schema claims, stamped now.
fn stamped(n: u64) -> String {
    json!({ "n": n, "timestamp": now_seconds() }).to_string()
}

/// Plans made so far.
async fn plans(gateway: &Gateway) -> u64 {
    let warmer = gateway.admin_get("/api/admin/warmer").await.json();
    warmer["warmer"]["plans"]["made"].as_u64().expect("a number")
}

/// Waits for more plans, so that what they would do has been done or begun.
async fn more_plans(gateway: &Gateway, count: u64) {
    let before = plans(gateway).await;
    eventually("more plans", async || (plans(gateway).await >= before + count).then_some(())).await;
}

/// What operators are told of a key.
async fn task(gateway: &Gateway, key: &str) -> Value {
    let warmer = gateway.admin_get("/api/admin/warmer").await.json();
    let tasks = warmer["warmer"]["tasks"].as_array().expect("tasks").clone();
    tasks.into_iter().find(|task| task["key"] == key).unwrap_or_else(|| panic!("{key} is not in {warmer:#}"))
}

fn quick(starting: Starting) -> Starting {
    starting.config("[warmer]\nevery = \"100ms\"")
}

/// The configuration of the warmer, then that of the sources.
fn with_sources(sources: &[String]) -> Starting {
    let starting = quick(Gateway::with());
    sources.iter().fold(starting, |starting, source| starting.config(source))
}

#[tokio::test]
async fn the_recorded_tickers_of_binance_are_fetched_decoded_and_written_to_every_tier() {
    let origin = Origin::start(Answer::json(recorded())).await;
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let more = "codec = \"binance\"\nttl = \"300s\"\nheaders = { x-api-key = \"$TEST_ORIGIN_KEY\" }";
    let gateway = with_sources(&[source(&origin, "/api/v3/ticker/24hr", "market:tickers", more)])
        .tier(memcached.url())
        .tier(redis.url())
        .env("TEST_ORIGIN_KEY", "very-secret-key")
        .start()
        .await;

    let mut to_memcached = PlainMemcached::connect(memcached.port()).await;
    let fetched = eventually("the tickers are in memcached", async || {
        let (_, bytes) = to_memcached.get("market:tickers").await?;
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        value["BTCUSDT"]["price"].is_number().then_some(bytes)
    })
    .await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    eventually("and in Redis", async || (to_redis.get("market:tickers").await? == fetched).then_some(())).await;
    assert_eq!(gateway.get("/api/cache/market:tickers").await.body, Bytes::from(fetched));

    assert_eq!(origin.asked()[0].header("x-api-key"), "very-secret-key");
    let admin = gateway.admin_get("/api/admin/warmer").await.text();
    assert!(!admin.contains("very-secret-key") && !gateway.log().join("\n").contains("very-secret-key"));
    eventually("it is told that it is warm", async || {
        let task = task(&gateway, "market:tickers").await;
        (task["warm"] == true && task["last_warmed_at"].is_u64() && task["last_step"] == "refresh").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_failure_of_an_origin_is_told_and_leaves_the_last_good_value() {
    let origin = Origin::start(Answer::json(stamped(1))).await;
    let gateway = with_sources(&[source(&origin, "/n", "app:n", "bytes_max = \"1KiB\"")]).start().await;
    eventually("the first value", async || (gateway.get("/api/cache/app:n").await.status == 200).then_some(())).await;
    let good = gateway.get("/api/cache/app:n").await.text();
    assert!(good.contains("\"n\":1"), "{good}");

    let failures = [
        (Answer::status(500), "500"),
        (Answer::status(404), "404"),
        (Answer::json(stamped(2)).truncated(), ""),
        (Answer::json(stamped(2)).stalled(), ""),
        (Answer::of_size(1_025), "1024"),
        (Answer::of_size(1_025).chunked(), "1024"),
        (Answer::json("not json {"), "not-json"),
        (Answer::json(""), ""),
        (Answer::status(302), "302"),
        (Answer::status(429).retry_after("1"), "429"),
    ];
    for (answer, expected) in failures {
        // A source that failed is left alone for a while; a new gateway asks at once, and has the value on its disk.
        origin.answers(answer);
        let before = task(&gateway, "app:n").await["failures"].as_u64().expect("a number");
        let told = eventually(&format!("failure {expected:?} is told"), async || {
            let task = task(&gateway, "app:n").await;
            (task["failures"].as_u64()? > before || task["detail"].as_str()?.contains(expected)).then_some(task)
        })
        .await;
        assert_eq!(gateway.get("/api/cache/app:n").await.text(), good, "{expected}: {told:#}");
        origin.answers(Answer::json(good.clone()));
        eventually("it answers again", async || (task(&gateway, "app:n").await["failures"] == 0).then_some(())).await;
    }
    // A body of exactly the limit passes.
    origin.answers(Answer::of_size(1_024));
    eventually("a body at the limit", async || {
        (gateway.get("/api/cache/app:n").await.body.len() == 1_024).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_says_unchanged_renews_the_value() {
    let origin = Origin::start(Answer::json("{\"n\":1}").etag("\"v1\"")).await;
    let memcached = Memcached::start().await;
    let unhurried = source(&origin, "/n", "app:n", "ttl = \"12s\"").replace("\"1s\"", "\"2s\"");
    let gateway = with_sources(&[unhurried]).tier(memcached.url()).start().await;
    // For longer than the value lives.
    eventually("it is asked again and again", async || (origin.asked().len() >= 8).then_some(())).await;
    let asked = origin.asked();
    // Until an answer is there, there is nothing to compare with.
    let mut later = asked.iter().skip_while(|asked| asked.header("if-none-match").is_empty()).peekable();
    assert!(later.peek().is_some() && later.all(|asked| asked.header("if-none-match") == "\"v1\""));
    let read = gateway.get("/api/cache/app:n").await;
    assert_eq!(read.text(), "{\"n\":1}");
    assert!(read.header("cache-status").contains("hit"), "{}", read.header("cache-status"));
    assert!(PlainMemcached::connect(memcached.port()).await.get("app:n").await.is_some());
}

#[tokio::test]
async fn b05_a_placeholder_of_the_warmer_never_replaces_real_data_and_real_data_replaces_it() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = quick(Gateway::with()).tier(memcached.url()).tier(redis.url()).start().await;
    let (mut to_memcached, mut to_redis) =
        (PlainMemcached::connect(memcached.port()).await, PlainRedis::connect(redis.port()).await);
    // Nothing is anywhere: old readers find a stand-in that says so.
    let (flags, stand_in) = eventually("a placeholder", async || to_memcached.get("market:breadth").await).await;
    let stand_in: Value = serde_json::from_slice(&stand_in).expect("JSON");
    assert_eq!((flags, &stand_in["status"]), (0, &json!("cache_warmer_generated")));
    assert_eq!(gateway.mobile_data().await["status"], "unavailable", "it is not shown as data");

    // A producer comes, in one store only.
    let real = moved_to_now(&fixture("market:breadth.json"));
    to_redis.setex("market:breadth", &real, 300).await;
    eventually("the gateway has it", async || {
        (gateway.get("/api/cache/market:breadth").await.header("tiergate-kind") == "real").then_some(())
    })
    .await;
    for _ in 0..5 {
        more_plans(&gateway, 3).await;
        assert_eq!(to_redis.get("market:breadth").await.expect("real data"), real);
    }
    let replaced = eventually("the placeholder gives way in the other store", async || {
        to_memcached.get("market:breadth").await.filter(|(_, bytes)| *bytes == real)
    })
    .await;
    assert_eq!(replaced.0, 0);
}

#[tokio::test]
async fn b06_lists_texts_doubly_encoded_objects_and_values_in_one_store_only_are_left_as_they_are() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let (mut to_memcached, mut to_redis) =
        (PlainMemcached::connect(memcached.port()).await, PlainRedis::connect(redis.port()).await);
    let twice = Value::String(String::from_utf8(moved_to_now(&fixture("market:breadth.json"))).expect("text"));
    let twice = twice.to_string().into_bytes();
    let list = br#"[{"symbol": "BTCUSDT", "price": 60000.0, "price_change_percent": 1.5}]"#;
    to_memcached.set("market:tickers", list, 0, 300).await;
    to_memcached.set("analysis:market_regime", b"BULLISH", 0, 300).await;
    to_redis.setex("market:breadth", &twice, 300).await;
    to_redis.setex("market:btc_dominance", b"57.9", 300).await;

    let gateway = quick(Gateway::with()).tier(memcached.url()).tier(redis.url()).start().await;
    more_plans(&gateway, 20).await;
    assert_eq!(to_memcached.get("market:tickers").await.expect("the list").1, list);
    assert_eq!(to_memcached.get("analysis:market_regime").await.expect("the text").1, b"BULLISH");
    assert_eq!(to_redis.get("market:breadth").await.expect("the object in a text"), twice);
    assert_eq!(to_redis.get("market:btc_dominance").await.expect("the number"), b"57.9");
    for (store, key) in [("Redis", "market:tickers"), ("Redis", "analysis:market_regime")] {
        let found = to_redis.get(key).await;
        assert!(found.is_none_or(|bytes| !String::from_utf8_lossy(&bytes).contains("cache_warmer")), "{store} {key}");
    }
    for key in ["market:breadth", "market:btc_dominance"] {
        let found = to_memcached.get(key).await;
        assert!(found.is_none_or(|(_, bytes)| !String::from_utf8_lossy(&bytes).contains("cache_warmer")), "{key}");
    }
    assert_eq!(gateway.metric("tiergate_warmer_actions_total", &["placeholder", "\"done\""]).await, 0.0);
}

#[tokio::test]
async fn b07_sources_that_fail_are_asked_less_and_less_and_starve_nobody() {
    let origin = Origin::start(Answer::status(500)).await;
    let failing: Vec<String> = (0..5).map(|n| format!("app:failing:{n}")).collect();
    // One slot, and five that fail for it: the sixth is fetched all the same.
    let slots = "[warmer]\nevery = \"100ms\"\nactions_max = 1";
    let good = Origin::start(Answer::json(stamped(1))).await;
    let mut starting = Gateway::with().config(slots);
    for key in &failing {
        starting = starting.config(&source(&origin, &format!("/{key}"), key, ""));
    }
    let gateway = starting.config(&source(&good, "/good", "app:good", "")).start().await;
    eventually("the good source is asked again and again", async || (good.asked().len() >= 8).then_some(())).await;
    for key in &failing {
        let asked = origin.asked().iter().filter(|asked| asked.path == format!("/{key}")).count();
        assert!((1..=5).contains(&asked), "{key} was asked {asked} times in 8 intervals");
        let task = task(&gateway, key).await;
        assert!(task["failures"].as_u64() >= Some(1) && task["next_attempt_at"].is_u64(), "{task:#}");
    }
}

#[tokio::test]
async fn b08_a_warmed_key_has_no_hole_between_its_refreshes() {
    let origin = Origin::start(Answer::json(stamped(1))).await;
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    // It outlives one fetch that was too slow, and the pause after it, but not six refreshes.
    let unhurried = source(&origin, "/n", "app:n", "ttl = \"15s\"").replace("\"1s\"", "\"3s\"");
    let gateway = with_sources(&[unhurried]).tier(memcached.url()).tier(redis.url()).start().await;
    let (mut to_memcached, mut to_redis) =
        (PlainMemcached::connect(memcached.port()).await, PlainRedis::connect(redis.port()).await);
    eventually("the first value is everywhere", async || {
        (to_memcached.get("app:n").await.is_some() && to_redis.get("app:n").await.is_some()).then_some(())
    })
    .await;
    eventually("six more refreshes", async || {
        origin.answers(Answer::json(stamped(2)));
        assert!(to_memcached.get("app:n").await.is_some(), "a hole in memcached after {}", origin.asked().len());
        assert!(to_redis.get("app:n").await.is_some(), "a hole in Redis after {}", origin.asked().len());
        (origin.asked().len() >= 7).then_some(())
    })
    .await;
    drop(gateway);
}

#[tokio::test]
async fn b10_health_tells_of_every_task_when_it_was_last_warmed_and_what_failed() {
    let origin = Origin::start(Answer::json(stamped(1))).await;
    let gateway = with_sources(&[source(&origin, "/n", "app:n", "")]).start().await;
    let warmed = eventually("it is warmed", async || {
        let task = task(&gateway, "app:n").await;
        (task["last_warmed_at"].is_u64() && task["warm"] == true).then_some(task)
    })
    .await;
    assert_eq!(warmed["failures"], 0, "{warmed:#}");
    assert!(gateway.metric("tiergate_warmer_last_warmed_age_seconds", &["app:n"]).await < 60.0);
    origin.answers(Answer::status(500));
    eventually("the failures are counted", async || {
        (gateway.metric("tiergate_warmer_failures", &["app:n"]).await >= 1.0).then_some(())
    })
    .await;
    let failing = task(&gateway, "app:n").await;
    assert_eq!(failing["last_fate"], "failed", "{failing:#}");
    assert!(failing["detail"].as_str().expect("a reason").contains("500"), "{failing:#}");
    // Health, which needs no token, tells it too; and what the task table promises is there with or without a source.
    let health = gateway.get("/readyz").await.json();
    let told = health["warmer"].as_array().expect("tasks");
    for key in ["app:n", "market:tickers", "analysis:signals", "market:overview", "virtuoso:beta_chart:4h"] {
        assert!(told.iter().any(|task| task["key"] == key), "{key} is not in {health:#}");
    }
    assert!(gateway.metric("tiergate_warmer_last_plan_age_seconds", &[]).await < 60.0);
}

#[tokio::test]
async fn b22_sources_of_one_origin_that_come_due_together_are_asked_one_after_the_other() {
    let origin = Origin::start(Answer::json(stamped(1))).await;
    let keys: Vec<String> = (0..4).map(|n| format!("app:{n}")).collect();
    let sources: Vec<String> = keys.iter().map(|key| source(&origin, &format!("/{key}"), key, "")).collect();
    origin.pause();
    let gateway = with_sources(&sources).start().await;
    eventually("the first is asked", async || (!origin.asked().is_empty()).then_some(())).await;
    // Readers who miss do not ask the origin, however many they are.
    for _ in 0..50 {
        assert_eq!(gateway.get("/api/cache/app:0").await.status, 404);
    }
    origin.resume();
    for key in &keys {
        eventually("each is there in the end", async || {
            (gateway.get(&format!("/api/cache/{key}")).await.status == 200).then_some(())
        })
        .await;
    }
    for key in &keys {
        let asked = origin.asked().iter().filter(|asked| asked.path == format!("/{key}")).count();
        assert!(asked <= 20, "{key}: {asked}");
    }
}

#[tokio::test]
async fn b24_a_source_that_hangs_is_in_no_readers_path() {
    let origin = Origin::start(Answer::json(stamped(1))).await;
    origin.pause();
    let gateway = with_sources(&[
        source(&origin, "/n", "app:n", "timeout = \"1s\"").replace("timeout = \"1s\"\ntimeout", "timeout"),
        source(&origin, "/t", "market:tickers", "codec = \"binance\""),
    ])
    .start()
    .await;
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    eventually("the origin hangs", async || (!origin.asked().is_empty()).then_some(())).await;
    for _ in 0..100 {
        assert_eq!(gateway.get("/api/dashboard/mobile-data").await.status, 200);
        assert_eq!(gateway.get("/api/cache/app:n").await.status, 404);
    }
    // The failure is remembered: not every plan, and no reader at all, asks again.
    eventually("it fails", async || (task(&gateway, "app:n").await["failures"].as_u64()? >= 1).then_some(())).await;
    let asked = origin.asked().len();
    for _ in 0..100 {
        assert_eq!(gateway.get("/api/cache/app:n").await.status, 404);
    }
    assert!(origin.asked().len() <= asked + 2, "readers ask the origin: {} after {asked}", origin.asked().len());
}

#[tokio::test]
async fn b60_a_source_that_is_this_gateway_itself_is_refused() {
    let port = tiergate_tests::free_port();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tiergate.toml");
    let toml = format!(
        "data_dir = {:?}\n[http]\nlisten = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:0\"\n[[source]]\nname = \"me\"\nkey = \"app:n\"\n\
         url = \"http://localhost:{port}/api/cache/app:n\"\ninterval = \"1s\"\n",
        dir.path().join("data")
    );
    std::fs::write(&file, toml).expect("written");
    let ended =
        std::process::Command::new(tiergate_tests::binary()).arg("--config").arg(&file).output().expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("source[0].url: ") && told.contains("this gateway itself"), "{told}");
}

#[tokio::test]
async fn at_the_start_values_come_up_from_the_slowest_tier_without_any_reader() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let (mut to_memcached, mut to_redis) =
        (PlainMemcached::connect(memcached.port()).await, PlainRedis::connect(redis.port()).await);
    let chart = json!({ "chart_data": {}, "performance_order": [], "generated_at": now_seconds() }).to_string();
    to_redis.setex("virtuoso:beta_chart:4h", chart.as_bytes(), 120).await;
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let (flags, promoted) =
        eventually("it is in memcached", async || to_memcached.get("virtuoso:beta_chart:4h").await).await;
    assert_eq!((flags, promoted), (0, chart.into_bytes()));
    let left = to_memcached.ttl("virtuoso:beta_chart:4h").await.expect("a lifetime");
    assert!(left <= 120, "the remaining lifetime, not a new one: {left}");
    assert_eq!(gateway.metric("tiergate_reads_total", &[]).await, 0.0, "nobody read it");
}

/// What `tiergate config check` says of a configuration.
fn checked(toml: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tiergate.toml");
    std::fs::write(&file, toml).expect("written");
    let mut command = std::process::Command::new(tiergate_tests::binary());
    command.args(["config", "check", "--config"]).arg(&file).env("TIERGATE_DATA_DIR", dir.path().join("data"));
    String::from_utf8_lossy(&command.output().expect("it runs").stderr).into_owned()
}

#[test]
fn the_gateway_refuses_sources_that_cannot_work_and_names_all_mistakes_at_once() {
    let toml = "[warmer]\nevery = \"1ms\"\nactions_max = 0\n\
        [[source]]\nname = \"a\"\nkey = \"k\"\nurl = \"ftp://example.com/\"\ninterval = \"1s\"\n\
        [[source]]\nname = \"a\"\nkey = \"k\"\nurl = \"http://example.com/\"\ninterval = \"10ms\"\n";
    let told = checked(toml);
    for part in [
        "warmer.every:",
        "warmer.actions_max:",
        "source[0].url:",
        "source[1].name:",
        "source[1].key:",
        "source[1].interval:",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let missing = "[[source]]\nname = \"a\"\nkey = \"a b\"\nurl = \"http://example.com/\"\ninterval = \"1s\"\nheaders = { x-key = \"$NO_SUCH_VARIABLE\" }\n";
    let told = checked(missing);
    assert!(told.contains("source[0].headers.x-key:") && told.contains("NO_SUCH_VARIABLE"), "{told}");
    assert!(told.contains("source[0].key:"), "{told}");
}

#[tokio::test]
async fn a_foreign_write_is_worth_as_much_as_a_fetched_one_and_the_newer_wins() {
    let origin = Origin::start(Answer::json(stamped(1))).await;
    let redis = Redis::start().await;
    let gateway = with_sources(&[source(&origin, "/n", "app:n", "")]).tier(redis.url()).start().await;
    eventually("it is fetched", async || (gateway.get("/api/cache/app:n").await.status == 200).then_some(())).await;
    let newer = stamped(9);
    PlainRedis::connect(redis.port()).await.setex("app:n", newer.as_bytes(), 300).await;
    eventually("the newer value is served", async || {
        (gateway.get("/api/cache/app:n").await.text() == newer).then_some(())
    })
    .await;
    more_plans(&gateway, 15).await;
    assert_eq!(gateway.get("/api/cache/app:n").await.text(), newer, "the origin's old answer does not undo it");
    let reply = gateway.send(Method::DELETE, "/api/cache/app:n", &[], Bytes::new()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
