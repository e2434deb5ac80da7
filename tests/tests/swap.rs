//! Plugins swapped while traffic runs.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, Reply, binary, eventually, fixture, hostile, laborious, moved_to_now};

/// A built-in component with another digest.
fn variant(plugin: &str, mark: u8) -> Vec<u8> {
    marked(built_in(plugin).expect("a built-in plugin").to_vec(), mark)
}

/// The component with another digest: it carries a section that means nothing.
fn marked(mut component: Vec<u8>, mark: u8) -> Vec<u8> {
    // A custom section: its id, its size, the length of its name, its name.
    component.extend_from_slice(&[0, 3, 2, b'v', mark]);
    component
}

async fn post(gateway: &Gateway, path: &str, body: impl Into<Bytes>) -> Reply {
    gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{path}"), body.into()).await
}

async fn load(gateway: &Gateway, slot: &str, component: Vec<u8>) -> Value {
    let reply = post(gateway, &format!("{slot}/load?by=test"), component).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn slot(gateway: &Gateway, name: &str) -> Value {
    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    slots.as_array().expect("slots").iter().find(|slot| slot["slot"] == name).expect("the slot").clone()
}

/// How many components the gateway keeps for what was swapped in.
fn kept(gateway: &Gateway) -> usize {
    let files = std::fs::read_dir(gateway.data_dir().join("plugins")).expect("the store");
    let paths = files.map(|file| file.expect("a file").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).count()
}

fn signal(n: usize) -> String {
    json!({ "symbol": format!("S{n}USDT"), "confluence_score": 60, "price": 10, "change_24h": 1.5 }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_of_each_slot_fail_no_request_and_lose_no_signal() {
    let gateway = Arc::new(Gateway::with().start().await);
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    eventually("it is shown", async || (gateway.mobile_data().await["status"] == "success").then_some(())).await;
    let done = Arc::new(AtomicBool::new(false));
    let posting = tokio::spawn({
        let (gateway, done) = (gateway.clone(), done.clone());
        async move {
            let mut posted = 0;
            while !done.load(Ordering::SeqCst) {
                let reply = gateway.ingest(signal(posted)).await;
                assert_eq!((reply.status.as_u16(), &reply.json()["accepted"]), (200, &json!(1)), "{}", reply.text());
                posted += 1;
            }
            posted
        }
    });
    let reading = tokio::spawn({
        let (gateway, done) = (gateway.clone(), done.clone());
        async move {
            let mut read = 0;
            while !done.load(Ordering::SeqCst) {
                let mobile = gateway.get("/api/dashboard/mobile-data").await;
                assert_eq!((mobile.status.as_u16(), &mobile.json()["status"]), (200, &json!("success")));
                let put = gateway.put("app:n", format!("{{\"n\": {read}}}")).await;
                assert_eq!(put.status, 200, "{}", put.text());
                read += 1;
            }
            read
        }
    });
    for swap in 0..100 {
        for name in ["codecs", "aggregator", "warmer"] {
            load(&gateway, name, variant(name, b'a' + swap % 2)).await;
            let used = post(&gateway, &format!("{name}/use?by=test"), "").await;
            assert_eq!(used.status, 200, "{swap} {name}: {}", used.text());
        }
    }
    done.store(true, Ordering::SeqCst);
    let (posted, read) = (posting.await.expect("the poster"), reading.await.expect("the reader"));
    assert!(posted >= 100 && read >= 100, "{posted} {read}");
    assert_eq!(gateway.metric("tiergate_signals_total", &["accepted"]).await, posted as f64);
    eventually("every signal is shown", async || {
        let view = gateway.get("/api/dashboard/symbols?limit=10000").await.json();
        (view["symbols"].as_array()?.len() == posted).then_some(())
    })
    .await;
    for name in ["codecs", "aggregator", "warmer"] {
        assert_eq!(slot(&gateway, name).await["generation"], 101, "{name}");
    }
}

/// Signals that `counts-each-signal` tells apart.
const TOLD_APART: usize = 1 << 16;

/// Posts the signals that nobody else has posted, some at a time, until it is `done`; answers how many were accepted.
async fn post_signals(gateway: Arc<Gateway>, posted: Arc<AtomicUsize>, done: Arc<AtomicBool>) -> u64 {
    // Few, so that there are enough of them for slow swaps.
    const AT_A_TIME: usize = 2;
    let mut accepted = 0;
    while !done.load(Ordering::SeqCst) {
        let first = posted.fetch_add(AT_A_TIME, Ordering::SeqCst);
        assert!(first + AT_A_TIME <= TOLD_APART, "more signals than can be told apart");
        let bodies: String = (first..first + AT_A_TIME).map(|n| format!("{{\"n\":{}}}\n", 100_000 + n)).collect();
        let reply = gateway.ingest(bodies).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        accepted += reply.json()["accepted"].as_u64().expect("a number");
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_back_and_forth_under_load_give_the_aggregator_each_signal_once() {
    // It knows no signal but these, so it would not pass the vectors of its kind.
    let gateway = Arc::new(Gateway::with().config("[plugins]\nconformance = false").start().await);
    let step = async |path: &str| {
        let reply = post(&gateway, &format!("aggregator/{path}"), "").await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    };
    let version = |mark| marked(hostile("counts-each-signal"), mark);
    load(&gateway, "aggregator", version(b'a')).await;
    step("use?fresh=true").await;
    let (posted, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let posting: Vec<_> =
        (0..8).map(|_| tokio::spawn(post_signals(gateway.clone(), posted.clone(), done.clone()))).collect();
    for swap in 0..100 {
        let loaded = load(&gateway, "aggregator", version(b'a' + swap % 2)).await;
        assert_eq!(step("use").await["generation"], loaded["generation"]);
        // Every third one is taken back, to the version that went on beside it.
        if swap % 3 == 0 {
            step("rollback").await;
        }
    }
    done.store(true, Ordering::SeqCst);
    let mut accepted = 0;
    for task in posting {
        accepted += task.await.expect("a poster");
    }
    assert_eq!(accepted, posted.load(Ordering::SeqCst) as u64);
    assert!(accepted >= 100, "{accepted}");
    let number = |told: &Value, name: &str| told[name].as_str().and_then(|digits| digits.parse::<u64>().ok());
    let (given, distinct) = eventually("the signals are counted", async || {
        let told = gateway.get("/api/cache/app:count").await.json();
        let (given, distinct) = (number(&told, "given")?, number(&told, "distinct")?);
        (given >= accepted).then_some((given, distinct))
    })
    .await;
    assert_eq!((given, distinct), (accepted, accepted), "none is lost, and none is counted twice");
}

#[tokio::test]
async fn the_active_version_and_the_way_back_survive_a_restart_and_need_no_file() {
    let gateway = Gateway::with().start().await;
    assert_eq!(gateway.ingest(signal(1)).await.status, 200);
    let before = slot(&gateway, "aggregator").await["sha256"].clone();
    let config = r#"{"dedupe":"highest"}"#;
    let query: String = url_encoded(config);
    let loaded = post(&gateway, &format!("aggregator/load?config={query}"), variant("aggregator", b'x')).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    let candidate = loaded.json()["sha256"].clone();
    assert_eq!(slot(&gateway, "aggregator").await["candidate"]["sha256"], candidate);
    assert_eq!(slot(&gateway, "aggregator").await["sha256"], before, "a candidate serves nothing");
    assert_eq!(post(&gateway, "aggregator/use", "").await.status, 200);
    // With the old one's state, and its own rule: of two signals of a symbol the highest counts.
    for score in [80, 40] {
        let body = json!({ "symbol": "AUSDT", "confluence_score": score, "price": 10, "change_24h": 1.5 }).to_string();
        assert_eq!(gateway.ingest(body).await.status, 200);
    }
    let shown = eventually("both symbols", async || {
        let view = gateway.get("/api/dashboard/symbols").await.json();
        (view["symbols"].as_array()?.len() == 2).then_some(view)
    })
    .await;
    assert!(shown["symbols"].as_array().expect("symbols").iter().any(|symbol| symbol["score"] == 80.0), "{shown}");

    let gateway = gateway.kill().start().await;
    let after = slot(&gateway, "aggregator").await;
    assert_eq!((&after["sha256"], &after["previous"][0]["sha256"]), (&candidate, &before), "{after:#}");
    let back = post(&gateway, "aggregator/rollback", "").await;
    assert_eq!((back.status.as_u16(), &back.json()["sha256"]), (200, &before), "{}", back.text());
    let gateway = gateway.kill().start().await;
    assert_eq!(slot(&gateway, "aggregator").await["sha256"], before);
    let audit = gateway.admin_get("/api/admin/audit").await.json()["audit"].clone();
    let steps: Vec<_> = audit.as_array().expect("entries").iter().map(|entry| entry["step"].clone()).collect();
    assert_eq!(steps, ["rollback", "use", "load"], "{audit:#}");
}

#[tokio::test]
async fn after_a_restart_a_codec_that_was_used_serves_its_probation_is_over_and_a_shadow_is_gone() {
    let gateway = Gateway::with().config("[plugins.probation]\nlasts = \"10m\"").start().await;
    let used = load(&gateway, "codecs", variant("codecs", b'c')).await["sha256"].clone();
    load(&gateway, "warmer", variant("warmer", b'w')).await;
    for step in ["codecs/use", "warmer/shadow"] {
        assert_eq!(post(&gateway, step, "").await.status, 200, "{step}");
    }
    assert_eq!(slot(&gateway, "codecs").await["beside"]["mode"], "probation");
    assert_eq!(slot(&gateway, "warmer").await["beside"]["mode"], "shadow");
    let gateway = gateway.kill().start().await;
    let codecs = slot(&gateway, "codecs").await;
    assert_eq!((&codecs["sha256"], &codecs["beside"]), (&used, &Value::Null), "{codecs:#}");
    assert_eq!(gateway.put("app:n", r#"{"n": 1}"#).await.outcome("memory"), "stored");
    let warmer = slot(&gateway, "warmer").await;
    assert_eq!((&warmer["candidate"], &warmer["beside"]), (&Value::Null, &Value::Null), "{warmer:#}");
    // The way back needs no file and is there, too.
    let back = post(&gateway, "codecs/rollback", "").await;
    assert_eq!((back.status.as_u16(), &back.json()["sha256"]), (200, &codecs["previous"][0]["sha256"]));
    assert_eq!(kept(&gateway), 1, "nobody needs the candidate that is gone");
}

/// The process that compiles for a gateway, if there is one.
fn compiler(gateway: &Gateway) -> Option<u32> {
    let parent = format!("PPid:\t{}\n", gateway.pid());
    let is_child = |process: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        status.is_ok_and(|status| status.contains(&parent))
    };
    let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
    processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).find(is_child)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_waits_for_no_compiler_and_leaves_what_is_compiled_where_it_is() {
    let gateway = Arc::new(Gateway::with().start().await);
    load(&gateway, "aggregator", variant("aggregator", b'a')).await;
    assert_eq!(post(&gateway, "aggregator/use", "").await.status, 200);
    // It takes a minute.
    let loading = tokio::spawn({
        let gateway = gateway.clone();
        async move { post(&gateway, "warmer/load", laborious(90, 256 << 10)).await }
    });
    let compiler = eventually("it is compiled", async || compiler(&gateway)).await;
    let back = post(&gateway, "aggregator/rollback", "").await;
    assert_eq!((back.status.as_u16(), &back.json()["generation"]), (200, &json!(1)), "{}", back.text());
    assert!(!loading.is_finished(), "it still is");
    assert_eq!(kept(&gateway), 2, "that of the version before, and that which is compiled");
    let killed = Command::new("kill").arg(compiler.to_string()).status().expect("it runs");
    assert!(killed.success(), "{killed}");
    let refused = loading.await.expect("an answer");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("the compiler ended with signal: 15"), "{}", refused.text());
    assert_eq!(kept(&gateway), 1, "nothing of it is kept");
}

fn url_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_component_that_cannot_serve_is_refused_with_the_reason_and_changes_nothing() {
    let gateway = Gateway::with().start().await;
    let before = gateway.admin_get("/api/admin/plugins").await.json();
    let whole = built_in("aggregator").expect("a component");
    let cases: [(&str, Vec<u8>, u16, &str); 8] = [
        ("aggregator/load", b"\0asm\x01\0\0\0".to_vec(), 422, "core module"),
        ("aggregator/load", whole[..whole.len() / 2].to_vec(), 422, ""),
        ("aggregator/load", vec![7; 1_000], 422, "not a WebAssembly component"),
        ("aggregator/load", b"\x7fELF".to_vec(), 422, "native code"),
        ("aggregator/load", built_in("codecs").expect("a component").to_vec(), 422, "world `aggregator-plugin`"),
        ("aggregator/load?sha256=00", whole.to_vec(), 422, "SHA-256"),
        ("aggregator/load?config=%7B%22nonsense%22%3A1%7D", whole.to_vec(), 422, "nonsense"),
        ("nowhere/load", whole.to_vec(), 404, "there are: codecs, binance, aggregator, warmer"),
    ];
    for (path, component, status, expected) in cases {
        let reply = post(&gateway, path, component).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text());
        assert!(reply.text().contains(expected), "{path} {expected}: {}", reply.text());
    }
    // Another codec claims the keys of the built-in one: it may be loaded, and not used.
    load(&gateway, "binance", variant("codecs", b'c')).await;
    let reply = post(&gateway, "binance/use", "").await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert!(reply.text().contains("claims"), "{}", reply.text());
    assert_eq!(post(&gateway, "binance/discard?generation=2", "").await.status, 200);
    for (path, expected) in [
        ("warmer/use", "candidate"),
        ("warmer/rollback", "previous"),
        ("warmer/discard?generation=1", ""),
        ("codecs/shadow", "candidate"),
        ("aggregator/shadow", "candidate"),
        ("warmer/shadow", "candidate"),
    ] {
        let reply = post(&gateway, path, "").await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert!(reply.text().contains(expected), "{}", reply.text());
    }
    let after = gateway.admin_get("/api/admin/plugins").await.json();
    assert_eq!(after, before);
    assert_eq!(gateway.ingest(signal(1)).await.status, 200);
}

#[tokio::test]
async fn every_step_can_be_taken_from_the_command_line() {
    let gateway = Gateway::with().start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("warmer.wasm");
    let write = |mark| std::fs::write(&file, variant("warmer", mark)).expect("written");
    let run = |args: &[&str]| -> Output {
        let mut command = Command::new(binary());
        command.arg("plugin").args(args).args(["--admin", &format!("http://{}", gateway.admin), "--by", "ann"]);
        command.arg("--admin-token-file").arg(gateway.data_dir().join("admin.token")).output().expect("it runs")
    };
    let done = |args: &[&str]| -> Value {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    // The second in place of the first, of which nothing is kept.
    for (mark, generation) in [(b'v', 2), (b'w', 3)] {
        write(mark);
        assert_eq!(done(&["load", "warmer", &path(&file)])["generation"], generation);
        assert_eq!(kept(&gateway), 1);
    }
    assert_eq!(done(&["use", "warmer"])["generation"], 3);
    assert_eq!(done(&["list"])["slots"][3]["generation"], 3);
    assert_eq!(done(&["rollback", "warmer"])["generation"], 1);
    assert_eq!(kept(&gateway), 1, "the way forward needs no file of the operator's");
    assert_eq!(done(&["discard", "warmer", "3"])["previous"], json!([]));
    assert_eq!(kept(&gateway), 0, "a version that was discarded leaves nothing behind");
    let audit = done(&["audit"]);
    assert_eq!((&audit["audit"][0]["step"], &audit["audit"][0]["by"]), (&json!("discard"), &json!("ann")));
    let refused = run(&["use", "warmer"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("slot `warmer` has no candidate"));
}
