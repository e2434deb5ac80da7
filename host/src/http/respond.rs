//! Answers. One function turns each kind of thing into a response; handlers never set a status by hand.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::negotiate::{self, encoding};
use crate::cache::Verdict;
use crate::market::Snapshot;
use crate::record::{ReadOutcome, Record, Time};

/// What every handler answers.
pub(super) type Answer = Response<Full<Bytes>>;

/// RFC 9211.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A request that is not carried out, with the reason for the client.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// More fields for the answer's body.
    details: Option<serde_json::Value>,
}

// === impl Refusal ===

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, details: None }
    }

    pub fn with(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }

    pub fn answer(self) -> Answer {
        let mut body = serde_json::json!({ "error": { "code": self.code, "message": self.message } });
        if let (Some(details), Some(fields)) = (self.details, body.as_object_mut()) {
            fields.insert("details".to_owned(), details);
        }
        let mut answer = json(self.status, &body);
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

/// The status of a write, by the sum of its outcomes.
pub(super) const fn status(verdict: Verdict) -> StatusCode {
    match verdict {
        Verdict::Stored => StatusCode::OK,
        Verdict::Queued => StatusCode::ACCEPTED,
        Verdict::Lost => StatusCode::CONFLICT,
        Verdict::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Verdict::Partial => StatusCode::MULTI_STATUS,
    }
}

/// A JSON body that nobody may cache.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut answer = Response::new(Full::new(bytes.into()));
            *answer.status_mut() = status;
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be encoded");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain; charset=utf-8",
                "the answer could not be encoded\n".into(),
            )
        }
    }
}

/// A body of another type that nobody may cache.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A snapshot: the body in the best encoding that the client accepts, or 304 when the client has it.
pub(super) fn snapshot(
    request: &HeaderMap,
    snapshot: &Snapshot,
    content_type: &'static str,
    cache_control: &'static str,
) -> Answer {
    let encoding = encoding(request);
    let body = snapshot.body(encoding);
    let unchanged = negotiate::none_match(request, &body.etag);
    let mut answer = Response::new(Full::new(if unchanged { Bytes::new() } else { body.bytes.clone() }));
    let headers = answer.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    insert(headers, header::ETAG, &body.etag);
    if unchanged {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(token) = encoding.token() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(token));
    }
    answer
}

/// Adds `Age` and `Cache-Status` to the answer of a view.
pub(super) fn view_status(answer: &mut Answer, snapshot: &Snapshot, is_degraded: bool, now: Time) {
    let headers = answer.headers_mut();
    if let Some(as_of) = snapshot.as_of {
        headers.insert(header::AGE, HeaderValue::from(now.since(as_of).as_secs()));
    }
    let status = match (snapshot.as_of, snapshot.fresh_until) {
        (None, _) => cache_status("hit", &["unavailable"], is_degraded),
        (Some(_), Some(until)) if now < until => {
            cache_status(&format!("hit; ttl={}", until.remaining(now).as_secs()), &[], is_degraded)
        }
        (Some(_), _) => cache_status("hit", &["stale"], is_degraded),
    };
    insert(headers, CACHE_STATUS, &status);
}

/// `Cache-Status` of a read of one key.
pub(super) fn read_status(
    headers: &mut HeaderMap,
    outcome: &ReadOutcome,
    record: Option<&Record>,
    is_degraded: bool,
    now: Time,
) {
    let ttl = record.map_or(0, |record| match record.is_fresh(now) {
        true => i64::try_from(record.soft_expiry.remaining(now).as_secs()).unwrap_or(i64::MAX),
        false => -i64::try_from(now.since(record.soft_expiry).as_secs()).unwrap_or(i64::MAX),
    });
    let hit = format!("hit; ttl={ttl}");
    let status = match outcome {
        ReadOutcome::Hit { tier } => cache_status(&hit, &[tier.as_str()], is_degraded),
        ReadOutcome::Stale { tier, why } => cache_status(&hit, &[tier.as_str(), why.as_str()], is_degraded),
        ReadOutcome::Miss => cache_status("fwd=miss", &[], is_degraded),
        ReadOutcome::Unavailable { .. } => cache_status("fwd=miss", &["unavailable"], is_degraded),
    };
    insert(headers, CACHE_STATUS, &status);
}

/// What `Cache-Status` says: how it went and the details, of which the last is that changes may be missed, if they may.
fn cache_status(how: &str, details: &[&str], is_degraded: bool) -> String {
    let details = [details, if is_degraded { &["degraded"] } else { &[] }].concat();
    match &details[..] {
        [] => format!("tiergate; {how}"),
        [one] => format!("tiergate; {how}; detail={one}"),
        several => format!("tiergate; {how}; detail=\"{}\"", several.join("; ")),
    }
}

/// Inserts a value that is made of visible ASCII.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(error) => tracing::error!(%name, %error, "a header was left out"),
    }
}
