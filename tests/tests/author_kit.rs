//! The author kit, as an author uses it: every example is written, built with the tools of its language, and checked; a broken
//! plugin fails with an input that repeats it; and each of the examples serves in a gateway.
//!
//! One test, because building is what takes long: each project is built once. Nothing is skipped: a tool that is missing fails
//! it by name.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tiergate_tests::{Answer, Gateway, Memcached, Origin, PlainMemcached, Starting, binary, eventually, hostile};

const KINDS: [&str; 3] = ["codec", "aggregator", "warmer"];
const LANGUAGES: [&str; 3] = ["rust", "python", "javascript"];

/// An author's machine: a folder to work in.
struct Author {
    dir: tempfile::TempDir,
    /// Where cargo builds; kept between runs.
    target: PathBuf,
}

impl Author {
    fn new() -> Self {
        // <target>/<profile>/deps/<this test>
        let exe = std::env::current_exe().expect("a test binary");
        let target = exe.ancestors().nth(3).expect("a target directory").join("author-kit");
        Self { dir: tempfile::tempdir().expect("a directory"), target }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where `build` writes the component of an example.
    fn component(kind: &str, language: &str) -> String {
        let name = format!("my-{kind}-{language}");
        format!("{name}/{name}.wasm")
    }

    /// `tiergate plugin ...` in the author's folder.
    fn plugin(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.arg("plugin").args(args).current_dir(self.dir.path());
        command.env("CARGO_TARGET_DIR", &self.target).env("XDG_STATE_HOME", self.dir.path());
        command.output().expect("tiergate runs")
    }

    /// The same, which must work; answers what it printed.
    fn done(&self, args: &[&str]) -> String {
        let output = self.plugin(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "tiergate plugin {}: {}\n{out}{err}", args.join(" "), output.status);
        out
    }

    fn report(&self, args: &[&str]) -> Value {
        let output = self.plugin(&[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
    }

    /// Uses the tools that another project of the same language has installed: they are the same.
    fn share_tools(&self, from: &str, to: &str) {
        for tools in [".venv", "node_modules"] {
            if self.path(from).join(tools).exists() {
                std::os::unix::fs::symlink(self.path(from).join(tools), self.path(to).join(tools)).expect("a link");
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_build_and_pass_their_check_and_serve_in_a_gateway() {
    let author = Author::new();
    the_built_in_plugins_pass_their_check(&author);
    for language in LANGUAGES {
        for kind in KINDS {
            let name = format!("my-{kind}-{language}");
            author.done(&["new", kind, &name, "--lang", language]);
            if kind != KINDS[0] {
                author.share_tools(&format!("my-{}-{language}", KINDS[0]), &name);
            }
            let begun = std::time::Instant::now();
            let built = author.done(&["build", &name]);
            let component = Author::component(kind, language);
            assert_eq!(built.trim(), component);
            let built = begun.elapsed();
            let report = author.done(&["check", &component]);
            assert!(report.ends_with("\npassed\n"), "{report}");
            assert!(report.contains(&format!("{name} 0.1.0 {kind}")), "{report}");
            println!("{name}: built in {built:?}, checked in {:?}", begun.elapsed() - built);
        }
    }
    for kind in KINDS {
        the_figures_of_a_plugin_stand_beside_those_of_the_built_in_one(&author, kind);
    }
    a_broken_plugin_fails_and_the_failure_can_be_repeated(&author);
    the_rust_plugins_serve(&author).await;
    the_python_plugins_serve(&author).await;
    the_javascript_plugins_serve(&author).await;
}

fn the_figures_of_a_plugin_stand_beside_those_of_the_built_in_one(author: &Author, kind: &str) {
    let component = Author::component(kind, "rust");
    let bench = author.report(&["bench", &component]);
    assert_eq!((&bench["kind"], &bench["file"]), (&json!(kind), &json!(component)), "{bench:#}");
    let [own, built_in] = &bench["plugins"].as_array().expect("plugins")[..] else { panic!("{bench:#}") };
    let names = [format!("my-{kind}-rust "), format!("tiergate-{kind}")];
    for (timing, name) in [own, built_in].into_iter().zip(&names) {
        assert!(timing["plugin"].as_str().is_some_and(|plugin| plugin.starts_with(name)), "{bench:#}");
        let figure = |name: &str| timing[name].as_f64().unwrap_or_else(|| panic!("{name}: {bench:#}"));
        for name in ["bytes", "cold_micros", "warm_micros", "warm_calls", "memory_first", "memory_last"] {
            assert!(figure(name) > 0.0, "{name}: {bench:#}");
        }
        assert!(figure("warm_p99_micros") >= figure("warm_micros"), "{bench:#}");
        assert!(timing["work"].as_str().is_some_and(|work| !work.is_empty()), "{bench:#}");
    }
    let size = author.path(&component).metadata().expect("the component").len();
    assert_eq!(own["bytes"], size, "{bench:#}");
    // For a person: a line for each, under the names of the figures.
    let printed = author.done(&["bench", &component]);
    let lines: Vec<_> = printed.lines().collect();
    for figure in ["plugin", "component", "cold call", "warm call", "warm p99", "memory", "after", "asked"] {
        assert!(lines[1].contains(figure), "{figure}: {printed}");
    }
    for (line, name) in lines[2..].iter().zip(&names) {
        assert!(line.starts_with(name) && line.matches(" us ").count() == 3, "{printed}");
    }
}

/// A Rust codec whose answer is not repeatable and traps at an empty payload.
fn a_broken_plugin_fails_and_the_failure_can_be_repeated(author: &Author) {
    author.done(&["new", "codec", "broken", "--lang", "rust"]);
    let source = author.path("broken/src/lib.rs");
    let code = std::fs::read_to_string(&source).expect("the source");
    let begin = "        // An array is what this codec answers, so it takes one, too.";
    assert!(code.contains(begin));
    let broken =
        "        assert!(!payload.is_empty());\n        let produced_at = tiergate::plugin::host_clock::now();\n";
    let code = code.replace(begin, &format!("{broken}{begin}"));
    let code = code.replace("produced_at: None", "produced_at: Some(produced_at)");
    std::fs::write(&source, code).expect("written");
    author.done(&["build", "broken"]);

    let output = author.plugin(&["check", "broken/broken.wasm"]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.ends_with("\nFAILED\n"), "{report}");

    let report = author.report(&["check", "broken/broken.wasm"]);
    let line = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().expect("checks");
        checks.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}")).clone()
    };
    assert_eq!(
        (&report["passed"], &line(&report, "own-answer")["passed"]),
        (&json!(false), &json!(true)),
        "{report:#}"
    );
    for (check, expected) in [("hostile", "trap in decode"), ("repeatable", "asked again at another time")] {
        let failure = line(&report, check)["failures"][0].clone();
        assert!(failure["what"].as_str().expect("a text").contains(expected), "{failure:#}");
        // The command that the report names, by this binary.
        let repeat =
            failure["repeat"].as_str().expect("a command").replacen("tiergate", &binary().display().to_string(), 1);
        let repeated =
            Command::new("sh").args(["-c", &repeat]).current_dir(author.dir.path()).output().expect("sh runs");
        let printed = text(&repeated.stdout);
        assert_eq!(repeated.status.code(), Some(1), "{printed}");
        assert!(printed.contains(expected), "{printed}");
    }
    // What passes there passes here.
    let saved = author.path("saved.json");
    let sound = json!({"kind": "codec", "config": {}, "case": {"key": "lines:a", "flags": 0, "payload": {"text": "no record"}}});
    std::fs::write(&saved, sound.to_string()).expect("written");
    author.done(&["check", "broken/broken.wasm", "--input", "saved.json"]);
}

/// Time enough for large components on a busy machine: what is tested is what they do, and not how long it takes.
const UNHURRIED: &str = "[plugins.limits]\ncompile = { deadline = \"10m\" }\ncodec = { deadline = \"10s\" }\n\
                         aggregator = { deadline = \"10s\" }\nwarmer = { deadline = \"10s\" }\n";

/// A gateway in which the plugins of one language serve.
struct Serving<'a> {
    author: &'a Author,
    language: &'static str,
    gateway: Gateway,
}

impl<'a> Serving<'a> {
    /// Starts it with the aggregator of that language, which publishes `document`. `load` refuses one that composes views from
    /// other keys than the active one, so it is named in the configuration.
    async fn start(
        author: &'a Author,
        language: &'static str,
        document: &str,
        origin: &Origin,
        starting: Starting,
    ) -> Self {
        let aggregator = author.path(&Author::component("aggregator", language));
        let config = format!(
            "[plugins]\naggregator = {{ name = \"aggregator\", path = {aggregator:?} }}\n[market]\nrequired = [{document:?}]\n\
             [warmer]\nevery = \"100ms\"\n{UNHURRIED}\
             [[source]]\nname = \"btc\"\nkey = \"spot:btc\"\nurl = \"{}\"\ninterval = \"1s\"\nttl = \"2s\"\n",
            origin.url("/btc")
        );
        Self { author, language, gateway: starting.config(&config).start().await }
    }

    fn operate(&self, args: &[&str]) -> Output {
        let (admin, token) = (format!("http://{}", self.gateway.admin), self.gateway.data_dir().join("admin.token"));
        let access = ["--admin", &*admin, "--admin-token-file", token.to_str().expect("a path"), "--by", "test"];
        self.author.plugin(&[args, &access].concat())
    }

    /// A step of a slot, which must be carried out.
    fn done(&self, args: &[&str]) {
        let output = self.operate(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    }

    /// Lets the codec of this language serve in the place of that of Binance's tickers.
    fn use_codec(&self) {
        self.done(&["load", "binance", &Author::component("codec", self.language)]);
        self.done(&["use", "binance"]);
    }

    /// Lets the warmer of this language serve, with this configuration; without the state of another.
    fn use_warmer(&self, config: &str) {
        self.done(&["load", "warmer", &Author::component("warmer", self.language), "--config", config]);
        self.done(&["use", "warmer", "--fresh"]);
    }

    async fn ingest(&self, symbol: &str, score: u32) {
        let reply = self.gateway.ingest(json!({ "symbol": symbol, "confluence_score": score }).to_string()).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["accepted"]), (200, &json!(1)), "{}", reply.text());
    }

    /// Writes a payload that the codec mends; answers the codes of the repairs.
    async fn put(&self, key: &str, schema: &str, payload: &str) -> Vec<Value> {
        let written = self.gateway.put(key, payload.to_owned()).await;
        assert_eq!(
            (written.status.is_success(), &written.json()["schema"]),
            (true, &json!(schema)),
            "{}",
            written.text()
        );
        let repairs = written.json()["repairs"].as_array().expect("repairs").clone();
        repairs.into_iter().map(|repair| repair["code"].clone()).collect()
    }

    async fn value(&self, key: &str) -> Value {
        self.gateway.get(&format!("/api/cache/{key}")).await.json()
    }

    /// Waits for a view that is composed like this.
    async fn shows(&self, expected: Value) {
        eventually(&format!("the view is {expected}"), async || {
            (self.gateway.get("/api/dashboard/symbols").await.json() == expected).then_some(())
        })
        .await;
    }

    /// What operators are told of a key that is kept warm.
    async fn task(&self, key: &str) -> Value {
        let warmer = self.gateway.admin_get("/api/admin/warmer").await.json();
        let tasks = warmer["warmer"]["tasks"].as_array().expect("tasks").clone();
        tasks.into_iter().find(|task| task["key"] == key).unwrap_or_default()
    }

    /// Waits until the warmer gives this reason for what it does with a key.
    async fn plans(&self, key: &str, reason: &str) {
        eventually(&format!("{key}: {reason}"), async || (self.task(key).await["reason"] == reason).then_some(()))
            .await;
    }

    /// All three serve, and none of them has cost an instance.
    async fn went_well(self) {
        let plugins = self.gateway.admin_get("/api/admin/plugins").await.json();
        let slots = plugins["slots"].as_array().expect("slots");
        for (slot, kind) in [("binance", "codec"), ("aggregator", "aggregator"), ("warmer", "warmer")] {
            let found = slots.iter().find(|found| found["slot"] == slot).expect("the slot");
            assert_eq!(found["plugin"], format!("my-{kind}-{}", self.language), "{found:#}");
        }
        assert_eq!(self.gateway.metric("tiergate_plugin_traps_total", &["my-"]).await, 0.0);
    }
}

/// The lines that are records, the symbols with the highest scores, and copies near the reader.
async fn the_rust_plugins_serve(author: &Author) {
    let origin = Origin::start(Answer::json(r#"{"price": 64250.1}"#)).await;
    let memcached = Memcached::start().await;
    let starting = Gateway::with().tier(memcached.url());
    let serving = Serving::start(author, "rust", "strongest:symbols", &origin, starting).await;
    for (symbol, score) in [("AUSDT", 50), ("BUSDT", 90), ("CUSDT", 70)] {
        serving.ingest(symbol, score).await;
    }
    let symbol = |symbol: &str, score: f64| json!({ "symbol": symbol, "score": score });
    let strongest = json!([symbol("BUSDT", 90.0), symbol("CUSDT", 70.0), symbol("AUSDT", 50.0)]);
    serving.shows(json!({ "status": "success", "symbols": strongest })).await;
    assert_eq!(serving.value("strongest:symbols").await, strongest);

    serving.use_codec();
    let repairs = serving.put("lines:trades", "record-list", "{\"a\": 1}\nno record\n{\"a\": 2.50}\n").await;
    assert_eq!(repairs, ["dropped-record"]);
    assert_eq!(serving.gateway.get("/api/cache/lines:trades").await.text(), r#"[{"a": 1},{"a": 2.50}]"#);

    serving.use_warmer(r#"{"watch": ["app:near"]}"#);
    serving.plans("app:near", "no real value is known").await;
    let asked = origin.asked().len();
    // What somebody else writes is in memcached, and in memory before anybody reads it.
    PlainMemcached::connect(memcached.port()).await.set("app:near", b"{\"n\":1}", 0, 60).await;
    eventually("it is copied up", async || {
        let task = serving.task("app:near").await;
        (task["last_step"] == "promote" && task["last_fate"] == "done" && task["reason"] == "memory has it")
            .then_some(())
    })
    .await;
    assert_eq!(origin.asked().len(), asked, "an origin is never asked");
    serving.went_well().await;
}

/// What `str()` wrote, the quartiles of the scores, and the hours of a market.
async fn the_python_plugins_serve(author: &Author) {
    let origin = Origin::start(Answer::json(r#"{"price": 64250.1}"#)).await;
    let serving = Serving::start(author, "python", "scores:quartiles", &origin, Gateway::with()).await;
    for (symbol, score) in [("AUSDT", 50), ("BUSDT", 60), ("CUSDT", 70), ("DUSDT", 80)] {
        serving.ingest(symbol, score).await;
    }
    let quartiles = json!({ "symbols": 4, "low": 52.5, "median": 65.0, "high": 77.5 });
    serving.shows(json!({ "status": "success", "scores": quartiles })).await;
    assert_eq!(serving.value("scores:quartiles").await, quartiles);
    // Another aggregator composes views from other keys, so it cannot take over while this one serves.
    let refused = serving.operate(&["load", "aggregator", &Author::component("aggregator", "rust")]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let why = "it composes views from other keys than the active one; name it in the configuration and restart";
    assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));

    serving.use_codec();
    let literal = "{'regime': 'BULL', 'score': 0.7, 'since': None, 'hits': (1, 2)}";
    assert_eq!(serving.put("legacy:regime", "python-value", literal).await, ["python-literal"]);
    let read = serving.gateway.get("/api/cache/legacy:regime").await;
    assert_eq!(read.text(), r#"{"regime":"BULL","score":0.7,"since":null,"hits":[1,2]}"#);
    let refused = serving.gateway.put("legacy:regime", "__import__('os').system('true')").await;
    assert!(refused.status.is_client_error() && refused.text().contains("not-a-literal"), "{}", refused.text());

    serving.use_warmer(r#"{"weekdays": []}"#);
    serving.plans("spot:btc", "closed").await;
    let asked = origin.asked().len();
    serving.use_warmer(r#"{"weekdays": [0, 1, 2, 3, 4, 5, 6], "open": "00:00", "close": "24:00"}"#);
    serving.plans("spot:btc", "open").await;
    eventually("its origin is asked again", async || (origin.asked().len() > asked).then_some(())).await;
    serving.went_well().await;
}

/// Numbers in quotes, alerts that end below the line, and patience for what people read.
async fn the_javascript_plugins_serve(author: &Author) {
    let origin = Origin::start(Answer::json(r#"{"price": 64250.1}"#)).await;
    let serving = Serving::start(author, "javascript", "alerts:threshold", &origin, Gateway::with()).await;
    serving.ingest("AUSDT", 69).await;
    // An alert from 70 on, until it falls below 65.
    for (score, alerts) in [(75, json!(["BUSDT 75"])), (66, json!(["BUSDT 66"])), (64, json!([]))] {
        serving.ingest("BUSDT", score).await;
        eventually(&format!("the alerts are {alerts}"), async || {
            let view = serving.gateway.get("/api/dashboard/symbols").await.json();
            let told = |alert: &Value| format!("{} {}", alert["symbol"].as_str().unwrap_or_default(), alert["score"]);
            let told: Vec<_> = view["alerts"].as_array()?.iter().map(told).collect();
            (view["status"] == "success" && json!(told) == alerts).then_some(())
        })
        .await;
    }
    assert_eq!(serving.value("alerts:threshold").await, json!([]));

    serving.use_codec();
    let repairs = serving.put("quotes:btc", "quote", r#"{"symbol": "BTC", "price": "64,250.10"}"#).await;
    assert_eq!(repairs, ["quoted-number"]);
    assert_eq!(serving.gateway.get("/api/cache/quotes:btc").await.text(), r#"{"symbol": "BTC", "price": 64250.10}"#);

    serving.use_warmer("{}");
    serving.plans("spot:btc", "nobody reads it").await;
    eventually("a key that is read is kept warm", async || {
        serving.value("spot:btc").await;
        let task = serving.task("spot:btc").await;
        (task["reason"].as_str()?.contains("it is read") || task["reason"].as_str()?.ends_with("reads of late"))
            .then_some(())
    })
    .await;
    serving.went_well().await;
}

#[test]
fn a_project_is_written_and_a_folder_that_is_none_is_refused_by_name() {
    let author = Author::new();
    let said = author.done(&["new", "warmer", "mine", "--lang", "rust", "--dir", "elsewhere"]);
    assert!(said.contains("tiergate plugin build elsewhere"), "{said}");
    assert!(
        author.path("elsewhere/wit/tiergate.wit").is_file()
            && Path::new(&author.path("elsewhere/src/lib.rs")).is_file()
    );
    let again = author.plugin(&["new", "warmer", "mine", "--lang", "rust", "--dir", "elsewhere"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("elsewhere is not empty"), "{}", text(&again.stderr));
    let none = author.plugin(&["build"]);
    assert!(text(&none.stderr).contains("plugin.toml") && none.status.code() == Some(1), "{}", text(&none.stderr));
}

#[test]
fn a_file_that_is_no_plugin_fails_its_check_with_the_reason() {
    let author = Author::new();
    std::fs::write(author.path("core.wasm"), b"\0asm\x01\0\0\0").expect("written");
    let output = author.plugin(&["check", "core.wasm"]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("FAILED  loads") && report.contains("core module"), "{report}");
}

#[test]
fn what_a_plugin_logs_is_printed_while_it_is_checked_by_who_asks_for_it() {
    let author = Author::new();
    std::fs::write(author.path("says.wasm"), hostile("says-a-line")).expect("written");
    let payload = r#"{"said": "by the plugin"}"#;
    let case =
        json!({"kind": "codec", "config": {}, "case": {"key": "hostile:x!", "flags": 0, "payload": {"text": payload}}});
    std::fs::write(author.path("saved.json"), case.to_string()).expect("written");
    let said = |more: &[&str]| {
        let output = author.plugin(&[&["check", "says.wasm", "--input", "saved.json"][..], more].concat());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let printed = said(&["--log", "debug"]);
    let line = printed.lines().find(|line| line.contains(payload)).unwrap_or_else(|| panic!("{printed}"));
    assert!(line.contains("WARN") && line.contains("hostile") && line.contains("6.6.6"), "{line}");
    for quiet in [&["--log", "error"][..], &[]] {
        assert!(!said(quiet).contains(payload), "{quiet:?}");
    }
}

#[test]
fn a_seed_makes_the_same_inputs_again_and_another_one_others() {
    let author = Author::new();
    // It takes everything as it came, so that damaged payloads fail, and their inputs are saved.
    std::fs::write(author.path("takes-all.wasm"), hostile("codec")).expect("written");
    let inputs = |more: &[&str]| -> (Value, Vec<String>) {
        let report = author.report(&[&["check", "takes-all.wasm"][..], more].concat());
        let checks = report["checks"].as_array().expect("checks");
        let damaged = checks.iter().find(|line| line["name"] == "damaged").expect("the damaged payloads");
        let failures = damaged["failures"].as_array().expect("failures").iter();
        let saved = failures.map(|failure| author.path(failure["saved"].as_str().expect("a file")));
        let inputs: Vec<_> = saved.map(|path| std::fs::read_to_string(path).expect("an input")).collect();
        assert!(!inputs.is_empty(), "{report:#}");
        (report["seed"].clone(), inputs)
    };
    let seven = inputs(&["--seed", "7"]);
    assert_eq!(seven.0, 7);
    assert_eq!(inputs(&["--seed", "7"]), seven);
    let (eight, default) = (inputs(&["--seed", "8"]), inputs(&[]));
    assert!(eight.1 != seven.1 && default.1 != seven.1);
    assert_eq!(inputs(&["--seed", "1"]), default, "the same for everybody who names none");
}

/// Not beside the builds: a machine that is busy is late.
fn the_built_in_plugins_pass_their_check(author: &Author) {
    for name in ["codecs", "binance", "aggregator", "warmer"] {
        let component = format!("{name}.wasm");
        std::fs::write(author.path(&component), tiergate::plugin::built_in(name).expect("a built-in plugin"))
            .expect("written");
        let report = author.done(&["check", &component]);
        assert!(report.ends_with("\npassed\n"), "{report}");
    }
}
