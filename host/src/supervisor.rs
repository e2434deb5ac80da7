//! [`Workers`]: the work that goes on for as long as the gateway serves, begun again when it dies.
//!
//! A worker that died used to be noticed by those who wondered why nothing changed any more (incident B9). Here it is begun
//! again, later each time, and said: in the log, in `tiergate_worker_restarts_total`, and in `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::BackoffBuilder as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::telemetry::metrics;

/// How long the first restart waits; each further one twice as long, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A worker that has lived this long has recovered: its next restart waits as little as the first.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// Which workers there are, and how often each was begun again.
#[derive(Clone, Default)]
pub struct Workers(Arc<Mutex<BTreeMap<&'static str, u64>>>);

// === impl Workers ===

impl Workers {
    /// How often each worker was begun again.
    pub fn restarts(&self) -> BTreeMap<&'static str, u64> {
        self.counts().clone()
    }

    /// Does the work that `begin` begins, again whenever it panics, until it ends by itself.
    pub async fn supervise<F>(&self, worker: &'static str, begin: impl Fn() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.counts().insert(worker, 0);
        metrics::worker_restarted(worker, 0);
        let pauses = || {
            let builder = backon::ExponentialBuilder::default().without_max_times();
            builder.with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX).build()
        };
        let mut waits = pauses();
        loop {
            let begun = Instant::now();
            // A set, because its task ends with whoever waits for it.
            let mut work = JoinSet::new();
            work.spawn(begin());
            let Some(Err(died)) = work.join_next().await else { return };
            if begun.elapsed() >= RECOVERED_AFTER {
                waits = pauses();
            }
            let pause = waits.next().unwrap_or(PAUSE_MAX);
            tracing::error!(worker, error = %died, ?pause, "a worker died; it is begun again");
            *self.counts().entry(worker).or_default() += 1;
            metrics::worker_restarted(worker, 1);
            sleep(pause).await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn b09_a_worker_that_dies_is_begun_again_later_each_time_and_counted() {
        let (workers, begun) = (Workers::default(), Arc::new(AtomicU32::new(0)));
        let started = Instant::now();
        workers
            .supervise("market", || {
                let begun = begun.clone();
                async move { assert!(begun.fetch_add(1, SeqCst) >= 3, "it dies three times, and then ends by itself") }
            })
            .await;
        assert_eq!(begun.load(SeqCst), 4);
        assert_eq!(workers.restarts(), BTreeMap::from([("market", 3)]));
        // 100, 200 and 400 ms on the paused clock.
        assert_eq!(started.elapsed().as_millis() / 100, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn b09_a_worker_that_lived_long_is_begun_again_soon() {
        let (workers, begun) = (Workers::default(), Arc::new(AtomicU32::new(0)));
        let started = Instant::now();
        workers
            .supervise("warmer", || {
                let begun = begun.clone();
                async move {
                    match begun.fetch_add(1, SeqCst) {
                        0..5 => panic!("at once"),
                        5 => {
                            sleep(RECOVERED_AFTER).await;
                            panic!("after a minute");
                        }
                        _ => {}
                    }
                }
            })
            .await;
        let crashes = Duration::from_millis(100 + 200 + 400 + 800 + 1600);
        assert_eq!((started.elapsed() - crashes - RECOVERED_AFTER).as_millis() / 100, 1);
    }

    #[tokio::test]
    async fn who_stops_waiting_stops_the_worker() {
        let (workers, alive) = (Workers::default(), Arc::new(()));
        let kept = alive.clone();
        let supervised = tokio::spawn(async move {
            let begin = || {
                let kept = kept.clone();
                async move {
                    std::future::pending::<()>().await;
                    drop(kept);
                }
            };
            workers.supervise("tiers", begin).await;
        });
        while Arc::strong_count(&alive) < 3 {
            tokio::task::yield_now().await;
        }
        supervised.abort();
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
