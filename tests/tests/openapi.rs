//! The OpenAPI documents tell the truth: schemathesis asks a running gateway for everything that they describe, well and badly
//! formed, and finds no answer that they do not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tiergate_tests::{Gateway, fixture, moved_to_now};

/// What asks; PyPI has it.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Requests that are made up for each operation, at most.
const EXAMPLES_MAX: &str = "15";

/// The same requests in every run.
const SEED: &str = "20240805";

/// What does not end, or is no HTTP any more: other tests listen to it. And what would take the token of those that follow.
const NOT_ASKED: &str = "/stream$|^/ws$";

/// The environment of Python that has it, made at the first run beside the tests: by one of them, while the other waits.
fn schemathesis() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(install)
}

fn install() -> PathBuf {
    // <target>/<profile>/deps/<this test>
    let exe = std::env::current_exe().expect("a test binary");
    let venv = exe.ancestors().nth(3).expect("a target directory").join("schemathesis");
    let (installed, python) = (venv.join("installed"), venv.join("bin/python"));
    if std::fs::read_to_string(&installed).ok().as_deref() != Some(SCHEMATHESIS) {
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        done(Command::new(python).args(["-m", "pip", "install", "--quiet", SCHEMATHESIS]));
        std::fs::write(installed, SCHEMATHESIS).expect("written");
    }
    venv.join("bin/schemathesis")
}

fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
}

/// Asks for everything in the document of this listener.
async fn check(listener: &str, more: &[&str]) {
    let url = format!("http://{listener}/api/openapi.json");
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(schemathesis());
    command.current_dir(dir.path()).args(["run", &url, "--exclude-path-regex", NOT_ASKED, "--no-color"]);
    command.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES_MAX, "--seed", SEED]);
    command.args(["--workers", "1", "--suppress-health-check", "all"]).args(more);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
}

/// A gateway for which nothing that is described is out of reach.
async fn gateway() -> Gateway {
    let gateway = Gateway::with().config("[market]\nrequired = []").start().await;
    for key in ["market:overview", "market:movers"] {
        let payload = moved_to_now(&fixture(&format!("{key}.json")));
        assert_eq!(gateway.put(key, payload).await.status, 200, "{key}");
    }
    for document in ["derivatives", "categories", "exchanges", "trending", "cycle_phase"] {
        let body = r#"{"updated_at": 1, "funding_spreads": {}, "concentration": {"top_3_share": 0.5}}"#;
        let reply = gateway.put(&format!("coingecko:{document}"), body).await;
        assert_eq!(reply.status, 200, "{document}: {}", reply.text());
    }
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_data_listener_is_described() {
    let gateway = gateway().await;
    check(&gateway.data, &[]).await;
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_admin_listener_is_described() {
    let gateway = gateway().await;
    let token = format!("Authorization: Bearer {}", gateway.admin_token());
    check(&gateway.admin, &["--header", &token]).await;
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

/// The routes in the table at the head of a source file: `GET /path`.
fn told_routes(file: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/http").join(file);
    let source = std::fs::read_to_string(path).expect("a source");
    let head = source.lines().take_while(|line| line.starts_with("//!"));
    let cells = head.filter_map(|line| line.strip_prefix("//! | ")?.split_once(" | ")).map(|(routes, _)| routes);
    let words: Vec<String> = cells.flat_map(|cell| cell.split('`').map(str::to_owned)).collect();
    words.iter().filter_map(|word| word.split_once(" /")).map(|(m, p)| (m.to_owned(), format!("/{p}"))).collect()
}

#[tokio::test]
async fn both_listeners_describe_themselves_and_no_operation_has_the_name_of_another() {
    let gateway = Gateway::with().start().await;
    let data = gateway.get("/api/openapi.json").await;
    assert!(data.header("etag").starts_with('"') && data.header("content-type") == "application/json");
    let admin = gateway.admin_with(hyper::Method::GET, "/api/openapi.json", &[], bytes::Bytes::new()).await;
    for (listener, document, file) in [("data", data.json(), "data.rs"), ("admin", admin.json(), "admin.rs")] {
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("paths");
        let operations = paths.values().flat_map(|path| path.as_object().expect("operations"));
        let mut names: Vec<&Value> =
            operations.map(|(_, one)| &one["operationId"]).filter(|id| !id.is_null()).collect();
        let count = names.len();
        names.sort_by_key(|name| name.as_str());
        names.dedup();
        assert_eq!(names.len(), count, "{listener}");
        let routes = told_routes(file);
        assert!(routes.len() >= 8, "{routes:?}");
        for (_, route) in routes.iter().filter(|(_, route)| !route.contains(['{', '.'])) {
            assert!(paths.contains_key(route), "{listener}: {route} is not described");
        }
    }
}
