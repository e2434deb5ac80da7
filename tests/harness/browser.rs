//! A headless Chromium, driven over WebDriver.

use std::process::{Child, Command, Stdio};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use crate::eventually;
use crate::servers::free_port;

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
        let port = free_port();
        let driver = Command::new("chromedriver")
            .args([format!("--port={port}"), "--log-level=OFF".to_owned()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (Debian package chromium-driver)");
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
        });
        let capabilities = capabilities.as_object().expect("an object").clone();
        let url = format!("http://127.0.0.1:{port}");
        let page = eventually("chromedriver answers", async || {
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities.clone()).connect(&url).await.ok()
        })
        .await;
        Self { page, driver, _profile: profile }
    }

    /// The text of the first element that matches `selector`; empty when there is none.
    pub async fn text(&self, selector: &str) -> String {
        let script = "const found = document.querySelector(arguments[0]); return found ? found.innerText : '';";
        let answer = self.page.execute(script, vec![json!(selector)]).await.expect("a script runs");
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements match `selector`.
    pub async fn count(&self, selector: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length;";
        self.page.execute(script, vec![json!(selector)]).await.expect("a script runs").as_u64().unwrap_or(0)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser goes with its driver; either may be gone already.
        drop(Command::new("pkill").args(["-P", &self.driver.id().to_string()]).status());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
