//! Incidents of stores that hang, of processes that never came up, of memory, and of packaging, each under its number.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tiergate::plugin::{Config, built_in};
use tiergate::record::{Digest, Key, Kind, Origin, Record, Repair, Time, Version, WriteOutcome};
use tiergate::tier::{Memory, memory};
use tiergate_tests::{
    Deployment, Gateway, Memcached, NO_TASKS, PATIENCE, PlainMemcached, Reply, binary, eventually, fixture,
    moved_to_now,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The documents that the aggregator publishes.
const DOCUMENTS: usize = 4;

/// So long that whoever waits for a store does not come back within a test's patience.
const WAITS_FOR_EVER: &str = "[cache]\ndeadline = \"60s\"";

fn signal(symbol: &str) -> String {
    json!({ "symbol": symbol, "confluence_score": 60, "price": 10, "change_24h": 1.5 }).to_string()
}

/// Posts one signal for each of `count` symbols, each in a request of its own, all at once.
fn post_at_once(gateway: &Arc<Gateway>, count: usize) -> JoinSet<Reply> {
    let mut posts = JoinSet::new();
    for n in 0..count {
        let gateway = gateway.clone();
        posts.spawn(async move { gateway.ingest(signal(&format!("S{n}USDT"))).await });
    }
    posts
}

#[tokio::test]
async fn b23_signals_are_taken_while_both_stores_hang_and_no_symbol_waits_for_another() {
    const SYMBOLS: usize = 50;
    let all = Deployment::with(&format!("{WAITS_FOR_EVER}\n{NO_TASKS}")).await;
    all.freeze();
    let gateway = Arc::new(all.gateway);
    let posts = post_at_once(&gateway, SYMBOLS);
    eventually("all signals are taken", async || {
        (gateway.metric("tiergate_signals_total", &["accepted"]).await == SYMBOLS as f64).then_some(())
    })
    .await;
    assert_eq!(gateway.metric("tiergate_writes_total", &[]).await, 0.0, "no store has answered anything yet");
    all.memcached.thaw();
    all.redis.thaw();
    for reply in posts.join_all().await {
        assert_eq!(reply.json()["accepted"], 1, "{}", reply.text());
    }
    eventually("all symbols are shown", async || {
        (gateway.mobile_data().await["confluence_scores"].as_array()?.len() == SYMBOLS).then_some(())
    })
    .await;
    // What came while the stores hung went out together.
    let writes = gateway.metric("tiergate_writes_total", &["\"memcached\""]).await;
    assert!(writes <= (4 * DOCUMENTS) as f64, "{writes} writes for {SYMBOLS} symbols");
}

#[tokio::test]
async fn b24_no_reader_of_the_dashboard_waits_for_a_store() {
    // Neither has a feed: once one is silent, memory is not sure of what it holds, and whoever reads a key waits for a look.
    let stores = [Memcached::start().await, Memcached::start().await];
    let starting = stores.iter().fold(Gateway::with(), |starting, store| starting.tier(store.url()));
    let gateway = starting.config(WAITS_FOR_EVER).start().await;
    assert_eq!(gateway.ingest(signal("BTCUSDT")).await.status, 200);
    eventually("the signal", async || {
        (gateway.mobile_data().await["confluence_scores"][0]["symbol"] == "BTCUSDT").then_some(())
    })
    .await;
    stores.iter().for_each(Memcached::freeze);
    let read_on = async {
        for n in 0..200 {
            let reply = gateway.get("/api/dashboard/mobile-data").await;
            assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("success")), "request {n}");
        }
        for view in ["overview", "symbols", "signals", "opportunities", "market-overview", "symbols?limit=7"] {
            assert_eq!(gateway.get(&format!("/api/dashboard/{view}")).await.status, 200, "{view}");
        }
        // Memory is due to ask the stores again, and answers meanwhile.
        let mut revalidating = false;
        while !revalidating {
            let reply = gateway.get("/api/cache/analysis:signals").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            revalidating = reply.header("cache-status").contains("revalidating");
        }
        for path in ["/healthz", "/readyz", "/mobile"] {
            assert_eq!(gateway.get(path).await.status, 200, "{path}");
        }
    };
    timeout(PATIENCE, read_on).await.expect("nobody waits for a store that hangs");
}

#[tokio::test]
async fn b53_a_burst_of_signals_costs_each_document_one_write_in_each_span() {
    const SYMBOLS: usize = 200;
    let memcached = Memcached::start().await;
    let gateway = Gateway::with()
        .tier(memcached.url())
        .config("[market]\ncoalesce = \"1s\"\n[cache]\ndeadline = \"1s\"\nverify_every = \"60s\"")
        .without_tasks()
        .start()
        .await;
    let gateway = Arc::new(gateway);
    let mut client = PlainMemcached::connect(memcached.port()).await;
    let before = eventually("the canary is written", async || {
        let sets = client.stat("cmd_set").await;
        (sets > 0).then_some(sets)
    })
    .await;
    let begun = Instant::now();
    for reply in post_at_once(&gateway, SYMBOLS).join_all().await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // One round at once, one for each span that passed, and one that may be under way.
    let rounds = begun.elapsed().as_secs() + 2;
    let counted = gateway.metric("tiergate_writes_total", &["\"memcached\""]).await as u64;
    let seen = client.stat("cmd_set").await - before;
    for writes in [counted, seen] {
        assert!((DOCUMENTS as u64..=rounds * DOCUMENTS as u64).contains(&writes), "{writes} writes in {rounds} rounds");
    }
    let (_, stored) = client.get("analysis:signals").await.expect("the signals");
    let stored: Value = serde_json::from_slice(&stored).expect("JSON");
    assert_eq!(stored["total_signals"], SYMBOLS);
}

