//! `/api/admin/log-level`: what is logged, per module, from now on. `GET` tells it, `PUT` replaces it by the body.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;

use super::App;
use super::body::Pieces;
use super::respond::{self, Answer, Refusal};
use crate::telemetry::log::{self, LEVEL_BYTES_MAX, LevelError};

pub(super) const PATH: &str = "/api/admin/log-level";

/// The directives that hold.
pub(super) fn get() -> Result<Answer, Refusal> {
    let level = log::level().map_err(|error| refusal(&error))?;
    Ok(respond::json(StatusCode::OK, &json!({ "level": level })))
}

/// Replaces them.
pub(super) async fn put(app: &App, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let body = Pieces::new(request.into_body(), app.config.body_pause_max).whole(LEVEL_BYTES_MAX).await?;
    let wanted = String::from_utf8_lossy(&body).trim().to_owned();
    let before = log::level().map_err(|error| refusal(&error))?;
    log::set_level(&wanted).map_err(|error| refusal(&error))?;
    let level = log::level().map_err(|error| refusal(&error))?;
    tracing::info!(before, level, "the level of the log was changed");
    Ok(respond::json(StatusCode::OK, &json!({ "level": level, "before": before })))
}

fn refusal(error: &LevelError) -> Refusal {
    let (status, code) = match error {
        LevelError::TooLong(_) | LevelError::Directives(_) => (StatusCode::BAD_REQUEST, "bad-level"),
        LevelError::NoLog | LevelError::Reload(_) => (StatusCode::INTERNAL_SERVER_ERROR, "no-log"),
    };
    Refusal::new(status, code, error.to_string())
}
