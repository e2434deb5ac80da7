//! `POST /api/admin/plugins/{slot}/...`: swapping plugins while they serve.
//!
//! | step | meaning |
//! | --- | --- |
//! | `load` | the body, a component, becomes the slot's candidate; `?sha256=` pins it, `?config=` is its configuration as JSON, `?signature=` the text of its `.minisig` file |
//! | `shadow` | the candidate is asked what the active one is asked, and nothing of it is served |
//! | `use` | the candidate serves, with the state of the one before it; `?fresh=true` without; it is on probation then |
//! | `rollback` | the one before serves again |
//! | `discard` | the generation `?generation=` is forgotten |
//!
//! `GET .../report` tells what the version beside the active one has found; `GET .../tape` is the last calls, as a file.
//!
//! A step that was carried out and of which something could not be done or written down says so in `warning`.
//!
//! `?by=` says who asks, for the audit log; a session of the console has its own name. 404: no such slot or nothing there; 422: refused, with the reason and the fix.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::App;
use super::access::Caller;
use super::body::Pieces;
use super::respond::{self, Answer, Refusal};
use crate::plugin::{FILE_BYTES_MAX, Operator, SIGNATURE_BYTES_MAX, SwapError};
use crate::telemetry::audit;

pub(super) const PREFIX: &str = "/api/admin/plugins/";

/// What the query may say.
#[derive(Default)]
struct Query {
    sha256: Option<String>,
    signature: Option<String>,
    config: Option<serde_json::Value>,
    fresh: bool,
    generation: Option<u64>,
    by: String,
}

/// Carries one step out.
pub(super) async fn post(app: &App, caller: &Caller, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let no_route = || {
        let message = format!("there is no route `POST {PREFIX}{}`", path.escape_default());
        Refusal::new(StatusCode::NOT_FOUND, "no-route", message)
    };
    let (slot, step) = path.split_once('/').ok_or_else(no_route)?;
    let slot = percent_encoding::percent_decode_str(slot).decode_utf8_lossy();
    let query = Query::read(request.uri().query().unwrap_or_default(), caller)?;
    let component = if step == "load" {
        let body = Pieces::new(request.into_body(), app.config.body_pause_max);
        body.whole(usize::try_from(FILE_BYTES_MAX.as_u64()).unwrap_or(usize::MAX)).await?
    } else {
        Bytes::new()
    };
    // Once begun it is carried through and written down, though its caller goes away.
    let (operator, slot, step) = (app.plugins.clone(), slot.into_owned(), step.to_owned());
    let done = tokio::spawn(async move { carry_out(&operator, &slot, &step, query, component).await }).await;
    done.unwrap_or_else(|died| Err(refusal(SwapError::Refused(format!("the step died: {died}")))))?.ok_or_else(no_route)
}

/// Carries one step out; `None` if there is no such step.
async fn carry_out(
    operator: &Arc<Operator>,
    slot: &str,
    step: &str,
    query: Query,
    component: Bytes,
) -> Result<Option<Answer>, Refusal> {
    let done = match step {
        "load" => {
            let (pinned, signature) = (query.sha256.as_deref(), query.signature.as_deref());
            let loaded = operator.load(slot, component, query.config, pinned, signature, &query.by).await;
            let loaded = loaded.map_err(refusal)?;
            return Ok(Some(respond::json(StatusCode::OK, &loaded)));
        }
        "shadow" => operator.shadow(slot, &query.by).await,
        "use" => operator.use_candidate(slot, query.fresh, &query.by).await,
        "rollback" => operator.rollback(slot, query.fresh, &query.by).await,
        "discard" => {
            let generation = query.generation.ok_or_else(|| bad("`generation` is missing".to_owned()))?;
            operator.discard(slot, generation, &query.by).await
        }
        _ => return Ok(None),
    };
    Ok(Some(respond::json(StatusCode::OK, &done.map_err(refusal)?)))
}

/// What can be read of one slot.
pub(super) async fn get(app: &App, path: &str) -> Result<Answer, Refusal> {
    let path = path.strip_prefix(PREFIX).unwrap_or_default();
    let no_route = || {
        let message = format!("there is no route `GET {PREFIX}{}`", path.escape_default());
        Refusal::new(StatusCode::NOT_FOUND, "no-route", message)
    };
    let (slot, what) = path.split_once('/').ok_or_else(no_route)?;
    let slot = &*percent_encoding::percent_decode_str(slot).decode_utf8_lossy();
    match what {
        "report" => app.plugins.report(slot).map(|report| respond::json(StatusCode::OK, &report)).map_err(refusal),
        "tape" => {
            let (operator, slot) = (app.plugins.clone(), slot.to_owned());
            // It is some megabytes to write.
            let written = tokio::task::spawn_blocking(move || operator.tape(&slot)).await;
            let tape = written.map_err(|died| refusal(SwapError::Refused(format!("the tape died: {died}"))))?;
            Ok(respond::text(StatusCode::OK, "application/x-ndjson", tape.map_err(refusal)?.into()))
        }
        _ => Err(no_route()),
    }
}

fn refusal(error: SwapError) -> Refusal {
    let (status, code) = match &error {
        SwapError::NoSlot { .. } => (StatusCode::NOT_FOUND, "no-slot"),
        SwapError::Nothing { .. } => (StatusCode::NOT_FOUND, "nothing-there"),
        SwapError::Unsigned(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not-signed"),
        SwapError::NotPinned { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not-pinned"),
        SwapError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "plugin-refused"),
        SwapError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "plugin-store"),
        SwapError::Unfinished(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unfinished"),
    };
    Refusal::new(status, code, error.to_string())
}

fn bad(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-query", message)
}

impl Query {
    fn read(query: &str, caller: &Caller) -> Result<Self, Refusal> {
        let (mut read, mut said) = (Self::default(), None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "signature" if value.len() as u64 > SIGNATURE_BYTES_MAX => {
                    return Err(bad(format!("`signature` has more than {SIGNATURE_BYTES_MAX} bytes")));
                }
                "signature" => read.signature = Some(value.into_owned()),
                "sha256" => read.sha256 = Some(value.into_owned()),
                "by" => said = Some(audit::name(&value)),
                "fresh" => {
                    read.fresh = value.parse().map_err(|_| bad("`fresh` must be true or false".to_owned()))?;
                }
                "generation" => {
                    let number = value.parse().map_err(|_| bad("`generation` must be a number".to_owned()))?;
                    read.generation = Some(number);
                }
                "config" => {
                    let config = serde_json::from_str(&value);
                    read.config = Some(config.map_err(|error| bad(format!("`config` is not JSON: {error}")))?);
                }
                other => return Err(bad(format!("there is no parameter `{}`", other.escape_default()))),
            }
        }
        read.by = caller.name(said);
        Ok(read)
    }
}
