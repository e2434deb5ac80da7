//! Three gateways over both stores, and those who write and read while things go wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate_tests::{Gateway, Line, Memcached, PlainMemcached, PlainRedis, Proxy, Redis, eventually, now_seconds};
use tokio::sync::{Mutex, RwLock};
use tokio::time::{sleep, timeout};

use crate::checker::{Broken, Delete, History, Moment, Read, Seen, Write};
use crate::plan::{Fault, GATEWAYS, STORES, Step, dice, millis};

/// Keys that are written and read.
pub const KEYS: usize = 6;

/// Keys besides that are deleted, too. Only gateways write them, and only real data.
const DELETED_KEYS: usize = 2;

/// Writers through the gateways.
const WRITERS: u64 = 8;

/// How long a gateway's memory answers before it asks the stores again. No codec claims these keys, so that nobody tells it of
/// plain sets.
const LIVES: &str = "ttl = [{ pattern = \"app:history:*\", memory = \"1s\" }]";

/// The default. What comes after a delete counts as late for twice as long, and as set anew from then on.
const DEADLINE: &str = "[cache]\ndeadline = \"250ms\"";

/// A foreign client gives up after this long.
const FOREIGN_PATIENCE: Duration = Duration::from_secs(5);

/// Who does not agree with the others after this long is not waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What it writes lives longer than any run.
const FOREIGN_TTL_SECONDS: u32 = 3_600;

/// What is done and what is seen, shared by all who take part.
pub struct World {
    seed: u64,
    begun: Instant,
    memcached: Mutex<Memcached>,
    redis: Mutex<Redis>,
    /// The ports of the stores.
    ports: [u16; STORES.len()],
    /// Between the gateways and each store.
    lines: [Proxy; STORES.len()],
    gateways: [RwLock<Arc<Gateway>>; GATEWAYS],
    /// How often each gateway was started.
    lives: [AtomicU64; GATEWAYS],
    /// Whoever writes holds it for reading.
    turns: RwLock<()>,
    over: AtomicBool,
    pub history: Mutex<History>,
    /// Writes that were answered `queued`, since all was last well.
    queued: Mutex<BTreeMap<(usize, usize), Vec<Queued>>>,
    /// Answers to writes by outcome, and what was not answered.
    pub outcomes: Mutex<BTreeMap<String, u64>>,
}

/// A write of a key through a gateway that waits for a store.
struct Queued {
    /// Of the gateway.
    life: u64,
    version: u64,
    store: &'static str,
}

pub fn key(number: usize) -> String {
    format!("app:history:{number}")
}

/// A payload of this version by `who`.
fn payload(value: Seen, who: &str) -> Bytes {
    let timestamp = value.version as f64 / 1e6;
    let mut payload = json!({ "timestamp": timestamp, "version": value.version, "by": who });
    if !value.real {
        payload["status"] = json!("cache_warmer_generated");
    }
    payload.to_string().into()
}

fn seen(payload: &[u8]) -> Option<Seen> {
    let payload: Value = serde_json::from_slice(payload).expect("what is stored is JSON");
    Some(Seen { real: payload["status"].is_null(), version: payload["version"].as_u64()? })
}

/// Microseconds since 1970.
fn micros() -> u64 {
    (now_seconds() * 1e6) as u64
}

/// A version of its own for each: its time, with the last digits telling who made it.
fn version(who: u64) -> u64 {
    micros() / 16 * 16 + who
}

impl World {
    pub async fn start(seed: u64) -> Arc<Self> {
        let (memcached, redis) = (Memcached::start().await, Redis::start().await);
        let ports = [memcached.port(), redis.port()];
        let lines = [Proxy::start(ports[0]).await, Proxy::start(ports[1]).await];
        let tiers = [format!("memcached://{}", lines[0].address()), format!("redis://{}/0", lines[1].address())];
        let start = async || {
            let [memcached, redis] = tiers.clone();
            let starting = Gateway::with().tier(memcached).tier(redis).config(LIVES).config(DEADLINE).without_tasks();
            RwLock::new(Arc::new(starting.start().await))
        };
        Arc::new(Self {
            seed,
            begun: Instant::now(),
            gateways: [start().await, start().await, start().await],
            memcached: Mutex::new(memcached),
            redis: Mutex::new(redis),
            ports,
            lines,
            lives: Default::default(),
            turns: RwLock::default(),
            over: AtomicBool::new(false),
            history: Mutex::default(),
            queued: Mutex::default(),
            outcomes: Mutex::default(),
        })
    }

