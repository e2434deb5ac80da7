//! The drill: faults, one at a time, in running deployments. Under each the dashboard goes on with good data, nothing that was
//! told to be stored or queued is lost, and `tiergate doctor` names the fault and its place.
//!
//! How long that took is printed and never asserted: `cargo test --workspace --test drill -- --nocapture`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tiergate::plugin::built_in;
use tiergate_tests::{
    Gateway, Line, Memcached, PlainMemcached, PlainRedis, Proxy, Redis, Reply, eventually, fixture, hostile,
    moved_to_now, now_seconds,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The harmful plugin is let in, and nothing but the documents' owner writes them.
const CONFIG: &str = r#"
market = { refresh_every = "100ms" }
doctor = { silent_after = "5s" }
[plugins]
conformance = false
warmer = { config = { tasks = [] } }
[plugins.probation]
lasts = "0s"
"#;

/// The documents of the dashboard, which their owner renews every second. Each is a section there, named as its key ends.
const DOCUMENTS: [&str; 4] = ["analysis:signals", "market:overview", "market:movers", "market:breadth"];

/// How often the owner renews, and how often a producer with a fault writes.
const RENEWED_EVERY: Duration = Duration::from_secs(1);
const FAULTY_EVERY: Duration = Duration::from_millis(300);

/// How a fault must be named.
struct Expected {
    code: &'static str,
    tier: Option<&'static str>,
    key: Option<&'static str>,
    plugin: Option<&'static str>,
    /// Words of the evidence.
    evidence: String,
}

/// What the doctor did not say before the fault began, so that it says it because of the fault.
struct News(Expected);

/// One line of the table.
struct Row {
    fault: &'static str,
    named: &'static str,
    place: String,
    after: Duration,
}

/// A gateway over stores, with its documents' owner, and readers of its dashboard.
struct Patient {
    gateway: Arc<Gateway>,
    done: Arc<AtomicBool>,
    /// Documents whose owner is silent.
    silent: Arc<Mutex<BTreeSet<&'static str>>>,
    owner: JoinHandle<()>,
    reader: JoinHandle<()>,
    reads: Arc<AtomicU64>,
    rows: Vec<Row>,
    written: u64,
}

/// A value that was written, and what its writer was told.
struct Written {
    key: String,
    value: String,
    reply: Reply,
}

// === impl Expected ===

impl Expected {
    fn at_tier(code: &'static str, tier: &'static str) -> Self {
        Self { code, tier: Some(tier), key: None, plugin: None, evidence: String::new() }
    }

    fn at_key(code: &'static str, key: &'static str, tier: Option<&'static str>) -> Self {
        Self { code, tier, key: Some(key), plugin: None, evidence: String::new() }
    }

    fn is(&self, finding: &Value) -> bool {
        let place = &finding["where"];
        finding["code"] == self.code
            && place["tier"].as_str() == self.tier
            && (self.key.is_none() || place["key"].as_str() == self.key)
            && place["plugin"].as_str() == self.plugin
            && finding["evidence"].as_str().is_some_and(|evidence| evidence.contains(&self.evidence))
    }
}

// === impl Patient ===

impl Patient {
    async fn over(tiers: [String; 2]) -> Self {
        let [faster, slower] = tiers;
        let gateway = Arc::new(Gateway::with().tier(faster).tier(slower).config(CONFIG).start().await);
        for key in DOCUMENTS {
            let reply = gateway.put(key, document(key)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        eventually("the dashboard shows all", async || is_good(&gateway.mobile_data().await).then_some(())).await;
        let done = Arc::new(AtomicBool::new(false));
        let silent: Arc<Mutex<BTreeSet<&'static str>>> = Arc::default();
        let owner = tokio::spawn(renew(gateway.clone(), silent.clone(), done.clone()));
        let reads = Arc::new(AtomicU64::new(0));
        let reader = tokio::spawn(read(gateway.clone(), reads.clone(), done.clone()));
        Self { gateway, done, silent, owner, reader, reads, rows: Vec::new(), written: 0 }
    }

    /// Writes a value of its own, and keeps what is said of it.
    async fn write(&mut self) -> Written {
        self.written += 1;
        let (key, value) = (format!("drill:{}", self.written), format!("{{\"n\": {}}}", self.written));
        let path = format!("/api/cache/{key}?ttl=10m");
        let reply = self.gateway.send(Method::PUT, &path, &[], value.clone().into()).await;
        Written { key, value, reply }
    }

    /// What the doctor says.
    async fn told(&self) -> Value {
        let text = self.gateway.command(&["doctor", "--json"]).await.1;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Waits until the doctor does not say what is expected of a fault that is about to begin.
    async fn before(&self, expected: Expected) -> News {
        eventually(&format!("{} is not told yet", expected.code), async || {
            (!findings(&self.told().await).iter().any(|finding| expected.is(finding))).then_some(())
        })
        .await;
        News(expected)
    }

    /// Waits until the doctor names the fault, while `go_on` goes on doing harm, and the dashboard goes on moving.
    async fn named(&mut self, fault: &'static str, News(expected): &News, mut go_on: impl AsyncFnMut()) {
        let begun = Instant::now();
        let reads = self.reads.load(Ordering::SeqCst);
        let before = self.gateway.mobile_data().await;
        let finding = eventually(fault, async || {
            go_on().await;
            let told = self.told().await;
            let found = findings(&told).iter().find(|finding| expected.is(finding)).cloned();
            if found.is_none() && begun.elapsed() > Duration::from_secs(30) {
                panic!("{fault} is not named {} within 30s; the doctor says {told:#}", expected.code);
            }
            found
        })
        .await;
        let after = begun.elapsed();
        let place =
            ["key", "tier", "plugin"].map(|part| finding["where"][part].as_str().unwrap_or_default().to_owned());
        let place = place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" in ");
        self.rows.push(Row { fault, named: expected.code, place, after });
        // It was read all along, and asserted to be good by the reader; what was renewed since is on it, fault or no fault.
        let silent = self.silent.lock().expect("the list").clone();
        let renewed: Vec<_> = DOCUMENTS.into_iter().filter(|key| !silent.contains(key)).collect();
        eventually(&format!("the dashboard is read, and moves on, under: {fault}"), async || {
            go_on().await;
            assert!(!self.reader.is_finished(), "the dashboard was harmed by: {fault}");
            let now = self.gateway.mobile_data().await;
            let moves = renewed.iter().all(|key| as_of(&now, key) > as_of(&before, key));
            (moves && self.reads.load(Ordering::SeqCst) > reads).then_some(())
        })
        .await;
    }

    /// A producer that writes something wrong again and again until it is named.
    async fn producer(&mut self, fault: &'static str, expected: Expected, mut write: impl AsyncFnMut()) {
        let (before, expected) = (self.write().await, self.before(expected).await);
        self.named(fault, &expected, async || {
            write().await;
            sleep(FAULTY_EVERY).await;
        })
        .await;
        self.is_kept(&before).await;
    }

    /// Waits until every store takes canaries again, nothing waits, and every breaker is closed.
    async fn recovered(&self, from: &str) {
        eventually(&format!("all is well after: {from}"), async || {
            let tiers = self.gateway.admin_get("/api/admin/tiers").await.json();
            let is_closed =
                |tier: &Value| ["read", "write"].iter().all(|side| tier["breakers"][side]["state"] == "closed");
            let lanes = self.gateway.admin_get("/api/admin/recovery").await.json();
            let is_empty = lanes["lanes"].as_array().expect("lanes").iter().all(|lane| lane["depth"] == 0);
            if !is_empty || !tiers["tiers"].as_array().expect("tiers").iter().all(is_closed) {
                return None;
            }
            let report = self.gateway.admin_get("/api/admin/doctor").await.json();
            report["tiers"].as_array().expect("tiers").iter().all(|tier| tier["canary"].is_u64()).then_some(())
        })
        .await;
    }

    /// A reader gets the value.
    async fn is_kept(&self, Written { key, value, .. }: &Written) {
        let read = self.gateway.get(&format!("/api/cache/{key}")).await;
        assert_eq!((read.status.as_u16(), read.text().as_str()), (200, value.as_str()), "{key}");
    }

    /// Every store that was told to have the value, or to get it, has it; of the others the writer was told.
    async fn is_in(&self, written: &Written, memcached: u16, redis: u16) {
        self.is_kept(written).await;
        let Written { key, value, reply } = written;
        let outcomes = [reply.outcome("memcached"), reply.outcome("redis")];
        let is_promised = |outcome: &String| ["stored", "queued"].contains(&outcome.as_str());
        assert!(outcomes.iter().all(is_promised) == matches!(reply.status.as_u16(), 200 | 202), "{}", reply.text());
        if is_promised(&outcomes[0]) {
            let mut client = PlainMemcached::connect(memcached).await;
            eventually(&format!("memcached has {key}"), async || {
                client.get(key).await.filter(|(_, found)| found == value.as_bytes())
            })
            .await;
        }
        if is_promised(&outcomes[1]) {
            let mut client = PlainRedis::connect(redis).await;
            eventually(&format!("Redis has {key}"), async || {
                client.get(key).await.filter(|found| found == value.as_bytes())
            })
            .await;
        }
    }

    /// Ends it; what was named, and when.
    async fn dismissed(self) -> Vec<Row> {
        self.done.store(true, Ordering::SeqCst);
        self.owner.await.expect("the owner");
        self.reader.await.expect("the reader: the dashboard was good all along");
        self.rows
    }
}

/// What the doctor found.
fn findings(told: &Value) -> &[Value] {
    told["findings"].as_array().expect("findings")
}

/// A document as its owner writes it now.
fn document(key: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{key}.json")))
}

/// Whether the dashboard shows the data of the owner, and no zero in its place.
fn is_good(mobile: &Value) -> bool {
    let is_number = |value: &Value| value.as_f64().is_some_and(|number| number > 0.0);
    let scores = mobile["confluence_scores"].as_array().map_or(&[][..], Vec::as_slice);
    mobile["status"] == "success"
        && scores.len() == 20
        && scores.iter().all(|score| is_number(&score["score"]) && is_number(&score["price"]))
        && mobile["top_movers"]["gainers"].as_array().is_some_and(|gainers| !gainers.is_empty())
        && ["overview", "movers", "breadth"].iter().all(|section| mobile["sections"][section]["kind"] == "real")
}

/// Of when the data of a document is on the dashboard.
fn as_of(mobile: &Value, key: &str) -> f64 {
    let section = key.rsplit(':').next().expect("a name");
    let as_of = &mobile["sections"][section]["as_of"];
    as_of.as_f64().unwrap_or_else(|| panic!("no moment of {section} in {mobile:#}"))
}

async fn renew(gateway: Arc<Gateway>, silent: Arc<Mutex<BTreeSet<&'static str>>>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        for key in DOCUMENTS {
            let is_silent = silent.lock().expect("the list").contains(key);
            if !is_silent {
                gateway.put(key, document(key)).await;
            }
        }
        sleep(RENEWED_EVERY).await;
    }
}

async fn read(gateway: Arc<Gateway>, reads: Arc<AtomicU64>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        let reply = gateway.get("/api/dashboard/mobile-data").await;
        let mobile = reply.json();
        assert!(reply.status == 200 && is_good(&mobile), "the dashboard is not good: {mobile:#}");
        reads.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Replaces the first number after `field` in a document.
fn with(document: Vec<u8>, field: &str, value: &str) -> Vec<u8> {
    let text = String::from_utf8(document).expect("text");
    let start = text.find(&format!("\"{field}\": ")).expect("the field") + field.len() + 4;
    let end = start + text[start..].find([',', '}']).expect("its end");
    format!("{}{value}{}", &text[..start], &text[end..]).into_bytes()
}

/// Stores that stop, freeze and restart, then producers and a plugin that do harm.
async fn stores_and_producers() -> Vec<Row> {
    let (mut memcached, mut redis) = (Memcached::start().await, Redis::start().await);
    let ports = (memcached.port(), redis.port());
    let mut patient = Patient::over([memcached.url(), redis.url()]).await;

    let before = patient.write().await;
    let unreachable = patient.before(Expected::at_tier("tier-unreachable", "memcached")).await;
    memcached.kill();
    patient.named("memcached stopped", &unreachable, async || ()).await;
    let during = patient.write().await;
    memcached.restart().await;
    patient.recovered("memcached stopped").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    let before = patient.write().await;
    let silent = patient.before(Expected::at_tier("tier-silent", "memcached")).await;
    memcached.freeze();
    patient.named("memcached frozen", &silent, async || ()).await;
    let during = patient.write().await;
    memcached.thaw();
    patient.recovered("memcached frozen").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    let before = patient.write().await;
    memcached.restart().await;
    let pid = PlainMemcached::connect(ports.0).await.stat("pid").await;
    // Of this server nothing can have been said before.
    let restarted = Expected { evidence: format!("ago: {pid}-"), ..Expected::at_tier("tier-restarted", "memcached") };
    patient.named("memcached restarted empty", &News(restarted), async || ()).await;
    patient.recovered("memcached restarted empty").await;
    patient.is_in(&before, ports.0, ports.1).await;

    let before = patient.write().await;
    let unreachable = patient.before(Expected::at_tier("tier-unreachable", "redis")).await;
    redis.kill();
    patient.named("Redis stopped", &unreachable, async || ()).await;
    let during = patient.write().await;
    redis.restart().await;
    patient.recovered("Redis stopped").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    let before = patient.write().await;
    let silent = patient.before(Expected::at_tier("tier-silent", "redis")).await;
    redis.freeze();
    patient.named("Redis frozen", &silent, async || ()).await;
    let during = patient.write().await;
    redis.thaw();
    patient.recovered("Redis frozen").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    producers(&mut patient, ports).await;
    plugin(&mut patient).await;
    patient.dismissed().await
}

/// Producers that do not go through the gateway, and write what they should not, or nothing.
async fn producers(patient: &mut Patient, (memcached, redis): (u16, u16)) {
    let mut to_memcached = PlainMemcached::connect(memcached).await;
    let mut to_redis = PlainRedis::connect(redis).await;
    let (movers, overview, breadth, signals) =
        ("market:movers", "market:overview", "market:breadth", "analysis:signals");

    let silent = patient.before(Expected::at_key("owner-silent", breadth, None)).await;
    patient.silent.lock().expect("the list").insert(breadth);
    patient.named("a producer stops (5 s is the alarm)", &silent, async || ()).await;
    patient.silent.lock().expect("the list").clear();

    let twice = Expected::at_key("payload-encoded-twice", movers, Some("memcached"));
    patient
        .producer("a producer encodes twice", twice, async || {
            let encoded = serde_json::to_vec(&String::from_utf8(document(movers)).expect("text")).expect("JSON");
            to_memcached.set(movers, &encoded, 0, 60).await;
        })
        .await;
    let not_finite = Expected::at_key("payload-not-finite", overview, Some("redis"));
    patient
        .producer("a producer writes NaN", not_finite, async || {
            to_redis.setex(overview, &with(document(overview), "trend_strength", "NaN"), 60).await;
        })
        .await;
    let pickle = fixture("edge/analysis:signals.pickled.bin");
    patient
        .producer(
            "a producer pickles over a key",
            Expected::at_key("payload-quarantined", signals, Some("memcached")),
            async || to_memcached.set(signals, &pickle, 1, 60).await,
        )
        .await;
    let placeholder = fixture("warmer/fallback_placeholders/market:breadth.json");
    patient
        .producer(
            "a producer writes placeholders",
            Expected::at_key("placeholder-over-data", breadth, Some("redis")),
            async || to_redis.setex(breadth, &placeholder, 60).await,
        )
        .await;
    patient
        .producer(
            "a producer writes with TTL 0",
            Expected::at_key("life-endless", movers, Some("memcached")),
            async || to_memcached.set(movers, &document(movers), 0, 0).await,
        )
        .await;
    // What vanished when stores were restarted is told still; of this key nothing is.
    let (vanishing, path) = ("drill:vanishing", "/api/cache/drill:vanishing?ttl=10m");
    let gateway = patient.gateway.clone();
    assert_eq!(gateway.send(Method::PUT, path, &[], "0".into()).await.status, 200);
    patient
        .producer(
            "a producer writes with TTL 31 days, memcached",
            Expected::at_key("value-vanished", vanishing, Some("memcached")),
            async || {
                to_memcached.set(vanishing, b"1", 0, 31 * 24 * 3600).await;
                gateway.get("/api/cache/drill:vanishing").await;
            },
        )
        .await;
    patient
        .producer(
            "a producer writes with TTL 31 days, Redis",
            Expected::at_key("life-too-long", movers, Some("redis")),
            async || to_redis.setex(movers, &document(movers), 31 * 24 * 3600).await,
        )
        .await;
    patient
        .producer(
            "a producer's clock is 10 minutes ahead",
            Expected::at_key("clock-ahead", movers, Some("redis")),
            async || {
                let ahead = with(document(movers), "timestamp", &(now_seconds() + 600.0).to_string());
                to_redis.setex(movers, &ahead, 60).await;
            },
        )
        .await;
    let old = fixture("legacy_writer/market:overview.json");
    patient
        .producer(
            "a second writer with the old shape",
            Expected::at_key("second-writer", overview, Some("memcached")),
            async || to_memcached.set(overview, &old, 0, 60).await,
        )
        .await;
}

/// A plugin that traps.
async fn plugin(patient: &mut Patient) {
    let step = async |gateway: &Gateway, path: &str, body: Bytes| {
        let reply = gateway.admin_send(Method::POST, &format!("/api/admin/plugins/binance/{path}"), body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    let gateway = patient.gateway.clone();
    let traps = Expected {
        plugin: Some("binance"),
        tier: None,
        evidence: "trap".to_owned(),
        ..Expected::at_tier("plugin-failing", "")
    };
    let (before, traps) = (patient.write().await, patient.before(traps).await);
    step(&gateway, "load", hostile("trap-every-third-call").into()).await;
    step(&gateway, "use?fresh=true", Bytes::new()).await;
    let mut told = BTreeSet::new();
    patient
        .named("a plugin traps", &traps, async || {
            for n in 0..3 {
                told.insert(gateway.put(&format!("hostile:{n}!"), "{}").await.status.as_u16());
            }
        })
        .await;
    assert!(told.contains(&503), "whoever wrote when it trapped was told: {told:?}");
    step(&gateway, "load", Bytes::from_static(built_in("binance").expect("a built-in plugin"))).await;
    step(&gateway, "use?fresh=true", Bytes::new()).await;
    patient.is_kept(&before).await;
}

/// Stores behind a network, that are slow, full, too small, locked, cut off, or others than before.
async fn stores_behind_a_network() -> Vec<Row> {
    let memcached = Memcached::with().args(["-m", "8"]).start().await;
    let small = Memcached::with().args(["-I", "512k"]).start().await;
    let (redis, other) = (Redis::start().await, Redis::start().await);
    let (way_to_memcached, way_to_redis) = (Proxy::start(memcached.port()).await, Proxy::start(redis.port()).await);
    let tiers =
        [format!("memcached://{}", way_to_memcached.address()), format!("redis://{}/0", way_to_redis.address())];
    let ports = (memcached.port(), redis.port());
    let mut patient = Patient::over(tiers).await;
    let mut to_redis = PlainRedis::connect(redis.port()).await;

    let before = patient.write().await;
    let slow = patient.before(Expected::at_tier("tier-slow", "memcached")).await;
    way_to_memcached.becomes(Line::Slow(Duration::from_millis(200)));
    patient.named("memcached slow by 200 ms", &slow, async || ()).await;
    let during = patient.write().await;
    way_to_memcached.becomes(Line::Good);
    patient.recovered("memcached slow").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    let mut filler = PlainMemcached::connect(memcached.port()).await;
    let (large, mut n) = (vec![b'x'; 100_000], 0);
    let evicts = patient.before(Expected::at_tier("tier-evicts", "memcached")).await;
    patient
        .named("memcached full", &evicts, async || {
            for _ in 0..100 {
                n += 1;
                filler.set(&format!("filler:{n}"), &large, 0, 0).await;
            }
        })
        .await;
    let during = patient.write().await;
    // What it has dropped may be what was just written; the gateway and Redis have it.
    patient.is_kept(&during).await;
    eventually("Redis has it", async || {
        (to_redis.get(&during.key).await.as_deref() == Some(during.value.as_bytes())).then_some(())
    })
    .await;

    let before = patient.write().await;
    let put =
        async |gateway: &Gateway, fill: &str| gateway.put("drill:large", format!("\"{}\"", fill.repeat(700_000))).await;
    eventually("both take a large value", async || (put(&patient.gateway, "x").await.status == 200).then_some(()))
        .await;
    let too_small = patient.before(Expected::at_key("item-limit-too-small", "drill:large", Some("memcached"))).await;
    way_to_memcached.lead_to(small.port());
    patient.named("memcached with too small an item limit", &too_small, async || ()).await;
    eventually("memcached alone does not take it", async || {
        let large = put(&patient.gateway, "y").await;
        (large.outcome("memcached") == "rejected" && large.outcome("redis") == "stored").then_some(())
    })
    .await;
    assert!(
        patient.gateway.get("/api/cache/drill:large").await.text().starts_with("\"y"),
        "readers have it all the same"
    );
    let during = patient.write().await;
    patient.is_in(&during, small.port(), ports.1).await;
    way_to_memcached.lead_to(memcached.port());
    patient.recovered("memcached with too small an item limit").await;
    for written in [&before, &during] {
        patient.is_kept(written).await;
    }

    let before = patient.write().await;
    let full = patient.before(Expected::at_tier("tier-full", "redis")).await;
    to_redis.set_config("maxmemory-policy", "noeviction").await;
    to_redis.set_config("maxmemory", "1mb").await;
    patient.named("Redis full, noeviction", &full, async || ()).await;
    let during = patient.write().await;
    to_redis.set_config("maxmemory", "0").await;
    patient.recovered("Redis full").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    let before = patient.write().await;
    let refused = patient.before(Expected::at_tier("tier-login-refused", "redis")).await;
    to_redis.set_config("requirepass", "another").await;
    to_redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    patient.named("Redis with another password", &refused, async || ()).await;
    let during = patient.write().await;
    to_redis.set_config("requirepass", "").await;
    patient.recovered("Redis with another password").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }

    let before = patient.write().await;
    eventually("another value is stored", async || {
        (patient.gateway.put("drill:elsewhere", "0").await.status == 200).then_some(())
    })
    .await;
    let missed = patient.before(Expected::at_tier("changes-missed", "redis")).await;
    // Nothing else is denied: Redis takes and gives as before.
    to_redis.allow("-xread").await;
    patient.named("a gateway cut off from the stream", &missed, async || ()).await;
    let is_cut_off = |finding: &Value| {
        let is_outage = ["tier-unreachable", "tier-silent", "tier-refuses", "breaker-open", "write-not-verified"];
        finding["where"]["tier"] == "redis" && is_outage.contains(&finding["code"].as_str().unwrap_or_default())
    };
    eventually("the stream alone is cut off", async || {
        (!findings(&patient.told().await).iter().any(is_cut_off)).then_some(())
    })
    .await;
    let during = eventually("Redis takes what is written", async || {
        let during = patient.write().await;
        (during.reply.outcome("redis") == "stored").then_some(during)
    })
    .await;
    let path = "/api/cache/drill:elsewhere";
    to_redis.setex("drill:elsewhere", b"1", 600).await;
    to_redis.allow("+xread").await;
    patient.recovered("a gateway cut off from the stream").await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, ports.1).await;
    }
    eventually("what others wrote meanwhile is seen", async || {
        (patient.gateway.get(path).await.text() == "1").then_some(())
    })
    .await;

    let before = patient.write().await;
    let replaced = patient.before(Expected::at_tier("tier-replaced", "redis")).await;
    way_to_redis.lead_to(other.port());
    patient.named("Redis replaced by an empty one", &replaced, async || ()).await;
    let during = patient.write().await;
    for written in [&before, &during] {
        patient.is_in(written, ports.0, other.port()).await;
    }
    way_to_redis.lead_to(redis.port());
    patient.recovered("Redis replaced").await;
    patient.is_in(&during, ports.0, ports.1).await;
    patient.dismissed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_named_with_its_place_and_neither_harms_the_dashboard_nor_loses_a_write() {
    let (mut rows, behind) = tokio::join!(stores_and_producers(), stores_behind_a_network());
    rows.extend(behind);
    println!("{:<48} | {:<24} | {:<32} | after", "fault", "named as", "where");
    for Row { fault, named, place, after } in &rows {
        println!("{fault:<48} | {named:<24} | {place:<32} | {:.1} s", after.as_secs_f64());
    }
    let slowest = rows.iter().max_by_key(|row| row.after).expect("a fault");
    let (faults, seconds) = (rows.len(), slowest.after.as_secs_f64());
    println!("{faults} faults, each named with its place; the slowest after {seconds:.1} s: {}", slowest.fault);
    assert!(faults >= 20, "{faults} faults");
}
