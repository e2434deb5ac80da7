//! `load`: from the bytes of a component to the candidate of a slot.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::written::{About, DISCARDED_AS_REPLACED};
use super::{Done, Operator, SwapError, refused};
use crate::plugin::aside::{Unfinished, aside};
use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::config::{Config, PluginSpec};
use crate::plugin::error::PluginError;
use crate::plugin::loaded::Loaded;
use crate::plugin::loader::{self, FILE_BYTES_MAX};
use crate::plugin::slot::{GenerationStatus, Identity};
use crate::plugin::store::Kept;
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
        let _loading = self.loading.lock().await;
        let mut about = About::default();
        let checked = self.check(slot, component, config, (pinned, signature), &mut about).await;
        let _turn = self.turn.lock().await;
        let replaced = self.status_of(slot).ok().and_then(|status| status.candidate);
        let offered = checked.and_then(|(identity, loaded, _kept)| self.offer(slot, identity, loaded));
        // Nobody needs what was refused, nor the candidate in whose place this one is.
        self.prune().await;
        match offered {
            Ok(loaded) => {
                if let Some(replaced) = replaced {
                    self.discarded(slot, replaced, DISCARDED_AS_REPLACED).await;
                }
                let about = loaded.clone().into();
                Ok(self.done(("load", slot), loaded, about, (None, None), by).await)
            }
            Err(error) => Err(self.not_done(("load", slot), about, error, by).await),
        }
    }

    /// Notes that a component was refused before it could be loaded; answers the refusal.
    pub(in crate::plugin) async fn refuse(&self, slot: &str, component: Bytes, why: String, by: &str) -> SwapError {
        match digest(component).await {
            Ok(sha256) => self.not_done(("load", slot), About::digest(&sha256), SwapError::Refused(why), by).await,
            Err(error) => error.into(),
        }
    }

    /// Notes that there is something to be loaded which cannot be read.
    pub(in crate::plugin) async fn unread(&self, slot: &str, why: String, by: &str) {
        self.not_done(("load", slot), About::default(), SwapError::Refused(why), by).await;
    }

    /// Keeps, compiles and checks a component, which may take minutes and changes nothing: no step waits for it but another
    /// `load`. `about` is told what is known of it so far.
    async fn check(
        &self,
        slot: &str,
        component: Bytes,
        config: Option<serde_json::Value>,
        (pinned, signature): (Option<&str>, Option<&str>),
        about: &mut About,
    ) -> Result<(Arc<Identity>, Loadable, Kept), SwapError> {
        let sha256 = digest(component.clone()).await?;
        *about = About::digest(&sha256);
        let active = self.slot(slot)?.identities().pop();
        if component.len() as u64 > FILE_BYTES_MAX.as_u64() {
            return Err(SwapError::Refused(format!("the component is larger than {FILE_BYTES_MAX}")));
        }
        if let Some(pinned) = pinned.filter(|pinned| !pinned.eq_ignore_ascii_case(&sha256)) {
            return Err(SwapError::NotPinned { pinned: pinned.to_owned(), found: sha256 });
        }
        let (kept, is_compiled) = self.keep(component, &sha256, signature).await?;
        if !is_compiled {
            let compiled = child::compile(&kept.path, &sha256, &self.cache_dir, &self.config.compile_limits).await;
            compiled.map_err(SwapError::Refused)?;
        }
        let config = config.or_else(|| active.map(|active| (*active.config).clone())).unwrap_or_default();
        let spec = PluginSpec { name: slot.to_owned(), path: Some(kept.path.clone()), config };
        let (identity, loaded) = self.start(slot, spec, about).await?;
        Ok((identity, loaded, kept))
    }

    /// Keeps a component that looks like one and is signed as it must be; answers its file, and whether its code is at hand.
    async fn keep(&self, component: Bytes, sha256: &str, signature: Option<&str>) -> Result<(Kept, bool), SwapError> {
        let (loader, store) = (self.loader.clone(), self.store.clone());
        let (sha256, signature) = (sha256.to_owned(), signature.map(str::to_owned));
        let keep = move || {
            loader.verify(&component, signature.as_deref()).map_err(SwapError::Unsigned)?;
            loader::recognise(&component).map_err(SwapError::Refused)?;
            let kept = store.keep(&sha256, &component, signature.as_deref())?;
            Ok((kept, loader.is_compiled(&sha256)))
        };
        aside(keep).await?
    }

    /// Instantiates a component, and checks what it does.
    async fn start(
        &self,
        slot: &str,
        spec: PluginSpec,
        about: &mut About,
    ) -> Result<(Arc<Identity>, Loadable), SwapError> {
        let (loader, config) = (self.loader.clone(), self.config.clone());
        let codec = self.plugins.codecs.slot(slot).map(|(at, _)| at);
        let aggregator = self.plugins.aggregator.slot();
        let serving = (**aggregator.name() == *slot).then(|| aggregator.active());
        let load = move || match (codec, serving) {
            (Some(at), _) => {
                let (identity, codec) = load_codec(&loader, &spec, at, &config)?;
                conforms(&config, &codec.codec)?;
                Ok((identity, Loadable::Codec(codec)))
            }
            (None, Some(serving)) => {
                let (identity, aggregator) = load_aggregator(&loader, &spec, &config)?;
                has_inputs_of(&serving.plugin, &aggregator)?;
                conforms(&config, &*aggregator)?;
                Ok((identity, Loadable::Aggregator(aggregator)))
            }
            (None, None) => {
                let (identity, policy) = load_warmer(&loader, &spec, &config)?;
                conforms(&config, &policy.warmer)?;
                Ok((identity, Loadable::Warmer(policy)))
            }
        };
        let (identity, loaded) = aside(load).await?.inspect_err(|error| about.learn(error)).map_err(refused)?;
        (about.plugin, about.version) =
            (Some(identity.name.to_string()), identity.version.as_deref().map(str::to_owned));
        Ok((identity, loaded))
    }

    /// Makes a component that may serve the candidate.
    fn offer(&self, slot: &str, identity: Arc<Identity>, loaded: Loadable) -> Result<GenerationStatus, SwapError> {
        // A candidate that is replaced is not shadowed any more.
        let before = self.status_of(slot)?.candidate.map(|candidate| candidate.generation);
        self.part(slot, |companion| Some(companion) == before)?;
        match loaded {
            Loadable::Codec(pool) => {
                let (_, slot) = self.plugins.codecs.slot(slot).ok_or_else(|| self.no_slot(slot))?;
                Ok(slot.offer(identity, pool).status())
            }
            Loadable::Aggregator(plugin) => Ok(self.plugins.aggregator.slot().offer(identity, plugin).status()),
            Loadable::Warmer(policy) => Ok(self.plugins.warmer.slot().offer(identity, policy).status()),
        }
    }
}

