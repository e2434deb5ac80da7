//! `/api/admin/quarantine`: payloads that could not be decoded.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::access::Caller;
use super::respond::{self, Answer, Refusal};
use super::{App, audit_api};
use crate::cache::Cache;
use crate::cache::quarantine::{BYTES_MAX, ENTRIES_MAX, Quarantined};
use crate::record::DeleteOutcome;
use crate::telemetry::audit::{Audit, Entry};

pub(super) const PATH: &str = "/api/admin/quarantine";

/// `GET` of the list, `GET` and `DELETE` of one by its number; `?by=` says who deletes.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    method: &Method,
    rest: &str,
    query: Option<&str>,
) -> Result<Answer, Refusal> {
    let id = match rest.strip_prefix('/') {
        None if rest.is_empty() => None,
        Some(id) => Some(id.parse::<u64>().map_err(|_| unknown(id))?),
        None => return Err(no_route(method, rest)),
    };
    match (method, id) {
        (&Method::GET, None) => {
            let entries: Vec<Value> = app.cache.quarantine().iter().map(entry).collect();
            let limits = json!({ "entries": ENTRIES_MAX, "bytes": BYTES_MAX });
            Ok(respond::json(StatusCode::OK, &json!({ "entries": entries, "limits": limits })))
        }
        (&Method::GET, Some(id)) => match app.cache.quarantined(id) {
            Some(quarantined) => Ok(respond::json(StatusCode::OK, &entry(&quarantined))),
            None => Err(unknown(id)),
        },
        (&Method::DELETE, Some(id)) => {
            let by = audit_api::by(caller, query)?;
            // Whoever asks may go away; what was done is written down all the same.
            let removing = tokio::spawn(remove(app.cache.clone(), app.plugins.audit().clone(), id, by));
            removing.await.unwrap_or_else(|died| {
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "delete-died", died.to_string()))
            })
        }
        _ => Err(no_route(method, rest)),
    }
}

async fn remove(cache: Arc<Cache>, audit: Arc<Audit>, id: u64, by: String) -> Result<Answer, Refusal> {
    let (quarantined, outcome) = cache.remove_quarantined(id).await.ok_or_else(|| unknown(id))?;
    let Quarantined { tier, key, digest, .. } = &quarantined;
    let what = format!("{} bytes of `{key}` in {tier}, SHA-1 {}", quarantined.bytes_len, digest.hex());
    let result = match outcome.reason() {
        None => outcome.label().to_owned(),
        Some(why) => format!("{}: {why}", outcome.label()),
    };
    audit_api::note(&audit, Entry { result, ..Entry::done("quarantine-delete", what, &by) }).await?;
    removed(&quarantined, &outcome)
}

/// One entry.
pub(super) fn entry(entry: &Quarantined) -> Value {
    json!({
        "id": entry.id,
        "tier": entry.tier.as_str(),
        "key": entry.key.as_str(),
        "first_seen": entry.first_seen.seconds_f64(),
        "last_seen": entry.last_seen.seconds_f64(),
        "bytes": entry.bytes_len,
        "digest": entry.digest.hex(),
        "flags": entry.flags,
        "head": entry.head.escape_ascii().to_string(),
        "error": entry.error,
    })
}

fn removed(entry: &Quarantined, outcome: &DeleteOutcome) -> Result<Answer, Refusal> {
    let Quarantined { id, tier, key, .. } = entry;
    match outcome {
        DeleteOutcome::Deleted | DeleteOutcome::Absent => {
            let body = json!({ "id": id, "tier": tier.as_str(), "key": key.as_str(), "outcome": outcome.label() });
            Ok(respond::json(StatusCode::OK, &body))
        }
        DeleteOutcome::Superseded => {
            let message = format!("`{key}` holds other bytes in {tier} by now; they stay, and the entry is forgotten");
            Err(Refusal::new(StatusCode::CONFLICT, "other-bytes", message))
        }
        DeleteOutcome::Queued(_) | DeleteOutcome::Failed(_) | DeleteOutcome::Unknown(_) => {
            let message = format!("{tier} did not do it: {}", outcome.reason().unwrap_or_default());
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "tier-failed", message))
        }
    }
}

fn unknown(id: impl std::fmt::Display) -> Refusal {
    let message = format!("there is no quarantined payload `{}`", id.to_string().escape_default());
    Refusal::new(StatusCode::NOT_FOUND, "no-entry", message)
}

fn no_route(method: &Method, rest: &str) -> Refusal {
    let message = format!("there is no route `{method} {PATH}{}`", rest.escape_default());
    Refusal::new(StatusCode::NOT_FOUND, "no-route", message)
}
