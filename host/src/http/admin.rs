//! The admin listener's routes. They ask for the admin token, or for a session of the console.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /metrics` | Prometheus metrics |
//! | `GET /api/admin/tiers` | every tier: whether it answers, its version and limits, its breakers, its last verified write |
//! | `GET /api/admin/recovery` | what waits for tiers that did not take it |
//! | `GET /api/admin/quarantine`, `GET` and `DELETE .../{id}` | see [`quarantine_api`] |
//! | `GET /api/admin/explain/{key}` | what every tier holds of a key, its last writes, and what a reader would get |
//! | `GET /api/admin/doctor`, `GET .../canary/{gateway}`, `GET .../served/{seed}` | see [`doctor_api`] |
//! | `GET`, `PUT /api/admin/log-level` | what is logged, per module |
//! | `GET /api/admin/plugins` | every slot: name, version, SHA-256, candidate, previous versions |
//! | `POST /api/admin/plugins/{slot}/{load,shadow,use,rollback,discard}` | see [`plugins_api`] |
//! | `GET /api/admin/plugins/{slot}/{report,tape}` | see [`plugins_api`] |
//! | `GET /api/admin/audit` | what was done while the gateway ran, the newest first |
//! | `GET /api/admin/warmer` | every key that is kept warm: last warmed, failures, next attempt; every source |
//! | `GET /api/admin/log`, `/api/admin/keys`, `/api/admin/history` | the log's last lines; keys that are known; the last hour |
//! | `GET /api/admin/stream` | see [`console`] |
//! | `POST`, `GET`, `DELETE /api/admin/session` | see [`session`]; needs no token beforehand |
//! | `GET /ops` (and `/`, `/assets/...`) | the operator's console; needs no token |
//! | `GET /api/openapi.json` | this table for programs; needs no token |
//! | `GET /healthz` | 200 while the process serves; needs no token |

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::access::Caller;
use super::live::Streamed;
use super::respond::{self, Answer, Refusal};
use super::{
    App, access, assets, audit_api, console, data, doctor_api, explain_api, keys_api, log_api, plugins_api,
    quarantine_api, recovery_api, session,
};
use crate::tier::TierError;
use crate::tier::breaker::Standing;

/// The longest that a tier may take for its sign of life.
const CHECK_MAX: Duration = Duration::from_secs(1);

/// Answers one request.
pub(super) async fn answer(app: &App, request: Request<Incoming>, stop: watch::Receiver<bool>) -> Streamed {
    let answered = match open(app, &request) {
        Some(answer) => Ok(answer),
        None if request.uri().path() == session::PATH => session::answer(app, request).await,
        None => match access::admin(app, request.method(), request.headers()) {
            Ok(caller) if request.method() == Method::GET && request.uri().path() == console::STREAM => {
                match console::events(app, &caller, request.headers(), stop) {
                    Ok(stream) => return stream,
                    Err(refusal) => Err(refusal),
                }
            }
            Ok(caller) => route(app, &caller, request).await,
            Err(refusal) => Err(refusal),
        },
    };
    let mut answer = answered.unwrap_or_else(Refusal::answer);
    data::no_sniffing(&mut answer);
    answer.map(Either::Left)
}

/// What needs no token.
fn open(app: &App, request: &Request<Incoming>) -> Option<Answer> {
    if request.method() != Method::GET {
        return None;
    }
    match request.uri().path() {
        "/healthz" => Some(respond::json(StatusCode::OK, &json!({ "status": "ok" }))),
        "/" => Some(data::redirect("/ops")),
        path => {
            let page = assets::of_console(path)?;
            let passed = access::own_page(app, request.headers());
            Some(passed.map_or_else(Refusal::answer, |()| page.answer(request.headers())))
        }
    }
}

