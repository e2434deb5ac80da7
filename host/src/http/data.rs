//! The data listener's routes.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /mobile` (and `/`, `/assets/...`) | the dashboard page |
//! | `GET /api/dashboard/{mobile-data,overview,symbols,signals,opportunities,market-overview}` | a view; `?limit=` |
//! | `GET /api/dashboard/live`, `/api/dashboard/stream` | see [`live`] |
//! | `GET /ws` | see [`socket`] |
//! | `GET /api/coingecko/...` and some more of `/api/dashboard/...` | see [`cached_api`] |
//! | `GET`, `PUT`, `DELETE /api/cache/{key}` | one value; `?ttl=` with `PUT` |
//! | `POST /api/signals` | signals, as a JSON array or NDJSON |
//! | `GET /healthz` | 200 while the process serves |
//! | `GET /api/openapi.json` | this table for programs |
//! | `GET /readyz` | 200 once the views are composed and every required document has had real data |

use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use matchit::Router;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::listener::Listener;
use super::live::Streamed;
use super::respond::{self, Answer, Refusal};
use super::{App, access, assets, cache_api, cached_api, live, signals_api, socket};
use crate::market::{LIMIT_DEFAULT, LIMIT_MAX, Snapshot, VIEWS, ViewError};
use crate::record::{Key, Time};

/// Shared caches may answer for a second, and with an old answer when the gateway is away.
const VIEW_CACHE_CONTROL: &str = "public, max-age=0, s-maxage=1, stale-if-error=60";

const VIEW_PREFIX: &str = "/api/dashboard/";

/// Its place in [`VIEWS`].
const MOBILE_DATA: usize = 0;
const _: () = assert!(matches!(VIEWS[MOBILE_DATA].as_bytes(), b"mobile-data"));

const STREAM: &str = "/api/dashboard/stream";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Asset(usize),
    Root,
    Live,
    Stream,
    Socket,
    Alerts,
    BetaChart,
    Perpetuals,
    SignalsFromCache,
    MobileDataFromCache,
    Coingecko,
    Cache,
    Signals,
    Health,
    Ready,
}

/// Routes that are no files.
const FIXED: [(&str, Route); 14] = [
    ("/", Route::Root),
    ("/api/dashboard/live", Route::Live),
    (STREAM, Route::Stream),
    ("/ws", Route::Socket),
    ("/api/dashboard/alerts", Route::Alerts),
    ("/api/dashboard/beta-chart", Route::BetaChart),
    ("/api/dashboard/perpetuals-pulse", Route::Perpetuals),
    ("/api/dashboard/signals-from-cache", Route::SignalsFromCache),
    ("/api/dashboard/mobile-data-from-cache", Route::MobileDataFromCache),
    ("/api/coingecko/{*name}", Route::Coingecko),
    ("/api/cache/{*key}", Route::Cache),
    ("/api/signals", Route::Signals),
    ("/healthz", Route::Health),
    ("/readyz", Route::Ready),
];

static ROUTES: LazyLock<Router<Route>> = LazyLock::new(|| {
    let mut router = Router::new();
    let assets = assets::MARKET.iter().enumerate().map(|(at, asset)| (asset.path, Route::Asset(at)));
    for (path, route) in assets.chain(FIXED) {
        router.insert(path, route).expect("the routes above do not contradict each other");
    }
    router
});

/// Answers one request.
pub(super) async fn answer(
    app: &App,
    listener: &Listener,
    request: Request<Incoming>,
    stop: watch::Receiver<bool>,
) -> Streamed {
    let head = request.method() == Method::HEAD;
    let mut answer = match access::data(app, listener, request.method(), request.headers()) {
        Ok(()) if is_stream(&request) => match live::events(app, &request, stop).await {
            Ok(answer) => return answer,
            Err(refusal) => refusal.answer(),
        },
        Ok(()) => route(app, request, stop).await.unwrap_or_else(Refusal::answer),
        Err(refusal) => refusal.answer(),
    };
    no_sniffing(&mut answer);
    if head { without_body(answer) } else { answer }.map(Either::Left)
}

