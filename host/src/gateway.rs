//! [`Gateway`]: everything built from the configuration, before anything is served.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, watch};

use crate::cache::{self, Cache};
use crate::config::{Config, Mistake, Mistakes, TierConfig};
use crate::http::{self, App, Bound, Secret};
use crate::market::{Market, MarketError};
use crate::plugin::{Operator, PluginError, PluginSpec, Plugins, Watch};
use crate::record::{Key, Record, TierName, Time};
use crate::source::{self, Sources};
use crate::supervisor::Workers;
use crate::telemetry::metrics;
use crate::tier::disk::journal::{Journal, OpenedJournal};
use crate::tier::{Disk, Memcached, Redis, Tier};
use crate::warm::Warm;

/// A gateway whose listeners are bound.
pub struct Gateway {
    app: Arc<App>,
    bound: Bound,
    market: Arc<Market>,
    warm: Arc<Warm>,
    watch: Option<Watch>,
}

// === impl Gateway ===

impl Gateway {
    /// Builds every room and binds every listener. `mistakes` are those that the configuration already has.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once; then nothing stays bound.
    pub async fn new(config: Option<Config>, mut mistakes: Vec<Mistake>) -> Result<Self, Mistakes> {
        let Some(config) = config else { return Err(Mistakes(mistakes)) };
        let admin_token = prepare(&config.data_dir, &mut mistakes);
        // First, so that what happens at the start is counted.
        let metrics = match metrics::start() {
            Ok(metrics) => Some(metrics),
            Err(error) => {
                mistakes.push(Mistake::new("metrics", error));
                None
            }
        };
        let plugins = match Operator::new(config.plugins.clone(), &config.data_dir) {
            Ok(operator) => Some(operator),
            Err(errors) => {
                mistakes.extend(errors.into_iter().map(|error| of_plugin(&config, error)));
                None
            }
        };
        // Defaults stand in for wrong addresses, and those must not be tried.
        let bound = if mistakes.iter().any(|mistake| mistake.path.starts_with("http")) {
            None
        } else {
            match Bound::new(&config.http).await {
                Ok(bound) => Some(bound),
                Err(wrong) => {
                    mistakes.extend(wrong.into_iter().map(|(path, message)| Mistake::new(path, message)));
                    None
                }
            }
        };
        let builder =
            plugins.as_ref().map(|plugins| cache::Builder::new(config.cache.clone(), plugins.plugins().codecs.clone()));
        let cache = match builder {
            Some(builder) if mistakes.is_empty() => with_journal(builder, &config.data_dir, &mut mistakes)
                .and_then(|builder| build(builder, &config.tiers, &mut mistakes)),
            _ => None,
        };
        let (Some(plugins), Some(bound), Some(cache), Some(admin_token), Some(metrics)) =
            (plugins, bound, cache, admin_token, metrics)
        else {
            return Err(Mistakes(mistakes));
        };
        let market = Market::new(config.market, cache.clone(), plugins.plugins().aggregator.clone())
            .await
            .map_err(|error| Mistakes(vec![of_market(error)]))?;
        let sources = Arc::new(sources(config.sources, &cache, &bound)?);
        let warm = Warm::new(config.warm, cache.clone(), sources.clone(), plugins.plugins().warmer.clone())
            .await
            .map_err(|error| Mistakes(vec![Mistake::new("plugins.warmer", error)]))?;
        let plugins = Arc::new(plugins);
        let watch = watch_plugins(config.plugins.watch.as_deref(), &config.data_dir, &plugins)?;
        let app = App {
            streams: Arc::new(Semaphore::new(config.http.streams_max)),
            config: config.http,
            cache,
            market: market.clone(),
            warm: warm.clone(),
            sources,
            metrics,
            admin_token,
            plugins,
            console: Arc::default(),
            workers: Workers::default(),
        };
        Ok(Self { app: Arc::new(app), bound, market, warm, watch })
    }

    /// The bound listeners.
    pub const fn bound(&self) -> &Bound {
        &self.bound
    }

    /// What operators see of the tiers, from the fastest to the slowest.
    pub fn tiers(&self) -> Vec<String> {
        self.app.cache.tiers().iter().map(|tier| tier.summary()).collect()
    }