async fn route(app: &App, caller: &Caller, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let query = request.uri().query();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let body = app.metrics.render();
            Ok(respond::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body.into()))
        }
        (&Method::GET, "/api/admin/tiers") => Ok(respond::json(StatusCode::OK, &tiers(app).await)),
        (&Method::GET, "/api/admin/recovery") => Ok(recovery_api::list(app)),
        (&Method::GET, keys_api::PATH) => keys_api::find(app, query).await,
        (&Method::GET, console::HISTORY) => Ok(console::history(app)),
        (&Method::GET, path) if path.starts_with(explain_api::PREFIX) => {
            let key = path[explain_api::PREFIX.len()..].to_owned();
            explain_api::get(app, &key).await
        }
        (&Method::GET, path) if path.starts_with(doctor_api::PATH) => {
            let rest = path[doctor_api::PATH.len()..].to_owned();
            doctor_api::get(app, &rest).await
        }
        (method, path) if path.starts_with(quarantine_api::PATH) => {
            quarantine_api::answer(app, caller, method, &path[quarantine_api::PATH.len()..], query).await
        }
        (&Method::GET, log_api::TAIL) => log_api::lines(query),
        (&Method::GET, log_api::PATH) => log_api::get(),
        (&Method::PUT, log_api::PATH) => log_api::put(app, caller, request).await,
        (&Method::GET, "/api/admin/plugins") => {
            Ok(respond::json(StatusCode::OK, &json!({ "slots": app.plugins.plugins().status() })))
        }
        (&Method::GET, audit_api::PATH) => audit_api::list(app),
        (&Method::POST, path) if path.starts_with(plugins_api::PREFIX) => plugins_api::post(app, caller, request).await,
        (&Method::GET, path) if path.starts_with(plugins_api::PREFIX) => plugins_api::get(app, path).await,
        (&Method::GET, "/api/admin/warmer") => {
            let body = json!({ "warmer": app.warm.status(), "sources": app.sources.status() });
            Ok(respond::json(StatusCode::OK, &body))
        }
        (method, path) => Err(no_route(method, path)),
    }
}

pub(super) fn no_route(method: &Method, path: &str) -> Refusal {
    let message = format!("there is no route `{method} {}`", path.escape_default());
    Refusal::new(StatusCode::NOT_FOUND, "no-route", message)
}

/// Every tier below memory.
pub(super) async fn tiers(app: &App) -> Value {
    let checks = app.cache.tiers().iter().zip(app.cache.verified()).map(|(tier, verified)| async move {
        let begun = Instant::now();
        let checked = timeout(CHECK_MAX, tier.check()).await;
        let took_ms = begun.elapsed().as_secs_f64() * 1e3;
        let state = match checked.unwrap_or(Err(TierError::Deadline(CHECK_MAX))) {
            Ok(health) => {
                let facts: Map<String, Value> =
                    health.facts.into_iter().map(|(name, value)| (name, value.into())).collect();
                json!({
                    "answers": true, "took_ms": took_ms, "version": health.version, "item_bytes_max": health.item_bytes_max,
                    "facts": facts,
                })
            }
            Err(error) => json!({ "answers": false, "error": error.to_string() }),
        };
        let breakers = tier.breakers().map(|both| json!({ "read": breaker(&both.read.standing()), "write": breaker(&both.write.standing()) }));
        let (name, summary) = (tier.name().as_str(), tier.summary());
        let verified = json!({
            "age_seconds": verified.age.as_secs_f64(), "ever": verified.ever,
            "error": verified.failure.map(|why| why.to_string()),
        });
        json!({
            "name": name, "summary": summary, "shared": tier.is_shared(), "state": state, "breakers": breakers,
            "last_verified_write": verified,
        })
    });
    let degraded = app.cache.degraded().map(|degraded| {
        let silent: Map<String, Value> =
            degraded.silent.into_iter().map(|(tier, why)| (tier.to_string(), why.into())).collect();
        json!({ "since": degraded.since, "why": degraded.why, "silent": silent })
    });
    json!({ "tiers": join_all(checks).await, "degraded": degraded })
}

/// One breaker.
pub(super) fn breaker(standing: &Standing) -> Value {
    let Standing { phase, lasting, why, calls, failed, slow } = standing;
    json!({
        "state": phase.as_str(), "for_seconds": lasting.as_secs_f64(), "why": why.as_deref(),
        "window": { "calls": calls, "failed": failed, "slow": slow },
    })
}
