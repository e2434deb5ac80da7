//! One deadline covers a request, however many tiers do not answer.

use tokio::time::{Instant, sleep};

use super::*;
use crate::cache::{PutOptions, Verdict};
use crate::record::{Failure, RejectedWhy};
use crate::tier::disk::journal::Journal;

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
    /// Refused at once, for want of memory; a delete is carried out at once.
    Full,
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
            Put::Never | Put::Late | Put::Full => Err(TierError::Deadline(DEADLINE)),
        }
    }

    async fn put(&self, _: &Key, _: &Record) -> WriteOutcome {
        match self.put {
            Put::TooLarge => WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes: 2, limit: 1 }),
            Put::Full => WriteOutcome::Failed(Failure::passing("no memory")),
            Put::Late => {
                sleep(DEADLINE).await;
                WriteOutcome::Stored
            }
            Put::Never => {
                sleep(DEADLINE).await;
                WriteOutcome::Unknown(TierError::Deadline(DEADLINE).to_string())
            }
        }
    }

    async fn delete(&self, _: &Key, _: Version) -> DeleteOutcome {
        if matches!(self.put, Put::Full) {
            return DeleteOutcome::Absent;
        }
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
async fn a_slow_journal_costs_a_writer_and_a_deleter_no_more_than_their_deadline_and_they_are_told_of_it() {
    // One that refuses at once leaves the journal all the time, and one that does not answer leaves it none.
    for tier in [Put::Full, Put::Never] {
        let tiers: Vec<Arc<dyn Tier>> = vec![silent("redis", tier)];
        let cache = builder(Duration::ZERO).with_journal(Journal::stuck(), Vec::new()).build(tiers);
        let told = |reason: Option<String>| {
            let reason = reason.unwrap_or_default();
            assert!(
                reason.ends_with("it waits in memory alone, because the journal did not have it by the deadline"),
                "{reason}"
            );
        };
        let begun = Instant::now();
        let written = put(&cache).await;
        assert_eq!((begun.elapsed(), written.verdict()), (DEADLINE, Verdict::Queued));
        told(written.outcomes[1].1.reason());
        assert_eq!(cache.recovery(0)[0].depth, 1);
        let begun = Instant::now();
        let deleted = cache.delete(&key()).await.expect("a delete");
        assert_eq!(begun.elapsed(), DEADLINE);
        match &deleted.outcomes[1].1 {
            // What waited was to be forgotten in the journal, too.
            DeleteOutcome::Absent => assert_eq!(cache.recovery(0)[0].depth, 0),
            outcome => told(outcome.reason()),
        }
    }
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
