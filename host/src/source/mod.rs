//! Sources: origins on the network whose answers become values of keys.
//!
//! [`Sources::refresh`] asks a key's origin with one GET and puts the answer into the cache, where its codec reads it first
//! and the tiers compare before they set. Whoever wants a value sooner than the source may be asked is told until when to
//! wait: the interval, the back-off after failures, and what the origin asks for (`Retry-After`) are kept here. One fetch
//! is under way per source at most, and it takes its turn among the sources of its origin (B21, B22). A failure of any kind
//! leaves the last good value where it is.
//!
//! This room alone fetches from origins. It follows no redirects and takes no compressed bodies, so that what is
//! configured is what is asked, and what is read is what is counted.

mod check;
mod config;
mod error;
mod fetch;
mod origin;
mod own;
mod patience;
mod refresh;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;

pub use config::{Config, Hidden, Mistake};
pub use error::{Phase, SourceError};
pub use refresh::Refreshed;
pub use state::History;

use crate::cache::Cache;
use crate::record::{Key, Time};
use crate::tier::LeaseStanding;
use fetch::Fetcher;
pub(crate) use fetch::{native_tls, tls};
use origin::Origin;
use refresh::Source;

/// All sources. Cheap to share behind an `Arc`.
pub struct Sources {
    /// In the order of the configuration.
    all: Vec<Arc<Source>>,
    by_key: HashMap<Key, Arc<Source>>,
}

/// What the cache warmer is told about the source of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// How often it is asked, while it answers.
    pub interval: Duration,
    /// It is not asked before this time.
    pub not_before: Time,
    /// How long its last good answer took; zero when there was none.
    pub cost: Duration,
}

/// How the load of a key from its source stands.
#[derive(Clone, Debug)]
pub struct Load {
    /// The operator's name for the source.
    pub source: Arc<str>,
    /// Whether this gateway is loading it.
    pub is_loading: bool,
    /// Which gateway has the turn.
    pub lease: LeaseStanding,
}

/// A source as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// The operator's name for it.
    pub name: String,
    /// The key that it refreshes.
    pub key: String,
    /// The URL without its query.
    pub url: String,
    /// The codec that reads its answer first.
    pub codec: Option<String>,
    /// How often it is asked, in seconds.
    pub interval_seconds: f64,
    /// It is not asked before this time, in Unix microseconds.
    pub not_before: Time,
    /// Whether a fetch is under way.
    pub is_fetching: bool,
    /// Whether its last good answer is held, so that the origin can say that it has not changed.
    pub is_validator_held: bool,
    /// What has become of its fetches.
    #[serde(flatten)]
    pub history: History,
}

/// Everything that is wrong with `configs`, before anything is built from them.
pub fn check(configs: &[Config]) -> Vec<Mistake> {
    check::check(configs).1
}

// === impl Sources ===

impl Sources {
    /// Sources that write into `cache`. HTTPS trusts what the operating system trusts.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of them.
    pub fn new(configs: Vec<Config>, cache: Arc<Cache>) -> Result<Self, Vec<Mistake>> {
        Self::trusting(configs, cache, fetch::native_tls)
    }

    /// Sources whose TLS is made by `tls`, which is asked only where a source needs it.
    fn trusting(
        configs: Vec<Config>,
        cache: Arc<Cache>,
        tls: impl Fn() -> Result<ClientConfig, String>,
    ) -> Result<Self, Vec<Mistake>> {
        let (targets, mut mistakes) = check::check(&configs);
        let secure = |target: &check::Target| target.url.scheme() == "https";
        let first_secure = targets.iter().position(|target| target.as_ref().is_some_and(secure));
        let tls = match first_secure {
            Some(index) => tls().map_err(|message| mistakes.push(Mistake::new(index, "url", message))),
            None => {
                fetch::tls(RootCertStore::empty()).map_err(|message| mistakes.push(Mistake::new(0, "url", message)))
            }
        };
        let (Ok(tls), true) = (tls, mistakes.is_empty()) else { return Err(mistakes) };
        let mut origins: HashMap<String, Arc<Origin>> = HashMap::new();
        // Without mistakes every source has its target.
        let all = configs.into_iter().zip(targets.into_iter().flatten()).map(|(config, target)| {
            let origin = origins.entry(target.url.origin().ascii_serialization());
            let origin = origin.or_insert_with(|| Arc::new(Origin::new())).clone();
            let fetcher = Fetcher::new(target, config.timeout, config.bytes_max, tls.clone());
            Arc::new(Source::new(config, fetcher, origin, cache.clone()))
        });
        let all: Vec<_> = all.collect();
        let by_key = all.iter().map(|source| (source.key().clone(), source.clone())).collect();
        Ok(Self { all, by_key })
    }

    /// The sources whose URL leads to one of this gateway's own listeners: they would warm the cache from the cache (B60).
    /// Names are not looked up, except `localhost`.
    pub fn check_not_self(&self, listeners: &[SocketAddr]) -> Vec<Mistake> {
        let sources = self.all.iter().enumerate();
        let own = sources.filter_map(|(index, source)| Some((index, own::leads_to(source.url(), listeners)?)));
        let message = |listener| format!("it leads to this gateway itself, which listens on {listener}");
        own.map(|(index, listener)| Mistake::new(index, "url", message(listener))).collect()
    }

    /// The keys that have a source, in the order of the configuration.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.all.iter().map(|source| source.key())
    }

    /// The source of `key`.
    pub fn of(&self, key: &Key) -> Option<SourceState> {
        self.by_key.get(key).map(|source| source.summary())
    }

    /// How the load of `key` stands, if it has a source.
    pub async fn load(&self, key: &Key) -> Option<Load> {
        Some(self.by_key.get(key)?.load().await)
    }

    /// Asks the origin of `key`, unless it is too soon, and writes its answer into the cache. Who comes while a fetch is
    /// under way shares it. A caller that goes away does not stop it.
    pub async fn refresh(&self, key: &Key) -> Refreshed {
        match self.by_key.get(key) {
            Some(source) => source.refresh().await,
            None => Refreshed::NoSource,
        }
    }

    /// Every source as an operator sees it, in the order of the configuration.
    pub fn status(&self) -> Vec<SourceStatus> {
        self.all.iter().map(|source| source.status()).collect()
    }
}
