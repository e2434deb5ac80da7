//! Listeners and connections: bound before anything is served, bounded in number, drained at the end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::lane::{self, Answers};
use super::listener::Listener;
use super::live::Streamed;
use super::stream::{Rewound, Stream};
use super::tls::{self, Tls};
use super::{App, admin, data};
use crate::telemetry::metrics::{self, Requests};

/// After a failed `accept` (no file descriptor left, usually) the listener waits this long instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes read ahead per connection, at most; more than the largest head that is accepted.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;

/// Listeners that are bound and not yet served.
pub struct Bound {
    /// See [`Listener::Data`].
    pub data: TcpListener,
    /// What `data` speaks, if it is more than HTTP.
    tls: Option<Tls>,
    /// See [`Listener::Unix`].
    pub unix: Option<(UnixListener, PathBuf)>,
    /// See [`Listener::Admin`].
    pub admin: TcpListener,
}

// === impl Bound ===

impl Bound {
    /// Binds every listener of `config`.
    ///
    /// # Errors
    ///
    /// Every listener that could not be bound: its configuration key and why.
    pub async fn new(config: &super::Config) -> Result<Self, Vec<(&'static str, String)>> {
        let mut mistakes = Vec::new();
        let data = tcp("http.listen", config.listen, &mut mistakes).await;
        let admin = tcp("http.admin", config.admin, &mut mistakes).await;
        let unix = match &config.unix {
            None => None,
            Some(path) => match unix(path) {
                Ok(listener) => Some((listener, path.clone())),
                Err(error) => {
                    mistakes.push(("http.unix", format!("cannot listen on {}: {error}", path.display())));
                    None
                }
            },
        };
        let tls = config
            .tls
            .clone()
            .and_then(|files| Tls::new(files).map_err(|error| mistakes.push((error.path(), error.to_string()))).ok());
        match (data, admin) {
            (Some(data), Some(admin)) if mistakes.is_empty() => Ok(Self { data, tls, unix, admin }),
            _ => Err(mistakes),
        }
    }

    /// The scheme of the data listener's URLs.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

async fn tcp(
    key: &'static str,
    address: SocketAddr,
    mistakes: &mut Vec<(&'static str, String)>,
) -> Option<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            mistakes.push((
                key,
                format!(
                    "port {} of {} is in use; stop the other process or choose another",
                    address.port(),
                    address.ip()
                ),
            ));
            None
        }
        Err(error) => {
            mistakes.push((key, format!("cannot listen on {address}: {error}")));
            None
        }
    }
}

/// Binds a Unix socket that its owner and group may use. A socket left behind by a process that is gone is removed.
fn unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(metadata) = std::fs::metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves until `stop` is told, then lets open requests end within the drain time.
pub async fn serve(app: Arc<App>, bound: Bound, stop: watch::Receiver<bool>) {
    let limit = |app: &App| Arc::new(Semaphore::new(app.config.connections_max));
    let mut listeners = JoinSet::new();
    let data = Listener::Data(bound.data.local_addr().unwrap_or(app.config.listen));
    let acceptor = match bound.tls {
        None => Acceptor::Tcp(bound.data),
        Some(tls) => {
            let tls = Arc::new(tls);
            listeners.spawn(renew(tls.clone(), stop.clone()));
            Acceptor::Tls(bound.data, tls)
        }
    };
    listeners.spawn(accept(app.clone(), data, acceptor, limit(&app), stop.clone()));
    let admin = Listener::Admin(bound.admin.local_addr().unwrap_or(app.config.admin));
    listeners.spawn(accept(app.clone(), admin, Acceptor::Tcp(bound.admin), limit(&app), stop.clone()));
    if let Some((listener, path)) = bound.unix {
        listeners.spawn(accept(app.clone(), Listener::Unix(path), Acceptor::Unix(listener), limit(&app), stop));
    }
    while let Some(ended) = listeners.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a listener died");
        }
    }
}

/// A listener with what its connections need.
pub(super) struct Door {
    pub app: Arc<App>,
    pub listener: Listener,
    pub requests: Requests,
    pub answers: Answers,
}