    /// Serves until `stop` is told, then drains.
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        // The market goes on until the last open request has its answer.
        let (tell, drained) = watch::channel(false);
        let Self { app, bound, market, warm, watch } = self;
        // What it has seen of the directory outlives a restart of the watching.
        let watch = watch.map(|watch| Arc::new(Mutex::new(watch)));
        let (workers, cache, console) = (app.workers.clone(), app.cache.clone(), app.clone());
        let (swaps, recomposed) = (app.plugins.swaps(), market.clone());
        let to_the_end = async {
            tokio::join!(
                workers.supervise("market", || market.clone().run(drained.clone())),
                workers.supervise("warmer", || warm.clone().run(stop.clone())),
            )
        };
        let beside = async {
            tokio::join!(
                workers.supervise("recompose", || recompose(swaps.clone(), recomposed.clone())),
                workers.supervise("tiers", || cache.clone().watch_tiers()),
                workers.supervise("recovery", || cache.clone().recover()),
                workers.supervise("propagation", || cache.clone().propagate()),
                workers.supervise("console", || http::compose(console.clone())),
                async {
                    if let Some(watch) = &watch {
                        let begin = || {
                            let watch = watch.clone();
                            async move { watch.lock().await.run().await }
                        };
                        workers.supervise("watch", begin).await;
                    }
                },
            )
        };
        let serving = async {
            tokio::select! {
                () = http::serve(app, bound, stop.clone()) => {}
                // What goes on beside is cut off at the end. A swap that is cut off is as if it had not begun.
                _ = async { beside.await; std::future::pending::<()>().await } => {}
            }
            tell.send_replace(true);
        };
        tokio::join!(to_the_end, serving);
    }
}

/// Watches the directory of plugins, if one is configured.
fn watch_plugins(dir: Option<&Path>, data_dir: &Path, plugins: &Arc<Operator>) -> Result<Option<Watch>, Mistakes> {
    let Some(dir) = dir else { return Ok(None) };
    let watch = Watch::new(dir, plugins.clone(), data_dir.join("watched.json"));
    let mistake = |error| Mistakes(vec![Mistake::new("data_dir", format!("watched.json: {error}"))]);
    watch.map(Some).map_err(mistake)
}

/// Composes the views again after each swap: another aggregator may compose the same documents otherwise.
async fn recompose(mut swaps: watch::Receiver<u64>, market: Arc<Market>) {
    while swaps.changed().await.is_ok() {
        market.recompose();
    }
}

/// The sources, none of which is this gateway.
fn sources(configs: Vec<source::Config>, cache: &Arc<Cache>, bound: &Bound) -> Result<Sources, Mistakes> {
    let mistake =
        |wrong: source::Mistake| Mistake::new(format!("source[{}].{}", wrong.index, wrong.field), wrong.message);
    let mistakes = |wrong: Vec<source::Mistake>| Mistakes(wrong.into_iter().map(mistake).collect());
    let sources = Sources::new(configs, cache.clone()).map_err(mistakes)?;
    let listeners: Vec<_> = [&bound.data, &bound.admin].into_iter().filter_map(|l| l.local_addr().ok()).collect();
    let own = sources.check_not_self(&listeners);
    if own.is_empty() { Ok(sources) } else { Err(mistakes(own)) }
}

/// What is wrong with the plugins of `config`, and with what it asks of them.
pub async fn check_plugins(config: &Config) -> Vec<Mistake> {
    match Plugins::load(config.plugins.clone(), &config.data_dir.join("compiled")) {
        Ok(plugins) => config.market.inputs(&*plugins.aggregator).await.err().map(of_market).into_iter().collect(),
        Err(errors) => errors.into_iter().map(|error| of_plugin(config, error)).collect(),
    }
}

/// The mistake of a plugin under its key in the configuration.
fn of_plugin(config: &Config, error: PluginError) -> Mistake {
    let is_meant = |spec: &PluginSpec| match &error.file {
        Some(file) => spec.path.as_ref() == Some(file),
        None => *spec.name == *error.plugin,
    };
    let path = match config.plugins.codecs.iter().position(is_meant) {
        Some(at) => format!("plugins.codecs[{at}]"),
        None if is_meant(&config.plugins.aggregator) => "plugins.aggregator".to_owned(),
        None if is_meant(&config.plugins.warmer) => "plugins.warmer".to_owned(),
        None => "plugins".to_owned(),
    };
    Mistake::new(path, error)
}

