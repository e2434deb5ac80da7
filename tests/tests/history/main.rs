//! A recorded history of reads and writes while things go wrong, and a checker of what must never happen in it.
//!
//! What goes wrong follows from a seed, which a failure names. `HISTORY_SEED` repeats it, and
//! `HISTORY_SECONDS` makes it longer, and strict about how soon all agree after a fault:
//! `HISTORY_SECONDS=1800 cargo test --locked --workspace --test history -- --nocapture whatever_breaks`.

mod checker;
mod plan;
mod world;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::json;
use tiergate_tests::{Gateway, Memcached, eventually, now_seconds};
use tokio::sync::Mutex;
use tokio::time::sleep;

use checker::{Broken, History, Read, Seen, Write};
use plan::{Fault, dice, millis};
use world::World;

/// How long things go wrong in an ordinary run of the tests.
const SPAN: Duration = Duration::from_secs(20);

/// The bound within which all agree once a fault has ended. A run of the tests has others beside it and waits longer; one by
/// hand, of `HISTORY_SECONDS`, is held to it.
const AGREE_WITHIN: Duration = Duration::from_secs(2);

/// So often, and after each fault that is a refusal, nobody writes once the fault has ended, and all must come to agree.
const FAULTS_BETWEEN_SETTLINGS: usize = 5;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_every_promise_whatever_breaks() {
    let seed = number("HISTORY_SEED").unwrap_or_else(|| now_seconds() as u64);
    let span = number("HISTORY_SECONDS").map_or(SPAN, Duration::from_secs);
    eprintln!("HISTORY_SEED={seed}");
    let world = World::start(seed).await;
    let crowd = world.crowd();
    let begun = Instant::now();
    let mut faults = 0;
    let mut settled = Vec::new();
    for step in plan::steps(seed) {
        if begun.elapsed() >= span {
            break;
        }
        eprintln!("{:6.1} s: {:?} for {:?}", begun.elapsed().as_secs_f64(), step.fault, step.lasts);
        world.suffer(&step).await;
        faults += 1;
        // Nothing but a try tells that a store takes again which refused.
        if faults % FAULTS_BETWEEN_SETTLINGS == 0 || matches!(step.fault, Fault::FullRedis) {
            settled.push((world.settle().await, format!("{:?}", step.fault)));
        } else {
            sleep(step.rest).await;
        }
    }
    settled.push((world.end(crowd).await, "the end".to_owned()));
    settled.sort();
    let history = world.history.lock().await;
    let [writes, deletes, reads] = [history.writes.len(), history.deletes.len(), history.reads.len()];
    eprintln!("{faults} faults, {writes} writes, {deletes} deletes, {reads} reads");
    let [(median, _), (longest, fault)] = [&settled[settled.len() / 2], &settled[settled.len() - 1]];
    let times = settled.len();
    eprintln!("all agreed {times} times, after {median:.2?} in the median and {longest:.2?} at the longest ({fault})");
    for (outcome, times) in &*world.outcomes.lock().await {
        eprintln!("  {outcome}: {times}");
    }
    let broken = history.check();
    let shown: Vec<_> = broken.iter().take(20).map(ToString::to_string).collect();
    assert!(broken.is_empty(), "seed {seed}: {} rules broken:\n{}", broken.len(), shown.join("\n"));
    let by_hand = number("HISTORY_SECONDS").is_some();
    assert!(!by_hand || *longest <= AGREE_WITHIN, "seed {seed}: all agreed after {longest:?} only ({fault})");
    assert!(writes > 100 && deletes > 10 && reads > 100, "hardly anything happened");
}

/// Eight writers that use plain `set`, as the programs before this gateway did, and one reader.
#[tokio::test]
async fn plain_sets_are_caught_by_the_same_checker() {
    let memcached = Memcached::start().await;
    let port = memcached.port();
    let (history, over) = (Arc::new(Mutex::new(History::default())), Arc::new(AtomicBool::new(false)));
    let writers = (0..8).map(|who| {
        let (history, over) = (history.clone(), over.clone());
        tokio::spawn(async move {
            let mut dice = dice(7, who);
            while !over.load(SeqCst) {
                let value = Seen { real: true, version: (now_seconds() * 1e6) as u64 / 16 * 16 + who };
                // The same way that writes have to a gateway.
                sleep(millis(&mut dice, 0..4)).await;
                let payload = json!({ "version": value.version }).to_string();
                world::foreign_set(0, port, &world::key(0), payload.as_bytes()).await.expect("it is stored");
                history.lock().await.writes.push(Write { key: 0, value, begun: 0, stored: vec!["memcached"] });
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..2_000 {
        let value = world::foreign_get(0, port, &world::key(0)).await;
        history.lock().await.reads.push(Read { session: "reader".to_owned(), key: 0, value });
        sleep(Duration::from_millis(1)).await;
    }
    over.store(true, SeqCst);
    for writer in writers {
        writer.await.expect("it ends");
    }
    let broken = history.lock().await.check();
    assert!(broken.iter().any(|broken| matches!(broken, Broken::WentBack(_))), "nothing was noticed");
}

#[tokio::test]
async fn what_was_stored_on_disk_is_there_after_every_kill() {
    let seed = number("HISTORY_SEED").unwrap_or_else(|| now_seconds() as u64);
    let mut dice = dice(seed, 1);
    let mut gateway = Gateway::with().without_tasks().start().await;
    let mut greatest = [None; world::KEYS];
    for kill in 0..8 {
        let dies_at = Instant::now() + millis(&mut dice, 50..600);
        let writing = async {
            let mut stored = greatest;
            loop {
                let writes = (0..world::KEYS).map(|key| {
                    let (gateway, version) = (&gateway, (now_seconds() * 1e6) as u64);
                    async move {
                        let payload = json!({ "timestamp": version as f64 / 1e6, "version": version });
                        let reply = gateway.put(&world::key(key), payload.to_string()).await;
                        // What a slow disk had not stored in time waits for it, and is not promised to be there.
                        let outcome = reply.outcome("disk");
                        assert!(["stored", "queued"].contains(&&*outcome), "{}", reply.text());
                        (outcome == "stored").then_some(version)
                    }
                });
                let written = futures_util::future::join_all(writes).await;
                stored.iter_mut().zip(written).for_each(|(stored, new)| *stored = new.or(*stored));
                if Instant::now() >= dies_at && stored.iter().all(Option::is_some) {
                    return stored;
                }
            }
        };
        greatest = writing.await;
        // More are under way when it dies; nobody was told what became of those.
        let under_way = (0..world::KEYS).map(|key| {
            let payload = json!({ "timestamp": now_seconds(), "version": (now_seconds() * 1e6) as u64 }).to_string();
            let path = format!("/api/cache/{}", world::key(key).replace(':', "%3A"));
            let gateway = &gateway;
            async move { gateway.try_send(hyper::Method::PUT, &path, payload.into()).await }
        });
        let dies = async {
            sleep(millis(&mut dice, 0..5)).await;
            gateway.signal("KILL");
        };
        tokio::join!(futures_util::future::join_all(under_way), dies);
        gateway = gateway.kill().start().await;
        for (key, stored) in greatest.iter().enumerate() {
            let path = format!("/api/cache/{}", world::key(key));
            let reply = eventually("the disk is read", async || {
                Some(gateway.get(&path).await).filter(|reply| reply.status != 503)
            })
            .await;
            let found = reply.json()["version"].as_u64();
            assert!(found >= *stored, "seed {seed}, kill {kill}, key {key}: {found:?} after {stored:?}");
        }
    }
}
