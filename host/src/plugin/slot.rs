//! [`Slot`]: a place where one plugin runs, and which one runs there now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::record::Time;

use super::error::{Cause, PluginError};

/// A place where one plugin runs. Calls take the active generation and finish on it, whatever replaces it meanwhile.
#[derive(Debug)]
pub struct Slot<P> {
    name: Arc<str>,
    active: ArcSwap<Generation<P>>,
    /// Held while the active generation is replaced, so that numbers are given in order.
    last: Mutex<u64>,
}

/// A plugin in a slot.
#[derive(Debug)]
pub struct Generation<P> {
    /// Counts the plugins that ran in this slot, from 1.
    pub number: u64,
    /// When it became active.
    pub loaded_at: Time,
    /// Which plugin it is.
    pub identity: Arc<Identity>,
    /// The plugin.
    pub plugin: Arc<P>,
}

/// Which plugin it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name that the plugin gives itself; the operator's name for it until it was asked.
    pub name: Arc<str>,
    /// The version that the plugin gives itself; `None` until it was asked.
    pub version: Option<Arc<str>>,
    /// SHA-256 of the component in hexadecimal.
    pub sha256: Arc<str>,
    /// Where it was read from; `None` for a built-in plugin.
    pub file: Option<PathBuf>,
}

/// A slot as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SlotStatus {
    /// The operator's name for the slot.
    pub slot: String,
    /// World that the slot takes.
    pub world: &'static str,
    /// See [`Identity::name`].
    pub plugin: String,
    /// See [`Identity::version`].
    pub version: Option<String>,
    /// See [`Identity::sha256`].
    pub sha256: String,
    /// See [`Identity::file`].
    pub file: Option<PathBuf>,
    /// See [`Generation::number`].
    pub generation: u64,
    /// See [`Generation::loaded_at`], in Unix microseconds.
    pub loaded_at: Time,
}

// === impl Slot ===

impl<P> Slot<P> {
    /// A slot with its first generation.
    pub fn new(name: Arc<str>, identity: Arc<Identity>, plugin: Arc<P>) -> Self {
        let first = Generation { number: 1, loaded_at: Time::now(), identity, plugin };
        Self { name, active: ArcSwap::from_pointee(first), last: Mutex::new(1) }
    }

    /// The operator's name for the slot.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The generation that runs now.
    pub fn active(&self) -> Arc<Generation<P>> {
        self.active.load_full()
    }

    /// Makes `plugin` the active generation in one step, and answers the one that was, for the way back.
    pub fn replace(&self, identity: Arc<Identity>, plugin: Arc<P>) -> Arc<Generation<P>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        self.active.swap(Arc::new(Generation { number: *last, loaded_at: Time::now(), identity, plugin }))
    }

    /// The slot as operators see it.
    pub fn status(&self, world: &'static str) -> SlotStatus {
        let active = self.active();
        let Identity { name, version, sha256, file } = &*active.identity;
        SlotStatus {
            slot: self.name.to_string(),
            world,
            plugin: name.to_string(),
            version: version.as_ref().map(Arc::to_string),
            sha256: sha256.to_string(),
            file: file.clone(),
            generation: active.number,
            loaded_at: active.loaded_at,
        }
    }
}

// === impl Identity ===

impl Identity {
    /// A failure of this plugin.
    pub(super) fn error(&self, call: Option<&'static str>, cause: Cause) -> PluginError {
        PluginError { plugin: self.name.clone(), version: self.version.clone(), file: None, call, cause }
    }

    /// Why this plugin is not loaded.
    pub(super) fn refused(&self, why: impl Into<String>) -> PluginError {
        self.located(self.error(None, Cause::Refused(why.into())))
    }

    /// `error`, with the file that it is about.
    pub(super) fn located(&self, error: PluginError) -> PluginError {
        PluginError { file: self.file.clone(), ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Arc<Identity> {
        Arc::new(Identity { name: name.into(), version: Some("1.0.0".into()), sha256: "00".into(), file: None })
    }

    #[test]
    fn a_call_in_flight_keeps_the_generation_it_began_with() {
        let slot = Slot::new("codecs".into(), identity("old"), Arc::new(1));
        let in_flight = slot.active();
        let before = slot.replace(identity("new"), Arc::new(2));
        assert_eq!((in_flight.number, *in_flight.plugin), (1, 1));
        assert_eq!((before.number, &*before.identity.name), (1, "old"));
        let status = slot.status("codec-plugin");
        assert_eq!((status.generation, &*status.plugin), (2, "new"));
    }
}
