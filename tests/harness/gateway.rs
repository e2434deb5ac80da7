//! A gateway process on free ports, with a data directory of its own.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::servers::signal;
use crate::{PATIENCE, eventually};

/// A gateway that runs.
pub struct Gateway {
    process: Child,
    /// Of the data listener, such as `127.0.0.1:41234`.
    pub data: String,
    /// Of the admin listener.
    pub admin: String,
    /// What it was started with.
    origin: Starting,
    log: Arc<Mutex<Vec<String>>>,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

/// How long [`Gateway::try_send`] waits.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Configuration that leaves the warmer nothing to do: it writes no placeholder.
pub const NO_TASKS: &str = "[plugins]\nwarmer = { config = { tasks = [] } }";

/// The deadline of calls to stores where a test does not configure the cache itself. The default of 250 ms is often missed on a
/// machine that is busy with other tests, and a write that was late is answered otherwise than one that was not.
const UNHURRIED: &str = "[cache]\ndeadline = \"1s\"\n";

/// A gateway that does not run yet.
#[derive(Clone)]
pub struct Starting {
    dir: Arc<tempfile::TempDir>,
    tiers: Vec<String>,
    more: String,
    demo: bool,
    environment: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: hyper::HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The binary under test, which `cargo test --workspace` has built beside this test.
///
/// # Panics
///
/// When it is not there, or older than its sources: then what is tested is not what is written.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // Tests run from <target>/<profile>/deps.
        let profile = std::env::current_exe().expect("a test binary").ancestors().nth(2).expect("a profile").to_owned();
        let binary = profile.join("tiergate");
        let built = modified(&binary).unwrap_or_else(|| panic!("{} is missing: {HOW}", binary.display()));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let plugins = ["aggregator", "binance", "codecs", "warmer"].map(|plugin| format!("plugins/{plugin}/src"));
        for sources in plugins.iter().map(String::as_str).chain(["host/src", "wit"]) {
            let newest = newest(&root.join(sources));
            assert!(newest.is_none_or(|newest| newest <= built), "{} is older than {sources}: {HOW}", binary.display());
        }
        binary
    })
}

const HOW: &str = "run `cargo test --workspace`";

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// When the newest file below `dir` was written.
fn newest(dir: &Path) -> Option<SystemTime> {
    let entries = dir.read_dir().unwrap_or_else(|error| panic!("{}: {error}", dir.display())).map_while(Result::ok);
    entries
        .filter_map(|entry| if entry.path().is_dir() { newest(&entry.path()) } else { modified(&entry.path()) })
        .max()
}

// === impl Starting ===

impl Starting {
    /// Adds a tier below memory, by its URL.
    pub fn tier(mut self, url: impl Into<String>) -> Self {
        self.tiers.push(url.into());
        self
    }

    /// Adds lines to the configuration; they come after the tiers and before the sections that the harness needs.
    pub fn config(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self.more.push('\n');
        self
    }

    /// Leaves the warmer nothing to do, for tests that look at all that is written.
    pub fn without_tasks(self) -> Self {
        self.config(NO_TASKS)
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replays recorded candles.
    pub fn demo(mut self) -> Self {
        self.demo = true;
        self
    }

    /// Starts it and waits until it shows what it has, which may be nothing: see [`Gateway::is_composed`]. One that speaks TLS
    /// cannot be asked here.
    pub async fn start(self) -> Gateway {
        let mut command = Command::new(binary());
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if self.demo {
            let settings = [
                ("TIERGATE_DATA_DIR", self.dir.path().join("data").display().to_string()),
                ("TIERGATE_HTTP__LISTEN", "127.0.0.1:0".to_owned()),
                ("TIERGATE_HTTP__ADMIN", "127.0.0.1:0".to_owned()),
                ("TIERGATE_LOG__FORMAT", "json".to_owned()),
                // No disk is so slow that symbols are missing.
                ("TIERGATE_CACHE__DEADLINE", "10s".to_owned()),
            ];
            command.arg("--demo").envs(settings);
        } else {
            let path = self.dir.path().join("tiergate.toml");
            std::fs::write(&path, self.toml()).expect("a configuration");
            command.arg("--config").arg(path);
        }
        let mut process = command.spawn().expect("the gateway starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stderr.take().expect("standard error"));
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                sink.lock().expect("the log").push(line);
            }
        });
        let (scheme, data, admin) = addresses(&log, &mut process).await;
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        let gateway = Gateway { process, data, admin, origin: self, log, pool };
        if scheme == "http" {
            eventually("the gateway serves its views", async || gateway.is_composed().await.then_some(())).await;
        }
        gateway
    }

    fn toml(&self) -> String {
        let mut toml = String::new();
        let data = self.dir.path().join("data");
        let tiers: Vec<_> = self.tiers.iter().map(|url| format!("{url:?}")).collect();
        write!(
            toml,
            "data_dir = {data:?}\ntiers = [{}]\nlog = {{ format = \"json\", level = \"tiergate=debug,info\" }}\n{}\n",
            tiers.join(", "),
            self.more
        )
        .expect("a String takes every write");
        if !["[cache]", "cache = {"].iter().any(|cache| self.more.contains(cache)) {
            toml.push_str(UNHURRIED);
        }
        if !self.more.contains("[http]") {
            toml.push_str("[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n");
        }
        toml
    }
}

