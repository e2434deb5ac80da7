//! Plugins that do harm, one by one, in a gateway that serves: each is refused or cut off by name, and meanwhile and after it
//! the dashboard is served, other slots work, and the memory comes back.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, Reply, Starting, binary, eventually, fixture, hostile, laborious, moved_to_now};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Bytes that the gateway may hold beyond what it held before it was abused: what an allocator keeps for the next time.
const KEPT_BYTES_MAX: u64 = 96 << 20;

/// A component that breaks its contract is refused at `load`, and a version that fails too often is rolled back by the gateway
/// itself; here it is let in, to go on doing harm. A codec has time enough to hold all the memory that it may, and those that do
/// no harm to answer, on a slow machine too.
const LET_IN: &str = "[plugins]\nconformance = false\n[plugins.probation]\nlasts = \"0s\"\n\
                      [plugins.limits.codec]\ndeadline = \"1s\"\n[warmer]\nevery = \"200ms\"";

/// A gateway with real data on its dashboard, which is read all the time.
struct Service {
    gateway: Arc<Gateway>,
    /// Resident memory before any abuse.
    before: u64,
    done: Arc<AtomicBool>,
    reader: JoinHandle<u64>,
}

// === impl Service ===

impl Service {
    async fn start() -> Self {
        Self::over(Gateway::with()).await
    }

    async fn over(starting: Starting) -> Self {
        let gateway = Arc::new(starting.config(LET_IN).start().await);
        let overview = gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await;
        assert_eq!(overview.status, 200, "{}", overview.text());
        eventually("it is shown", async || is_good(&gateway).await.then_some(())).await;
        let done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (gateway, done) = (gateway.clone(), done.clone());
            async move {
                let mut read = 0;
                while !done.load(Ordering::SeqCst) {
                    assert!(is_good(&gateway).await, "the dashboard is not served");
                    read += 1;
                    tokio::task::yield_now().await;
                }
                read
            }
        });
        let before = resident(&gateway);
        Self { gateway, before, done, reader }
    }

    /// What a step of a slot answers.
    async fn step(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{path}"), body.into()).await
    }

    /// Lets a plugin that does harm serve in a slot.
    async fn hand_over(&self, slot: &str, name: &str) {
        let loaded = self.step(&format!("{slot}/load"), hostile(name)).await;
        assert_eq!(loaded.status, 200, "{name}: {}", loaded.text());
        let used = self.step(&format!("{slot}/use?fresh=true"), "").await;
        assert_eq!(used.status, 200, "{name}: {}", used.text());
    }

    /// Puts the built-in plugin back.
    async fn recover(&self, slot: &str) {
        let back = self.step(&format!("{slot}/load"), built_in(slot).expect("a built-in plugin")).await;
        assert_eq!(back.status, 200, "{}", back.text());
        let used = self.step(&format!("{slot}/use?fresh=true"), "").await;
        assert_eq!(used.status, 200, "{}", used.text());
    }

    /// Every slot but the abused one does its work, and what the abuse took of memory has come back.
    async fn others_work(&self, abused: &str) {
        if abused != "codecs" {
            let put = self.gateway.put("app:n", r#"{"n": 1}"#).await;
            // A disk may be slow to answer for it.
            assert_eq!(put.outcome("memory"), "stored", "{abused}: {}", put.text());
        }
        if abused != "aggregator" {
            let reply = self.gateway.ingest(signal()).await;
            assert_eq!((reply.status.as_u16(), &reply.json()["accepted"]), (200, &json!(1)), "{}", reply.text());
        }
        if abused != "warmer" {
            let before = self.plans().await["made"].as_u64();
            eventually(&format!("another plan is made beside {abused}"), async || {
                let plans = self.plans().await;
                (plans["made"].as_u64() > before && plans["failures"] == 0).then_some(())
            })
            .await;
        }
        self.memory_is_back().await;
    }

    /// How planning goes.
    async fn plans(&self) -> Value {
        self.gateway.admin_get("/api/admin/warmer").await.json()["warmer"]["plans"].clone()
    }

    async fn memory_is_back(&self) {
        let bound = self.before + KEPT_BYTES_MAX;
        eventually(&format!("resident memory is below {bound}, as it was {} before", self.before), async || {
            (resident(&self.gateway) < bound).then_some(())
        })
        .await;
    }

    /// What the audit log says of the last step.
    async fn last_step(&self) -> Value {
        self.gateway.admin_get("/api/admin/audit").await.json()["audit"][0].clone()
    }

    /// Puts the built-in warmer in the place of the hostile one: plans are made again, and all is as it was.
    async fn plans_again(self) {
        self.recover("warmer").await;
        eventually("plans are made again", async || (self.plans().await["failures"] == 0).then_some(())).await;
        self.others_work("").await;
        self.was_served().await;
    }

    /// Takes a step that is carried out by giving the next version the recorded inputs, and not the state, because of `why`.
    async fn rebuilds(&self, path: &str, why: &str) {
        let done = self.step(path, "").await;
        assert_eq!(done.status, 200, "{path}: {}", done.text());
        let told = self.last_step().await;
        assert_eq!(told["result"], "done", "{told:#}");
        let note = told["note"].as_str().expect("a note");
        assert!(note.contains("recorded inputs, because plugin hostile 6.6.6") && note.contains(why), "{note}");
    }

    /// Waits for a line of the log at the level of an operator that holds all of `parts`.
    async fn logged(&self, parts: &[&str]) {
        eventually(&format!("{parts:?} in the log"), async || {
            let log = self.gateway.log();
            log.iter().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
        })
        .await;
    }

    /// Ends the reading, which must have gone on, and at no cost in memory.
    async fn was_served(self) {
        self.memory_is_back().await;
        self.done.store(true, Ordering::SeqCst);
        assert!(self.reader.await.expect("the reader") >= 10);
    }
}

