//! [`Listener`]: the way a request came in, which decides what it may do.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What kind of listener a request came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The dashboard and the API over TCP.
    Data(SocketAddr),
    /// The same over a Unix socket.
    Unix(PathBuf),
    /// Administration.
    Admin(SocketAddr),
}

// === impl Listener ===

impl Listener {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Data(address) | Self::Admin(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether it is a Unix socket, whose file mode says who may use it.
    pub const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// The label in logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Data(_) => "data",
            Self::Unix(_) => "unix",
            Self::Admin(_) => "admin",
        }
    }
}
