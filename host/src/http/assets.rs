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

/// Every embedded file.
pub(super) const ALL: [Asset; 4] = [
    Asset { path: "/mobile", content_type: "text/html; charset=utf-8", bytes: include_bytes!("assets/mobile.html") },
    Asset {
        path: "/assets/mobile.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/mobile.css"),
    },
    Asset {
        path: "/assets/mobile.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("assets/mobile.js"),
    },
    Asset { path: "/assets/icon.svg", content_type: "image/svg+xml", bytes: include_bytes!("assets/icon.svg") },
];

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
