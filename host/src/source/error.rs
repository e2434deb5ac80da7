//! [`SourceError`]: why a refresh failed, in words that never hold a header's value or the query of a URL.

use std::fmt;
use std::time::Duration;

use hyper::StatusCode;

use crate::cache::DecodeError;

/// Why a refresh failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no connection: the name is unknown, or nobody listens.
    #[error("no connection: {0}")]
    Connect(String),
    /// TLS was not agreed upon; most often the certificate is not one for this host, or nobody trusted signed it.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// The deadline passed.
    #[error("{phase} within {}", humantime::format_duration(*.timeout))]
    TimedOut {
        /// The deadline of the whole fetch.
        timeout: Duration,
        /// What was being waited for.
        phase: Phase,
    },
    /// The connection broke off, or what came is not HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// A status that brings no payload.
    #[error("it answered {status}{}", asks(.retry_after))]
    Status {
        /// The status.
        status: StatusCode,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A redirect; none is followed.
    #[error("it answered {status}{}; redirects are not followed: configure the URL it points to", points(.location))]
    Redirected {
        /// The status.
        status: StatusCode,
        /// Where it points to, without the query.
        location: Option<String>,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A body of another content coding than none.
    #[error("its answer is encoded as `{0}`, which was not asked for")]
    Encoded(String),
    /// A larger body than is configured.
    #[error("its answer has {}{limit} bytes, the limit", size(.bytes))]
    TooLarge {
        /// The size that the answer announced.
        bytes: Option<u64>,
        /// The most that is taken.
        limit: u64,
    },
    /// No body.
    #[error("its answer is empty")]
    Empty,
    /// The codec did not accept the payload. The last good value stays.
    #[error("its answer was refused: {0}")]
    Refused(#[from] DecodeError),
    /// The origin answered well, but no tier below memory took the value. Not the origin's failure: it is asked again after
    /// the interval, without back-off.
    #[error("no tier took its answer: {0}")]
    Unstored(String),
    /// The fetch died under way.
    #[error("the fetch died: {0}")]
    Died(String),
}

/// What a fetch waited for when its deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For the TCP connection.
    Connect,
    /// For TLS, or for the head of the answer.
    Head,
    /// For the rest of the body.
    Body,
}

// === impl SourceError ===

impl SourceError {
    /// The label in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::TimedOut { .. } => "timeout",
            Self::Broken(_) => "broken",
            Self::Status { .. } => "status",
            Self::Redirected { .. } => "redirect",
            Self::Encoded(_) => "encoded",
            Self::TooLarge { .. } => "too_large",
            Self::Empty => "empty",
            Self::Refused(_) => "refused",
            Self::Unstored(_) => "unstored",
            Self::Died(_) => "died",
        }
    }

    /// How long the origin asks to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Redirected { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the origin says that all that come from this address ask too often.
    ///
    /// 418 is what Binance answers to those who went on after a 429.
    pub fn is_too_many(&self) -> bool {
        matches!(self, Self::Status { status, .. } if [StatusCode::TOO_MANY_REQUESTS, StatusCode::IM_A_TEAPOT].contains(status))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "there was no connection",
            Self::Head => "no answer began",
            Self::Body => "the answer did not end",
        })
    }
}

fn asks(retry_after: &Option<Duration>) -> String {
    let asks = |span: &Duration| format!(" and asks to be left alone for {}", humantime::format_duration(*span));
    retry_after.as_ref().map(asks).unwrap_or_default()
}

fn points(location: &Option<String>) -> String {
    location.as_ref().map(|location| format!(" and points to {location}")).unwrap_or_default()
}

fn size(bytes: &Option<u64>) -> String {
    bytes.map_or_else(|| "more than ".to_owned(), |bytes| format!("{bytes} bytes, more than "))
}