/// Takes a certificate that was renewed, until `stop` is told.
async fn renew(tls: Arc<Tls>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(tls::LOOK_EVERY) => match tls.renew() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the certificate was renewed"),
                Err(error) => tracing::error!(%error, "the renewed certificate cannot be used; the one before serves on"),
            },
            () = told(&mut stop) => return,
        }
    }
}

enum Acceptor {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<Tls>),
    Unix(UnixListener),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<Accepted> {
        let tcp = async |listener: &TcpListener| {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        Ok(match self {
            Self::Tcp(listener) => Accepted::Ready(Box::new(tcp(listener).await?)),
            Self::Tls(listener, tls) => Accepted::Greets(Box::new(tls.acceptor().accept(tcp(listener).await?))),
            Self::Unix(listener) => Accepted::Ready(Box::new(listener.accept().await?.0)),
        })
    }
}

/// A connection that was accepted.
enum Accepted {
    Ready(Box<dyn Stream>),
    /// First comes the handshake of TLS, which nobody else waits for.
    Greets(Box<tokio_rustls::Accept<TcpStream>>),
}

impl Accepted {
    /// The connection, when it can be read, within the time that a head of a request may take.
    async fn ready(self, deadline: Duration) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Ready(stream) => Ok(stream),
            Self::Greets(handshake) => Ok(Box::new(tokio::time::timeout(deadline, handshake).await??)),
        }
    }
}

async fn accept(
    app: Arc<App>,
    listener: Listener,
    acceptor: Acceptor,
    places: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let label = listener.label();
    let door = Arc::new(Door { app, listener, requests: Requests::new(label), answers: Answers::default() });
    let mut connections = JoinSet::new();
    loop {
        // A place first, then the connection: what is over the limit waits in the kernel's queue.
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, acceptor.accept().await)
        };
        tokio::select! {
            (place, accepted) = next => match accepted {
                Ok(accepted) => {
                    let connection = connection(door.clone(), accepted, stop.clone());
                    connections.spawn(async move {
                        let _place = place;
                        metrics::connections(1.0);
                        connection.await;
                        metrics::connections(-1.0);
                    });
                }
                Err(error) => {
                    tracing::warn!(listener = label, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(listener = label, %error, "a connection died");
                }
            }
            () = told(&mut stop) => break,
        }
    }
    drop(acceptor);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(door.app.config.drain, all).await.is_err() {
        tracing::warn!(listener = label, "requests were still open at the end of the drain time");
    }
    if let Listener::Unix(path) = &door.listener
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "the socket stays behind");
    }
}

async fn connection(door: Arc<Door>, accepted: Accepted, mut stop: watch::Receiver<bool>) {
    let greeted = tokio::select! {
        greeted = accepted.ready(door.app.config.head_deadline) => greeted,
        () = told(&mut stop) => return,
    };
    let mut stream = match greeted {
        Ok(stream) => stream,
        Err(error) => return ended_early(&error),
    };
    let driven = match door.listener {
        Listener::Data(_) | Listener::Unix(_) => lane::drive(&door, &mut *stream, &mut stop).await,
        Listener::Admin(_) => Ok(Some(Vec::new())),
    };
    let read = match driven {
        Ok(Some(read)) => read,
        Ok(None) => return,
        Err(error) => return ended_early(&error),
    };
    let stream = Rewound { read: read.into(), stream };
    let head_deadline = door.app.config.head_deadline;
    let end = stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (door, end) = (door.clone(), end.clone());
        async move {
            let Door { app, listener, requests, .. } = &*door;
            let answer: Streamed = match listener {
                Listener::Admin(_) => admin::answer(app, request, end).await,
                Listener::Data(_) | Listener::Unix(_) => data::answer(app, listener, request, end).await,
            };
            requests.answered(answer.status().as_u16());
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        ended_early(&error);
    }
}

/// Clients go away all the time; what matters of it is in the metrics of the request.
fn ended_early(error: &dyn std::error::Error) {
    tracing::debug!(%error, "a connection ended early");
}

/// Ends when `stop` is told, or when nobody is left to tell it.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("nobody is left to stop the listeners; they stop");
    }
}