    fn now(&self) -> Moment {
        self.begun.elapsed().as_micros() as Moment
    }

    async fn gateway(&self, at: usize) -> Arc<Gateway> {
        self.gateways[at].read().await.clone()
    }

    async fn count(&self, what: &str) {
        *self.outcomes.lock().await.entry(what.to_owned()).or_default() += 1;
    }

    /// Writers, readers and foreigners, until it is over.
    pub fn crowd(self: &Arc<Self>) -> Vec<tokio::task::JoinHandle<()>> {
        let mut crowd: Vec<_> = (0..WRITERS).map(|who| tokio::spawn(self.clone().write(who))).collect();
        crowd.extend((0..GATEWAYS).map(|at| tokio::spawn(self.clone().read(at))));
        crowd.extend((0..STORES.len()).map(|store| tokio::spawn(self.clone().write_beside(store))));
        crowd
    }

    async fn write(self: Arc<Self>, who: u64) {
        let mut dice = dice(self.seed, who);
        while !self.over.load(SeqCst) {
            let _turn = self.turns.read().await;
            let key = dice.usize(..KEYS + DELETED_KEYS);
            let at = who as usize % GATEWAYS;
            let (gateway, life) = (self.gateway(at).await, self.lives[at].load(SeqCst));
            if key >= KEYS && dice.u64(..8) == 0 {
                self.delete(&gateway, key).await;
                continue;
            }
            // One in twenty is a placeholder.
            let value = Seen { real: key >= KEYS || dice.u64(..20) > 0, version: version(who) };
            // Writes pass each other on the way.
            sleep(millis(&mut dice, 0..4)).await;
            let begun = self.now();
            let path = format!("/api/cache/{}?ttl=1h", key_path(key));
            let body = payload(value, &format!("writer {who}"));
            let Some(reply) = gateway.try_send(Method::PUT, &path, body).await else {
                self.count("no answer").await;
                sleep(millis(&mut dice, 5..20)).await;
                continue;
            };
            let stored: Vec<_> = STORES.into_iter().filter(|store| reply.outcome(store) == "stored").collect();
            for store in STORES {
                self.count(&format!("{store} {}", reply.outcome(store))).await;
                if reply.outcome(store) == "queued" {
                    let queued = Queued { life, version: value.version, store };
                    self.queued.lock().await.entry((at, key)).or_default().push(queued);
                }
            }
            self.history.lock().await.writes.push(Write { key, value, begun, stored });
        }
    }

    async fn delete(&self, gateway: &Gateway, key: usize) {
        let certainly = micros();
        let reply = gateway.try_send(Method::DELETE, &format!("/api/cache/{}", key_path(key)), Bytes::new()).await;
        let is_promised = |reply: &tiergate_tests::Reply| {
            STORES.into_iter().all(|store| ["deleted", "absent", "queued"].contains(&reply.outcome(store).as_str()))
        };
        let promised = reply.as_ref().is_some_and(is_promised);
        self.count(if promised { "delete promised" } else { "delete not promised" }).await;
        self.history.lock().await.deletes.push(Delete { key, certainly, at_most: micros(), promised });
    }

    /// What an existing program does: plain `set`, in one store only.
    async fn write_beside(self: Arc<Self>, store: usize) {
        let who = WRITERS + store as u64;
        let mut dice = dice(self.seed, who);
        while !self.over.load(SeqCst) {
            sleep(millis(&mut dice, 20..60)).await;
            let _turn = self.turns.read().await;
            let key = dice.usize(..KEYS);
            let value = Seen { real: true, version: version(who) };
            let begun = self.now();
            let body = payload(value, &format!("foreigner in {}", STORES[store]));
            let name = self::key(key);
            let set = foreign_set(store, self.ports[store], &name, &body);
            if timeout(FOREIGN_PATIENCE, set).await.is_ok_and(|set| set.is_some()) {
                self.count(&format!("{} foreign", STORES[store])).await;
                self.history.lock().await.writes.push(Write { key, value, begun, stored: vec![STORES[store]] });
            }
        }
    }

