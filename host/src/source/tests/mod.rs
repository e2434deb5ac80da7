//! The room against an origin that does what it is told, over real sockets.

mod conditional;
mod failures;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../../../../tests/harness/origin.rs"]
mod origin;
mod secrets;
mod tls;
mod turns;

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::cache::{self, Builder, Codec, DecodeError, Decoded, KeyPolicy, Policy, PutOptions, TierTtls};
use crate::record::{DeleteOutcome, Digest, Kind, Record, Rejection, TierName, Version, WriteOutcome};
use crate::tier::{Found, Health, Tier, TierError};
use origin::{Answer, Asked, Origin};

const MINUTE: Duration = Duration::from_secs(60);

/// What the last good value is, before an origin fails.
const GOOD: &str = r#"{"n":0}"#;

/// Accepts JSON. The codec `wrapped` puts it into an object first.
#[derive(Default)]
struct Json {
    /// A text that it refuses from now on.
    refused: Mutex<Option<&'static str>>,
}

/// A tier that is down.
struct Down(TierName);

/// An origin, and one source that asks it.
struct Scene {
    origin: Origin,
    codec: Arc<Json>,
    cache: Arc<Cache>,
    sources: Sources,
}

/// A source that is asked every minute.
pub(super) fn config(name: &str, key: &str) -> Config {
    Config {
        name: name.to_owned(),
        key: Key::new(key).expect("a key"),
        url: "http://127.0.0.1:1/".into(),
        codec: None,
        interval: MINUTE,
        timeout: Duration::from_secs(20),
        bytes_max: 1 << 20,
        ttl: None,
        headers: Vec::new(),
    }
}

fn key() -> Key {
    Key::new("k").expect("a key")
}

/// A cache over these tiers; none: memory alone.
fn cache(codec: Arc<Json>, tiers: Vec<Arc<dyn Tier>>) -> Arc<Cache> {
    let ttl = TierTtls { memory: MINUTE, memcached: MINUTE, redis: MINUTE };
    let rule = KeyPolicy { pattern: "*".to_owned(), ttl, fresh: MINUTE, grace: MINUTE, owners: Vec::new() };
    let policy = Policy::with(vec![rule]).expect("a policy");
    let config = cache::Config {
        policy,
        deadline: Duration::from_secs(1),
        memory_bytes_max: 8 << 20,
        recovery: cache::Limits::default(),
        verify_every: Duration::from_secs(5),
    };
    Builder::new(config, codec).build(tiers)
}

fn sources(configs: Vec<Config>, cache: &Arc<Cache>) -> Sources {
    Sources::new(configs, cache.clone()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// Lets the source of `key` be asked now, whatever it waits for; what its origin asked for apart.
fn make_due(sources: &Sources, key: &Key) {
    sources.by_key[key].progress().state.not_before = Instant::now();
}

fn written(refreshed: Refreshed) -> Arc<Record> {
    match refreshed {
        Refreshed::Written(put) => put.record,
        other => panic!("{other:?}"),
    }
}

fn unchanged(refreshed: Refreshed) -> Arc<Record> {
    match refreshed {
        Refreshed::Unchanged(put) => put.record,
        other => panic!("{other:?}"),
    }
}

fn failed(refreshed: Refreshed) -> SourceError {
    match refreshed {
        Refreshed::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

fn not_yet(refreshed: Refreshed) -> Time {
    match refreshed {
        Refreshed::NotYet { until } => until,
        other => panic!("{other:?}"),
    }
}

// === impl Scene ===

impl Scene {
    /// A source `feed` of the key `k`, whose origin answers this.
    async fn with(answer: Answer) -> Self {
        Self::configured(answer, |config| config).await
    }

    async fn configured(answer: Answer, change: impl FnOnce(Config) -> Config) -> Self {
        Self::over(Vec::new(), answer, change).await
    }

    async fn over(tiers: Vec<Arc<dyn Tier>>, answer: Answer, change: impl FnOnce(Config) -> Config) -> Self {
        let origin = Origin::start(answer).await;
        let codec = Arc::<Json>::default();
        let cache = cache(codec.clone(), tiers);
        let config = change(Config { url: origin.url("/feed").into(), ..config("feed", "k") });
        Self { origin, codec, sources: sources(vec![config], &cache), cache }
    }

    /// Puts the last good value where the source would have.
    async fn had_a_good_value(&self) {
        let options = PutOptions { from: "source:feed".into(), ttl: None, codec: None, as_of: None };
        assert_eq!(self.cache.put(&key(), GOOD.into(), options).await.expect("accepted").record.bytes, GOOD);
    }

    async fn refresh(&self) -> Refreshed {
        self.sources.refresh(&key()).await
    }

    /// Refreshes whatever the source waits for.
    async fn refresh_now(&self) -> Refreshed {
        make_due(&self.sources, &key());
        self.refresh().await
    }

    async fn record(&self) -> Arc<Record> {
        self.cache.get(&key()).await.record.expect("a value")
    }

    fn asked(&self) -> Vec<Asked> {
        self.origin.asked()
    }

    fn status(&self) -> SourceStatus {
        self.sources.status().remove(0)
    }

    /// Waits until the origin has been asked so many times.
    async fn until_asked(&self, times: usize) {
        while self.asked().len() < times {
            tokio::task::yield_now().await;
        }
    }
}

// === impl Json ===

impl Codec for Json {
    fn decode(&self, _: &Key, payload: &Bytes, _: u32) -> Result<Decoded, DecodeError> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Payload {
            Stamped { timestamp: u64 },
            Other(serde::de::IgnoredAny),
        }
        let refuse = |message: String| Rejection { code: "not-json".into(), message, path: "$".into() };
        let refused = *self.refused.lock().expect("the refused text");
        if refused.is_some_and(|refused| refused.as_bytes() == payload) {
            return Err(refuse("refused by now".to_owned()).into());
        }
        let payload = serde_json::from_slice(payload).map_err(|error| refuse(error.to_string()))?;
        let produced_at = match payload {
            Payload::Stamped { timestamp } => Some(Time::from_micros(timestamp)),
            Payload::Other(_) => None,
        };
        let (schema, kind) = ("json".into(), Kind::Real);
        Ok(Decoded { canonical: None, kind, produced_at, schema, schema_version: None, repairs: Vec::new() })
    }

    fn decode_by(&self, codec: &str, key: &Key, payload: &Bytes) -> Result<Decoded, DecodeError> {
        let canonical = format!(r#"{{"{codec}":{}}}"#, String::from_utf8_lossy(payload)).into();
        Ok(Decoded { canonical: Some(canonical), ..self.decode(key, payload, 0)? })
    }

    fn claims(&self) -> Vec<String> {
        vec!["*".to_owned()]
    }

    fn epoch(&self) -> u64 {
        0
    }
}

// === impl Down ===

#[async_trait]
impl Tier for Down {
    fn name(&self) -> &TierName {
        &self.0
    }

    fn summary(&self) -> String {
        "down".to_owned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, _: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        Err(TierError::Connect("it is down".to_owned()))
    }

    async fn put(&self, _: &Key, _: &Record) -> WriteOutcome {
        WriteOutcome::Failed("it is down".to_owned().into())
    }

    async fn delete(&self, _: &Key, _: Version) -> DeleteOutcome {
        DeleteOutcome::Failed("it is down".to_owned().into())
    }

    async fn delete_exact(&self, _: &Key, _: Digest) -> DeleteOutcome {
        DeleteOutcome::Failed("it is down".to_owned().into())
    }

    async fn check(&self) -> Result<Health, TierError> {
        Err(TierError::Connect("it is down".to_owned()))
    }
}