async fn digest(component: Bytes) -> Result<String, Unfinished> {
    aside(move || loader::hex(&Sha256::digest(&component))).await
}

/// The dashboard keeps the documents at hand that the active aggregator asked for.
fn has_inputs_of(serving: &Loaded<AggregatorPlugin>, plugin: &Loaded<AggregatorPlugin>) -> Result<(), PluginError> {
    if sorted(aggregator::inputs(serving)?) == sorted(aggregator::inputs(plugin)?) {
        return Ok(());
    }
    let why = "it composes views from other keys than the active one; name it in the configuration and restart";
    Err(plugin.identity.refused(why))
}

/// Runs the conformance vectors of its kind, where they are asked for.
fn conforms<S: kit::Subject>(config: &Config, plugin: &Loaded<S>) -> Result<(), PluginError> {
    if config.conformance { kit::vectors(plugin) } else { Ok(()) }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use super::super::tests::operator;
    use super::*;
    use crate::plugin::guest;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_component_at_the_bound_is_looked_at_and_one_past_it_is_refused_for_its_size() {
        let (_dir, operator) = operator();
        let too_large = Bytes::from(vec![0; FILE_BYTES_MAX.as_u64() as usize + 1]);
        let at_the_bound = too_large.slice(1..);
        for (component, expected) in
            [(too_large, "the component is larger than 32.0 MiB"), (at_the_bound, "not a WebAssembly component")]
        {
            let refused = operator.load("aggregator", component, None, None, None, "test").await.unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refusal_keeps_its_reason_where_what_was_refused_cannot_be_deleted() {
        let (dir, operator) = operator();
        let in_the_way = dir.path().join("data/plugins/a.wasm");
        std::fs::create_dir(&in_the_way).unwrap();
        let (component, config) = (Bytes::from(guest::aggregator()), Some(serde_json::json!({ "unknown": 1 })));
        let load = || operator.load("aggregator", component.clone(), config.clone(), None, None, "test");
        let refused = load().await.unwrap_err();
        assert!(matches!(&refused, SwapError::Refused(why) if why.contains("unknown field")), "{refused}");
        std::fs::remove_dir(in_the_way).unwrap();
        assert_eq!(load().await.unwrap_err().to_string(), refused.to_string());
        let left = std::fs::read_dir(dir.path().join("data/plugins")).unwrap();
        assert_eq!(left.count(), 0, "what is refused is not kept");
    }
}