/// Waits for the line that tells the bound addresses, and what the first of them speaks. Before it come the plugins that are
/// named in the configuration, and to compile them takes long.
async fn addresses(log: &Arc<Mutex<Vec<String>>>, process: &mut Child) -> (String, String, String) {
    let begun = Instant::now();
    loop {
        let found = log.lock().expect("the log").iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let (scheme, data) = line["dashboard"].as_str()?.strip_suffix("/mobile")?.split_once("://")?;
            Some((scheme.to_owned(), data.to_owned(), line["admin"].as_str()?.to_owned()))
        });
        if let Some(found) = found {
            return found;
        }
        let ended = process.try_wait().expect("a process");
        if ended.is_some() || begun.elapsed() > 5 * PATIENCE {
            panic!("the gateway did not start ({ended:?}):\n{}", log.lock().expect("the log").join("\n"));
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

// === impl Gateway ===

impl Gateway {
    /// A gateway with the embedded disk tier, unless tiers are added.
    pub fn with() -> Starting {
        let dir = tempfile::Builder::new().prefix("tiergate-test-").tempdir().expect("a directory");
        Starting { dir: Arc::new(dir), tiers: Vec::new(), more: String::new(), demo: false, environment: Vec::new() }
    }

    /// Kills it without warning, and gives back what is needed to start it again: the same tiers, configuration and data.
    pub fn kill(mut self) -> Starting {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
        self.origin.clone()
    }

    /// What is needed to start it again once it has ended: the same tiers, configuration and data.
    pub fn starting(&self) -> Starting {
        self.origin.clone()
    }

    /// Sends its process a signal, such as `KILL` or `STOP`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        let data = self.origin.dir.path().join("data");
        if self.origin.demo { data.join("demo") } else { data }
    }

    /// `GET` from the data listener.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// `PUT` of a value.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::PUT, &format!("/api/cache/{key}"), &[], body.into()).await
    }

    /// `POST /api/signals`.
    pub async fn ingest(&self, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, "/api/signals", &[], body.into()).await
    }

    /// Whether every view is there. It is not ready before its producers have written, for which tests do not wait.
    pub async fn is_composed(&self) -> bool {
        self.get("/readyz").await.json()["status"] != "starting"
    }

    /// Any request to the data listener.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
        self.exchange(&self.data, method, path, headers, body).await
    }

    /// Sends a request to a gateway that may be about to die, or to stop; `None` when it does not answer in time.
    pub async fn try_send(&self, method: Method, path: &str, body: Bytes) -> Option<Reply> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.data));
        let answer = self.answer(request.body(Full::new(body)).expect("a request"));
        tokio::time::timeout(ANSWERS_WITHIN, answer).await.ok()?.ok()
    }

    /// `GET` from the admin listener, with its token.
    pub async fn admin_get(&self, path: &str) -> Reply {
        self.admin_send(Method::GET, path, Bytes::new()).await
    }

    /// Any request to the admin listener, with its token.
    pub async fn admin_send(&self, method: Method, path: &str, body: Bytes) -> Reply {
        let bearer = format!("Bearer {}", self.admin_token());
        self.admin_with(method, path, &[("authorization", &bearer)], body).await
    }

    /// Any request to the admin listener, with these headers.
    pub async fn admin_with(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
        self.exchange(&self.admin, method, path, headers, body).await
    }

    /// The admin token.
    pub fn admin_token(&self) -> String {
        let token = std::fs::read_to_string(self.data_dir().join("admin.token")).expect("the admin token");
        token.trim().to_owned()
    }

    /// The value of a metric, summed over the series whose labels contain all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let metrics = self.admin_get("/metrics").await.text();
        let series = metrics.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What a subcommand that speaks to the admin listener prints, and its exit code.
    pub async fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command.args(words).args(["--admin", &format!("http://{}", self.admin), "--admin-token-file"]);
        command.arg(self.data_dir().join("admin.token"));
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// The mobile view.
    pub async fn mobile_data(&self) -> Value {
        self.get("/api/dashboard/mobile-data").await.json()
    }

    async fn exchange(&self, to: &str, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("http://{to}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        self.answer(request).await.expect("the gateway answers")
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Reply, Box<dyn std::error::Error>> {
        let (head, body) = self.pool.request(request).await?.into_parts();
        Ok(Reply { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.process.kill());
        drop(self.process.wait());
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}\n---", self.log().join("\n"));
        }
    }
}

// === impl Reply ===

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The outcome of a write in a tier.
    pub fn outcome(&self, tier: &str) -> String {
        self.json()["tiers"][tier]["outcome"].as_str().unwrap_or_default().to_owned()
    }
}