#[tokio::test]
async fn b59_the_gateway_is_not_ready_before_the_owner_of_its_data_has_written() {
    let gateway = Gateway::with().start().await;
    let readiness = async |gateway: &Gateway| {
        let reply = gateway.get("/readyz").await;
        (reply.status.as_u16(), reply.json())
    };
    assert_eq!(gateway.get("/healthz").await.status, 200, "it lives");
    let (status, body) = readiness(&gateway).await;
    assert_eq!((status, &body["status"], &body["waiting_for"]), (503, &json!("waiting"), &json!(["analysis:signals"])));

    // Neither what a warmer makes up nor the data of others stands for the owner's.
    let placeholder = moved_to_now(&fixture("warmer/disabled_keys/analysis:signals.json"));
    assert_eq!(gateway.put("analysis:signals", placeholder).await.status, 200);
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    eventually("the overview", async || readiness(&gateway).await.1["age_seconds"]["market:overview"].as_f64()).await;
    eventually("the placeholder is known", async || {
        (gateway.mobile_data().await["sections"]["signals"]["kind"] == "placeholder").then_some(())
    })
    .await;
    assert_eq!(readiness(&gateway).await.0, 503);

    assert_eq!(gateway.ingest(signal("BTCUSDT")).await.status, 200);
    let body = eventually("it is ready", async || {
        let (status, body) = readiness(&gateway).await;
        (status == 200).then_some(body)
    })
    .await;
    assert_eq!((&body["status"], &body["waiting_for"]), (&json!("ready"), &json!([])));
    assert!(body["age_seconds"]["analysis:signals"].as_f64().is_some_and(|age| age < 60.0), "{body}");

    // What is recalled from before a restart is data, with its age.
    let gateway = gateway.kill().start().await;
    let (status, body) = readiness(&gateway).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["age_seconds"]["analysis:signals"].is_f64(), "{body}");
}

#[tokio::test]
async fn b59_what_must_be_written_is_configured_and_may_be_nothing() {
    let gateway = Gateway::with().config("[market]\nrequired = []").start().await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    let required = "[market]\nrequired = [\"market:tickers\", \"market:overview\"]";
    let gateway = Gateway::with().config(required).start().await;
    let waiting_for = async || gateway.get("/readyz").await.json()["waiting_for"].clone();
    assert_eq!(waiting_for().await, json!(["market:tickers", "market:overview"]));
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    eventually("one is left", async || (waiting_for().await == json!(["market:tickers"])).then_some(())).await;
}

/// What a start, or a check, with this configuration ends with.
fn start(config: &str, command: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let listeners = "[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    std::fs::write(dir.path().join("tiergate.toml"), format!("{listeners}{config}")).expect("written");
    let mut tiergate = Command::new(binary());
    tiergate.args(command).current_dir(dir.path()).env("TIERGATE_DATA_DIR", dir.path().join("data"));
    tiergate.output().expect("tiergate runs")
}

#[test]
fn b59_an_aggregator_that_is_missing_or_failed_keeps_the_gateway_from_starting() {
    let broken = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(broken.path(), b"\0asm broken").unwrap();
    let codec = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(codec.path(), built_in("codecs").expect("a built-in plugin")).unwrap();
    for (path, why) in [
        (Path::new("/nowhere/aggregator.wasm"), "cannot be read"),
        (broken.path(), "plugins.aggregator"),
        (codec.path(), "world `aggregator-plugin`"),
    ] {
        let plugins = format!("[plugins]\naggregator = {{ path = {path:?} }}\n");
        for command in [&[][..], &["config", "check"]] {
            let output = start(&plugins, command);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{told}");
            for part in ["plugins.aggregator", why] {
                assert!(told.contains(part), "{part} is not in {told}");
            }
        }
    }
}

#[test]
fn b59_a_required_document_that_nobody_looks_for_is_a_mistake() {
    for (key, place) in [("confluence:breakdown:BTCUSDT", "market.required[1]"), ("two words", "market.required[1]")] {
        let market = format!("[market]\nrequired = [\"analysis:signals\", {key:?}]\n");
        for command in [&[][..], &["config", "check"]] {
            let output = start(&market, command);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains(place), "{place} is not in {told}");
        }
    }
}