/// The mistake behind a market that cannot be, under its key in the configuration.
fn of_market(error: MarketError) -> Mistake {
    match &error {
        MarketError::Aggregator(_) => Mistake::new("plugins.aggregator", error),
        MarketError::NoDocument { at, .. } => Mistake::new(format!("market.required[{at}]"), error),
        MarketError::NoLog => Mistake::new("market.share_signals", error),
    }
}

/// Makes the data directory, for this user alone, and the admin token in it.
fn prepare(data_dir: &Path, mistakes: &mut Vec<Mistake>) -> Option<Secret> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).and_then(|()| {
        // Compiled plugins in it are run as they are.
        std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700))
    });
    if let Err(error) = made {
        mistakes.push(Mistake::new("data_dir", format!("{}: {error}", data_dir.display())));
        return None;
    }
    match http::token_file(&data_dir.join("admin.token")) {
        Ok(token) => Some(token),
        Err(error) => {
            mistakes.push(Mistake::new("data_dir", error));
            None
        }
    }
}

/// Keeps what waits for tiers in the data directory, and takes up what waited there.
fn with_journal(builder: cache::Builder, data_dir: &Path, mistakes: &mut Vec<Mistake>) -> Option<cache::Builder> {
    match Journal::open(&data_dir.join("recovery.redb")) {
        Ok(OpenedJournal { journal, waiting, set_aside }) => {
            if let Some((file, why)) = set_aside {
                tracing::warn!(file = %file.display(), why, "what waited for tiers could not be read; the file was set aside");
            }
            Some(builder.with_journal(journal, waiting))
        }
        Err(error) => {
            mistakes.push(Mistake::new("data_dir", error));
            None
        }
    }
}

/// The cache over the configured tiers, with the last known values of the disk tiers in memory.
fn build(builder: cache::Builder, configs: &[TierConfig], mistakes: &mut Vec<Mistake>) -> Option<Arc<Cache>> {
    let mut tiers: Vec<Arc<dyn Tier>> = Vec::new();
    let mut recalled = Vec::new();
    for (at, config) in configs.iter().enumerate() {
        let kind = |config: &TierConfig| std::mem::discriminant(config);
        let same = configs[..at].iter().filter(|earlier| kind(earlier) == kind(config)).count();
        match tier(config, same, &builder, &mut recalled) {
            Ok(tier) => tiers.push(tier),
            Err(error) => mistakes.push(Mistake::new(format!("tiers[{at}]"), error)),
        }
    }
    if !mistakes.is_empty() {
        return None;
    }
    let cache = builder.build(tiers);
    if !recalled.is_empty() {
        tracing::info!(values = recalled.len(), "last known values recalled from disk");
    }
    cache.recall(recalled);
    Some(cache)
}

/// One tier. `same` tiers of its kind stand before it; a second one is told from the first by a number.
fn tier(
    config: &TierConfig,
    same: usize,
    builder: &cache::Builder,
    recalled: &mut Vec<(Key, Arc<Record>)>,
) -> Result<Arc<dyn Tier>, String> {
    let name = |kind: &str| match same {
        0 => TierName::new(kind),
        more => TierName::new(format!("{kind}-{}", more + 1)),
    };
    match config {
        TierConfig::Memcached(config) => Memcached::new(name("memcached"), config.clone(), builder.appraise())
            .map(|tier| Arc::new(tier) as _)
            .map_err(|error| error.to_string()),
        TierConfig::Redis(config) => Redis::new(name("redis"), config.clone(), builder.appraise())
            .map(|tier| Arc::new(tier) as _)
            .map_err(|error| error.to_string()),
        TierConfig::Disk(config) => {
            let opened = Disk::open(config.clone()).map_err(|error| error.to_string())?;
            if let Some((file, why)) = opened.set_aside {
                tracing::warn!(file = %file.display(), why, "the disk tier's file could not be opened; it was set aside and the tier starts empty");
            }
            recalled.extend(opened.disk.all_live(Time::now()).map_err(|error| error.to_string())?);
            Ok(Arc::new(opened.disk))
        }
    }
}