/// Whether the dashboard is served with the data that was put.
async fn is_good(gateway: &Gateway) -> bool {
    let mobile = gateway.get("/api/dashboard/mobile-data").await;
    mobile.status == 200 && mobile.json()["status"] == "success"
}

fn signal() -> String {
    json!({ "symbol": "AUSDT", "confluence_score": 60, "price": 10, "change_24h": 1.5 }).to_string()
}

/// Resident memory of the gateway in bytes.
fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_codec_does_costs_its_call_and_is_named() {
    let service = Service::start().await;
    let gateway = service.gateway.clone();
    for (name, cause, expected) in [
        ("endless-loop", "deadline", "deadline of 1s exceeded in decode"),
        ("endless-host-call", "deadline", "deadline of 1s exceeded in decode"),
        ("log-line-of-20-megabytes", "output", "answer larger than 16.0 MiB in decode"),
        ("memory-bomb", "memory", "memory limit of 64.0 MiB exceeded in decode"),
        ("stack-overflow", "trap", "call stack exhausted"),
        ("table-growth", "table", "table limit of 20000 elements exceeded in decode"),
        ("output-of-a-gigabyte", "output", "answer larger than 16.0 MiB in decode"),
        ("pointer-out-of-bounds", "contract", "list pointer/length out of bounds"),
        ("invalid-utf8", "contract", "the canonical bytes are not UTF-8"),
        ("invalid-utf8-in-a-message", "contract", "utf-8"),
        ("invalid-json", "contract", "the canonical bytes are not JSON"),
    ] {
        service.hand_over("binance", name).await;
        let labels = ["slot=\"binance\"", "plugin=\"hostile\"", &format!("cause=\"{cause}\"")];
        let before = gateway.metric("tiergate_plugin_traps_total", &labels).await;
        for round in 0..3 {
            let put = gateway.put("hostile:x!", r#"{"n": 1}"#).await;
            assert_eq!(put.status, 503, "{name}: {}", put.text());
            assert_eq!(put.json()["error"]["code"], "codec-failed");
            let message = put.json()["error"]["message"].as_str().expect("a message").to_owned();
            assert!(message.starts_with("plugin hostile 6.6.6: ") && message.contains(expected), "{name}: {message}");
            // The next call has a fresh instance.
            let put = gateway.put("hostile:x", format!(r#"{{"n": {round}}}"#)).await;
            assert_eq!(put.outcome("memory"), "stored", "{name}: {}", put.text());
        }
        assert_eq!(gateway.metric("tiergate_plugin_traps_total", &labels).await, before + 3.0, "{name}");
        service.others_work("binance").await;
    }
    assert!(gateway.metric("tiergate_plugin_log_lines_dropped_total", &["slot=\"binance\""]).await > 0.0);
    service.recover("binance").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_on_every_third_call_costs_every_third_call() {
    let service = Service::start().await;
    service.hand_over("binance", "trap-every-third-call").await;
    let mut traps = 0;
    for n in 0..30 {
        let put = service.gateway.put(&format!("hostile:{n}!"), "{}").await;
        if put.status == 503 {
            let message = put.json()["error"]["message"].as_str().expect("a message").to_owned();
            assert!(
                message.starts_with("plugin hostile 6.6.6: trap in decode: wasm trap: wasm `unreachable`"),
                "{message}"
            );
            traps += 1;
        } else {
            // A disk may be slow to answer for the others.
            assert_eq!(put.outcome("memory"), "stored", "{}", put.text());
        }
    }
    assert_eq!(traps, 10);
    let labels = ["slot=\"binance\"", "plugin=\"hostile\"", "cause=\"trap\""];
    assert_eq!(service.gateway.metric("tiergate_plugin_traps_total", &labels).await, 10.0);
    service.others_work("binance").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_lies_is_not_believed() {
    let service = Service::start().await;
    let gateway = service.gateway.clone();
    // Data from the future: the moment of the write counts, so that a later write is newer.
    service.hand_over("binance", "data-from-the-future").await;
    let first = gateway.put("hostile:x!", r#"{"n": 1}"#).await;
    let now = tiergate_tests::now_seconds();
    let version = first.json()["version"].as_f64().expect("a version") / 1e6;
    assert!(version <= now, "{version} {now}");
    assert_eq!(gateway.put("hostile:x!", r#"{"n": 2}"#).await.status, 200);
    assert_eq!(gateway.get("/api/cache/hostile:x!").await.json()["n"], 2);
    // A placeholder that is called real: the host knows one when it sees one.
    service.hand_over("binance", "placeholder-marked-real").await;
    assert_eq!(gateway.put("hostile:y", r#"{"n": 3}"#).await.status, 200);
    let lie = gateway.put("hostile:z!", r#"{"n": 4}"#).await;
    assert_eq!((lie.status.as_u16(), &lie.json()["kind"]), (200, &json!("placeholder")), "{}", lie.text());
    service.others_work("binance").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_serve_is_refused_before_it_serves() {
    let service = Service::start().await;
    let before = service.gateway.admin_get("/api/admin/plugins").await.json();
    let importing =
        |import: &str| wat::parse_str(format!(r#"(component (import "{import}" (instance)))"#)).expect("text");
    let whole = built_in("binance").expect("a component");
    let native = std::fs::read(std::env::current_exe().expect("this program")).expect("its bytes")[..4096].to_vec();
    let mut random = vec![0; 100_000];
    // Xorshift, the same in each run.
    let mut state = 0x2545_f491_u32;
    for byte in &mut random {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *byte = state as u8;
    }
    let mut random_component = b"\0asm\x0d\0\x01\0".to_vec();
    random_component.extend_from_slice(&random);
    for (what, component, expected) in [
        ("endless describe", hostile("endless-describe"), "deadline of 250ms exceeded in describe"),
        ("endless init", hostile("endless-init"), "deadline of 250ms exceeded in init"),
        ("endless start", hostile("endless-start"), "deadline of 250ms exceeded in start"),
        ("memory bomb in init", hostile("memory-bomb-at-init"), "memory limit of 64.0 MiB exceeded in init"),
        ("memory from the start", hostile("memory-from-the-start"), "memory limit of 64.0 MiB exceeded in start"),
        ("claims without end", hostile("claims-without-end"), "contract broken in claims"),
        ("wrong world", hostile("warmer"), "does not fit world `codec-plugin`"),
        (
            "sockets",
            importing("wasi:sockets/tcp@0.2.6"),
            "imports `wasi:sockets/tcp@0.2.6`, which no plugin is granted",
        ),
        ("files", importing("wasi:filesystem/types@0.2.6"), "build it without WASI"),
        ("environment", importing("wasi:cli/environment@0.2.6"), "imports `wasi:cli/environment@0.2.6`"),
        ("clocks", importing("wasi:clocks/monotonic-clock@0.2.6"), "imports `wasi:clocks/monotonic-clock@0.2.6`"),
        ("sleep", importing("wasi:io/poll@0.2.6"), "imports `wasi:io/poll@0.2.6`"),
        ("core module", wat::parse_str("(module)").expect("text"), "core module"),
        ("truncated", whole[..whole.len() - 100].to_vec(), "unexpected end"),
        ("random bytes", random, "not a WebAssembly component"),
        ("random bytes in a component", random_component, "failed to parse WebAssembly module"),
        ("native code", native, "native code, which runs outside of the sandbox and is never loaded"),
    ] {
        let reply = service.step("binance/load", component).await;
        assert_eq!(reply.status, 422, "{what}: {}", reply.text());
        assert!(reply.text().contains(expected), "{what}: {}", reply.text());
        service.others_work("").await;
    }
    // It is sound as such; it cannot serve beside the codec whose keys it claims.
    assert_eq!(service.step("binance/load", hostile("claims-of-another")).await.status, 200);
    let used = service.step("binance/use", "").await;
    assert_eq!(used.status, 422, "{}", used.text());
    assert!(used.text().contains("claims `market:overview`, which codec `codecs` claims too"), "{}", used.text());
    assert_eq!(service.step("binance/discard?generation=2", "").await.status, 200);
    // And neither can it in that one's place, with whose keys nobody would be left.
    assert_eq!(service.step("codecs/load", hostile("codec")).await.status, 200);
    let used = service.step("codecs/use", "").await;
    assert_eq!(used.status, 422, "{}", used.text());
    assert!(used.text().contains("no codec claims") && used.text().contains("`market:overview`"), "{}", used.text());
    assert_eq!(service.step("codecs/discard?generation=2", "").await.status, 200);
    let after = service.gateway.admin_get("/api/admin/plugins").await.json();
    assert_eq!(after, before);
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_200_megabytes_is_not_even_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let watched = tempfile::tempdir().expect("a directory");
    let watching = Gateway::with().env("TIERGATE_PLUGINS__WATCH", watched.path().to_str().expect("text"));
    let service = Service::over(watching).await;
    let file = dir.path().join("large.wasm");
    std::fs::File::create(&file).and_then(|file| file.set_len(200 << 20)).expect("a file");
    let output = Command::new(binary())
        .args(["plugin", "load", "warmer"])
        .arg(&file)
        .args(["--admin", &format!("http://{}", service.gateway.admin), "--admin-token-file"])
        .arg(service.gateway.data_dir().join("admin.token"))
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("large.wasm is larger than 32.0 MiB"), "{said}");
    // And by those who do not ask first.
    let token = std::fs::read_to_string(service.gateway.data_dir().join("admin.token")).expect("the token");
    let head = format!(
        "POST /api/admin/plugins/warmer/load HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        service.gateway.admin,
        token.trim(),
        200 << 20
    );
    let mut stream = TcpStream::connect(&service.gateway.admin).await.expect("it accepts");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer, though nothing of the body was sent");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body-too-large"), "{answer}");
    service.others_work("").await;
    // And where files are watched: no more of it than shows that it is too large.
    std::fs::rename(&file, watched.path().join("warmer.wasm")).expect("moved");
    eventually("the watch refuses it", async || {
        let told = service.last_step().await;
        (told["by"] == "watch" && told["result"].as_str()?.contains("larger than 32.0 MiB")).then_some(())
    })
    .await;
    service.others_work("").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_takes_too_long_or_too_much_to_compile_is_given_up() {
    for (limit, component, expected) in [
        ("deadline = \"2s\"", laborious(90, 256 << 10), "compiling it took more than 2s; make it smaller"),
        (
            "memory = \"128MiB\"\ndeadline = \"10m\"",
            laborious(1, 7 << 20),
            "compiling it took more than 128.0 MiB of memory; make it smaller",
        ),
    ] {
        let service = Service::over(Gateway::with().config(&format!("[plugins.limits.compile]\n{limit}"))).await;
        let reply = service.step("warmer/load", component).await;
        assert_eq!(reply.status, 422, "{}", reply.text());
        assert!(reply.text().contains(expected), "{}", reply.text());
        service.others_work("").await;
        // Nothing of it is kept.
        let kept = std::fs::read_dir(service.gateway.data_dir().join("plugins")).expect("the store");
        let paths = kept.map(|entry| entry.expect("an entry").path());
        assert_eq!(paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).count(), 0);
        service.was_served().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_without_a_state_to_hand_over_is_refused_by_the_call_that_failed() {
    let service = Service::start().await;
    for (name, expected) in [("panic-in-save", "trap in save"), ("panic-in-restore", "trap in restore")] {
        let reply = service.step("aggregator/load", hostile(name)).await;
        assert_eq!(reply.status, 422, "{name}: {}", reply.text());
        assert!(reply.text().contains("plugin hostile 6.6.6") && reply.text().contains(expected), "{}", reply.text());
        service.others_work("").await;
    }
    // It takes its own state back, as it is asked at `load`, and not that of another: it is given the recorded inputs.
    assert_eq!(service.step("aggregator/load", hostile("panic-in-restore-of-foreign-state")).await.status, 200);
    service.rebuilds("aggregator/use", "trap in restore").await;
    service.others_work("aggregator").await;
    // It saves as long as it knows nothing: the way to it is open, and the way back is told what it lacks.
    service.hand_over("aggregator", "panic-in-save-once-it-knows-something").await;
    assert_eq!(service.gateway.ingest(signal()).await.json()["accepted"], 1);
    service.rebuilds("aggregator/rollback", "trap in save").await;
    service.others_work("aggregator").await;
    service.recover("aggregator").await;
    service.others_work("").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_fails_at_signals_costs_them_and_says_so() {
    let service = Service::start().await;
    service.hand_over("aggregator", "endless-ingest").await;
    let reply = service.gateway.ingest(signal()).await;
    assert_eq!(reply.json()["details"]["accepted"], 0, "{}", reply.text());
    assert!(
        reply.text().contains("quarantined") && reply.text().contains("deadline of 1s exceeded in ingest"),
        "{}",
        reply.text()
    );
    assert!(service.gateway.metric("tiergate_plugin_quarantined_total", &["slot=\"aggregator\""]).await >= 1.0);
    service.logged(&["quarantined", "deadline of 1s exceeded in ingest"]).await;
    service.others_work("aggregator").await;
    // Each signal is taken or told as quarantined, though every third call fails.
    service.hand_over("aggregator", "trap-every-third-ingest").await;
    let (mut accepted, mut told) = (0, 0);
    for _ in 0..20 {
        let reply = service.gateway.ingest(signal()).await;
        accepted += reply.json()["accepted"].as_u64().unwrap_or_default();
        told += u64::from(reply.text().contains("quarantined"));
        service.others_work("aggregator").await;
    }
    assert_eq!(accepted + told, 20);
    service.logged(&["an input cost an instance", "plugin hostile 6.6.6: trap in ingest"]).await;
    let labels = ["slot=\"aggregator\"", "plugin=\"hostile\"", "cause=\"trap\""];
    assert!(service.gateway.metric("tiergate_plugin_traps_total", &labels).await >= 6.0);
    service.recover("aggregator").await;
    service.others_work("").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_lies_in_what_it_publishes_and_composes_changes_nothing_good() {
    let service = Service::start().await;
    let gateway = service.gateway.clone();
    let held = || async { gateway.get("/api/cache/market:overview").await.json() };
    let real = held().await;
    service.hand_over("aggregator", "documents-that-lie").await;
    gateway.ingest(signal()).await;
    for what in ["it publishes the key", "a body that is not UTF-8", "a body that is not JSON"] {
        service.logged(&["a publication of the aggregator is left out", what]).await;
    }
    assert!(gateway.metric("tiergate_plugin_publications_refused_total", &["slot=\"aggregator\""]).await >= 3.0);
    // Neither the placeholder nor the data of the year 2096 is believed for what it says of itself.
    let after = gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await;
    assert_eq!(after.status, 200, "what is newer than a lie about the future is taken: {}", after.text());
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&held().await), keys(&real));
    service.others_work("aggregator").await;
    for (name, expected) in [
        ("compose-of-a-gigabyte", "answer larger than 16.0 MiB in compose"),
        ("compose-no-json", "contract broken in compose"),
    ] {
        service.hand_over("aggregator", name).await;
        service.logged(&["the last ones stay", "plugin hostile 6.6.6", expected]).await;
        service.others_work("aggregator").await;
    }
    service.recover("aggregator").await;
    service.others_work("").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warmer_that_fails_or_lies_plans_nothing_and_overwrites_nothing() {
    let service = Service::start().await;
    let gateway = service.gateway.clone();
    for (name, expected) in
        [("endless-plan", "deadline of 250ms exceeded in plan"), ("panic-in-save-after-a-plan", "trap in save")]
    {
        service.hand_over("warmer", name).await;
        service.logged(&["the warmer made no plan", "plugin hostile 6.6.6", expected]).await;
        assert!(service.plans().await["failures"].as_u64().expect("a number") > 0, "{name}");
        service.others_work("warmer").await;
    }
    service.hand_over("warmer", "placeholder-over-real-data").await;
    eventually("the placeholder is refused", async || {
        let tasks = gateway.admin_get("/api/admin/warmer").await.json()["warmer"]["tasks"].to_string();
        (tasks.contains("a real value is there") || tasks.contains("refused")).then_some(())
    })
    .await;
    assert_eq!(gateway.get("/api/cache/secret:key").await.status, 404, "a key that it was not told of");
    service.plans_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warmer_that_panics_in_restore_is_refused_or_starts_without_its_state() {
    let service = Service::start().await;
    let reply = service.step("warmer/load", hostile("panic-in-restore-of-a-warmer")).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert!(
        reply.text().contains("plugin hostile 6.6.6") && reply.text().contains("trap in restore"),
        "{}",
        reply.text()
    );
    service.others_work("").await;
    // It does not take the state of another, and fails at what is given to it instead: the plans that the other one made.
    let made = service.plans().await["made"].as_u64();
    eventually("plans are recorded", async || {
        (service.plans().await["made"].as_u64() > made.map(|n| n + 2)).then_some(())
    })
    .await;
    assert_eq!(service.step("warmer/load", hostile("panic-in-restore-after-a-plan")).await.status, 200);
    let refused = service.step("warmer/use", "").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    for part in ["plugin hostile 6.6.6", "trap in plan", "the active version goes on"] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
    service.others_work("").await;
    // Nor its own, once it has made a plan: each trap costs it what it knew, and no more.
    assert_eq!(service.step("warmer/use?fresh=true", "").await.status, 200);
    service.logged(&["the warmer does not take its own state back", "plugin hostile 6.6.6: trap in restore"]).await;
    let made = service.plans().await["made"].as_u64();
    eventually("it plans all the same", async || (service.plans().await["made"].as_u64() > made).then_some(())).await;
    service.others_work("warmer").await;
    service.plans_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_comes_back_after_repeated_abuse() {
    let service = Service::start().await;
    let gateway = service.gateway.clone();
    let before = resident(&gateway);
    let mut held = Vec::new();
    for _ in 0..4 {
        for name in ["memory-bomb", "output-of-a-gigabyte", "log-line-of-20-megabytes", "stack-overflow"] {
            service.hand_over("binance", name).await;
            for _ in 0..10 {
                assert_eq!(gateway.put("hostile:x!", "{}").await.status, 503);
            }
        }
        held.push(resident(&gateway));
    }
    assert!(held.iter().all(|held| *held < before + KEPT_BYTES_MAX), "{before} before, then {held:?}");
    service.recover("binance").await;
    let instances = ["slot=\"binance\"", "plugin=\"hostile\""];
    assert_eq!(gateway.metric("tiergate_plugin_instances", &instances).await, 0.0);
    assert_eq!(gateway.metric("tiergate_plugin_memory_bytes", &instances).await, 0.0);
    service.others_work("").await;
    service.was_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_harm_whenever_it_is_called_is_refused_at_load_by_the_vectors_of_its_kind() {
    let gateway = Gateway::with().start().await;
    for (slot, name, expected) in [
        ("codecs", "endless-loop", "fails the conformance vector"),
        ("codecs", "memory-bomb", "fails the conformance vector"),
        ("aggregator", "endless-ingest", "fails the conformance vector"),
        ("warmer", "endless-plan", "deadline of 250ms exceeded in plan"),
    ] {
        let reply =
            gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{slot}/load"), hostile(name).into()).await;
        assert_eq!(reply.status, 422, "{name}: {}", reply.text());
        assert!(reply.text().contains(expected), "{name}: {}", reply.text());
        assert!(reply.text().contains("`tiergate plugin check` shows"), "{name}: {}", reply.text());
    }
}
