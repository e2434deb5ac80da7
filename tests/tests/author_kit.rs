//! The author kit, as an author uses it: every example is written, built with the tools of its language, and checked; a broken
//! plugin fails with an input that repeats it; and two of the examples serve in a gateway.
//!
//! One test, because building is what takes long: each project is built once. Nothing is skipped: a tool that is missing fails
//! it by name.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tiergate_tests::{Answer, Gateway, Origin, binary, eventually};

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
            let component = format!("{name}/{name}.wasm");
            assert_eq!(built.trim(), component);
            let built = begun.elapsed();
            let report = author.done(&["check", &component]);
            assert!(report.ends_with("\npassed\n"), "{report}");
            assert!(report.contains(&format!("{name} 0.1.0 {kind}")), "{report}");
            println!("{name}: built in {built:?}, checked in {:?}", begun.elapsed() - built);
        }
    }
    let bench = author.report(&["bench", "my-codec-rust/my-codec-rust.wasm"]);
    assert_eq!(bench["plugins"].as_array().map(Vec::len), Some(2), "{bench}");
    assert!(bench["plugins"][0]["warm_micros"].as_f64() > Some(0.0), "{bench}");

    a_broken_plugin_fails_and_the_failure_can_be_repeated(&author);
    the_python_codec_and_the_javascript_warmer_serve(&author).await;
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

/// Loads the Python codec and the JavaScript warmer into a gateway by command line, and uses them.
async fn the_python_codec_and_the_javascript_warmer_serve(author: &Author) {
    let origin = Origin::start(Answer::json(r#"{"price": 64250.1}"#)).await;
    let source = format!(
        "[warmer]\nevery = \"100ms\"\n[[source]]\nname = \"btc\"\nkey = \"spot:btc\"\nurl = \"{}\"\ninterval = \"1s\"\n",
        origin.url("/btc")
    );
    let gateway = Gateway::with().config(&source).start().await;
    let (admin, token) = (format!("http://{}", gateway.admin), gateway.data_dir().join("admin.token"));
    let operate = |args: &[&str]| {
        let access = ["--admin", &*admin, "--admin-token-file", token.to_str().expect("a path"), "--by", "test"];
        author.done(&[args, &access].concat())
    };

    operate(&["load", "binance", "my-codec-python/my-codec-python.wasm"]);
    operate(&["use", "binance"]);
    let written = gateway.put("legacy:regime", "{'regime': 'BULL', 'score': 0.7, 'since': None, 'hits': (1, 2)}").await;
    assert_eq!(
        (written.status.as_u16(), &written.json()["schema"]),
        (200, &json!("python-value")),
        "{}",
        written.text()
    );
    let read = gateway.get("/api/cache/legacy:regime").await;
    assert_eq!(read.text(), r#"{"regime":"BULL","score":0.7,"since":null,"hits":[1,2]}"#);
    let refused = gateway.put("legacy:regime", "__import__('os').system('true')").await;
    assert!(refused.status.is_client_error() && refused.text().contains("not-a-literal"), "{}", refused.text());

    operate(&["load", "warmer", "my-warmer-javascript/my-warmer-javascript.wasm"]);
    operate(&["use", "warmer", "--fresh"]);
    let task = async || {
        let warmer = gateway.admin_get("/api/admin/warmer").await.json();
        let tasks = warmer["warmer"]["tasks"].as_array().expect("tasks").clone();
        tasks.into_iter().find(|task| task["key"] == "spot:btc").unwrap_or_default()
    };
    eventually("a key that nobody reads is left alone", async || {
        (task().await["reason"] == "nobody reads it").then_some(())
    })
    .await;
    eventually("a key that is read is kept warm", async || {
        gateway.get("/api/cache/spot:btc").await;
        let task = task().await;
        (task["reason"].as_str()?.contains("it is read") || task["reason"].as_str()?.ends_with("reads of late"))
            .then_some(())
    })
    .await;
    let plugins = gateway.admin_get("/api/admin/plugins").await.json();
    let runs = |slot: &str| {
        plugins["slots"].as_array().and_then(|slots| slots.iter().find(|s| s["slot"] == slot)?["plugin"].as_str())
    };
    assert_eq!((runs("binance"), runs("warmer")), (Some("my-codec-python"), Some("my-warmer-javascript")));
    assert_eq!(gateway.metric("tiergate_plugin_traps_total", &["my-"]).await, 0.0);
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
