//! Several gateways that share their signals: each is fed some of the symbols, and each serves all of them.

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Answer, Gateway, Memcached, Origin, PlainMemcached, PlainRedis, Redis, eventually, now_seconds};

const SHARED: &str = "[market]\nshare_signals = true\n[plugins]\nwarmer = { config = { tasks = [] } }";

const SYMBOLS: usize = 30;

/// For tests in which one gateway is to find what another has taken, though the machine is busy with starting the next: a tier
/// that does not answer in time is done without.
const PATIENT: &str = "[cache]\ndeadline = \"5s\"";

async fn gateway(memcached: &Memcached, redis: &Redis) -> Gateway {
    Gateway::with().tier(memcached.url()).tier(redis.url()).config(SHARED).start().await
}

fn symbol(at: usize) -> String {
    format!("S{at:02}USDT")
}

/// The signals of every third symbol from `third` on.
fn third(third: usize, price: f64) -> String {
    let signal = |at| json!({ "symbol": symbol(at), "confluence_score": 20 + at, "price": price, "change_24h": 1.0 });
    Value::Array((third..SYMBOLS).step_by(3).map(signal).collect()).to_string()
}

/// The price of each symbol that `gateway` serves.
async fn prices(gateway: &Gateway) -> Vec<(String, f64)> {
    let live = gateway.get("/api/dashboard/live").await.json();
    let symbols = live["symbols"].as_object().cloned().unwrap_or_default();
    symbols.iter().map(|(name, one)| (name.clone(), one["price"].as_f64().unwrap_or_default())).collect()
}

async fn serves_all(gateway: &Gateway, price: f64) {
    eventually(&format!("all symbols are served at {price}"), async || {
        let prices = prices(gateway).await;
        (prices.len() == SYMBOLS && prices.iter().all(|(_, found)| *found == price)).then_some(())
    })
    .await;
}

/// Sends signals until they are taken: the log may have been slow.
async fn takes(gateway: &Gateway, signals: String) {
    eventually("the signals are taken", async || {
        let reply = gateway.ingest(signals.clone()).await;
        matches!(reply.status.as_u16(), 200 | 202).then(|| assert_eq!(reply.json()["rejected"]["count"], 0))
    })
    .await;
}

async fn three(memcached: &Memcached, redis: &Redis) -> Vec<Gateway> {
    vec![gateway(memcached, redis).await, gateway(memcached, redis).await, gateway(memcached, redis).await]
}

/// The place of the gateway that publishes.
async fn publisher(gateways: &[Gateway]) -> usize {
    eventually("one publishes, and one alone", async || {
        let mut found = Vec::new();
        for (at, gateway) in gateways.iter().enumerate() {
            if gateway.metric("tiergate_publishes", &[]).await == 1.0 {
                found.push(at);
            }
        }
        <[usize; 1]>::try_from(found).ok().map(|[at]| at)
    })
    .await
}

#[tokio::test]
async fn each_is_fed_a_third_and_serves_all_and_when_the_one_that_publishes_is_killed_another_does() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let mut gateways = three(&memcached, &redis).await;
    let holder = eventually("the one that publishes answers 200, and the others 202", async || {
        let holder = publisher(&gateways).await;
        for (at, gateway) in gateways.iter().enumerate() {
            let reply = gateway.ingest(third(at, 1.0)).await;
            let answered = (reply.status.as_u16(), reply.json()["accepted"].as_u64()?);
            (answered == (if at == holder { 200 } else { 202 }, SYMBOLS as u64 / 3)).then_some(())?;
        }
        Some(holder)
    })
    .await;
    for gateway in &gateways {
        serves_all(gateway, 1.0).await;
    }
    // A bad record costs itself, and its place is told by whoever was asked.
    let mixed =
        format!("[{},{{\"symbol\":\"X\"}}]", json!({ "symbol": symbol(0), "confluence_score": 20, "price": 1.0 }));
    let report = eventually("the mixed batch is taken", async || {
        let reply = gateways[(holder + 1) % 3].ingest(mixed.clone()).await;
        (reply.status != 503).then(|| reply.json())
    })
    .await;
    assert_eq!(
        (&report["accepted"], &report["rejected"]["count"], &report["rejected"]["first"][0]["index"]),
        (&json!(1), &json!(1), &json!(1)),
        "{report}"
    );

    // Accepted by the one that is killed at once, and by another.
    for at in [holder, (holder + 1) % 3, (holder + 2) % 3] {
        takes(&gateways[at], third(at, 2.0)).await;
    }
    let starting = gateways.remove(holder).kill();
    takes(&gateways[0], third(0, 3.0)).await;
    for gateway in &gateways {
        eventually("what was accepted before and after is served", async || {
            let prices = prices(gateway).await;
            let of = |wanted: f64| prices.iter().filter(|(_, price)| *price == wanted).count();
            (of(3.0) == SYMBOLS / 3 && of(2.0) == SYMBOLS * 2 / 3).then_some(())
        })
        .await;
    }
    publisher(&gateways).await;

    // Back again, it learns from the log what it missed.
    gateways.push(starting.start().await);
    for (at, gateway) in gateways.iter().enumerate() {
        takes(gateway, third(at, 4.0)).await;
    }
    for gateway in &gateways {
        serves_all(gateway, 4.0).await;
    }
}

