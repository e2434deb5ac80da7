//! The end-to-end harness: real servers, a real gateway process, real payloads.
//!
//! Tests talk to a [`Gateway`] over HTTP and to memcached and Redis as any other client would. They wait for conditions
//! ([`eventually`]) instead of sleeping, and stop at [`PATIENCE`].

mod browser;
mod deployment;
mod fixtures;
mod gateway;
mod hostile;
mod origin;
mod proxy;
mod servers;
mod wire;

use std::time::Duration;

pub use browser::{Browser, click, listening, press, says};
pub use deployment::Deployment;
pub use fixtures::{certificate, data_file, fixture, moved_to_now, now_seconds};
pub use gateway::{Gateway, NO_TASKS, Reply, Starting, binary};
pub use hostile::{hostile, laborious};
pub use origin::{Answer, Asked, Origin};
pub use proxy::{Line, Proxy};
pub use servers::{Memcached, Redis, free_port};
pub use wire::{PlainMemcached, PlainRedis};

/// How long a test waits for a condition before it fails. Generous: it is a limit, not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `ask` answers `Some`, and fails with `what` when it never does.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
