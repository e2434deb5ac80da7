//! Several gateways over the same stores: what changes, whoever changes it, reaches the memory of each.
//!
//! Memory answers for an hour here, so nothing but what a gateway is told can bring news.

use bytes::Bytes;
use hyper::Method;
use serde_json::json;
use tiergate_tests::{
    Gateway, Line, Memcached, NO_TASKS, PlainMemcached, PlainRedis, Proxy, Redis, Reply, eventually, fixture,
    moved_to_now,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TRUSTING: &str = "ttl = [{ pattern = \"shared:*\", memory = \"1h\", redis = \"1h\", memcached = \"1h\" }]";

async fn gateway(memcached: &Memcached, redis: &Redis) -> Gateway {
    gateway_over(memcached.url(), redis).await
}

async fn gateway_over(memcached: String, redis: &Redis) -> Gateway {
    let config = format!("{TRUSTING}\n{NO_TASKS}");
    Gateway::with().tier(memcached).tier(redis.url()).config(&config).start().await
}

/// A value, and the later the greater.
fn value(n: u32) -> String {
    json!({ "n": n }).to_string()
}

async fn read(gateway: &Gateway, key: &str) -> Reply {
    gateway.get(&format!("/api/cache/{key}")).await
}

async fn reads(gateway: &Gateway, key: &str, value: &str) {
    eventually(&format!("`{key}` reads {value}"), async || (read(gateway, key).await.text() == value).then_some(()))
        .await;
}

async fn is_gone(gateway: &Gateway, key: &str) {
    eventually(&format!("`{key}` is gone"), async || (read(gateway, key).await.status == 404).then_some(())).await;
}

/// Views, and the routes of pages before these: what is made of one document, of several, and of none.
const ANSWERS: [&str; 9] = [
    "/api/dashboard/mobile-data",
    "/api/dashboard/mobile-data-from-cache",
    "/api/dashboard/overview?limit=3",
    "/api/dashboard/live",
    "/api/dashboard/perpetuals-pulse",
    "/api/dashboard/signals-from-cache",
    "/api/dashboard/alerts",
    "/api/dashboard/beta-chart",
    "/api/coingecko/summary",
];

/// Waits until every answer says in `Cache-Status` that changes may be missed, or none does.
async fn say_degraded(gateway: &Gateway, is_degraded: bool) {
    let says = |path: &str, status: &str| {
        assert!(status.starts_with("tiergate; "), "{path}: {status}");
        (status.matches("degraded").count() == usize::from(is_degraded)).then_some(())
    };
    for path in ANSWERS {
        eventually(&format!("`{path}` says that it is degraded: {is_degraded}"), async || {
            says(path, gateway.get(path).await.header("cache-status"))
        })
        .await;
    }
    eventually(&format!("the fast lane says that it is degraded: {is_degraded}"), async || {
        says("the fast lane", &from_the_fast_lane(gateway).await)
    })
    .await;
}

/// `Cache-Status` of a view's prepared bytes: the first request on a connection, and a plain one.
async fn from_the_fast_lane(gateway: &Gateway) -> String {
    let mut lane = TcpStream::connect(&gateway.data).await.expect("a connection");
    let request = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", ANSWERS[0], gateway.data);
    lane.write_all(request.as_bytes()).await.expect("a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(lane.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    head.lines().find_map(|line| line.strip_prefix("cache-status: ")).expect("a status").to_owned()
}

async fn in_mode(gateway: &Gateway, mode: &str) {
    eventually(&format!("the gateway is {mode}"), async || {
        (gateway.get("/readyz").await.json()["mode"] == mode).then_some(())
    })
    .await;
}

/// How often changes may have been missed. It is not 0 where the first connection took long.
async fn missed(gateway: &Gateway) -> f64 {
    gateway.metric("tiergate_changes_missed_total", &[]).await
}

async fn misses_more_than(before: f64, gateway: &Gateway) {
    eventually("it notices that changes are missed", async || (missed(gateway).await > before).then_some(())).await;
}

/// Waits until one hears what the other writes.
async fn hears(one: &Gateway, other: &Gateway) {
    let mut n = 0;
    eventually("one hears the other", async || {
        n += 1;
        assert_eq!(other.put("shared:hello", value(n)).await.status, 200);
        // The first read brings it into memory.
        read(one, "shared:hello").await;
        n += 1;
        assert_eq!(other.put("shared:hello", value(n)).await.status, 200);
        let heard = async || (read(one, "shared:hello").await.text() == value(n)).then_some(());
        for _ in 0..10 {
            if heard().await.is_some() {
                return Some(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        None
    })
    .await;
}

async fn delete(gateway: &Gateway, key: &str) -> Reply {
    gateway.send(Method::DELETE, &format!("/api/cache/{key}"), &[], Bytes::new()).await
}

#[tokio::test]
async fn what_is_written_or_deleted_through_one_gateway_is_heard_of_by_the_others() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateways =
        [gateway(&memcached, &redis).await, gateway(&memcached, &redis).await, gateway(&memcached, &redis).await];
    for n in 0..9 {
        let by = &gateways[n as usize % 3];
        assert_eq!(by.put("shared:a", value(n)).await.status, 200);
        for gateway in &gateways {
            reads(gateway, "shared:a", &value(n)).await;
        }
    }
    let versions = async || {
        let mut versions = Vec::new();
        for gateway in &gateways {
            versions.push(read(gateway, "shared:a").await.header("tiergate-version").to_owned());
        }
        versions
    };
    eventually("all know the same version", async || {
        let versions = versions().await;
        versions.iter().all(|version| *version == versions[0]).then_some(())
    })
    .await;
    assert_eq!(delete(&gateways[1], "shared:a").await.status, 200);
    for gateway in &gateways {
        is_gone(gateway, "shared:a").await;
    }
    assert_eq!(gateways[2].put("shared:a", value(9)).await.status, 200);
    for gateway in &gateways {
        reads(gateway, "shared:a", &value(9)).await;
    }
}

#[tokio::test]
async fn a_delete_that_a_gateway_could_not_carry_out_before_it_ended_is_carried_out_by_another() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let ours = gateway(&memcached, &redis).await;
    let to_memcached = Proxy::start(memcached.port()).await;
    let other = gateway_over(format!("memcached://{}", to_memcached.address()), &redis).await;
    hears(&ours, &other).await;
    assert_eq!(ours.put("shared:a", value(1)).await.status, 200);
    reads(&other, "shared:a", &value(1)).await;
    to_memcached.becomes(Line::Cut);
    assert_eq!(delete(&other, "shared:a").await.status, 202);
    drop(other);
    is_gone(&ours, "shared:a").await;
    let mut plain = PlainMemcached::connect(memcached.port()).await;
    eventually("memcached is rid of it", async || plain.get("shared:a").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn what_another_gateway_wrote_and_deleted_is_explained_with_its_name() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let (ours, other) = (gateway(&memcached, &redis).await, gateway(&memcached, &redis).await);
    hears(&ours, &other).await;
    assert_eq!(other.put("shared:a", value(1)).await.status, 200);
    assert_eq!(delete(&other, "shared:a").await.status, 200);
    let name = other.admin_get("/api/admin/doctor").await.json()["gateway"].as_str().expect("a name").to_owned();
    eventually("both are in the explanation", async || {
        let explained = ours.admin_get("/api/admin/explain/shared:a").await.json();
        let [deleted, written, ..] = explained["writes"].as_array()?.as_slice() else { return None };
        let from = json!(format!("gateway {name}"));
        assert_eq!((&deleted["from"], &written["from"]), (&from, &from), "{explained:#}");
        assert_eq!(deleted["tiers"]["redis"]["outcome"], "deleted", "{explained:#}");
        assert_eq!(written["tiers"]["redis"]["outcome"], "stored", "{explained:#}");
        assert_eq!(written["write"]["bytes"], value(1).len(), "{explained:#}");
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_missed_changes_notices_the_gap_and_looks_at_everything_again() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let (ours, other) = (gateway(&memcached, &redis).await, gateway(&memcached, &redis).await);
    for key in ["shared:changed", "shared:deleted", "shared:kept"] {
        assert_eq!(ours.put(key, value(1)).await.status, 200);
    }
    hears(&ours, &other).await;
    in_mode(&ours, "normal").await;
    let missed = missed(&ours).await;
    ours.signal("STOP");
    assert_eq!(other.put("shared:changed", value(2)).await.status, 200);
    assert_eq!(delete(&other, "shared:deleted").await.status, 200);
    // All that the stream told is trimmed away, as if there had been much more of it.
    let trimmed = PlainRedis::connect(redis.port()).await.command(&["XTRIM", "tiergate:changes", "MAXLEN", "0"]).await;
    assert!(trimmed > 0);
    // Client tracking may have told of the keys; this test is about the stream.
    ours.signal("CONT");
    misses_more_than(missed, &ours).await;
    eventually("it is logged", async || {
        ours.log().iter().any(|line| line.contains("degraded: changes that others make may be missed")).then_some(())
    })
    .await;
    in_mode(&ours, "normal").await;
    assert_eq!(read(&ours, "shared:changed").await.text(), value(2));
    assert_eq!(read(&ours, "shared:deleted").await.status, 404);
    assert_eq!(read(&ours, "shared:kept").await.text(), value(1));
    assert_eq!(ours.metric("tiergate_degraded", &[]).await, 0.0);
}

#[tokio::test]
async fn without_its_stream_a_gateway_is_degraded_and_says_so_until_it_has_caught_up() {
    let (memcached, mut redis) = (Memcached::start().await, Redis::start().await);
    let (ours, other) = (gateway(&memcached, &redis).await, gateway(&memcached, &redis).await);
    assert_eq!(ours.put("shared:a", value(1)).await.status, 200);
    reads(&other, "shared:a", &value(1)).await;
    assert_eq!(read(&ours, "shared:a").await.header("cache-status").matches("degraded").count(), 0);
    let signals = moved_to_now(&fixture("analysis:signals.json"));
    assert_eq!(ours.put("analysis:signals", signals).await.status, 200);
    eventually("the views are there", async || (ours.get("/readyz").await.status == 200).then_some(())).await;
    in_mode(&ours, "normal").await;
    say_degraded(&ours, false).await;

    hears(&ours, &other).await;
    redis.kill();
    for gateway in [&ours, &other] {
        in_mode(gateway, "degraded").await;
        assert_eq!(gateway.metric("tiergate_degraded", &[]).await, 1.0);
    }
    // A value that memory is not sure of is looked at below; a tier that does not answer makes it stale.
    let suspect = read(&ours, "shared:a").await;
    assert_eq!((suspect.status.as_u16(), suspect.text()), (200, value(1)));
    assert!(suspect.header("cache-status").contains("tier-failed; degraded"), "{}", suspect.header("cache-status"));
    say_degraded(&ours, true).await;
    // Nobody has it, and one that may does not answer.
    let unknown = read(&ours, "shared:unknown").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.header("cache-status")),
        (503, "tiergate; fwd=miss; detail=\"unavailable; degraded\"")
    );
    // What is still shared is read there, though memory would answer for an hour.
    assert_eq!(other.put("shared:a", value(2)).await.status, 202);
    reads(&ours, "shared:a", &value(2)).await;

    // Another server takes its place, and knows nothing.
    redis.restart().await;
    for gateway in [&ours, &other] {
        in_mode(gateway, "normal").await;
        reads(gateway, "shared:a", &value(2)).await;
    }
    // Its feed may be back before the breaker of its writes has found out.
    eventually("Redis takes writes", async || (other.put("shared:a", value(3)).await.status == 200).then_some(()))
        .await;
    reads(&ours, "shared:a", &value(3)).await;
    assert!(!read(&ours, "shared:a").await.header("cache-status").contains("degraded"));
    say_degraded(&ours, false).await;
}

#[tokio::test]
async fn a_redis_that_falls_silent_is_noticed_and_one_that_goes_on_is_caught_up_with() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let (ours, other) = (gateway(&memcached, &redis).await, gateway(&memcached, &redis).await);
    assert_eq!(ours.put("shared:a", value(1)).await.status, 200);
    reads(&other, "shared:a", &value(1)).await;
    hears(&ours, &other).await;
    redis.freeze();
    in_mode(&ours, "degraded").await;
    assert_eq!(other.put("shared:a", value(2)).await.status, 202);
    redis.thaw();
    in_mode(&ours, "normal").await;
    reads(&ours, "shared:a", &value(2)).await;
    // What waited for Redis is there, and both stores agree.
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    eventually("Redis has it", async || {
        (to_redis.get("shared:a").await.as_deref() == Some(value(2).as_bytes())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_a_stream_that_tells_nothing() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).without_tasks().start().await;
    in_mode(&gateway, "normal").await;
    let mut operator = PlainRedis::connect(redis.port()).await;
    operator.set_config("maxmemory", "1").await;
    in_mode(&gateway, "degraded").await;
    operator.set_config("maxmemory", "0").await;
    in_mode(&gateway, "normal").await;
}

#[tokio::test]
async fn without_redis_there_is_no_stream_and_nothing_to_miss() {
    let mut memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    memcached.kill();
    eventually("memcached is missed", async || {
        (gateway.metric("tiergate_tier_answers", &["memcached"]).await == 0.0).then_some(())
    })
    .await;
    assert_eq!(gateway.get("/readyz").await.json()["mode"], "normal");
}

#[tokio::test]
async fn a_plain_set_in_redis_is_heard_of_also_after_a_reconnect() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let (gateway, other) = (gateway(&memcached, &redis).await, gateway(&memcached, &redis).await);
    hears(&gateway, &other).await;
    let mut foreign = PlainRedis::connect(redis.port()).await;
    for n in 0..3 {
        foreign.setex("shared:plain", value(n).as_bytes(), 300).await;
        reads(&gateway, "shared:plain", &value(n)).await;
    }
    in_mode(&gateway, "normal").await;
    let missed = missed(&gateway).await;
    // Every connection but this one is cut.
    foreign.command(&["CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal"]).await;
    foreign.command(&["CLIENT", "KILL", "SKIPME", "yes", "TYPE", "pubsub"]).await;
    misses_more_than(missed, &gateway).await;
    in_mode(&gateway, "normal").await;
    for n in 3..6 {
        foreign.setex("shared:plain", value(n).as_bytes(), 300).await;
        reads(&gateway, "shared:plain", &value(n)).await;
    }
}

#[tokio::test]
async fn b25_a_value_with_a_long_life_gives_way_to_a_foreign_one_though_the_subscription_was_killed() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = gateway(&memcached, &redis).await;
    in_mode(&gateway, "normal").await;
    let mut foreign = PlainRedis::connect(redis.port()).await;
    for n in (0..6).step_by(2) {
        let put = gateway.send(Method::PUT, "/api/cache/shared:long?ttl=1h", &[], value(n).into()).await;
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!(read(&gateway, "shared:long").await.text(), value(n));
        eventually("there is a subscription to kill", async || {
            (foreign.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await >= 1).then_some(())
        })
        .await;
        foreign.setex("shared:long", value(n + 1).as_bytes(), 3_600).await;
        reads(&gateway, "shared:long", &value(n + 1)).await;
    }
}

#[tokio::test]
async fn b25_memory_looks_below_no_later_for_a_long_life() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).without_tasks().start().await;
    let put = gateway.send(Method::PUT, "/api/cache/unified:long?ttl=1h", &[], value(0).into()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    PlainMemcached::connect(memcached.port()).await.set("unified:long", value(1).as_bytes(), 0, 3_600).await;
    reads(&gateway, "unified:long", &value(1)).await;
    assert_eq!(gateway.metric("tiergate_hints_total", &["memcached"]).await, 0.0, "nothing told of it");
}

#[tokio::test]
async fn the_watch_tells_of_a_plain_set_in_memcached_and_of_each_once() {
    let memcached = Memcached::start().await;
    let config = format!("cache = {{ watch_every = \"10ms\" }}\n[market]\nrefresh_every = \"1s\"\n{NO_TASKS}");
    let gateway = Gateway::with().tier(memcached.url()).config(&config).start().await;
    let hints = async || gateway.metric("tiergate_hints_total", &["memcached"]).await;
    let mut foreign = PlainMemcached::connect(memcached.port()).await;
    let overview = |price: f64| {
        let text = String::from_utf8(moved_to_now(&fixture("market:overview.json"))).expect("text");
        let mut overview: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        overview["btc_price"] = json!(price);
        overview.to_string()
    };
    let before = foreign.stat("total_connections").await;
    for n in 1..=5 {
        foreign.set("market:overview", overview(f64::from(n)).as_bytes(), 0, 300).await;
        eventually("the dashboard shows it", async || {
            let text = gateway.get("/api/cache/market:overview").await.json();
            (text["btc_price"] == f64::from(n)).then_some(())
        })
        .await;
    }
    // Once more for each connection that is made meanwhile: from then on it might be another server.
    let (heard, connections) = (hints().await, foreign.stat("total_connections").await - before);
    assert!((1.0..=5.0 + connections as f64).contains(&heard), "{heard}, and {connections} new connections");
}

#[tokio::test]
async fn b25_b27_an_event_of_the_bridge_is_a_hint_and_never_a_write() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).without_tasks().start().await;
    in_mode(&gateway, "normal").await;
    let mut to_memcached = PlainMemcached::connect(memcached.port()).await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;
    let event = String::from_utf8(fixture("bridge/pubsub_events.jsonl"))
        .expect("text")
        .lines()
        .next()
        .expect("an event")
        .to_owned();
    eventually("the gateway listens", async || {
        (to_redis.command(&["PUBLISH", "vt_shared:events", &event]).await == 1).then_some(())
    })
    .await;
    eventually("the event is heard", async || {
        (gateway.metric("tiergate_hints_total", &["redis"]).await >= 1.0).then_some(())
    })
    .await;
    // The value in the event is not taken: neither store has one.
    assert_eq!(read(&gateway, "market:overview").await.status, 404);
    // The bridge's copy is read where the plain key is absent, and stays where it is.
    let copy = moved_to_now(&fixture("market:overview.json"));
    to_redis.setex("vt_shared:market:overview", &copy, 300).await;
    eventually("the copy is read", async || {
        to_redis.command(&["PUBLISH", "vt_shared:events", &event]).await;
        (read(&gateway, "market:overview").await.status == 200).then_some(())
    })
    .await;
    // In memcached, too, of which no event tells.
    let signals = moved_to_now(&fixture("analysis:signals.json"));
    to_memcached.set("vt_shared:analysis:signals", &signals, 0, 300).await;
    eventually("that copy is read", async || (read(&gateway, "analysis:signals").await.status == 200).then_some(()))
        .await;
    for nonsense in ["", "{", "[]", "{\"key\": 1}", "{\"key\": \"no key\"}"] {
        to_redis.command(&["PUBLISH", "vt_shared:events", nonsense]).await;
    }
    // Nor does another look, at one that it was told of and at one that it knows, write what it read.
    let heard = gateway.metric("tiergate_hints_total", &["redis"]).await;
    to_redis.command(&["PUBLISH", "vt_shared:events", &event]).await;
    eventually("the last event is heard", async || {
        (gateway.metric("tiergate_hints_total", &["redis"]).await > heard).then_some(())
    })
    .await;
    let looks = async || gateway.metric("tiergate_tier_reads_total", &["memcached", "look"]).await;
    let looked = looks().await;
    eventually("both are looked at again", async || {
        for key in ["market:overview", "analysis:signals"] {
            assert_eq!(read(&gateway, key).await.status, 200, "{key}");
        }
        (looks().await >= looked + 4.0).then_some(())
    })
    .await;
    for key in ["market:overview", "analysis:signals"] {
        assert_eq!((to_memcached.get(key).await, to_redis.get(key).await), (None, None), "{key}");
    }
    // A plain value counts more than the copy that is older.
    let plain = moved_to_now(&fixture("market:overview.json"));
    to_redis.setex("market:overview", &plain, 300).await;
    reads(&gateway, "market:overview", &String::from_utf8(plain).expect("text")).await;
    assert_eq!(to_redis.get("vt_shared:market:overview").await, Some(copy));
    assert_eq!(to_memcached.get("vt_shared:analysis:signals").await, Some((0, signals)));
}