/// The one answer that does not end.
fn is_stream(request: &Request<Incoming>) -> bool {
    request.uri().path() == STREAM && request.method() == Method::GET
}

/// The place in [`VIEWS`] of the view at this path.
pub(super) fn view(path: &str) -> Option<usize> {
    path.strip_prefix(VIEW_PREFIX).and_then(|name| VIEWS.iter().position(|view| *view == name))
}

/// The answer to a request for a view.
pub(super) fn view_answer(request: &HeaderMap, snapshot: &Snapshot, is_degraded: bool, now: Time) -> Answer {
    let mut answer = respond::snapshot(request, snapshot, "application/json", VIEW_CACHE_CONTROL);
    respond::view_status(&mut answer, snapshot, is_degraded, now);
    no_sniffing(&mut answer);
    answer
}

pub(super) fn no_sniffing(answer: &mut Answer) {
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

async fn route(app: &App, request: Request<Incoming>, stop: watch::Receiver<bool>) -> Result<Answer, Refusal> {
    let path = request.uri().path();
    // No router: views are asked for most.
    if let Some(view) = view(path) {
        allow(&request, &[Method::GET])?;
        return of_view(app, view, &request).await;
    }
    let Ok(found) = ROUTES.at(path) else {
        let message = format!("there is no route `{}`", path.escape_default());
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no-route", message));
    };
    match *found.value {
        Route::Asset(at) => {
            allow(&request, &[Method::GET])?;
            Ok(assets::MARKET[at].answer(request.headers()))
        }
        Route::Root => {
            allow(&request, &[Method::GET])?;
            Ok(redirect("/mobile"))
        }
        Route::Live => {
            allow(&request, &[Method::GET])?;
            live::document(app, request.headers(), limit(request.uri().query())?).await
        }
        // A stream has no head to ask for.
        Route::Stream => Err(wrong_method(&request, &[Method::GET])),
        Route::Socket => {
            allow(&request, &[Method::GET])?;
            // Any page may open a WebSocket anywhere; browsers leave it to the server to refuse.
            access::same_origin(request.headers(), access::host(request.headers())?)?;
            socket::upgrade(app, request, stop)
        }
        Route::Alerts => {
            allow(&request, &[Method::GET])?;
            cached_api::alerts(app, request.uri().query()).await
        }
        Route::BetaChart => {
            allow(&request, &[Method::GET])?;
            cached_api::beta_chart(app, request.uri().query()).await
        }
        Route::Perpetuals => {
            allow(&request, &[Method::GET])?;
            cached_api::perpetuals(app).await
        }
        Route::SignalsFromCache => {
            allow(&request, &[Method::GET])?;
            cached_api::signals(app).await
        }
        // Every view is made of what is in the cache.
        Route::MobileDataFromCache => {
            allow(&request, &[Method::GET])?;
            of_view(app, MOBILE_DATA, &request).await
        }
        Route::Coingecko => {
            allow(&request, &[Method::GET])?;
            cached_api::coingecko(app, found.params.get("name").unwrap_or_default()).await
        }
        Route::Health => {
            allow(&request, &[Method::GET])?;
            Ok(respond::json(StatusCode::OK, &json!({ "status": "ok" })))
        }
        Route::Ready => {
            allow(&request, &[Method::GET])?;
            Ok(ready(app))
        }
        Route::Signals => {
            allow(&request, &[Method::POST])?;
            signals_api::post(app, request.into_body()).await
        }
        Route::Cache => {
            allow(&request, &[Method::GET, Method::PUT, Method::DELETE])?;
            let key = cache_api::key(found.params.get("key").unwrap_or_default())?;
            let query = request.uri().query().unwrap_or_default().to_owned();
            match *request.method() {
                Method::PUT => cache_api::put(app, &key, &query, request.into_body()).await,
                Method::DELETE => cache_api::delete(app, &key).await,
                _ => Ok(cache_api::get(app, &key, request.headers()).await),
            }
        }
    }
}

async fn of_view(app: &App, view: usize, request: &Request<Incoming>) -> Result<Answer, Refusal> {
    let limit = limit(request.uri().query())?;
    if limit != LIMIT_DEFAULT {
        let limited = app.market.snapshot_limited(view, limit).await;
        let failed = |error: ViewError| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "view-failed", error.to_string());
        return Ok(view_answer(request.headers(), &*limited.map_err(failed)?, app.cache.is_degraded(), Time::now()));
    }
    let Some(snapshot) = &*app.market.snapshot(view) else {
        let message = "the views are not composed yet".to_owned();
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "starting", message));
    };
    Ok(view_answer(request.headers(), snapshot, app.cache.is_degraded(), Time::now()))
}

