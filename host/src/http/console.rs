//! The operator's console: `GET /api/admin/stream`, `GET /api/admin/history`.
//!
//! The stream is of server-sent events, each named `state`, each the whole state as JSON: tiers, what waits for them, plugins,
//! warmer, sources, gateways, and the lines logged since the state before. It is composed once a second for all who look, and
//! not at all while nobody does. Who is slow skips states; the numbers of log lines tell what was missed.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::access::Caller;
use super::listen::told;
use super::live::{RETRY, Streamed, X_ACCEL_BUFFERING};
use super::respond::{self, Answer, Refusal};
use super::session::{self, Sessions};
use super::{App, admin, recovery_api};
use crate::cache::Neighbour;
use crate::record::Time;
use crate::telemetry::history::{EVERY, History, Rendered, SAMPLES_MAX};
use crate::telemetry::tail;
use crate::tier::canary;

pub(super) const STREAM: &str = "/api/admin/stream";
pub(super) const HISTORY: &str = "/api/admin/history";

/// How often the state is composed while somebody looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Consoles that may look at once.
const VIEWERS_MAX: usize = 32;

/// New lines of the log that are told with one state; of more, the newest.
const LINES_TOLD_MAX: usize = 200;

/// Keys that the warmer keeps an eye on which are told; of more, those that fail and are cold come first.
const TASKS_TOLD_MAX: usize = 100;

/// What the console needs beyond what it shows.
pub struct Console {
    /// The last state, as an event.
    states: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
    history: Mutex<History>,
    pub(super) sessions: Sessions,
    started_at: Time,
}

// === impl Console ===

impl Console {
    /// Nobody looks yet.
    pub fn new() -> Self {
        Self {
            states: watch::Sender::new(Bytes::new()),
            places: Arc::new(Semaphore::new(VIEWERS_MAX)),
            history: Mutex::default(),
            sessions: Sessions::default(),
            started_at: Time::now(),
        }
    }

    /// A push under the lock is whole.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the last hour's numbers, and composes the state while somebody looks.
pub async fn compose(app: Arc<App>) {
    let mut turns = interval(PERIOD);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = tail::last();
    loop {
        turns.tick().await;
        app.console.history().sample(Time::now(), || app.metrics.render());
        let last = tail::last();
        if app.console.states.receiver_count() > 0 {
            match serde_json::to_string(&state(&app, told).await) {
                Ok(state) => {
                    app.console.states.send_replace(format!("event: state\ndata: {state}\n\n").into());
                }
                Err(error) => tracing::error!(%error, "the state of the console could not be encoded"),
            }
        }
        told = last;
    }
}

/// Everything that the console shows all the time; of the log, the lines after this one.
async fn state(app: &App, after: u64) -> Value {
    let now = Time::now();
    let lines = tail::after(after, LINES_TOLD_MAX);
    let quarantine = app.cache.quarantine();
    let history_at = app.console.history().last_at();
    let below = admin::tiers(app).await;
    json!({
        "at": now.seconds_f64(),
        "tiers": below["tiers"],
        "reads": reads(app),
        "lanes": recovery_api::lanes(app, 0),
        "slots": app.plugins.plugins().status(),
        "warmer": warmer(app),
        "sources": app.sources.status(),
        "quarantine": { "entries": quarantine.len(), "last": quarantine.first().map(|entry| entry.id) },
        "gateways": gateways(app, &below["degraded"]["why"], now),
        "history_at": history_at,
        "log": { "lines": lines, "last": tail::last() },
    })
}

/// This gateway, and those whose heartbeats it reads.
fn gateways(app: &App, degraded: &Value, now: Time) -> Vec<Value> {
    let this = json!({
        "name": canary::gateway(), "is_this": true, "version": env!("CARGO_PKG_VERSION"),
        "up_seconds": now.since(app.console.started_at).as_secs_f64(),
        "ready": app.market.readiness().is_ready(), "degraded": degraded,
    });
    let others = app.cache.neighbours().into_iter().map(|Neighbour { name, version, heard }| {
        json!({ "name": name, "is_this": false, "version": version, "heard_seconds": now.since(heard).as_secs_f64() })
    });
    std::iter::once(this).chain(others).collect()
}

/// Reads of keys since the start, by what answered them.
fn reads(app: &App) -> Map<String, Value> {
    let rendered = app.metrics.render();
    let mut reads = Map::new();
    for (what, count) in Rendered(&rendered).reads() {
        let before = reads.get(what).and_then(Value::as_f64).unwrap_or_default();
        reads.insert(what.to_owned(), (before + count).into());
    }
    reads
}

fn warmer(app: &App) -> Value {
    let mut status = app.warm.status();
    let all = status.tasks.len();
    status.tasks.sort_by_key(|task| (std::cmp::Reverse(task.failures), task.warm));
    status.tasks.truncate(TASKS_TOLD_MAX);
    json!({ "plans": status.plans, "tasks": status.tasks, "tasks_total": all })
}

/// The last hour.
pub(super) fn history(app: &App) -> Answer {
    let samples = app.console.history().samples();
    let body = json!({ "every_seconds": EVERY.as_secs(), "samples_max": SAMPLES_MAX, "samples": samples });
    respond::json(StatusCode::OK, &body)
}

struct Viewer {
    console: Arc<Console>,
    states: watch::Receiver<Bytes>,
    stop: watch::Receiver<bool>,
    /// Whose session must still be open.
    session: Option<HeaderMap>,
    head: Option<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// The stream of states; it ends when `stop` is told, or with its session.
pub(super) fn events(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    stop: watch::Receiver<bool>,
) -> Result<Streamed, Refusal> {
    let Ok(place) = app.console.places.clone().try_acquire_owned() else {
        let message = format!("{VIEWERS_MAX} consoles look already; close one");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "console-full", message));
    };
    let session = match caller {
        Caller::Token => None,
        Caller::Session(_) => Some(headers.clone()),
    };
    let mut states = app.console.states.subscribe();
    // What was composed for somebody who looked yesterday is nothing to show.
    states.mark_unchanged();
    let head = Some(Bytes::from_static(RETRY.as_bytes()));
    let viewer = Viewer { console: app.console.clone(), states, stop, session, head, _place: place };
    let frames = stream::unfold(viewer, |mut viewer| async move {
        let bytes = viewer.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), viewer))
    });
    let mut answer = Response::new(Either::Right(StreamBody::new(frames).boxed_unsync()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(answer)
}

// === impl Viewer ===

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        // The first bytes go out at once, so that the page knows that it is connected.
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        let changed = tokio::select! {
            () = told(&mut self.stop) => return None,
            changed = self.states.changed() => changed,
        };
        if changed.is_err()
            || self.session.as_ref().is_some_and(|headers| session::find(&self.console, headers).is_err())
        {
            return None;
        }
        Some(self.states.borrow_and_update().clone())
    }
}