    async fn read(self: Arc<Self>, at: usize) {
        let mut dice = dice(self.seed, 100 + at as u64);
        while !self.over.load(SeqCst) {
            let life = self.lives[at].load(SeqCst);
            let gateway = self.gateway(at).await;
            let key = dice.usize(..KEYS + DELETED_KEYS);
            if let Some(value) = value_at(&gateway, key).await
                // What was asked of one life and answered in another belongs to none.
                && self.lives[at].load(SeqCst) == life
            {
                let session = format!("gateway {at}, life {life}");
                self.history.lock().await.reads.push(Read { session, key, value });
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets something go wrong, and mends it.
    pub async fn suffer(&self, step: &Step) {
        match step.fault {
            Fault::FrozenStore(store) => {
                self.signal_store(store, true).await;
                sleep(step.lasts).await;
                self.signal_store(store, false).await;
            }
            Fault::EmptiedStore(store) => {
                match store {
                    0 => self.memcached.lock().await.kill(),
                    _ => self.redis.lock().await.kill(),
                }
                sleep(step.lasts).await;
                match store {
                    0 => self.memcached.lock().await.restart().await,
                    _ => self.redis.lock().await.restart().await,
                }
                self.history.lock().await.emptied.push((STORES[store], self.now()));
            }
            Fault::FullRedis => {
                let mut redis = PlainRedis::connect(self.ports[1]).await;
                redis.set_config("maxmemory", "1").await;
                sleep(step.lasts).await;
                redis.set_config("maxmemory", "0").await;
            }
            Fault::Line(store, line) => {
                self.lines[store].becomes(line);
                sleep(step.lasts).await;
                self.lines[store].becomes(Line::Good);
            }
            Fault::KilledGateway(at) => {
                let gateway = self.gateway(at).await;
                let starting = gateway.starting();
                gateway.signal("KILL");
                self.lives[at].fetch_add(1, SeqCst);
                sleep(step.lasts).await;
                *self.gateways[at].write().await = Arc::new(starting.start().await);
                self.lives[at].fetch_add(1, SeqCst);
            }
            Fault::FrozenGateway(at) => {
                let gateway = self.gateway(at).await;
                gateway.signal("STOP");
                sleep(step.lasts).await;
                gateway.signal("CONT");
            }
        }
    }

    async fn signal_store(&self, store: usize, stop: bool) {
        match (store, stop) {
            (0, true) => self.memcached.lock().await.freeze(),
            (0, false) => self.memcached.lock().await.thaw(),
            (_, true) => self.redis.lock().await.freeze(),
            (_, false) => self.redis.lock().await.thaw(),
        }
    }

    /// Ends the crowd, and writes down what everybody holds in the end.
    pub async fn end(&self, crowd: Vec<tokio::task::JoinHandle<()>>) -> Duration {
        self.over.store(true, SeqCst);
        for one in crowd {
            one.await.expect("nobody in the crowd has panicked");
        }
        self.settle().await
    }

    /// While nobody writes, waits until nothing waits for a store any more and all agree; says how long that took. Where they
    /// do not agree in the end, the checker says who; this only gives them time.
    pub async fn settle(&self) -> Duration {
        let since = Instant::now();
        let _all_turns = self.turns.write().await;
        for at in 0..GATEWAYS {
            let gateway = self.gateway(at).await;
            eventually("what waited for stores has ended", async || {
                let lanes = gateway.admin_get("/api/admin/recovery").await.json();
                let depths = lanes["lanes"].as_array().expect("lanes").iter().map(|lane| lane["depth"].as_u64());
                depths.into_iter().all(|depth| depth == Some(0)).then_some(())
            })
            .await;
        }
        let took = loop {
            let last = self.look().await;
            let mut history = self.history.lock().await;
            history.last = last;
            let broken = history.check_last();
            if broken.is_empty() {
                break since.elapsed();
            }
            if since.elapsed() > SETTLED_WITHIN {
                history.broken.extend(broken);
                break since.elapsed();
            }
            drop(history);
            sleep(Duration::from_millis(50)).await;
        };
        self.check_ends().await;
        self.check_reasons().await;
        took
    }

    /// Whatever came to wait in a gateway has ended, once, when nothing waits any more.
    async fn check_ends(&self) {
        for at in 0..GATEWAYS {
            let gateway = self.gateway(at).await;
            let times = async |outcomes: &[&str]| gateway.metric("tiergate_recovery_total", outcomes).await;
            let (all, refused) = (times(&[]).await, times(&["overflow"]).await);
            let came = times(&["queued"]).await + times(&["taken_up"]).await;
            let ended = all - refused - came;
            if came != ended {
                let how = format!("gateway {at}: {came} came to wait, {ended} ended");
                self.history.lock().await.broken.push(Broken::Unended(how));
            }
        }
    }

    /// Of whatever was told that it waits, and is remembered, is told how it ended, and why.
    async fn check_reasons(&self) {
        let queued = std::mem::take(&mut *self.queued.lock().await);
        for ((at, key), queued) in queued {
            let life = self.lives[at].load(SeqCst);
            let path = format!("/api/admin/explain/{}", key_path(key));
            let explained = self.gateway(at).await.admin_get(&path).await.json();
            for written in explained["writes"].as_array().expect("writes") {
                if written["from"] != "api" {
                    continue;
                }
                let is_it = |one: &Queued| one.life == life && written["write"]["version"] == one.version;
                let waited = |store: &str| queued.iter().any(|one| one.store == store && is_it(one));
                for (store, told) in written["tiers"].as_object().expect("tiers") {
                    let is_open = told["outcome"] == "queued" || told["reason"].is_null() && waited(store);
                    if is_open {
                        let how = format!("gateway {at}, key {key}: {written}");
                        self.history.lock().await.broken.push(Broken::Unended(how));
                    }
                    if waited(store) {
                        self.count("queued, and told how it ended").await;
                    }
                }
            }
        }
    }

    async fn look(&self) -> Vec<(String, usize, Option<Seen>)> {
        let mut last = Vec::new();
        for key in 0..KEYS + DELETED_KEYS {
            for at in 0..GATEWAYS {
                let value = value_at(&*self.gateway(at).await, key).await.expect("the gateway answers");
                last.push((format!("gateway {at}"), key, value));
            }
            for (store, port) in self.ports.into_iter().enumerate() {
                let value = foreign_get(store, port, &self::key(key)).await;
                last.push((STORES[store].to_owned(), key, value));
            }
        }
        last
    }
}

fn key_path(number: usize) -> String {
    key(number).replace(':', "%3A")
}

/// What a gateway answers for a key; `None` when it does not answer.
async fn value_at(gateway: &Gateway, key: usize) -> Option<Option<Seen>> {
    let reply = gateway.try_send(Method::GET, &format!("/api/cache/{}", key_path(key)), Bytes::new()).await?;
    Some(if reply.status == 200 { seen(&reply.body) } else { None })
}

/// A plain `set` as other programs send it; `None` when it was not confirmed.
pub async fn foreign_set(store: usize, port: u16, key: &str, value: &[u8]) -> Option<()> {
    if store == 0 {
        let mut memcached = PlainMemcached::try_connect(port).await.ok()?;
        let answer = memcached.try_set(key, value, 0, FOREIGN_TTL_SECONDS).await.ok()?;
        (answer == "STORED").then_some(())
    } else {
        let mut redis = PlainRedis::try_connect(port).await.ok()?;
        redis.try_setex(key, value, FOREIGN_TTL_SECONDS.into()).await.ok()
    }
}

/// A plain `get`.
pub async fn foreign_get(store: usize, port: u16, key: &str) -> Option<Seen> {
    let value = if store == 0 {
        PlainMemcached::connect(port).await.get(key).await.map(|(_, value)| value)
    } else {
        PlainRedis::connect(port).await.get(key).await
    };
    seen(&value?)
}
