//! `GET /api/admin/keys?contains=&limit=`: keys that this gateway knows of, to find the one to ask about.

use hyper::StatusCode;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::App;
use super::respond::{self, Answer, Refusal};

pub(super) const PATH: &str = "/api/admin/keys";

/// Keys that are answered where no number is asked for.
const LIMIT_DEFAULT: usize = 50;

/// Keys that may be asked for.
const LIMIT_MAX: usize = 1_000;

/// Those that contain a text, in order.
pub(super) async fn find(app: &App, query: Option<&str>) -> Result<Answer, Refusal> {
    let (mut contains, mut limit) = (String::new(), LIMIT_DEFAULT);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "contains" => contains = value.into_owned(),
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                limit = number.ok_or_else(|| bad(format!("`limit` must be a number from 1 to {LIMIT_MAX}")))?;
            }
            other => return Err(bad(format!("there is no parameter `{}`", other.escape_default()))),
        }
    }
    let cache = app.cache.clone();
    // There may be many of them to look through.
    let mut keys = spawn_blocking(move || cache.keys(&contains)).await.map_err(|died| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "search-died", format!("the search died: {died}"))
    })?;
    let total = keys.len();
    keys.truncate(limit);
    let keys: Vec<_> = keys.iter().map(crate::record::Key::as_str).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "keys": keys, "total": total })))
}

fn bad(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-query", message)
}
