//! [`Origin`]: what the sources of one scheme, host and port share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::{Instant, timeout};

/// The least time between two requests to one origin, whichever source makes them. Several sources that come due together
/// would else ask together, and be turned away together (B22).
const SPACING: Duration = Duration::from_millis(250);

/// The sources of one origin take turns.
pub(super) struct Origin {
    turns: DefaultDirectRateLimiter,
    /// Until when it asks everybody here to leave it alone.
    held_until: Mutex<Instant>,
}

// === impl Origin ===

impl Origin {
    pub fn new() -> Self {
        let quota = Quota::with_period(SPACING).expect("the spacing is not zero");
        Self { turns: RateLimiter::direct(quota), held_until: Mutex::new(Instant::now()) }
    }

    /// Until when it is left alone.
    pub fn held_until(&self) -> Instant {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves it alone until then.
    pub fn hold(&self, until: Instant) {
        let mut held = self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        *held = until.max(*held);
    }

    /// Waits for a turn to ask it.
    ///
    /// # Errors
    ///
    /// When there was none within `patience`, or the origin asked another source to leave it alone meanwhile: the moment
    /// before which it is of no use to try again.
    pub async fn turn(&self, patience: Duration) -> Result<(), Instant> {
        timeout(patience, self.turns.until_ready()).await.map_err(|_| Instant::now() + SPACING)?;
        let held = self.held_until();
        if Instant::now() < held { Err(held) } else { Ok(()) }
    }
}
