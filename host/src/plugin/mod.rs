//! Plugins: WebAssembly components that decide what a payload must look like, what signals add up to, and what to warm.
//!
//! [`Plugins::load`] checks and starts all of them. Each call runs in a sandbox: a store of its own, with bounded memory,
//! time, stack and output; any failure costs that call and that instance, and is a [`PluginError`] that names the plugin. A
//! [`Slot`] is the place where one plugin runs. [`CodecRouter`] serves the cache, [`AggregatorSlot`] the market, [`WarmerSlot`] the warming.
//!
//! Nothing outside of this room names a type of the engine, and no native code stands in for a plugin.

mod aggregator;
mod answer;
mod aside;
mod bindings;
mod builtin;
mod call;
pub mod child;
mod clock;
mod codec;
mod compiled;
mod config;
mod engine;
mod error;
mod imports;
pub mod kit;
mod limits;
mod loaded;
mod loader;
mod losses;
mod meter;
mod overtime;
mod presence;
mod sandbox;
mod shadow;
mod slot;
mod store;
mod swap;
mod tap;
mod tape;
mod trust;
mod warmer;
mod watch;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod guest;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub use aggregator::AggregatorSlot;
pub use aside::Unfinished;
pub use builtin::component as built_in;
pub use codec::CodecRouter;
pub use config::{Config, PluginSpec, Probation};
pub use error::{Cause, PluginError};
pub use limits::{CompileLimits, Limits};
pub use loader::FILE_BYTES_MAX;
pub use losses::{Loss, Losses};
pub use shadow::{Bounds, Example, Mode, Report};
pub use slot::{Beside, Generation, GenerationStatus, Identity, Slot, SlotStatus};
pub use swap::{Done, Operator, PROBATION, SwapError};
pub use tape::{Otherwise, Replay, ReplayError, replay};
pub use trust::{SIGNATURE_BYTES_MAX, TrustedKeys, read_signature, signature_file};
pub use warmer::WarmerSlot;
pub use watch::Watch;

use bindings::{AggregatorPlugin, World};
use loaded::Loaded;
use loader::Loader;
use slot::GENERATIONS_MAX;
use store::Store;

/// All plugins of the gateway.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// The codecs, for the cache.
    pub codecs: Arc<CodecRouter>,
    /// The aggregator, for the market.
    pub aggregator: Arc<AggregatorSlot>,
    /// The warmer, for the warming.
    pub warmer: Arc<WarmerSlot>,
}

// === impl Plugins ===

impl Plugins {
    /// Loads and starts the plugins of `config`, and keeps their native code in `cache_dir`. Answers every mistake at once.
    ///
    /// Metrics are recorded by the recorder that is installed when a call is made.
    pub fn load(config: Config, cache_dir: &Path) -> Result<Self, Vec<PluginError>> {
        let loader = start(&config, cache_dir).map_err(|error| vec![runtime_error(format!("{error:#}"))])?;
        Self::load_with(&config, &loader, None)
    }

    /// The same, with what was swapped in before a restart.
    fn load_with(config: &Config, loader: &Loader, store: Option<&Store>) -> Result<Self, Vec<PluginError>> {
        let mut errors = duplicates(config);
        let tape = usize::try_from(config.tape.as_u64()).unwrap_or(usize::MAX);
        let chain = |spec: &PluginSpec| store.map_or_else(|| vec![spec.clone()], |store| store.chain(spec));

        let mut codecs = Vec::new();
        for (position, spec) in config.codecs.iter().enumerate() {
            match fill(&spec.name, chain(spec), |spec| load_codec(loader, spec, position, config)) {
                Ok(slot) => codecs.push(slot),
                Err(error) => errors.push(error),
            }
        }
        let codecs = CodecRouter::new(codecs, tape).map_err(|claimed| errors.extend(claimed));

        let spec = &config.aggregator;
        let aggregator = fill(&spec.name, chain(spec), |spec| load_aggregator(loader, spec, config)).and_then(|slot| {
            AggregatorSlot::start(slot, tape)
                .map_err(|error| runtime_error(format!("the aggregator's thread: {error}")))
        });
        let aggregator = aggregator.map_err(|error| errors.push(error));

        let spec = &config.warmer;
        let warmer = fill(&spec.name, chain(spec), |spec| load_warmer(loader, spec, config));
        let warmer = warmer.map(|slot| WarmerSlot::new(slot, tape)).map_err(|error| errors.push(error));

        match (codecs, aggregator, warmer) {
            (Ok(codecs), Ok(aggregator), Ok(warmer)) if errors.is_empty() => {
                let plugins =
                    Self { codecs: Arc::new(codecs), aggregator: Arc::new(aggregator), warmer: Arc::new(warmer) };
                for SlotStatus { slot, plugin, version, sha256, .. } in plugins.status() {
                    tracing::info!(%slot, %plugin, version = version.as_deref(), %sha256, "plugin loaded");
                }
                Ok(plugins)
            }
            _ => Err(errors),
        }
    }

    /// All slots as operators see them.
    pub fn status(&self) -> Vec<SlotStatus> {
        let mut slots = self.codecs.status();
        slots.extend([self.aggregator.status(), self.warmer.status()]);
        slots
    }
}

/// What a slot holds of a plugin, with which plugin it is.
type Made<P> = Result<(Arc<Identity>, Arc<P>), PluginError>;

/// Loads the codec at `position` among the codecs.
fn load_codec(loader: &Loader, spec: &PluginSpec, position: usize, config: &Config) -> Made<codec::Pool> {
    load_one(loader, spec, &config.codec_limits, |codec| codec::pool(codec, position, config))
}

