//! The pages and what belongs to them, embedded in the binary and compressed once.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::respond::{self, Answer};
use crate::market::Snapshot;

/// Nothing from elsewhere, nothing inline: what a page of this gateway may load and run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Validated at every use: a new version of the gateway brings a new page.
const CACHE_CONTROL: &str = "no-cache";

/// One embedded file.
pub(super) struct Asset {
    /// Its route.
    pub path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    encoded: OnceLock<std::io::Result<Snapshot>>,
}

macro_rules! assets {
    ($($path:literal, $type:literal, $file:literal;)*) => {
        [$(Asset {
            path: $path,
            content_type: $type,
            bytes: include_bytes!(concat!("assets/", $file)),
            encoded: OnceLock::new(),
        }),*]
    };
}

/// The market page, and what the data listener says of itself. What the page needs without a network is listed in `sw.js` as well.
pub(super) static MARKET: [Asset; 17] = assets! {
    "/mobile", "text/html; charset=utf-8", "mobile.html";
    "/sw.js", "text/javascript; charset=utf-8", "sw.js";
    "/assets/mobile.css", "text/css; charset=utf-8", "mobile.css";
    "/assets/mobile.js", "text/javascript; charset=utf-8", "mobile.js";
    "/assets/ages.js", "text/javascript; charset=utf-8", "ages.js";
    "/assets/alerts.js", "text/javascript; charset=utf-8", "alerts.js";
    "/assets/device.js", "text/javascript; charset=utf-8", "device.js";
    "/assets/format.js", "text/javascript; charset=utf-8", "format.js";
    "/assets/link.js", "text/javascript; charset=utf-8", "link.js";
    "/assets/page.js", "text/javascript; charset=utf-8", "page.js";
    "/assets/sections.js", "text/javascript; charset=utf-8", "sections.js";
    "/assets/symbols.js", "text/javascript; charset=utf-8", "symbols.js";
    "/assets/mobile.webmanifest", "application/manifest+json", "mobile.webmanifest";
    "/assets/icon.svg", "image/svg+xml", "icon.svg";
    "/assets/icon-192.png", "image/png", "icon-192.png";
    "/assets/icon-512.png", "image/png", "icon-512.png";
    "/api/openapi.json", "application/json", "../openapi/data.json";
};

/// The operator's console, and what the admin listener says of itself.
pub(super) static CONSOLE: [Asset; 16] = assets! {
    "/ops", "text/html; charset=utf-8", "ops.html";
    "/assets/mobile.css", "text/css; charset=utf-8", "mobile.css";
    "/assets/ops.css", "text/css; charset=utf-8", "ops.css";
    "/assets/ops.js", "text/javascript; charset=utf-8", "ops.js";
    "/assets/ask.js", "text/javascript; charset=utf-8", "ask.js";
    "/assets/charts.js", "text/javascript; charset=utf-8", "charts.js";
    "/assets/format.js", "text/javascript; charset=utf-8", "format.js";
    "/assets/keys.js", "text/javascript; charset=utf-8", "keys.js";
    "/assets/log.js", "text/javascript; charset=utf-8", "log.js";
    "/assets/page.js", "text/javascript; charset=utf-8", "page.js";
    "/assets/plugins.js", "text/javascript; charset=utf-8", "plugins.js";
    "/assets/quarantine.js", "text/javascript; charset=utf-8", "quarantine.js";
    "/assets/tiers.js", "text/javascript; charset=utf-8", "tiers.js";
    "/assets/warmer.js", "text/javascript; charset=utf-8", "warmer.js";
    "/assets/icon.svg", "image/svg+xml", "icon.svg";
    "/api/openapi.json", "application/json", "../openapi/admin.json";
};

/// The file of the console at this path.
pub(super) fn of_console(path: &str) -> Option<&'static Asset> {
    CONSOLE.iter().find(|asset| asset.path == path)
}

// === impl Asset ===

impl Asset {
    /// The file, as the client takes it.
    pub fn answer(&self, request: &HeaderMap) -> Answer {
        let encoded = self.encoded.get_or_init(|| Snapshot::new(Bytes::from_static(self.bytes), None, None));
        let mut answer = match encoded {
            Ok(snapshot) => respond::snapshot(request, snapshot, self.content_type, CACHE_CONTROL),
            Err(error) => {
                tracing::error!(path = self.path, %error, "a page could not be compressed; it is sent as it is");
                respond::text(hyper::StatusCode::OK, self.content_type, Bytes::from_static(self.bytes))
            }
        };
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_loads_is_kept_for_the_time_without_a_network() {
        let text = |path: &str| {
            let asset = MARKET.iter().find(|asset| asset.path == path).expect("an asset");
            std::str::from_utf8(asset.bytes).expect("text")
        };
        // The larger icon is for the system's launcher, which keeps it itself; the last is for programs.
        let others = ["/sw.js", "/assets/icon-512.png", "/api/openapi.json"];
        for asset in MARKET.iter().filter(|asset| !others.contains(&asset.path)) {
            assert!(text("/sw.js").contains(&format!("\"{}\"", asset.path)), "{} is not in sw.js", asset.path);
        }
    }

    #[test]
    fn every_file_is_described() {
        for assets in [&MARKET[..], &CONSOLE[..]] {
            let described = assets.iter().find(|asset| asset.path == "/api/openapi.json").expect("a document").bytes;
            let described: serde_json::Value = serde_json::from_slice(described).expect("JSON");
            let names = &described["paths"]["/assets/{file}"]["get"]["parameters"][0]["schema"]["enum"];
            let named: Vec<_> = assets.iter().filter_map(|asset| asset.path.strip_prefix("/assets/")).collect();
            assert_eq!(*names, serde_json::json!(named));
            for page in assets.iter().filter(|asset| !asset.path.starts_with("/assets/")) {
                assert!(described["paths"][page.path].is_object(), "{} is not described", page.path);
            }
        }
    }

    #[test]
    fn what_a_page_names_is_served_beside_it() {
        for (assets, page) in [(&MARKET[..], "/mobile"), (&CONSOLE[..], "/ops")] {
            let has = |path: &str| assets.iter().any(|asset| asset.path == path);
            assert!(has(page));
            for asset in assets.iter().filter(|asset| asset.content_type.starts_with("text/")) {
                let text = std::str::from_utf8(asset.bytes).expect("text");
                let named = text.split('"').filter(|word| word.starts_with("/assets/") || word.starts_with("./"));
                for name in named.map(|name| name.replace("./", "/assets/")).filter(|name| name.contains('.')) {
                    assert!(has(&name), "{} names {name}", asset.path);
                }
            }
        }
    }
}
