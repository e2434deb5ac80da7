//! Request bodies: bounded while they stream, and cut off when the client pauses too long.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::respond::Refusal;

/// A body that is read piece by piece.
pub(super) struct Pieces {
    body: Incoming,
    pause_max: Duration,
}

// === impl Pieces ===

impl Pieces {
    pub fn new(body: Incoming, pause_max: Duration) -> Self {
        Self { body, pause_max }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = timeout(self.pause_max, self.body.frame()).await.map_err(|_| {
                let message = format!("the body paused for more than {}", humantime::format_duration(self.pause_max));
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow-body", message)
            })?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    let message = format!("the body broke off: {error}");
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, "broken-body", message));
                }
                // Trailers are of no use here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, if it has at most `bytes_max` bytes.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Bytes, Refusal> {
        let too_large = || {
            let message = format!("the body may have at most {bytes_max} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", message)
        };
        // A client that says so beforehand is not made to send it.
        if self.body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > bytes_max {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}
