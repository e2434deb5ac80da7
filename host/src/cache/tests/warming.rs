//! Placeholders and refills, over tiers that do what a real server does only by chance.

use std::sync::Mutex;

use super::*;
use crate::cache::read::Answer;
use crate::cache::{NotPlaced, What};
use crate::record::{Order, Time};
use crate::tier::{Memory, memory};

/// A tier that keeps values as a server does, and can be told to misbehave.
struct Kept {
    name: TierName,
    values: Memory,
    incarnation: AtomicUsize,
    /// The value that somebody else writes just before this gateway does.
    rival: Mutex<Option<Record>>,
    silent: bool,
}

fn kept(name: &str) -> Kept {
    Kept {
        name: TierName::new(name),
        values: Memory::new(memory::Config::default()),
        incarnation: AtomicUsize::new(1),
        rival: Mutex::new(None),
        silent: false,
    }
}

#[async_trait]
impl Tier for Kept {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        "kept".to_owned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        if self.silent { Err(TierError::Broken("silent".to_owned())) } else { self.values.read(keys).await }
    }

    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome {
        let rival = self.rival.lock().unwrap().take();
        if let Some(rival) = rival {
            assert_eq!(self.values.put(key, &rival).await, WriteOutcome::Stored);
        }
        self.values.put(key, record).await
    }

    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome {
        self.values.delete(key, floor).await
    }

    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome {
        self.values.delete_exact(key, stored).await
    }

    async fn check(&self) -> Result<Health, TierError> {
        let incarnation = Some(self.incarnation.load(Ordering::SeqCst).to_string());
        Ok(Health { incarnation, ..Health::default() })
    }
}

fn over(tiers: Vec<Arc<Kept>>) -> Arc<Cache> {
    let policy = Policy::default();
    let config = Config {
        policy,
        deadline: Duration::from_millis(200),
        memory_bytes_max: 64 << 20,
        recovery: Limits::default(),
        verify_every: Duration::from_secs(5),
    };
    Builder::new(config, Arc::new(Plain)).build(tiers.into_iter().map(|tier| tier as Arc<dyn Tier>).collect())
}

async fn place(cache: &Arc<Cache>) -> Result<crate::cache::Put, NotPlaced> {
    cache.put_placeholder(&key(), Bytes::from_static(b"{}"), "warmer".into(), Duration::from_secs(30)).await
}

async fn real(key: &Key) -> Record {
    let options = crate::cache::PutOptions { from: "test".into(), ttl: None, codec: None, as_of: None };
    let put = over(Vec::new()).put(key, Bytes::from_static(b"1"), options).await.unwrap();
    (*put.record).clone()
}

#[tokio::test]
async fn b05_a_placeholder_goes_only_where_nothing_is_and_once() {
    let tier = Arc::new(kept("redis"));
    let cache = over(vec![tier.clone()]);
    let put = place(&cache).await.unwrap();
    assert_eq!(put.record.kind, Kind::Placeholder, "though the codec says that it is real");
    assert_eq!(put.record.hard_expiry, put.record.lifetime_end, "it has no grace");
    assert!(matches!(place(&cache).await, Err(NotPlaced::Taken(Kind::Placeholder))));
    let real = real(&key()).await;
    assert_eq!(tier.values.put(&key(), &real).await, WriteOutcome::Stored, "and any real value replaces it");
}

#[tokio::test]
async fn b06_a_placeholder_is_not_written_while_one_tier_has_a_value_or_does_not_answer() {
    let (fast, slow) = (Arc::new(kept("memcached")), Arc::new(kept("redis")));
    let value = real(&key()).await;
    assert_eq!(slow.values.put(&key(), &value).await, WriteOutcome::Stored);
    let cache = over(vec![fast.clone(), slow]);
    assert!(matches!(place(&cache).await, Err(NotPlaced::Taken(Kind::Real))));
    assert!(fast.values.get(&key()).is_none());
    let refused = cache.history.of(&key()).remove(0);
    assert_eq!(&*refused.from, "warmer");
    assert!(matches!(&refused.what, What::NotPlaced { why, .. } if why == "a real value is there"), "{refused:?}");

    let cache = over(vec![fast.clone(), Arc::new(Kept { silent: true, ..kept("redis") })]);
    assert!(matches!(place(&cache).await, Err(NotPlaced::Unknown(_))));
    assert!(fast.values.get(&key()).is_none());
}

#[tokio::test]
async fn b06_a_real_value_that_comes_in_between_wins_in_every_tier_and_the_placeholder_is_taken_back() {
    let (fast, slow) = (Arc::new(kept("memcached")), Arc::new(kept("redis")));
    *slow.rival.lock().unwrap() = Some(real(&key()).await);
    let cache = over(vec![fast.clone(), slow.clone()]);
    let put = place(&cache).await.unwrap();
    let told: Vec<_> = put.outcomes.iter().map(|(tier, outcome)| (tier.as_str(), outcome.label())).collect();
    assert_eq!(told, [("memory", "refused"), ("memcached", "stored"), ("redis", "refused")]);
    let history = cache.history.of(&key());
    let taken_back = history.iter().find(|written| written.is_mend() && matches!(written.what, What::Delete(_)));
    assert_eq!(taken_back.expect("it is remembered").outcomes[0].1, "deleted", "{history:?}");
    assert!(fast.values.get(&key()).is_none_or(|record| record.kind == Kind::Real));
    assert_eq!(slow.values.get(&key()).unwrap().bytes, "1");
}