#[tokio::test]
async fn b61_more_symbols_than_the_aggregator_remembers_are_taken_and_push_others_out() {
    const SYMBOLS_MAX: f64 = 20_000.0;
    let gateway = Gateway::with().start().await;
    let remembered = async || gateway.metric("tiergate_plugin_gauge", &["\"symbols\""]).await;
    for from in (0..21_000).step_by(3_000) {
        let lines: Vec<String> = (from..from + 3_000).map(|n| signal(&format!("S{n}USDT"))).collect();
        let reply = gateway.ingest(lines.join("\n")).await;
        // On a slow machine the documents may be published later than the answer waits.
        assert_eq!(reply.json()["accepted"], 3_000, "{}", reply.text());
        assert!(remembered().await <= SYMBOLS_MAX);
    }
    assert_eq!(remembered().await, SYMBOLS_MAX);
    eventually("the dashboard shows the best of them", async || {
        (gateway.mobile_data().await["confluence_scores"].as_array()?.len() == 100).then_some(())
    })
    .await;
}

#[test]
fn b61_small_payloads_with_many_repairs_do_not_outgrow_memory() {
    let memory = Memory::new(memory::Config { bytes_max: 1 << 20 });
    let repair = Repair { code: "wrong-type".into(), path: "$.records[1]".into(), message: "x".repeat(200) };
    let repairs: Arc<[Repair]> = vec![repair; 64].into();
    let now = Time::now();
    for n in 0..1_000 {
        let record = Record {
            bytes: "{}".into(),
            foreign: None,
            kind: Kind::Real,
            version: Version(1),
            rank: 0,
            digest: Digest::of(b"{}"),
            schema: "json".into(),
            produced_at: now,
            soft_expiry: Time::NEVER,
            lifetime_end: Time::NEVER,
            hard_expiry: Time::NEVER,
            origin: Origin::Gateway("test".into()),
            repairs: repairs.clone(),
        };
        let key = Key::new(format!("k{n}")).expect("a key");
        assert_eq!(memory.set(&key, Arc::new(record), now), WriteOutcome::Stored);
    }
    // 64 repairs take more than 12 KiB.
    assert!(memory.entries() < (1 << 20) / (12 << 10), "{} records in 1 MiB", memory.entries());
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root")
}

/// What a command in the root says; it must be there, or this test shows nothing.
fn says(program: &str, args: &[&str]) -> Output {
    let run = Command::new(program).args(args).current_dir(root()).output();
    run.unwrap_or_else(|error| panic!("`{program}` is needed here: {error}"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn b62_no_rule_hides_a_source_from_the_repository() {
    let root = root();
    let entries = |dir: &Path| -> Vec<PathBuf> {
        let entries = dir.read_dir().unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let plugins = entries(&root.join("plugins")).into_iter().filter(|plugin| plugin.join("Cargo.toml").is_file());
    let mut sources: Vec<PathBuf> =
        plugins.flat_map(|plugin| [files(&plugin.join("src")), vec![plugin.join("Cargo.toml")]].concat()).collect();
    sources.extend(["host/src", "wit", "tests/harness", "tests/tests"].iter().flat_map(|dir| files(&root.join(dir))));
    for example in entries(&root.join("plugins/examples")).iter().filter(|example| example.is_dir()) {
        // What an author builds there is hidden.
        let is_source = |path: &PathBuf| path.is_file() && path.extension().is_none_or(|extension| extension != "wasm");
        sources.extend(entries(example).into_iter().filter(is_source));
    }
    sources.extend(["Cargo.toml", "Cargo.lock", "host/build.rs", "host/Cargo.toml"].map(|file| root.join(file)));
    assert!(sources.len() > 150, "only {} sources were found", sources.len());
    let names: Vec<&str> = sources.iter().map(|path| path.to_str().expect("a name in UTF-8")).collect();
    // `--no-index`: also what is in the repository already, and would be lost when it is moved.
    let checked = says("git", &[&["check-ignore", "--no-index", "--verbose"], &names[..]].concat());
    assert_eq!(checked.status.code(), Some(1), "{}{}", text(&checked.stdout), text(&checked.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn b62_every_plugin_is_built_from_this_workspace_and_every_dependency_is_declared_and_locked() {
    let root = root();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // `--locked` fails when a dependency is declared that the lock file does not have, or when there is no lock file. Only
    // what this machine built was downloaded.
    let target = says(&cargo, &["-vV"]);
    let host = text(&target.stdout).lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
    let platform = ["--filter-platform", &host.expect("cargo tells its host")];
    let metadata = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let output = says(&cargo, &[&metadata[..], &platform].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let config = Config::default();
    for spec in config.codecs.iter().chain([&config.aggregator]) {
        assert!(built_in(&spec.name).is_some_and(|component| component.starts_with(b"\0asm")), "{}", spec.name);
        let package = packages.iter().find(|package| package["name"] == format!("tiergate-{}", spec.name));
        let manifest = package.unwrap_or_else(|| panic!("{} is no package", spec.name))["manifest_path"].clone();
        let expected = root.join("plugins").join(&spec.name).join("Cargo.toml");
        assert_eq!(manifest.as_str().map(Path::new), Some(&*expected));
    }
    for package in packages {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let is_locked = package["source"].as_str().is_some_and(|source| source.starts_with("registry+"));
        assert!(is_locked || manifest.starts_with(&root), "{} comes from elsewhere", package["name"]);
    }
}
