//! `GET /api/dashboard/live` and `GET /api/dashboard/stream`: the live document in full, and what changes in it.
//!
//! The stream is of server-sent events (HTML, 9.2):
//!
//! | event | data |
//! | --- | --- |
//! | `patch` | `{"from", "to", "patch"}`: an RFC 7396 merge patch from one version to the next; its id is the latter |
//! | `beat` | `{"version", "now_ms"}`: nothing changed, and the connection lives |
//! | `reset` | the client missed too much and fetches the document again |
//!
//! A client names the version that it has in `Last-Event-ID`, or at first in `?since=`. Every message is encoded and compressed
//! once for all clients; one that cannot keep up is told to fetch the document again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::listen::told;
use super::negotiate;
use super::respond::{Answer, Refusal};
use super::{App, data};
use crate::market::{GZIP_HEAD, Message, Subscription, ViewError};
use crate::record::Time;
use crate::telemetry::metrics;

/// A whole body, or one that goes on.
pub(super) type Streamed = Response<Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>>;

/// How long a client waits before it connects again.
pub(super) const RETRY: &str = "retry: 2000\n\n";

/// A proxy that buffers would hold events back; nginx and others heed this.
pub(super) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A place among [`Config::streams_max`](super::Config::streams_max), with its count in the metrics.
pub(super) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

struct Events {
    waiting: VecDeque<Bytes>,
    messages: tokio::sync::broadcast::Receiver<Arc<Message>>,
    compressed: bool,
    stop: watch::Receiver<bool>,
    _place: Place,
}

/// The document, with a validator like any view.
pub(super) async fn document(app: &App, request: &HeaderMap, limit: u32) -> Result<Answer, Refusal> {
    let snapshot = app.market.live(limit).await.map_err(failed)?;
    Ok(data::view_answer(request, &snapshot, app.cache.is_degraded(), Time::now()))
}

/// The stream of its changes; it ends when `stop` is told.
pub(super) async fn events(
    app: &App,
    request: &Request<Incoming>,
    stop: watch::Receiver<bool>,
) -> Result<Streamed, Refusal> {
    let place = Place::take(app)?;
    let named = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let since = named.or_else(|| {
        let query = url::form_urlencoded::parse(request.uri().query()?.as_bytes());
        query.into_iter().find(|(name, _)| name == "since").map(|(_, value)| value.into_owned())
    });
    let subscription = app.market.listen(since.as_deref()).await.map_err(failed)?;
    let compressed = negotiate::takes_gzip(request.headers());
    let events = Events::new(subscription, compressed, stop, place);
    let frames = stream::unfold(events, |mut events| async move {
        let bytes = events.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), events))
    });
    let mut answer = Response::new(Either::Right(StreamBody::new(frames).boxed_unsync()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(answer)
}

fn failed(error: ViewError) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "view-failed", error.to_string())
}

// === impl Place ===

impl Place {
    /// Takes a place, or says that none is left.
    pub fn take(app: &App) -> Result<Self, Refusal> {
        let Ok(permit) = app.streams.clone().try_acquire_owned() else {
            let message =
                format!("{} streams are open, which is all that `http.streams_max` allows", app.config.streams_max);
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "streams-full", message));
        };
        metrics::streams(1.0);
        Ok(Self(permit))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::streams(-1.0);
    }
}

// === impl Events ===

impl Events {
    fn new(subscription: Subscription, compressed: bool, stop: watch::Receiver<bool>, place: Place) -> Self {
        let Subscription { backlog, messages } = subscription;
        let mut events = Self { waiting: VecDeque::new(), messages, compressed, stop, _place: place };
        if compressed {
            events.waiting.push_back(Bytes::from_static(GZIP_HEAD));
        }
        // The first bytes go out at once, so that the client knows that it is connected.
        match Message::text(RETRY) {
            Ok(retry) => events.push(&retry),
            Err(error) => tracing::error!(%error, "a stream does not say when to come back"),
        }
        backlog.iter().for_each(|message| events.push(message));
        events
    }

    fn push(&mut self, message: &Message) {
        let bytes = if self.compressed { &message.deflated } else { &message.plain };
        self.waiting.push_back(bytes.clone());
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            let received = tokio::select! {
                biased;
                () = told(&mut self.stop) => return None,
                received = self.messages.recv() => received,
            };
            match received {
                Ok(message) => self.push(&message),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a listener could not keep up; it starts again");
                    match Message::reset() {
                        Ok(reset) => self.push(&reset),
                        Err(error) => {
                            tracing::error!(%error, "a stream ends, for it cannot be mended");
                            return None;
                        }
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
