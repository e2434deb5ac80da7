//! A headless Chromium, driven over WebDriver.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::servers::free_port;
use crate::{Gateway, eventually};

/// The accessibility checker, as `tests/run.sh` installs it.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/npm/node_modules/axe-core/axe.min.js");

/// A script that takes longer hangs; the accessibility checker's is the longest.
const SCRIPT_MS_MAX: u64 = 300_000;

/// A command of Chromium's driver beyond WebDriver.
#[derive(Debug)]
struct Chromium {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A browser window.
pub struct Browser {
    /// Drives it.
    pub page: Client,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a window of this size in CSS pixels.
    pub async fn open(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={width},{height}"),
        ]);
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments, "mobileEmulation": {
                "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1.0, "touch": width < 800 } } },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": SCRIPT_MS_MAX },
        });
        let capabilities = capabilities.as_object().expect("an object").clone();
        let (mut driver, mut url) = start_driver();
        let page = eventually("chromedriver answers", async || {
            // Another may have taken its port in the meantime.
            if driver.try_wait().expect("its state").is_some() {
                (driver, url) = start_driver();
            }
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities.clone()).connect(&url).await.ok()
        })
        .await;
        Self { page, driver, _profile: profile }
    }

    /// What a script answers, which may be the answer of a promise.
    pub async fn script(&self, script: &str) -> Value {
        self.page.execute(script, vec![]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, method: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": method, "params": parameters });
        let answer = self.page.issue_cmd(Chromium { path: "goog/cdp/execute", body }).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Asks pages for their dark or light colours from now on.
    pub async fn prefer_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// What was written to the console as an error since it was last asked: exceptions, refused resources, and violations of
    /// the page's policy among them.
    pub async fn errors(&self) -> Vec<String> {
        let command = Chromium { path: "se/log", body: json!({ "type": "browser" }) };
        let entries = self.page.issue_cmd(command).await.expect("a log");
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect()
    }

    /// What the accessibility checker finds wrong: its rules, and where.
    pub async fn inaccessible(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(Path::new(AXE));
        let axe = axe.unwrap_or_else(|error| panic!("{AXE}: {error}; `tests/run.sh` installs it"));
        self.script(&axe).await;
        let run =
            "return axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations.flatMap(one =>
                       one.nodes.map(node => `${one.id}: ${node.target} ${node.failureSummary}`)));";
        let found = self.script(run).await;
        found.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    }

    /// The text of the first element that matches `selector`, scrolled into sight or not; empty when there is none or it is
    /// hidden.
    pub async fn text(&self, selector: &str) -> String {
        // What is out of sight is not laid out, and has no `innerText` before it is.
        let script = "const found = document.querySelector(arguments[0]);
                      return found?.checkVisibility() ? found.innerText || found.textContent : '';";
        let answer = self.page.execute(script, vec![json!(selector)]).await.expect("a script runs");
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements match `selector`.
    pub async fn count(&self, selector: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length;";
        self.page.execute(script, vec![json!(selector)]).await.expect("a script runs").as_u64().unwrap_or(0)
    }
}

/// Waits until as many pages as this listen to the stream of changes.
pub async fn listening(gateway: &Gateway, pages: f64) {
    eventually(&format!("{pages} pages listen"), async || {
        (gateway.metric("tiergate_streams", &[]).await == pages).then_some(())
    })
    .await;
}

/// Waits until the first element that matches `selector` says `words`, in whatever case.
pub async fn says(browser: &Browser, selector: &str, words: &str) {
    eventually(&format!("{selector} says {words}"), async || {
        browser.text(selector).await.to_lowercase().contains(&words.to_lowercase()).then_some(())
    })
    .await;
}

/// Scrolls the first element that matches `selector` into sight, and clicks it.
pub async fn click(browser: &Browser, selector: &str) {
    let element = browser.page.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    let script = "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' });";
    browser
        .page
        .execute(script, vec![serde_json::to_value(&element).expect("a reference")])
        .await
        .expect("a script runs");
    element.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
}

/// Presses a key and lets go of it.
pub async fn press(browser: &Browser, key: Key) {
    let value = char::from(key);
    let keys = KeyActions::new("keyboard".to_owned());
    let keys = keys.then(KeyAction::Down { value }).then(KeyAction::Up { value });
    browser.page.perform_actions(keys).await.expect("a key is pressed");
}

/// A driver on a free port, and its address.
fn start_driver() -> (Child, String) {
    let port = free_port();
    let driver = Command::new("chromedriver")
        .args([format!("--port={port}"), "--log-level=OFF".to_owned()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is installed (Debian package chromium-driver)");
    (driver, format!("http://127.0.0.1:{port}"))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser goes with its driver; either may be gone already.
        drop(Command::new("pkill").args(["-P", &self.driver.id().to_string()]).status());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
