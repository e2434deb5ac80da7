//! The pool of connections, and the [`Conversation`] that decides whether a connection goes back to it.
//!
//! memcached's text protocol has no request numbers: whoever reads first after an abandoned call gets somebody else's
//! answer. So a connection is used again only after [`Conversation::complete`]; one whose conversation ended otherwise, by an
//! error, a timeout or a dropped future, is closed when the pool comes to it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};

use super::connection::Connection;
use crate::tier::TierError;

/// Makes connections, and learns from each what the server allows.
pub(super) struct Dialler {
    pub address: String,
    pub connect_timeout: Duration,
    pub server: Arc<Server>,
}

/// What is known of the server behind the connections.
pub(super) struct Server {
    /// `item_size_max` of `stats settings`, in bytes.
    pub item_bytes_max: AtomicUsize,
    /// Rises with each connection that is made. A server that was started again counts its cas ids from 1: what was
    /// learned before the newest connection may be about another server.
    pub epoch: AtomicU64,
}

/// Exclusive use of a connection.
pub(super) struct Conversation(Object<Dialler>);

// === impl Dialler ===

impl Manager for Dialler {
    type Type = Connection;
    type Error = TierError;

    async fn create(&self) -> Result<Connection, TierError> {
        let mut connection = Connection::dial(&self.address, self.connect_timeout).await?;
        let settings = connection.stats("stats settings").await?;
        let limit = settings.iter().find(|(name, _)| name == "item_size_max").and_then(|(_, value)| value.parse().ok());
        match limit {
            Some(bytes) => self.server.item_bytes_max.store(bytes, Relaxed),
            None => return Err(TierError::Broken("the server's settings name no item_size_max".to_owned())),
        }
        self.server.epoch.fetch_add(1, Relaxed);
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<TierError> {
        if connection.is_clean() {
            Ok(())
        } else {
            Err(RecycleError::message("it was closed, or holds an unread reply"))
        }
    }
}

// === impl Conversation ===

impl Conversation {
    /// Takes a connection that is free, or makes one, or waits until one is free. Bounded by the caller's deadline.
    pub async fn begin(pool: &Pool<Dialler>) -> Result<Self, TierError> {
        match pool.get().await {
            Ok(mut connection) => {
                connection.mid_conversation = true;
                Ok(Self(connection))
            }
            Err(PoolError::Backend(error)) => Err(error),
            Err(error) => Err(TierError::Connect(error.to_string())),
        }
    }

    /// Every reply was read: the connection may serve others.
    pub fn complete(mut self) {
        self.0.mid_conversation = false;
    }
}

impl Deref for Conversation {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Conversation {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