/// The documents that the signals add up to, as `gateway` serves them, when all of them are of the second of `moment`; without
/// their times.
async fn documents(gateway: &Gateway, moment: u64) -> Vec<Value> {
    let mut all = Vec::new();
    for key in ["analysis:signals", "market:overview", "market:movers", "market:breadth"] {
        let mut document = eventually(&format!("{key} is of {moment}"), async || {
            let document = gateway.get(&format!("/api/cache/{key}")).await.json();
            (document["timestamp"].as_f64().map(f64::floor) == Some(moment as f64)).then_some(document)
        })
        .await;
        strip_times(&mut document);
        all.push(document);
    }
    all
}

fn strip_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["timestamp", "datetime"].contains(&name.as_str()));
            fields.values_mut().for_each(strip_times);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_times),
        _ => {}
    }
}

/// A signal that says which gateway took it. Nothing but the order tells it from another of the same symbol and moment.
fn taken_by(gateway: usize, symbol: &str, moment: u64) -> String {
    let (score, price) = (20 + 10 * gateway, gateway + 1);
    json!({ "symbol": symbol, "confluence_score": score, "price": price, "change_24h": gateway, "timestamp": moment })
        .to_string()
}

#[tokio::test]
async fn every_gateway_takes_the_signals_in_the_same_order_and_the_next_to_publish_comes_to_the_same() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let mut gateways = three(&memcached, &redis).await;
    let holder = publisher(&gateways).await;
    let moment = now_seconds() as u64 - 60;
    // The same symbols through all of them at once.
    let post = async |at: usize, one: usize| takes(&gateways[at], taken_by(at, &symbol(one), moment)).await;
    join_all((0..SYMBOLS).flat_map(|one| (0..3).map(move |at| (at, one))).map(|(at, one)| post(at, one))).await;
    // Whoever answers to the last signal has taken all before it, and the one that publishes has published them.
    let last = |moment| taken_by(0, "LASTUSDT", moment);
    for at in [(holder + 1) % 3, (holder + 2) % 3, holder] {
        takes(&gateways[at], last(moment + 1)).await;
    }
    let before = documents(&gateways[holder], moment + 1).await;

    gateways.remove(holder).kill();
    publisher(&gateways).await;
    takes(&gateways[0], last(moment + 2)).await;
    for gateway in &gateways {
        assert_eq!(documents(gateway, moment + 2).await, before);
    }
}

#[tokio::test]
async fn a_publisher_that_slept_through_its_lease_undoes_nothing() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateways = [gateway(&memcached, &redis).await, gateway(&memcached, &redis).await];
    let holder = publisher(&gateways).await;
    let (sleeper, other) = (&gateways[holder], &gateways[1 - holder]);
    for at in 0..3 {
        takes(sleeper, third(at, 1.0)).await;
    }
    serves_all(other, 1.0).await;
    sleeper.signal("STOP");
    for at in 0..3 {
        takes(other, third(at, 2.0)).await;
    }
    serves_all(other, 2.0).await;
    sleeper.signal("CONT");
    serves_all(sleeper, 2.0).await;
    serves_all(other, 2.0).await;
    let stored = PlainRedis::connect(redis.port()).await.get("analysis:signals").await.expect("the document");
    let stored: Value = serde_json::from_slice(&stored).expect("JSON");
    assert!(stored["signals"].as_array().expect("a list").iter().all(|signal| signal["price"] == 2.0), "{stored}");
}

#[tokio::test]
async fn without_the_log_signals_are_refused_with_the_reason_and_nothing_is_half_done() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let gateway = gateway(&memcached, &redis).await;
    let alone = [gateway];
    publisher(&alone).await;
    let [gateway] = alone;
    redis.freeze();
    let reply = gateway.ingest(third(0, 1.0)).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["error"]["code"].as_str()),
        (503, Some("not-shared")),
        "{}",
        reply.text()
    );
    redis.thaw();
    eventually("signals are taken again", async || (gateway.ingest(third(0, 2.0)).await.status == 200).then_some(()))
        .await;
}

