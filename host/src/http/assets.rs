//! The page and what belongs to it, embedded in the binary and compressed once.

use std::sync::LazyLock;

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
}

macro_rules! assets {
    ($($path:literal, $type:literal, $file:literal;)*) => {
        [$(Asset { path: $path, content_type: $type, bytes: include_bytes!(concat!("assets/", $file)) }),*]
    };
}

/// Every embedded file. What the page needs without a network is listed in `sw.js` as well.
pub(super) const ALL: [Asset; 16] = assets! {
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
};

static ENCODED: LazyLock<Vec<std::io::Result<Snapshot>>> =
    LazyLock::new(|| ALL.iter().map(|asset| Snapshot::new(Bytes::from_static(asset.bytes), None, None)).collect());

/// Answers with the file at this place in [`ALL`].
pub(super) fn answer(at: usize, request: &HeaderMap) -> Answer {
    let asset = &ALL[at];
    let mut answer = match &ENCODED[at] {
        Ok(snapshot) => respond::snapshot(request, snapshot, asset.content_type, CACHE_CONTROL),
        Err(error) => {
            tracing::error!(path = asset.path, %error, "a page could not be compressed; it is sent as it is");
            respond::text(hyper::StatusCode::OK, asset.content_type, Bytes::from_static(asset.bytes))
        }
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_loads_is_kept_for_the_time_without_a_network() {
        let text = |path: &str| {
            let asset = ALL.iter().find(|asset| asset.path == path).expect("an asset");
            std::str::from_utf8(asset.bytes).expect("text")
        };
        // The larger icon is for the system's launcher, which keeps it itself.
        for asset in ALL.iter().filter(|asset| !["/sw.js", "/assets/icon-512.png"].contains(&asset.path)) {
            assert!(text("/sw.js").contains(&format!("\"{}\"", asset.path)), "{} is not in sw.js", asset.path);
        }
    }
}