fn load_aggregator(loader: &Loader, spec: &PluginSpec, config: &Config) -> Made<Loaded<AggregatorPlugin>> {
    load_one(loader, spec, &config.aggregator_limits, |aggregator| aggregator::probe(&aggregator).map(|()| aggregator))
}

fn load_warmer(loader: &Loader, spec: &PluginSpec, config: &Config) -> Made<warmer::Policy> {
    load_one(loader, spec, &config.warmer_limits, warmer::Policy::new)
}

/// Loads one plugin and makes of it what its slot holds.
fn load_one<W: World, P>(
    loader: &Loader,
    spec: &PluginSpec,
    limits: &Limits,
    make: impl FnOnce(Loaded<W>) -> Result<P, PluginError>,
) -> Made<P> {
    let loaded = loader.load::<W>(spec, limits)?;
    let identity = loaded.identity.clone();
    let plugin = make(loaded).map_err(|error| identity.located(error))?;
    Ok((identity, Arc::new(plugin)))
}

/// A slot with the generations of `chain`, of which the last one is active. One that can no longer be loaded is left out, as
/// long as one is left.
fn fill<P>(name: &str, chain: Vec<PluginSpec>, load: impl Fn(&PluginSpec) -> Made<P>) -> Result<Slot<P>, PluginError> {
    let mut slot: Option<Slot<P>> = None;
    let mut failure = None;
    for spec in &chain {
        match (load(spec), &slot) {
            (Ok((identity, plugin)), None) => slot = Some(Slot::new(name.into(), identity, plugin)),
            (Ok((identity, plugin)), Some(slot)) => slot.activate(&slot.offer(identity, plugin)),
            (Err(error), _) => {
                if chain.len() > 1 {
                    let (plugin, version) = (&error.plugin, error.version.as_deref());
                    tracing::error!(slot = name, %plugin, version, %error, "a plugin that was used here is left out; the one before it stays");
                }
                failure = Some(error);
            }
        }
    }
    slot.ok_or_else(|| failure.unwrap_or_else(|| runtime_error(format!("slot {name} has no plugin"))))
}

fn start(config: &Config, cache_dir: &Path) -> wasmtime::Result<Loader> {
    let codecs = config.codecs.len().saturating_mul(config.codec_instances.get());
    // One aggregator and one warmer.
    let instances = codecs.saturating_add(2).saturating_mul(GENERATIONS_MAX);
    let engine = engine::start(room(config, instances)?)?;
    Ok(Loader::new(engine, cache_dir)?.trusting(config.trusted_keys.clone()))
}

/// Room for so many instances of any kind.
fn room(config: &Config, instances: usize) -> wasmtime::Result<engine::Room> {
    let kinds = [&config.codec_limits, &config.aggregator_limits, &config.warmer_limits];
    let memory = kinds.iter().map(|limits| limits.memory.as_u64()).max().unwrap_or_default();
    let elements = kinds.iter().map(|limits| limits.table_elements).max().unwrap_or_default();
    Ok(engine::Room { instances, memory: usize::try_from(memory)?, table_elements: usize::try_from(elements)? })
}

/// Two plugins of one name could not be told apart.
fn duplicates(config: &Config) -> Vec<PluginError> {
    let mut seen = BTreeSet::new();
    config
        .specs()
        .filter(|spec| !seen.insert(&spec.name))
        .map(|spec| PluginError {
            plugin: spec.name.as_str().into(),
            version: None,
            file: spec.path.clone(),
            call: None,
            cause: Cause::Refused("two plugins have this name; give each a `name` of its own".to_owned()),
        })
        .collect()
}

/// An error that no single plugin is to blame for.
fn runtime_error(why: String) -> PluginError {
    PluginError { plugin: "runtime".into(), version: None, file: None, call: None, cause: Cause::Refused(why) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::cache::{Codec as _, DecodeError};
    use crate::market::Aggregator as _;
    use crate::record::{Key, Time};

    use super::*;

    #[tokio::test]
    async fn the_built_in_plugins_load_and_answer() {
        let dir = tempfile::tempdir().unwrap();
        let plugins = Plugins::load(Config::default(), &dir.path().join("code")).unwrap();
        let slots = plugins.status();
        assert_eq!(
            slots.iter().map(|slot| &*slot.slot).collect::<Vec<_>>(),
            ["codecs", "binance", "aggregator", "warmer"]
        );
        assert!(slots.iter().all(|slot| slot.generation == 1 && slot.sha256.len() == 64 && slot.version.is_some()));

        let key = Key::new("analysis:signals").unwrap();
        let refused = plugins.codecs.decode(&key, &Bytes::from_static(b"\x80\x04not json"), 0);
        assert!(matches!(refused, Err(DecodeError::Rejected(_))), "{refused:?}");

        assert!(!plugins.aggregator.inputs().await.unwrap().is_empty());
        // An aggregator that has ingested nothing publishes nothing.
        assert!(plugins.aggregator.documents(Time::now()).await.unwrap().is_empty());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let missing = PluginSpec { path: Some(dir.path().join("missing.wasm")), ..PluginSpec::built_in("missing") };
        let codecs = vec![missing, PluginSpec::built_in("cordecs"), PluginSpec::built_in("aggregator")];
        let errors = Plugins::load(Config { codecs, ..Config::default() }, &dir.path().join("code")).unwrap_err();
        let told = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for part in [
            "plugin aggregator: two plugins have this name",
            "missing.wasm): the file cannot be read: No such file",
            "plugin cordecs: it has no `path`, and no built-in plugin has this name; built in are `codecs`, `binance`",
            "it does not fit world `codec-plugin`",
        ] {
            assert!(told.contains(part), "{part:?} is not in:\n{told}");
        }
    }
}
