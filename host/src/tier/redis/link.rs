//! [`Link`]: the connection to Redis, made when it is first needed and made again when it fails.
//!
//! Requests share one multiplexed connection: replies are matched to requests by their order, and the reply to a request
//! that nobody waits for any more is dropped, so a cancelled call cannot leave its answer to the next. A connection that
//! failed, or did not answer within the deadline, is replaced by the next call; `redis`' own connection manager keeps one
//! that fell silent, and answers the first call after an outage with the error of the last attempt.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, ProtocolVersion,
    PushInfo, RedisError,
};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::tier::TierError;

pub(super) struct Link {
    client: Client,
    connect_timeout: Duration,
    current: Mutex<Current>,
    /// Held by whoever connects, so that others wait for that connection and do not make one each.
    connecting: AsyncMutex<()>,
}

#[derive(Default)]
struct Current {
    /// Rises with each connection.
    number: u64,
    connection: Option<MultiplexedConnection>,
}

/// A connection, and which one it is.
pub(super) struct Numbered {
    pub connection: MultiplexedConnection,
    /// For [`Link::discard`].
    pub number: u64,
}

// === impl Link ===

impl Link {
    /// A link to the server that `url` names. The error never tells the URL, which may hold a password.
    pub fn new(url: &str, connect_timeout: Duration) -> Result<Self, TierError> {
        let invalid = |error: RedisError| TierError::Connect(format!("the URL is not valid: {error}"));
        let info = url.into_connection_info().map_err(invalid)?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(invalid)?;
        // rustls panics when it must speak before it was told whose cryptography to use.
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::trace!("cryptography for TLS was chosen before");
        }
        Ok(Self { client, connect_timeout, current: Mutex::default(), connecting: AsyncMutex::new(()) })
    }

    /// What operators see: scheme, host, port and database, without user and password.
    pub fn summary(&self) -> String {
        let info: &ConnectionInfo = self.client.get_connection_info();
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port} over TLS"),
            other => other.to_string(),
        };
        match info.redis_settings().db() {
            0 => format!("redis at {place}"),
            db => format!("redis at {place}, database {db}"),
        }
    }

    /// The connection, made now if there is none. Bounded by the connect timeout and the caller's deadline.
    pub async fn get(&self) -> Result<Numbered, TierError> {
        if let Some(ready) = self.ready() {
            return Ok(ready);
        }
        let _turn = self.connecting.lock().await;
        if let Some(ready) = self.ready() {
            return Ok(ready);
        }
        let connection = self.connect(&self.client, config()).await?;
        let mut current = self.current();
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok(Numbered { connection, number: current.number })
    }

    /// A connection of its own, for one who waits on it. Over it the server may speak unasked: `hear` hears that.
    pub async fn apart(
        &self,
        hear: impl Fn(PushInfo) -> Result<(), Infallible> + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, TierError> {
        let info = self.client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|error| tier_error(&error))?;
        self.connect(&client, config().set_push_sender(hear)).await
    }

    async fn connect(
        &self,
        client: &Client,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, TierError> {
        match timeout(self.connect_timeout, client.get_multiplexed_async_connection_with_config(&config)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.is_io_error() => Err(TierError::Connect(error.to_string())),
            Ok(Err(error)) => Err(tier_error(&error)),
            Err(_) => Err(TierError::Connect(format!("no answer within {:?}", self.connect_timeout))),
        }
    }

    /// Replaces the connection that had this number when it is next needed.
    pub fn discard(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            current.connection = None;
        }
    }

    fn ready(&self) -> Option<Numbered> {
        let current = self.current();
        current.connection.clone().map(|connection| Numbered { connection, number: current.number })
    }

    /// The lock is never held while anything can panic half way.
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tier bounds each call; the library's own limits would cut longer deadlines short.
fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None)
}

/// The server's own words are a refusal; anything else means that the conversation is broken.
pub(super) fn tier_error(error: &RedisError) -> TierError {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
            TierError::Refused(words(error))
        }
        _ => TierError::Broken(error.to_string()),
    }
}

/// The server's own words where there are any: `READONLY You can't write against a read only replica.`
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
