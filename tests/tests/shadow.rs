//! Candidates that are judged before they are used, versions on probation, and tapes of what was decided.

use std::process::{Command, Output};

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, Reply, binary, eventually, fixture, hostile, moved_to_now};

/// Two signals of a symbol: which of them is shown is the aggregator's `dedupe`.
const HIGHEST: &str = r#"{"dedupe":"highest"}"#;

async fn post(gateway: &Gateway, path: &str, body: impl Into<Bytes>) -> Reply {
    gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{path}"), body.into()).await
}

async fn load(gateway: &Gateway, slot: &str, config: &str) {
    let component = built_in(slot).expect("a built-in plugin").to_vec();
    let config: String = config.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let reply = post(gateway, &format!("{slot}/load?config={config}"), component).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn step(gateway: &Gateway, path: &str) -> Value {
    let reply = post(gateway, path, "").await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

async fn report(gateway: &Gateway, slot: &str) -> Value {
    gateway.admin_get(&format!("/api/admin/plugins/{slot}/report")).await.json()
}

/// Posts signals of one symbol with these scores, one after the other.
async fn ingest(gateway: &Gateway, scores: &[u32]) {
    for score in scores {
        signal(gateway, "AUSDT", *score).await;
    }
}

async fn signal(gateway: &Gateway, symbol: &str, score: u32) {
    let body = json!({ "symbol": symbol, "confluence_score": score, "price": 10, "change_24h": 1.5 }).to_string();
    let reply = gateway.ingest(body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The score of that symbol on the dashboard.
async fn score(gateway: &Gateway) -> Option<f64> {
    let view = gateway.get("/api/dashboard/symbols").await.json();
    view["symbols"].as_array()?.iter().find(|symbol| symbol["symbol"] == "AUSDT")?["score"].as_f64()
}

#[tokio::test]
async fn a_candidate_with_other_formulas_is_shadowed_read_used_and_rolled_back_and_no_signal_is_lost() {
    let gateway = Gateway::with().config("[plugins.probation]\nlasts = \"10m\"").start().await;
    ingest(&gateway, &[50]).await;
    load(&gateway, "aggregator", HIGHEST).await;
    let shadowed = step(&gateway, "aggregator/shadow").await;
    assert_eq!((&shadowed["beside"]["mode"], &shadowed["generation"]), (&json!("shadow"), &json!(1)));
    ingest(&gateway, &[80, 40]).await;
    // By the candidate's rule the 40 changed nothing. When another symbol does, both publish, and the two differ in a field.
    signal(&gateway, "BUSDT", 60).await;
    let (found, example) = eventually("a difference in a field is reported", async || {
        let report = report(&gateway, "aggregator").await;
        let differs = |example: &&Value| example["path"].as_str().is_some_and(|path| path.contains("score"));
        let example = report["examples"].as_array()?.iter().find(differs)?.clone();
        Some((report, example))
    })
    .await;
    assert_eq!(found["state"], "taken over by `restore`", "{found:#}");
    assert_eq!((&example["call"], &example["what"]), (&json!("documents"), &json!("document analysis:signals")));
    assert_eq!((&example["active"], &example["other"]), (&json!("50.0"), &json!("70.0")), "{example:#}");
    assert_eq!((&found["active"]["faults"], &found["other"]["faults"]), (&json!({}), &json!({})));
    assert!(found["other"]["mean_us"].as_f64().is_some_and(|mean| mean > 0.0), "{found:#}");
    eventually("the active one serves", async || (score(&gateway).await == Some(40.0)).then_some(())).await;

    let used = step(&gateway, "aggregator/use").await;
    assert_eq!((&used["generation"], &used["beside"]["mode"]), (&json!(2), &json!("probation")));
    ingest(&gateway, &[90, 30]).await;
    eventually("the new one serves", async || (score(&gateway).await == Some(90.0)).then_some(())).await;
    let back = step(&gateway, "aggregator/rollback").await;
    assert_eq!((&back["generation"], &back["beside"]), (&json!(1), &Value::Null));
    // What came while the other one served is known to the one that came back: its own newest, not the handed-over highest.
    ingest(&gateway, &[35]).await;
    eventually("the old one serves, by its own rule", async || (score(&gateway).await == Some(35.0)).then_some(()))
        .await;
    let audit = gateway.admin_get("/api/admin/audit").await.json()["audit"].clone();
    let steps: Vec<_> = audit.as_array().expect("entries").iter().map(|entry| entry["step"].clone()).collect();
    assert_eq!(steps, ["rollback", "use", "shadow", "load"], "{audit:#}");
    assert!(audit[0]["note"].as_str().is_some_and(|note| note.contains("went on beside")), "{audit:#}");
}

#[tokio::test]
async fn the_same_version_in_shadow_differs_in_nothing_in_any_slot() {
    let gateway = Gateway::with().start().await;
    for slot in ["codecs", "aggregator", "warmer"] {
        load(&gateway, slot, "{}").await;
        step(&gateway, &format!("{slot}/shadow")).await;
    }
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    assert_eq!(gateway.put("market:overview", "[1").await.status, 422);
    ingest(&gateway, &[50, 60, 40]).await;
    for (slot, call) in
        [("codecs", "decode"), ("aggregator", "compose"), ("aggregator", "documents"), ("warmer", "plan")]
    {
        let report = eventually("it was asked", async || {
            let report = report(&gateway, slot).await;
            (report["by_call"][call]["answers"].as_u64()? > 1).then_some(report)
        })
        .await;
        assert_eq!((&report["different"], &report["skipped"]), (&json!(0), &json!(0)), "{slot}: {report:#}");
    }
    // It is not a candidate any more, so nothing is beside the active one.
    step(&gateway, "codecs/discard?generation=2").await;
    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    let beside =
        |slot: &str| slots.as_array().expect("slots").iter().find(|s| s["slot"] == slot).expect("it")["beside"].clone();
    assert_eq!((beside("codecs"), beside("warmer")["mode"].clone()), (Value::Null, json!("shadow")));
}

/// What may wait for a companion in bytes.
const QUEUE_BYTES_MAX: u64 = 16 << 20;

/// A gateway whose slot `binance` holds the harmless codec, with one beside it that does harm where it is asked for it.
async fn beside_the_harmless_codec(name: &str) -> Gateway {
    // The harmless one need not show first that it does no harm.
    let config = "[plugins]\nconformance = false\n[plugins.probation]\nlasts = \"0s\"";
    let gateway = Gateway::with().config(config).start().await;
    for (component, then) in [("codec", "use"), (name, "shadow")] {
        let reply = post(&gateway, "binance/load", hostile(component)).await;
        assert_eq!(reply.status, 200, "{component}: {}", reply.text());
        step(&gateway, &format!("binance/{then}")).await;
    }
    gateway
}

#[tokio::test]
async fn a_candidate_that_traps_costs_nobody_an_answer_and_its_traps_are_told() {
    let gateway = beside_the_harmless_codec("trap-every-third-call").await;
    for n in 0..30 {
        let key = format!("hostile:{n}!");
        let put = gateway.put(&key, format!("{{\"n\":{n}}}")).await;
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!(gateway.get(&format!("/api/cache/{key}")).await.json(), json!({ "n": n }));
    }
    let report = eventually("it has answered", async || {
        let report = report(&gateway, "binance").await;
        (report["compared"].as_u64()? >= 30 && report["queued_bytes"] == 0).then_some(report)
    })
    .await;
    let traps = json!(report["compared"].as_u64().expect("a number") / 3);
    assert_eq!(report["other"]["faults"], json!({ "trap": traps }), "{report:#}");
    assert_eq!((&report["active"]["faults"], &report["different"]), (&json!({}), &traps), "{report:#}");
    assert_eq!(report["companion"]["plugin"], "hostile");
    assert_eq!(gateway.metric("tiergate_quarantined_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_candidate_that_is_too_slow_is_asked_a_sample_and_the_report_says_so() {
    let gateway = beside_the_harmless_codec("endless-loop").await;
    // Each of these keeps the candidate until its deadline, and those of a round are twice what the queue holds: it is full
    // however long a disk takes for them.
    const PAD_BYTES: u64 = 512 << 10;
    const AT_ONCE: u64 = 2 * QUEUE_BYTES_MAX / PAD_BYTES;
    let pad = "x".repeat(PAD_BYTES as usize);
    let write = async |n: u64| {
        let (key, body) = (format!("hostile:{n}!"), json!({ "n": n, "pad": pad }));
        let put = gateway.put(&key, body.to_string()).await;
        assert_eq!(put.outcome("memory"), "stored", "{}", put.text());
        assert!(gateway.get(&format!("/api/cache/{key}")).await.json() == body, "the active one's answer is served");
    };
    let bounded = async || {
        let report = report(&gateway, "binance").await;
        assert!(report["queued_bytes"].as_u64().expect("bytes") <= QUEUE_BYTES_MAX, "{report:#}");
        report
    };
    let mut n = 0;
    eventually("calls are skipped", async || {
        join_all((n..n + AT_ONCE).map(&write)).await;
        n += AT_ONCE;
        (bounded().await["skipped"].as_u64()? > 2).then_some(())
    })
    .await;
    let sampled = eventually("some are not", async || {
        let report = bounded().await;
        (report["compared"].as_u64()? > 0).then_some(report)
    })
    .await;
    let number = |field: &Value| field.as_u64().expect("a number");
    assert_eq!(sampled["other"]["faults"], json!({ "deadline": sampled["compared"] }), "{sampled:#}");
    assert_eq!(number(&sampled["calls"]), number(&sampled["compared"]) + number(&sampled["skipped"]), "{sampled:#}");
    assert_eq!(sampled["active"]["faults"], json!({}), "{sampled:#}");
}

#[tokio::test]
async fn a_version_that_passes_its_probation_is_confirmed_and_one_on_probation_is_not_shadowed() {
    let gateway = Gateway::with().config("[plugins.probation]\nlasts = \"10s\"").start().await;
    load(&gateway, "warmer", "{}").await;
    step(&gateway, "warmer/use").await;
    // At once: to load another one first may take longer than the probation.
    let refused = post(&gateway, "warmer/shadow", "").await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("on probation"), "{}", refused.text());
    let task = r#"{"tasks":[{"key":"app:notes","priority":3,"interval_seconds":60,"placeholder":{"items":[]}}]}"#;
    load(&gateway, "warmer", task).await;
    eventually("it is confirmed", async || {
        let audit = gateway.admin_get("/api/admin/audit").await.json()["audit"].clone();
        let is_confirmed = |entry: &Value| entry["step"] == "confirm" && entry["by"] == "probation";
        audit.as_array()?.iter().any(is_confirmed).then_some(())
    })
    .await;
    step(&gateway, "warmer/shadow").await;
    let report = eventually("plans are compared as actions", async || {
        // A key that is read is in the plans; only the candidate has a task for it.
        assert_eq!(gateway.get("/api/cache/app:notes").await.status, 404);
        let report = report(&gateway, "warmer").await;
        (report["different"].as_u64()? > 0).then_some(report)
    })
    .await;
    assert!(
        report["examples"][0]["path"].as_str().is_some_and(|path| path.starts_with("/actions/app:notes/")),
        "{report:#}"
    );
}

#[tokio::test]
async fn a_version_that_refuses_more_is_rolled_back_by_itself_and_the_reason_is_in_the_audit_log() {
    // The version before takes everything, the codec of Binance's tickers nothing but these.
    let dir = tempfile::tempdir().expect("a directory");
    let lenient = dir.path().join("lenient.wasm");
    std::fs::write(&lenient, hostile("codec")).expect("written");
    let codecs = format!("codecs = [{{ name = \"codecs\" }}, {{ name = \"binance\", path = {lenient:?} }}]");
    let config = format!("[plugins]\n{codecs}\n[plugins.probation]\nlasts = \"10m\"");
    let gateway = Gateway::with().config(&config).start().await;
    load(&gateway, "binance", "{}").await;
    step(&gateway, "binance/use").await;
    let key = "binance:ticker-24hr";
    let audit = eventually("it is rolled back", async || {
        let reply = gateway.put(key, r#"{"n": 1}"#).await;
        assert!([200, 422].contains(&reply.status.as_u16()), "{}", reply.text());
        let audit = gateway.admin_get("/api/admin/audit").await.json()["audit"].clone();
        (audit[0]["step"] == "rollback").then_some(audit)
    })
    .await;
    assert_eq!(audit[0]["by"], "probation");
    assert!(audit[0]["note"].as_str().is_some_and(|note| note.contains("refuses 100.0 %")), "{audit:#}");
    assert_eq!(gateway.put(key, r#"{"n": 1}"#).await.status, 200, "whoever took the key before takes it again");
    assert!(report(&gateway, "binance").await["active"]["rejections"].as_u64().is_some_and(|refused| refused > 0));
}

#[tokio::test]
async fn a_replay_of_the_same_version_gives_the_same_bytes_and_of_another_what_it_would_have_decided() {
    let gateway = Gateway::with().start().await;
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    assert_eq!(gateway.put("market:overview", "[1").await.status, 422);
    // What a fresh start discards is no part of what is replayed.
    signal(&gateway, "CUSDT", 70).await;
    load(&gateway, "aggregator", HIGHEST).await;
    let used = step(&gateway, "aggregator/use?fresh=true").await;
    ingest(&gateway, &[50, 80, 40]).await;
    signal(&gateway, "BUSDT", 60).await;
    eventually("it is shown", async || (score(&gateway).await == Some(80.0)).then_some(())).await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let run = |args: &[&str]| -> Output { Command::new(binary()).arg("plugin").args(args).output().expect("it runs") };
    for slot in ["codecs", "aggregator", "warmer"] {
        eventually("it was asked", async || {
            let tape = gateway.admin_get(&format!("/api/admin/plugins/{slot}/tape")).await.text();
            (tape.lines().count() > 2).then_some(())
        })
        .await;
        let tape = path(&format!("{slot}.tape"));
        let token = gateway.data_dir().join("admin.token").to_str().expect("text").to_owned();
        let admin = format!("http://{}", gateway.admin);
        let saved = run(&["tape", slot, &tape, "--admin", &admin, "--admin-token-file", &token]);
        assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
        let component = path(&format!("{slot}.wasm"));
        std::fs::write(&component, built_in(slot).expect("a component")).expect("written");
        let replayed = run(&["replay", &component, &tape]);
        let said: Value = serde_json::from_slice(&replayed.stdout)
            .unwrap_or_else(|_| panic!("{slot}: {}", String::from_utf8_lossy(&replayed.stderr)));
        assert_eq!(replayed.status.code(), Some(0), "{slot}: {said:#}");
        assert_eq!(said["identical"], said["calls"], "{slot}: {said:#}");
        assert!(said["calls"].as_u64().is_some_and(|calls| calls > 0), "{slot}");
    }
    told_whole(&path("aggregator.tape"), &used);
    let otherwise = run(&["replay", &path("aggregator.wasm"), &path("aggregator.tape"), "--config", "{}"]);
    let said: Value = serde_json::from_slice(&otherwise.stdout).expect("JSON");
    assert_eq!(otherwise.status.code(), Some(3), "{said:#}");
    assert!(said["different"].as_u64().is_some_and(|different| different > 0), "{said:#}");
    let example = &said["examples"][0];
    assert_eq!(example["call"], "documents", "{said:#}");
    let place = "/published/analysis:signals";
    assert!(example["path"].as_str().is_some_and(|path| path.starts_with(place)), "{said:#}");
    let wrong = run(&["replay", &path("aggregator.wasm"), &path("codecs.wasm")]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("the tape: line 1"), "{wrong:?}");
}

/// Checks what a saved tape tells of the call that brought the 80, which this version answered.
fn told_whole(tape: &str, used: &Value) {
    let tape = std::fs::read_to_string(tape).expect("a tape");
    let lines: Vec<Value> = tape.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let body = |line: &Value| line["question"]["batch"][0]["body"].as_str().unwrap_or_default().to_owned();
    let call = lines.iter().find(|line| body(line).contains(r#""confluence_score":80"#)).expect("the call");
    assert_eq!(
        (&call["question"]["call"], &call["answer"]),
        (&json!("ingest"), &json!({ "rejected": [] })),
        "{call:#}"
    );
    assert!(call["question"]["now"].is_u64() && call["took_us"].is_u64(), "{call:#}");
    for field in ["plugin", "version", "generation", "sha256"] {
        assert_eq!(call[field], used[field], "{field}: {call:#}");
    }
    assert_eq!(lines[0]["configs"], json!({ "2": { "dedupe": "highest" } }));
    let published = |line: &Value| line["answer"]["published"]["analysis:signals"]["body"].as_str().map(str::to_owned);
    assert!(lines.iter().filter_map(published).any(|body| body.contains("AUSDT")), "what was published is on it");
}
