//! `GET /api/admin/audit`: what was done to this gateway while it ran, and by whom.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use super::App;
use super::access::Caller;
use super::respond::{self, Answer, Refusal};
use crate::telemetry::audit::{self, Audit, Entry};

pub(super) const PATH: &str = "/api/admin/audit";

/// Entries that are answered.
const ENTRIES_MAX: usize = 1_000;

/// The last steps, the newest first.
pub(super) fn list(app: &App) -> Result<Answer, Refusal> {
    let entries = app.plugins.audit().last(ENTRIES_MAX).map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "audit-log", format!("the audit log cannot be read: {error}"))
    })?;
    Ok(respond::json(StatusCode::OK, &json!({ "audit": entries })))
}

/// Writes down what was done.
pub(super) async fn note(audit: &Arc<Audit>, entry: Entry) -> Result<(), Refusal> {
    audit.add_aside(entry).await.map_err(|error| {
        let message = format!("it was done, and the audit log cannot be written: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "audit-log", message)
    })
}

/// Who asks for a change whose only parameter is `?by=`.
pub(super) fn by(caller: &Caller, query: Option<&str>) -> Result<String, Refusal> {
    let mut said = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "by" {
            let message = format!("there is no parameter `{}`; there is `by`", name.escape_default());
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-query", message));
        }
        said = Some(audit::name(&value));
    }
    Ok(caller.name(said))
}