#[tokio::test]
async fn a_survey_changes_nothing_and_tells_what_each_tier_holds() {
    let (fast, slow) = (Arc::new(kept("memcached")), Arc::new(kept("redis")));
    let value = real(&key()).await;
    assert_eq!(slow.values.put(&key(), &value).await, WriteOutcome::Stored);
    let cache = over(vec![fast.clone(), slow]);
    let survey = cache.survey(&[key()]).await.pop().unwrap();
    assert_eq!(survey.tiers, [crate::cache::Holding::Absent, crate::cache::Holding::Until(value.lifetime_end)]);
    let found = survey.record.unwrap();
    assert_eq!(Order::of(&found, Time::now()), Order::of(&value, Time::now()));
    assert!(!survey.in_memory && cache.peek(&key()).is_none() && fast.values.get(&key()).is_none());
}

#[tokio::test]
async fn reads_are_counted_for_each_key_once() {
    let cache = over(vec![Arc::new(kept("redis"))]);
    let (missed, hit) = (key(), Key::new("hit").unwrap());
    let options = crate::cache::PutOptions { from: "test".into(), ttl: None, codec: None, as_of: None };
    assert!(cache.put(&hit, Bytes::from_static(b"1"), options).await.is_ok());
    for _ in 0..3 {
        assert!(cache.get(&hit).await.record.is_some());
    }
    assert!(cache.get(&missed).await.record.is_none());
    let reads = cache.take_reads();
    let counts: Vec<_> = reads.iter().map(|(key, reads)| (key.as_str(), reads.hits, reads.misses)).collect();
    assert_eq!(counts, [("hit", 3, 0), ("k", 0, 1)]);
    assert!(cache.take_reads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_comes_back_empty_is_filled_at_a_bounded_rate_and_only_where_it_has_nothing() {
    const KEYS: usize = 1_280;
    let tier = Arc::new(kept("redis"));
    let cache = over(vec![tier.clone()]);
    let name = |at: usize| Key::new(format!("k{at}")).unwrap();
    for at in 0..KEYS {
        let options = crate::cache::PutOptions { from: "test".into(), ttl: None, codec: None, as_of: None };
        assert!(cache.put(&name(at), Bytes::from_static(b"1"), options).await.is_ok());
    }
    let watching = tokio::spawn(cache.clone().watch_tiers());
    tokio::time::sleep(Duration::from_secs(2)).await;

    // The same server, restarted: empty but for what another wrote.
    for at in 0..KEYS {
        assert_eq!(tier.values.delete_exact(&name(at), Digest::of(b"1")).await, DeleteOutcome::Deleted);
    }
    let other = Record { bytes: Bytes::from_static(b"2"), digest: Digest::of(b"2"), ..real(&name(0)).await };
    assert_eq!(tier.values.put(&name(0), &other).await, WriteOutcome::Stored);
    tier.incarnation.store(2, Ordering::SeqCst);
    let restarted = tokio::time::Instant::now();
    while (0..KEYS).any(|at| tier.values.get(&name(at)).is_none()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // 20 groups of 64, one each 16 ms.
    assert!(restarted.elapsed() >= Duration::from_millis(19 * 16), "{:?}", restarted.elapsed());
    assert_eq!(tier.values.get(&name(0)).unwrap().bytes, "2");
    watching.abort();
}

#[tokio::test]
async fn what_a_tier_lacks_while_it_is_written_is_left_to_the_write_and_looked_at_again() {
    let (fast, slow) = (Arc::new(kept("memcached")), Arc::new(kept("redis")));
    let cache = over(vec![fast.clone(), slow.clone()]);
    let key = key();
    // The slower tier has it already, for a longer life than the faster one is about to give it.
    let writing = cache.hints.writing(&key);
    assert_eq!(slow.values.put(&key, &real(&key).await).await, WriteOutcome::Stored);
    assert!(cache.refresh(std::slice::from_ref(&key)).await[0].found.is_some());
    tokio::task::yield_now().await;
    assert!(fast.values.get(&key).is_none());

    drop(writing);
    assert!(cache.hints.ripe().is_empty());
    assert_eq!(cache.hints.ripe(), std::slice::from_ref(&key));
    assert!(cache.refresh_again(std::slice::from_ref(&key)).await[0].found.is_some());
    while fast.values.get(&key).is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn that_a_tier_had_nothing_before_a_write_reached_it_says_nothing_of_it_now() {
    let tier: Arc<dyn Tier> = Arc::new(kept("memcached"));
    let cache = over(Vec::new());
    let (key, written) = (key(), Time::now());
    cache.appraiser.saw_stored(tier.name(), &key, &real(&key).await, written);
    let second = Duration::from_secs(1);
    assert!(matches!(cache.judge(&tier, &key, None, written.before(second)), Answer::Unjudged));
    assert!(matches!(cache.judge(&tier, &key, None, written.after(second)), Answer::Absent));
}