/// Three gateways over these tiers are all to keep one key warm, and its origin is asked once.
async fn fetch_together(tiers: &[String]) {
    let origin = waiting(&json!({ "n": 1 })).await;
    let source = format!("{}\nttl = \"1h\"\n[warmer]\nevery = \"100ms\"\n{PATIENT}", slow(&origin));
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let starting = tiers.iter().fold(Gateway::with(), |starting, tier| starting.tier(tier));
        gateways.push(starting.config(&source).start().await);
    }
    each_has_planned(&gateways).await;
    assert_eq!(origin.asked().len(), 1);
    origin.resume();
    for gateway in &gateways {
        eventually("the answer is there", async || {
            (gateway.get("/api/cache/unified:slow").await.status == 200).then_some(())
        })
        .await;
    }
    each_has_planned(&gateways).await;
    assert_eq!(origin.asked().len(), 1, "the answer of one is the answer of all");
}

/// Waits until each gateway has had the occasion to ask.
async fn each_has_planned(gateways: &[Gateway]) {
    for gateway in gateways {
        let plans = async || gateway.admin_get("/api/admin/warmer").await.json()["warmer"]["plans"]["made"].as_u64();
        let before = plans().await.unwrap_or_default();
        eventually("three plans", async || plans().await.filter(|&made| made >= before + 3)).await;
    }
}

#[tokio::test]
async fn of_several_gateways_one_at_a_time_fetches_from_a_source_and_all_have_its_answer() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    fetch_together(&[memcached.url(), redis.url()]).await;
}

#[tokio::test]
async fn of_several_gateways_with_memcached_alone_one_at_a_time_fetches_from_a_source() {
    let memcached = Memcached::start().await;
    fetch_together(&[memcached.url()]).await;
}