/// Ready, or what is waited for; with the age of the data of each document, and how each watched key is warmed.
fn ready(app: &App) -> Answer {
    let readiness = app.market.readiness();
    let (status, word) = if readiness.is_ready() {
        (StatusCode::OK, "ready")
    } else if readiness.composed {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    let tiers: Vec<_> = app.cache.tiers().iter().map(|tier| tier.name().to_string()).collect();
    let waiting_for: Vec<_> = readiness.waiting_for.iter().map(Key::as_str).collect();
    let ages: Map<String, Value> =
        readiness.ages.iter().map(|(key, age)| (key.to_string(), age.as_secs_f64().into())).collect();
    // What operators may see without a token: no detail of a failure.
    let warmer = app.warm.health(Time::now());
    let mode = if app.cache.is_degraded() { "degraded" } else { "normal" };
    let restarts = app.workers.restarts();
    let body = json!({
        "status": word, "mode": mode, "waiting_for": waiting_for, "age_seconds": ages, "tiers": tiers, "warmer": warmer,
        "restarts": restarts,
    });
    respond::json(status, &body)
}

fn limit(query: Option<&str>) -> Result<u32, Refusal> {
    let Some(query) = query else { return Ok(LIMIT_DEFAULT) };
    let mut limit = LIMIT_DEFAULT;
    // Other parameters are let pass: pages add some to get around caches.
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name == "limit" {
            limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                let message = format!("`limit` must be a number from 1 to {LIMIT_MAX}");
                Refusal::new(StatusCode::BAD_REQUEST, "bad-limit", message)
            })?;
        }
    }
    Ok(limit)
}

fn allow(request: &Request<Incoming>, methods: &[Method]) -> Result<(), Refusal> {
    let method = request.method();
    if methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET)) {
        return Ok(());
    }
    Err(wrong_method(request, methods))
}

fn wrong_method(request: &Request<Incoming>, methods: &[Method]) -> Refusal {
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    let (method, path) = (request.method(), request.uri().path().escape_default());
    let message = format!("`{method}` is not for `{path}`; use {}", names.join(", "));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message)
}

pub(super) fn redirect(to: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::FOUND;
    answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    answer
}

/// RFC 9110, 9.3.2: the same headers, with the length of the body that is not sent.
fn without_body(answer: Answer) -> Answer {
    use hyper::body::Body as _;
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Full::new(Bytes::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let document: Value = serde_json::from_slice(include_bytes!("openapi/data.json")).expect("JSON");
        let described: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
        let route = |path: &str| ROUTES.at(&path.replace(['{', '}'], "")).ok().map(|found| *found.value);
        for path in &described {
            // A file's name stands for all of them.
            assert!(path.contains("{file}") || route(path).is_some() || view(path).is_some(), "{path} is no route");
        }
        for view in VIEWS {
            assert!(described.contains(&&format!("{VIEW_PREFIX}{view}")), "{view} is not described");
        }
        for (path, wanted) in FIXED {
            assert!(described.iter().any(|path| route(path) == Some(wanted)), "{path} is not described");
        }
    }
}
