//! `load`: from the bytes of a component to the candidate of a slot.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::written::{About, DISCARDED_AS_REPLACED};
use super::{Done, Operator, SwapError, refused};
use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::config::{Config, PluginSpec};
use crate::plugin::error::PluginError;
use crate::plugin::loaded::Loaded;
use crate::plugin::loader::{self, FILE_BYTES_MAX};
use crate::plugin::slot::{GenerationStatus, Identity};
use crate::plugin::{aggregator, child, codec, kit, load_aggregator, load_codec, load_warmer, warmer};

/// A candidate of any kind.
enum Loadable {
    Codec(Arc<codec::Pool>),
    Aggregator(Arc<Loaded<AggregatorPlugin>>),
    Warmer(Arc<warmer::Policy>),
}

impl Operator {
    /// Makes `component` the candidate of a slot, with this configuration or that of the active plugin. Nothing of it serves
    /// yet. `pinned` is the SHA-256 that it must have; `signature` is needed where the configuration trusts certain keys.
    ///
    /// # Errors
    ///
    /// When it is refused; the message names the reason and the fix.
    pub async fn load(
        &self,
        slot: &str,
        component: Bytes,
        config: Option<serde_json::Value>,
        pinned: Option<&str>,
        signature: Option<&str>,
        by: &str,
    ) -> Result<Done<GenerationStatus>, SwapError> {
        let _turn = self.turn.lock().await;
        let replaced = self.status_of(slot).ok().and_then(|status| status.candidate);
        let sha256 = loader::hex(&Sha256::digest(&component));
        let mut about = About::digest(&sha256);
        match self.load_in_turn(slot, (component, &sha256), config, (pinned, signature), &mut about).await {
            Ok(loaded) => {
                if let Some(replaced) = replaced {
                    self.discarded(slot, replaced, DISCARDED_AS_REPLACED);
                }
                let about = loaded.clone().into();
                Ok(self.done(("load", slot), loaded, about, (None, None), by))
            }
            Err(error) => Err(self.not_done(("load", slot), about, error, by)),
        }
    }

    /// Notes that a component was refused before it could be loaded; answers the refusal.
    pub(in crate::plugin) fn refuse(&self, slot: &str, component: &[u8], why: String, by: &str) -> SwapError {
        let about = About::digest(&loader::hex(&Sha256::digest(component)));
        self.not_done(("load", slot), about, SwapError::Refused(why), by)
    }

    /// `about` is what is known of the component so far, and more of it from here on.
    async fn load_in_turn(
        &self,
        slot: &str,
        (component, sha256): (Bytes, &str),
        config: Option<serde_json::Value>,
        (pinned, signature): (Option<&str>, Option<&str>),
        about: &mut About,
    ) -> Result<GenerationStatus, SwapError> {
        let active = self.slot(slot)?.identities().pop();
        if component.len() as u64 > FILE_BYTES_MAX.as_u64() {
            return Err(SwapError::Refused(format!("the component is larger than {FILE_BYTES_MAX}")));
        }
        if let Some(pinned) = pinned.filter(|pinned| !pinned.eq_ignore_ascii_case(sha256)) {
            return Err(SwapError::NotPinned { pinned: pinned.to_owned(), found: sha256.to_owned() });
        }
        self.loader.verify(&component, signature).map_err(SwapError::Unsigned)?;
        loader::recognise(&component).map_err(SwapError::Refused)?;
        let path = self.store.keep(sha256, &component, signature)?;
        if !self.loader.is_compiled(sha256) {
            let limits = &self.config.compile_limits;
            let compiled = child::compile(&path, sha256, &self.cache_dir, limits).await;
            if let Err(why) = compiled {
                self.prune()?;
                return Err(SwapError::Refused(why));
            }
        }
        let config = config.or_else(|| active.map(|active| (*active.config).clone())).unwrap_or_default();
        let spec = PluginSpec { name: slot.to_owned(), path: Some(path), config };
        let offered = self.offer(slot, spec, about).await;
        if offered.is_err() {
            self.prune()?;
        }
        offered
    }

    /// Instantiates and checks a component, and makes it the candidate.
    async fn offer(&self, slot: &str, spec: PluginSpec, about: &mut About) -> Result<GenerationStatus, SwapError> {
        let (loader, config) = (self.loader.clone(), self.config.clone());
        let codec = self.plugins.codecs.slot(slot).map(|(at, _)| at);
        let is_aggregator = **self.plugins.aggregator.slot().name() == *slot;
        let load = move || match codec {
            Some(at) => {
                let (identity, codec) = load_codec(&loader, &spec, at, &config)?;
                conforms(&config, &codec.codec)?;
                Ok((identity, Loadable::Codec(codec)))
            }
            None if is_aggregator => {
                let (identity, aggregator) = load_aggregator(&loader, &spec, &config)?;
                conforms(&config, &*aggregator)?;
                Ok((identity, Loadable::Aggregator(aggregator)))
            }
            None => {
                let (identity, policy) = load_warmer(&loader, &spec, &config)?;
                conforms(&config, &policy.warmer)?;
                Ok((identity, Loadable::Warmer(policy)))
            }
        };
        let loaded = spawn_blocking(load).await.map_err(|died| SwapError::Refused(format!("loading died: {died}")))?;
        let (identity, loaded) = loaded.inspect_err(|error| about.learn(error)).map_err(refused)?;
        (about.plugin, about.version) =
            (Some(identity.name.to_string()), identity.version.as_deref().map(str::to_owned));
        self.put(slot, identity, loaded)
    }

    fn put(&self, slot: &str, identity: Arc<Identity>, loaded: Loadable) -> Result<GenerationStatus, SwapError> {
        // A candidate that is replaced is not shadowed any more.
        let before = self.status_of(slot)?.candidate.map(|candidate| candidate.generation);
        self.part(slot, |companion| Some(companion) == before)?;
        match loaded {
            Loadable::Codec(pool) => {
                let (_, slot) = self.plugins.codecs.slot(slot).ok_or_else(|| self.no_slot(slot))?;
                Ok(slot.offer(identity, pool).status())
            }
            Loadable::Aggregator(plugin) => {
                let slot = self.plugins.aggregator.slot();
                let (now, then) = (aggregator::inputs(&slot.active().plugin), aggregator::inputs(&plugin));
                if sorted(now.map_err(refused)?) != sorted(then.map_err(refused)?) {
                    let why = "it composes views from other keys than the active one; name it in the configuration and restart";
                    return Err(refused(identity.refused(why)));
                }
                Ok(slot.offer(identity, plugin).status())
            }
            Loadable::Warmer(policy) => Ok(self.plugins.warmer.slot().offer(identity, policy).status()),
        }
    }
}

/// Runs the conformance vectors of its kind, where they are asked for.
fn conforms<S: kit::Subject>(config: &Config, plugin: &Loaded<S>) -> Result<(), PluginError> {
    if config.conformance { kit::vectors(plugin) } else { Ok(()) }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}