#[tokio::test]
async fn where_no_lease_is_to_be_had_a_source_is_fetched_from_without() {
    for out_of_reach in [|memcached: &mut Memcached| memcached.freeze(), Memcached::kill] {
        let mut memcached = Memcached::start().await;
        let origin = Origin::start(Answer::json(json!({ "n": 1 }).to_string())).await;
        let starting = Gateway::with().tier(memcached.url()).config(&slow(&origin));
        out_of_reach(&mut memcached);
        let gateway = starting.start().await;
        eventually("the answer is there", async || {
            (gateway.get("/api/cache/unified:slow").await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_lease_is_no_value_of_a_key() {
    let memcached = Memcached::start().await;
    let origin = waiting(&json!({ "n": 1 })).await;
    let gateway = Gateway::with().tier(memcached.url()).config(&slow(&origin)).config(PATIENT).start().await;
    is_under_way(&origin).await;
    let lease = "tiergate:lease:source:slow";
    let mut foreign = PlainMemcached::connect(memcached.port()).await;
    let held = foreign.get(lease).await.expect("a lease");
    let path = format!("/api/cache/{lease}");
    for answer in [
        gateway.get(&path).await,
        gateway.put(lease, "{}").await,
        gateway.send(Method::DELETE, &path, &[], Bytes::new()).await,
    ] {
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (400, &json!("bad-key")));
    }
    assert_eq!(foreign.get(lease).await, Some(held));
    origin.resume();
    eventually("the lease is given back", async || foreign.get(lease).await.is_none().then_some(())).await;
}

/// A source of the key `unified:slow` that is asked once. However long gateways take to start meanwhile, a load does not end
/// before it is answered.
fn slow(origin: &Origin) -> String {
    format!(
        "[[source]]\nname = \"slow\"\nkey = \"unified:slow\"\nurl = \"{}\"\ninterval = \"1h\"\ntimeout = \"10m\"",
        origin.url("/slow")
    )
}

/// An origin with this answer, which keeps it back.
async fn waiting(answer: &Value) -> Origin {
    let origin = Origin::start(Answer::json(answer.to_string())).await;
    origin.pause();
    origin
}

/// Lets `origin` answer, and waits until the load of `gateway` has ended as one that was overtaken.
async fn is_dropped(gateway: &Gateway, origin: &Origin) {
    origin.resume();
    eventually("the load was overtaken", async || {
        (gateway.metric("tiergate_source_fetches_total", &["slow", "superseded"]).await >= 1.0).then_some(())
    })
    .await;
    assert!(gateway.metric("tiergate_writes_total", &["superseded"]).await >= 1.0);
}

async fn is_under_way(origin: &Origin) {
    eventually("the load is under way", async || (!origin.asked().is_empty()).then_some(())).await;
}

/// A write of `new` during a load that brings `old`.
async fn overtake(old: Value, new: Value) {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let origin = waiting(&old).await;
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).config(&slow(&origin)).start().await;
    is_under_way(&origin).await;
    let new = new.to_string();
    assert_eq!(gateway.put("unified:slow", new.clone()).await.status, 200);
    is_dropped(&gateway, &origin).await;
    assert_eq!(gateway.get("/api/cache/unified:slow").await.text(), new);
    let (_, held) = PlainMemcached::connect(memcached.port()).await.get("unified:slow").await.expect("a value");
    assert_eq!(held, new.as_bytes());
    assert_eq!(PlainRedis::connect(redis.port()).await.get("unified:slow").await, Some(new.into_bytes()));
}

#[tokio::test]
async fn a_load_that_a_newer_write_overtook_is_dropped() {
    // The answer was made before the write, and takes until after it.
    overtake(
        json!({ "n": "old", "timestamp": now_seconds() - 60.0 }),
        json!({ "n": "new", "timestamp": now_seconds() }),
    )
    .await;
}

#[tokio::test]
async fn a_load_that_does_not_say_when_its_answer_was_made_loses_to_a_write_that_came_during_it() {
    overtake(json!({ "n": "old" }), json!({ "n": "new" })).await;
}

#[tokio::test]
async fn a_load_does_not_bring_back_what_was_deleted_during_it() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let origin = waiting(&json!({ "n": "old" })).await;
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).config(&slow(&origin)).start().await;
    is_under_way(&origin).await;
    let deleted = gateway.send(Method::DELETE, "/api/cache/unified:slow", &[], Bytes::new()).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    is_dropped(&gateway, &origin).await;
    assert_eq!(gateway.get("/api/cache/unified:slow").await.status, 404);
    assert_eq!(PlainMemcached::connect(memcached.port()).await.get("unified:slow").await, None);
    assert_eq!(PlainRedis::connect(redis.port()).await.get("unified:slow").await, None);
}

#[tokio::test]
async fn a_load_loses_to_a_write_through_another_gateway_though_memcached_keeps_no_versions() {
    let memcached = Memcached::start().await;
    let origin = waiting(&json!({ "n": "old" })).await;
    let loads = Gateway::with().tier(memcached.url()).config(&slow(&origin)).start().await;
    let writes = Gateway::with().tier(memcached.url()).start().await;
    is_under_way(&origin).await;
    let new = json!({ "n": "new" }).to_string();
    assert_eq!(writes.put("unified:slow", new.clone()).await.status, 200);
    is_dropped(&loads, &origin).await;
    for gateway in [&loads, &writes] {
        assert_eq!(gateway.get("/api/cache/unified:slow").await.text(), new);
    }
}

#[tokio::test]
async fn what_one_gateway_refused_is_explained_by_another_with_its_outcome_and_the_reason() {
    let (memcached, redis) = (Memcached::start().await, Redis::start().await);
    let start = async || Gateway::with().tier(memcached.url()).tier(redis.url()).start().await;
    let (ours, other) = (start().await, start().await);
    let name = other.admin_get("/api/admin/doctor").await.json()["gateway"].as_str().expect("a name").to_owned();
    // What cannot be told at once is not told. The next of the kind is, so it is asked for again and again.
    let told = async |(method, key, body): (Method, &str, &str), status: u16, is_it: &dyn Fn(&Value) -> bool| {
        eventually(&format!("{method} of {key} that is answered {status} is told"), async || {
            let path = format!("/api/cache/{key}");
            let reply = other.send(method.clone(), &path, &[], Bytes::copy_from_slice(body.as_bytes())).await;
            assert_eq!(reply.status, status, "{}", reply.text());
            let explained = ours.admin_get(&format!("/api/admin/explain/{key}")).await.json();
            let of_other = |written: &&Value| written["from"] == format!("gateway {name}") && is_it(written);
            explained["writes"].as_array()?.iter().find(of_other).cloned()
        })
        .await
    };
    let value = |at: f64| json!({ "timestamp": at }).to_string();
    eventually("one hears the other", async || {
        assert_eq!(other.put("k", value(now_seconds())).await.status, 200);
        let explained = ours.admin_get("/api/admin/explain/k").await.json();
        explained["writes"].as_array()?.iter().any(|written| written["from"] == format!("gateway {name}")).then_some(())
    })
    .await;

    let newest = other.get("/api/cache/k").await.text();
    let outcome = |written: &Value, outcome: &str| written["tiers"]["redis"]["outcome"] == outcome;
    let older = value(now_seconds() - 60.0);
    let lost = told((Method::PUT, "k", &older), 409, &|written| outcome(written, "superseded")).await;
    for tier in ["memory", "memcached", "redis"] {
        assert_eq!(lost["tiers"][tier]["reason"], "a newer value is there", "{lost}");
    }
    let is_refused = |written: &Value| written["write"]["what"] == "refused";
    let refused = told((Method::PUT, "k", "nonsense"), 422, &is_refused).await;
    assert!(refused["write"]["error"].as_str().is_some_and(|error| !error.is_empty()), "{refused}");
    let absent = told((Method::DELETE, "nothing", ""), 200, &|written| outcome(written, "absent")).await;
    assert_eq!(absent["write"]["what"], "delete", "{absent}");
    assert_eq!(ours.get("/api/cache/k").await.text(), newest, "nothing has changed");
}
