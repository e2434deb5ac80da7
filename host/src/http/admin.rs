//! The admin listener's routes. All ask for the admin token.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /metrics` | Prometheus metrics |
//! | `GET /api/admin/tiers` | every tier: whether it answers, its version and limits, its breakers, its last verified write |
//! | `GET /api/admin/recovery` | what waits for tiers that did not take it |
//! | `GET /api/admin/quarantine`, `GET` and `DELETE .../{id}` | see [`quarantine_api`] |
//! | `GET /api/admin/explain/{key}` | what every tier holds of a key, its last writes, and what a reader would get |
//! | `GET /api/admin/doctor`, `GET .../canary/{gateway}` | see [`doctor_api`] |
//! | `GET`, `PUT /api/admin/log-level` | what is logged, per module |
//! | `GET /api/admin/plugins` | every slot: name, version, SHA-256, candidate, previous versions |
//! | `POST /api/admin/plugins/{slot}/{load,shadow,use,rollback,discard}` | see [`plugins_api`] |
//! | `GET /api/admin/plugins/{slot}/{report,tape}` | see [`plugins_api`] |
//! | `GET /api/admin/audit` | what was done to plugins, the newest first |
//! | `GET /api/admin/warmer` | every key that is kept warm: last warmed, failures, next attempt; every source |
//! | `GET /healthz` | 200 while the process serves |

use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::respond::{self, Answer, Refusal};
use super::{App, access, doctor_api, explain_api, log_api, plugins_api, quarantine_api, recovery_api};
use crate::tier::breaker::Standing;

/// Answers one request.
pub(super) async fn answer(app: &App, request: Request<Incoming>) -> Answer {
    if request.uri().path() == "/healthz" {
        return respond::json(StatusCode::OK, &json!({ "status": "ok" }));
    }
    if let Err(refusal) = access::admin(app, request.headers()) {
        return refusal.answer();
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let body = app.metrics.render();
            respond::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body.into())
        }
        (&Method::GET, "/api/admin/tiers") => respond::json(StatusCode::OK, &tiers(app).await),
        (&Method::GET, "/api/admin/recovery") => recovery_api::list(app),
        (&Method::GET, path) if path.starts_with(explain_api::PREFIX) => {
            let key = path[explain_api::PREFIX.len()..].to_owned();
            explain_api::get(app, &key).await.unwrap_or_else(Refusal::answer)
        }
        (&Method::GET, path) if path.starts_with(doctor_api::PATH) => {
            let rest = path[doctor_api::PATH.len()..].to_owned();
            doctor_api::get(app, &rest).await.unwrap_or_else(Refusal::answer)
        }
        (method, path) if path.starts_with(quarantine_api::PATH) => {
            let (method, rest) = (method.clone(), path[quarantine_api::PATH.len()..].to_owned());
            quarantine_api::answer(app, &method, &rest).await.unwrap_or_else(Refusal::answer)
        }
        (&Method::GET, log_api::PATH) => log_api::get().unwrap_or_else(Refusal::answer),
        (&Method::PUT, log_api::PATH) => log_api::put(app, request).await.unwrap_or_else(Refusal::answer),
        (&Method::GET, "/api/admin/plugins") => {
            respond::json(StatusCode::OK, &json!({ "slots": app.plugins.plugins().status() }))
        }
        (&Method::GET, "/api/admin/audit") => plugins_api::audit(app).unwrap_or_else(Refusal::answer),
        (&Method::POST, path) if path.starts_with(plugins_api::PREFIX) => {
            plugins_api::post(app, request).await.unwrap_or_else(Refusal::answer)
        }
        (&Method::GET, path) if path.starts_with(plugins_api::PREFIX) => {
            plugins_api::get(app, path).await.unwrap_or_else(Refusal::answer)
        }
        (&Method::GET, "/api/admin/warmer") => {
            let body = json!({ "warmer": app.warm.status(), "sources": app.sources.status() });
            respond::json(StatusCode::OK, &body)
        }
        (method, path) => {
            let message = format!("there is no route `{method} {}`", path.escape_default());
            Refusal::new(StatusCode::NOT_FOUND, "no-route", message).answer()
        }
    }
}

async fn tiers(app: &App) -> Value {
    let checks = app.cache.tiers().iter().zip(app.cache.verified()).map(|(tier, verified)| async move {
        let state = match tier.check().await {
            Ok(health) => {
                let facts: Map<String, Value> =
                    health.facts.into_iter().map(|(name, value)| (name, value.into())).collect();
                json!({ "answers": true, "version": health.version, "item_bytes_max": health.item_bytes_max, "facts": facts })
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
