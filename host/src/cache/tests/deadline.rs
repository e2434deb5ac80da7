//! One deadline covers a request, however many tiers do not answer.

use tokio::time::{Instant, sleep};

use super::*;
use crate::cache::{PutOptions, Verdict};
use crate::record::{Failure, RejectedWhy};

/// The deadline of the cache and of each call of these tiers.
pub(crate) const DEADLINE: Duration = Duration::from_millis(200);

/// A tier that is heard of only when a call's deadline has passed, as it must be.
struct Silent {
    name: TierName,
    put: Put,
    /// Deletes of exactly what was read.
    removed: AtomicUsize,
}

/// What a put into it comes to.
#[derive(Clone, Copy)]
enum Put {
    Never,
    /// Stored at the last moment.
    Late,
    /// Refused at once, as too large.
    TooLarge,
}

fn silent(name: &str, put: Put) -> Arc<Silent> {
    Arc::new(Silent { name: TierName::new(name), put, removed: AtomicUsize::new(0) })
}

/// A cache over two tiers that never answer.
pub(crate) fn silent_cache() -> Arc<Cache> {
    over(Duration::ZERO, vec![silent("memcached", Put::Never), silent("redis", Put::Never)])
}

#[async_trait]
impl Tier for Silent {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        "silent".to_owned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        sleep(DEADLINE).await;
        match self.put {
            Put::TooLarge => {
                let bytes = Bytes::from_static(b"0");
                let payload =
                    Payload { bytes, flags: 0, remaining: Some(DEADLINE * 100), stamp: Some(stamp(Version(1))) };
                Ok(keys.iter().map(|_| Some(Found::Shared(payload.clone()))).collect())
            }
            Put::Never | Put::Late => Err(TierError::Deadline(DEADLINE)),
        }
    }

    async fn put(&self, _: &Key, _: &Record) -> WriteOutcome {
        if matches!(self.put, Put::TooLarge) {
            return WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes: 2, limit: 1 });
        }
        sleep(DEADLINE).await;
        match self.put {
            Put::Late => WriteOutcome::Stored,
            Put::Never | Put::TooLarge => WriteOutcome::Unknown(TierError::Deadline(DEADLINE).to_string()),
        }
    }

    async fn delete(&self, _: &Key, _: Version) -> DeleteOutcome {
        sleep(DEADLINE).await;
        DeleteOutcome::Failed(Failure::passing(TierError::Deadline(DEADLINE).to_string()))
    }

    async fn delete_exact(&self, _: &Key, _: Digest) -> DeleteOutcome {
        sleep(DEADLINE).await;
        self.removed.fetch_add(1, Ordering::SeqCst);
        DeleteOutcome::Deleted
    }

    async fn check(&self) -> Result<Health, TierError> {
        Ok(Health::default())
    }
}

async fn put(cache: &Arc<Cache>) -> crate::cache::Put {
    let options = PutOptions { from: "api".into(), ttl: None, codec: None, as_of: None };
    cache.put(&key(), Bytes::from_static(b"1"), options).await.expect("a put")
}

#[tokio::test(start_paused = true)]
async fn two_tiers_that_never_answer_cost_a_reader_a_writer_and_a_deleter_one_deadline_each() {
    let gates: [Arc<dyn Tier>; 2] = [gated("memcached"), gated("redis")];
    for cache in [over(Duration::ZERO, gates.to_vec()), silent_cache()] {
        let begun = Instant::now();
        let read = cache.get(&key()).await;
        assert_eq!(begun.elapsed(), DEADLINE);
        assert!(
            matches!(&read.outcome, ReadOutcome::Unavailable { failed } if failed.len() == 2),
            "{:?}",
            read.outcome
        );
    }
    let cache = silent_cache();
    let begun = Instant::now();
    assert_eq!(put(&cache).await.verdict(), Verdict::Queued);
    assert_eq!(begun.elapsed(), DEADLINE);
    let begun = Instant::now();
    let deleted = cache.delete(&key()).await.expect("a delete");
    assert_eq!(begun.elapsed(), DEADLINE);
    let below = &deleted.outcomes[1..];
    assert!(below.iter().all(|(_, outcome)| matches!(outcome, DeleteOutcome::Queued(_))), "{deleted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_one_deadline_though_an_old_value_is_to_be_removed_and_removed_it_is() {
    let (small, other) = (silent("memcached", Put::TooLarge), silent("redis", Put::Late));
    let cache = over(Duration::from_secs(60), vec![small.clone(), other]);
    let begun = Instant::now();
    assert_eq!(put(&cache).await.verdict(), Verdict::Partial);
    assert_eq!(begun.elapsed(), DEADLINE);
    while small.removed.load(Ordering::SeqCst) == 0 {
        sleep(DEADLINE).await;
    }
}
