//! An origin: a local HTTP/1.1 server whose answers are scripted, and can be changed while it runs.
//!
//! A real server cannot be made to break off, to stall or to redirect at will.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RETRY_AFTER,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// An origin on `127.0.0.1`, gone when the value is dropped.
pub struct Origin {
    address: SocketAddr,
    stage: Arc<Stage>,
    server: JoinHandle<()>,
}

/// A request that an origin was sent.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With its query.
    pub path: String,
    /// All of them.
    pub headers: HeaderMap,
}

/// What an origin answers.
#[derive(Clone)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    manner: Manner,
    is_chunked: bool,
}

/// How a body is sent.
#[derive(Clone, Copy)]
enum Manner {
    Whole,
    /// Byte by byte, with this pause after each.
    Slowly(Duration),
    /// Its first half, and then the connection is closed.
    Truncated,
    /// Its first half, and then nothing.
    Stalled,
}

/// What the connections of an origin share.
struct Stage {
    script: Mutex<Script>,
    is_paused: watch::Sender<bool>,
}

struct Script {
    everywhere: Answer,
    /// By path, without its query.
    at: HashMap<String, Answer>,
    asked: Vec<Asked>,
}

/// A body whose pieces come through a channel.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

// === impl Answer ===

impl Answer {
    /// 200 with this body as JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::status(200) }.header(CONTENT_TYPE, "application/json")
    }

    /// 200 with so many bytes of JSON: a text.
    pub fn of_size(bytes: usize) -> Self {
        Self::json(format!("\"{}\"", "x".repeat(bytes.checked_sub(2).expect("room for the quotes"))))
    }

    /// This status without a body.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), manner: Manner::Whole, is_chunked: false }
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.append(name, HeaderValue::from_str(value).expect("a header"));
        self
    }

    /// Adds an `ETag`, such as `"v1"` with its quotes. Who sends it back is answered 304.
    pub fn etag(self, tag: &str) -> Self {
        self.header(ETAG, tag)
    }

    /// Adds `Last-Modified`. Who sends it back, and no `ETag`, is answered 304.
    pub fn last_modified(self, date: &str) -> Self {
        self.header(LAST_MODIFIED, date)
    }

    /// Adds `Retry-After`: seconds, or a date.
    pub fn retry_after(self, text: &str) -> Self {
        self.header(RETRY_AFTER, text)
    }

    /// Sends the body without announcing its length.
    pub fn chunked(self) -> Self {
        Self { is_chunked: true, ..self }
    }

    /// Sends the body byte by byte, with this pause after each.
    pub fn slowly(self, pause: Duration) -> Self {
        Self { manner: Manner::Slowly(pause), ..self }
    }

    /// Sends half of the body and closes the connection.
    pub fn truncated(self) -> Self {
        Self { manner: Manner::Truncated, ..self }
    }

    /// Sends half of the body and then nothing.
    pub fn stalled(self) -> Self {
        Self { manner: Manner::Stalled, ..self }
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let same = |ours: HeaderName, theirs: HeaderName| Some(self.headers.get(ours)? == asked.get(theirs)?);
        same(ETAG, IF_NONE_MATCH).or_else(|| same(LAST_MODIFIED, IF_MODIFIED_SINCE)).unwrap_or(false)
    }

    fn respond(self, asked: &HeaderMap) -> Response<Pieces> {
        let is_known = self.is_known(asked);
        let mut headers = self.headers;
        let (status, body) = if is_known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (self.status, self.body) };
        if !self.is_chunked && !is_known {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let (send, pieces) = mpsc::channel(1);
        tokio::spawn(self.manner.send(body, send));
        let mut response = Response::new(Pieces(pieces));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

// === impl Manner ===

impl Manner {
    /// Sends a body, as long as anybody takes it.
    async fn send(self, body: Bytes, to: mpsc::Sender<io::Result<Bytes>>) {
        let half = body.slice(..body.len() / 2);
        let sent = match self {
            Self::Whole => to.send(Ok(body)).await,
            Self::Slowly(pause) => {
                for at in 0..body.len() {
                    if to.send(Ok(body.slice(at..=at))).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            }
            Self::Truncated => match to.send(Ok(half)).await {
                Ok(()) => to.send(Err(io::Error::other("as scripted"))).await,
                gone => gone,
            },
            Self::Stalled => to.send(Ok(half)).await,
        };
        if sent.is_ok() && matches!(self, Self::Stalled) {
            to.closed().await;
        }
    }
}

// === impl Pieces ===

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

// === impl Stage ===

impl Stage {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("the script")
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Pieces> {
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        self.script().asked.push(Asked { path: request.uri().to_string(), headers: headers.clone() });
        self.is_paused.subscribe().wait_for(|paused| !paused).await.expect("the stage outlives its requests");
        let answer = {
            let script = self.script();
            script.at.get(&path).unwrap_or(&script.everywhere).clone()
        };
        answer.respond(&headers)
    }
}

// === impl Origin ===

impl Origin {
    /// An origin that answers this, whatever it is asked.
    pub async fn start(everywhere: Answer) -> Self {
        let script = Mutex::new(Script { everywhere, at: HashMap::new(), asked: Vec::new() });
        let stage = Arc::new(Stage { script, is_paused: watch::Sender::new(false) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        Self { address, server: tokio::spawn(serve(listener, stage.clone())), stage }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on it answers this, except at paths that have an answer of their own.
    pub fn answers(&self, answer: Answer) {
        self.stage.script().everywhere = answer;
    }

    /// From now on it answers this at `path`, with whatever query.
    pub fn answers_at(&self, path: &str, answer: Answer) {
        self.stage.script().at.insert(path.to_owned(), answer);
    }

    /// From now on requests are taken and not answered.
    pub fn pause(&self) {
        self.stage.is_paused.send_replace(true);
    }

    /// Answers the requests that wait, and those to come.
    pub fn resume(&self) {
        self.stage.is_paused.send_replace(false);
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.stage.script().asked.clone()
    }

    /// Closes its connections and its port.
    pub async fn stop(&mut self) {
        self.server.abort();
        // It was aborted, and nothing else ends it.
        assert!(
            (&mut self.server).await.is_err_and(|ended| ended.is_cancelled()),
            "the origin died before it was stopped"
        );
    }

    /// Listens on its port again after [`stop`](Self::stop). The script and the requests so far are kept.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port is free again");
        self.server = tokio::spawn(serve(listener, self.stage.clone()));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Asked ===

impl Asked {
    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Serves until it is aborted; its connections go with it.
async fn serve(listener: TcpListener, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let stage = stage.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let stage = stage.clone();
                async move { Ok::<_, Infallible>(stage.answer(request).await) }
            });
            // Clients break off, and so do scripted answers.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
        // Those that ended are not kept.
        while connections.try_join_next().is_some() {}
    }
}
