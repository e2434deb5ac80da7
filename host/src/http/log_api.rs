//! `/api/admin/log-level`: what is logged, per module, from now on. `GET` tells it, `PUT` replaces it by the body; `?by=` says who
//! asks. `GET /api/admin/log?after=`: the last lines.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;

use super::access::Caller;
use super::body::Pieces;
use super::respond::{self, Answer, Refusal};
use super::{App, audit_api};
use crate::telemetry::audit::Entry;
use crate::telemetry::log::{self, LEVEL_BYTES_MAX, LevelError};
use crate::telemetry::tail;

pub(super) const PATH: &str = "/api/admin/log-level";
pub(super) const TAIL: &str = "/api/admin/log";

/// The directives that hold.
pub(super) fn get() -> Result<Answer, Refusal> {
    let level = log::level().map_err(|error| refusal(&error))?;
    Ok(respond::json(StatusCode::OK, &json!({ "level": level })))
}

/// Replaces them.
pub(super) async fn put(app: &App, caller: &Caller, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let by = audit_api::by(caller, request.uri().query())?;
    let body = Pieces::new(request.into_body(), app.config.body_pause_max).whole(LEVEL_BYTES_MAX).await?;
    let wanted = String::from_utf8_lossy(&body).trim().to_owned();
    let before = log::level().map_err(|error| refusal(&error))?;
    log::set_level(&wanted).map_err(|error| refusal(&error))?;
    let level = log::level().map_err(|error| refusal(&error))?;
    tracing::info!(before, level, by, "the level of the log was changed");
    let entry = Entry { note: Some(format!("before: {before}")), ..Entry::done("log-level", level.clone(), &by) };
    audit_api::note(app.plugins.audit(), entry).await?;
    Ok(respond::json(StatusCode::OK, &json!({ "level": level, "before": before })))
}

/// The lines after the one that the query names, or all that are kept.
pub(super) fn lines(query: Option<&str>) -> Result<Answer, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "bad-query", message);
    let mut after = 0;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "after" {
            return Err(bad(format!("there is no parameter `{}`; there is `after`", name.escape_default())));
        }
        after = value.parse().map_err(|_| bad("`after` must be the number of a line".to_owned()))?;
    }
    let lines = tail::after(after, tail::LINES_MAX);
    let limits = json!({ "lines": tail::LINES_MAX, "bytes": tail::BYTES_MAX });
    Ok(respond::json(StatusCode::OK, &json!({ "lines": lines, "last": tail::last(), "limits": limits })))
}

fn refusal(error: &LevelError) -> Refusal {
    let (status, code) = match error {
        LevelError::TooLong(_) | LevelError::Directives(_) => (StatusCode::BAD_REQUEST, "bad-level"),
        LevelError::NoLog | LevelError::Reload(_) => (StatusCode::INTERNAL_SERVER_ERROR, "no-log"),
    };
    Refusal::new(status, code, error.to_string())
}
