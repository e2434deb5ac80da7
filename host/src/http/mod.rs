//! The HTTP room: listeners, routes and answers. Only this room names hyper's server.
//!
//! Data listener (TCP and, where configured, a Unix socket): see [`data`] for its routes. Admin listener: see [`admin`].
//! The hit path of a view is [`lane`]: match the path, load an atomic pointer, write the bytes.

mod access;
mod admin;
mod assets;
mod audit_api;
mod body;
mod cache_api;
mod cached_api;
mod console;
mod data;
mod explain_api;
mod keys_api;
mod lane;
mod listen;
mod listener;
mod live;
mod log_api;
mod negotiate;
mod plugins_api;
mod quarantine_api;
mod recovery_api;
mod respond;
mod session;
mod signals_api;
mod socket;
mod splitter;
mod stream;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

pub use access::{Secret, token_file};
pub use console::{Console, compose};
pub use listen::{Bound, serve};
pub use listener::Listener;
pub use tls::{Files as TlsFiles, TlsError};

use crate::cache::Cache;
use crate::market::Market;
use crate::plugin::Operator;
use crate::source::Sources;
use crate::supervisor::Workers;
use crate::warm::Warm;

/// The HTTP room's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the dashboard and the API are served.
    pub listen: SocketAddr,
    /// With these `listen` speaks TLS.
    pub tls: Option<TlsFiles>,
    /// A second data listener.
    pub unix: Option<PathBuf>,
    /// Where metrics and administration are served.
    pub admin: SocketAddr,
    /// Host names that clients may call the data listener by, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// What `PUT`, `POST` and `DELETE` must present where the data listener is not loopback.
    pub write_token: Option<Secret>,
    /// The largest value that `PUT` takes, in bytes.
    pub value_bytes_max: usize,
    /// The largest single signal that `POST` takes, in bytes. The number of signals is not bounded: they are streamed.
    pub signal_bytes_max: usize,
    /// Open connections per data listener; further ones wait to be accepted.
    pub connections_max: usize,
    /// Event streams and WebSockets that may be open; who comes later asks again and again instead.
    pub streams_max: usize,
    /// How long a client may take for the head of a request, and may idle between requests.
    pub head_deadline: Duration,
    /// How long a client may pause within a body.
    pub body_pause_max: Duration,
    /// How long open requests may go on after the gateway was told to stop.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8002)),
            tls: None,
            unix: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 8003)),
            hosts: Vec::new(),
            write_token: None,
            value_bytes_max: 8 << 20,
            signal_bytes_max: 64 << 10,
            connections_max: 10_000,
            streams_max: 5_000,
            head_deadline: Duration::from_secs(30),
            body_pause_max: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// What the handlers share.
pub struct App {
    /// See [`Config`].
    pub config: Config,
    /// The cache behind `/api/cache`.
    pub cache: Arc<Cache>,
    /// The market behind the dashboard and `/api/signals`.
    pub market: Arc<Market>,
    /// Places for event streams and WebSockets.
    pub streams: Arc<Semaphore>,
    /// The warming, for the admin listener.
    pub warm: Arc<Warm>,
    /// The sources, for the admin listener.
    pub sources: Arc<Sources>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// What the admin listener asks for.
    pub admin_token: Secret,
    /// Swaps plugins for the admin listener.
    pub plugins: Arc<Operator>,
    /// The operator's console.
    pub console: Arc<Console>,
    /// What goes on beside the listeners.
    pub workers: Workers,
}
