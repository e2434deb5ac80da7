//! Plugins: WebAssembly components that decide what a payload must look like and what signals add up to.
//!
//! [`Plugins::load`] checks and starts all of them. Each call runs in a sandbox: a store of its own, with bounded memory,
//! time, stack and output; any failure costs that call and that instance, and is a [`PluginError`] that names the plugin. A
//! [`Slot`] is the place where one plugin runs. [`CodecRouter`] serves the cache, [`AggregatorSlot`] the market.
//!
//! Nothing outside of this room names a type of the engine, and no native code stands in for a plugin.

mod aggregator;
mod answer;
mod bindings;
mod builtin;
mod clock;
mod codec;
mod compiled;
mod config;
mod engine;
mod error;
mod imports;
mod limits;
mod loaded;
mod loader;
mod meter;
mod sandbox;
mod slot;

#[cfg(test)]
mod guest;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub use aggregator::AggregatorSlot;
pub use builtin::component as built_in;
pub use codec::CodecRouter;
pub use config::{Config, PluginSpec};
pub use error::{Cause, PluginError};
pub use limits::Limits;
pub use slot::{Generation, Identity, Slot, SlotStatus};

use loader::Loader;

/// Generations of one slot that may exist at once: the active one, the one before it, and a candidate.
const GENERATIONS: usize = 3;

/// All plugins of the gateway.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// The codecs, for the cache.
    pub codecs: Arc<CodecRouter>,
    /// The aggregator, for the market.
    pub aggregator: Arc<AggregatorSlot>,
}

// === impl Plugins ===

impl Plugins {
    /// Loads and starts the plugins of `config`, and keeps their native code in `cache_dir`. Answers every mistake at once.
    ///
    /// Metrics are recorded by the recorder that is installed when a call is made.
    pub fn load(config: Config, cache_dir: &Path) -> Result<Self, Vec<PluginError>> {
        let loader = start(&config, cache_dir).map_err(|error| vec![runtime_error(format!("{error:#}"))])?;
        let mut errors = duplicates(&config);

        let mut codecs = Vec::new();
        for (position, spec) in config.codecs.iter().enumerate() {
            let loaded = loader.load(spec, &config.codec_limits).and_then(|codec| {
                let claims = codec::claims(&codec, position).map_err(|error| codec.identity.located(error))?;
                Ok((codec, claims))
            });
            match loaded {
                Ok((codec, claims)) => {
                    let identity = codec.identity.clone();
                    let pool = Arc::new(codec::Pool::new(codec, config.codec_instances));
                    codecs.push((Slot::new(spec.name.as_str().into(), identity, pool), claims));
                }
                Err(error) => errors.push(error),
            }
        }
        let codecs = CodecRouter::new(codecs).map_err(|claimed| errors.extend(claimed));

        let spec = &config.aggregator;
        let aggregator = loader.load(spec, &config.aggregator_limits).and_then(|aggregator| {
            aggregator::probe(&aggregator).map_err(|error| aggregator.identity.located(error))?;
            let slot = Slot::new(spec.name.as_str().into(), aggregator.identity.clone(), Arc::new(aggregator));
            AggregatorSlot::start(slot).map_err(|error| runtime_error(format!("the aggregator's thread: {error}")))
        });
        let aggregator = aggregator.map_err(|error| errors.push(error));

        match (codecs, aggregator) {
            (Ok(codecs), Ok(aggregator)) if errors.is_empty() => {
                let plugins = Self { codecs: Arc::new(codecs), aggregator: Arc::new(aggregator) };
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
        slots.push(self.aggregator.status());
        slots
    }
}

fn start(config: &Config, cache_dir: &Path) -> wasmtime::Result<Loader> {
    let codecs = config.codecs.len().saturating_mul(config.codec_instances.get());
    let instances = codecs.saturating_add(1).saturating_mul(GENERATIONS);
    let memory = config.codec_limits.memory.max(config.aggregator_limits.memory);
    Loader::new(engine::start(instances, usize::try_from(memory.as_u64())?)?, cache_dir)
}

/// Two plugins of one name could not be told apart.
fn duplicates(config: &Config) -> Vec<PluginError> {
    let mut seen = BTreeSet::new();
    let specs = config.codecs.iter().chain([&config.aggregator]);
    specs
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
        assert_eq!(slots.iter().map(|slot| &*slot.slot).collect::<Vec<_>>(), ["codecs", "binance", "aggregator"]);
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
