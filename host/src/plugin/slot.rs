//! [`Slot`]: a place where one plugin runs, and which one runs there now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::record::Time;
use crate::telemetry::plugin_metrics;

use super::error::{Cause, PluginError};
use super::losses::{Loss, Losses};
use super::shadow::Mode;

/// Generations that are kept for the way back; beyond it the oldest is discarded.
const PREVIOUS_MAX: usize = 2;

/// Generations of one slot that may exist at once: the active one, those before it, and a candidate.
pub(super) const GENERATIONS_MAX: usize = PREVIOUS_MAX + 2;

/// A place where one plugin runs. Calls take the active generation and finish on it, whatever replaces it meanwhile.
#[derive(Debug)]
pub struct Slot<P> {
    name: Arc<str>,
    active: ArcSwap<Generation<P>>,
    rack: Mutex<Rack<P>>,
}

/// The generations of a slot that do not run.
#[derive(Debug)]
struct Rack<P> {
    /// The number of the last generation.
    last: u64,
    /// The one that was loaded and is not used yet.
    candidate: Option<Arc<Generation<P>>>,
    /// Those that were active, the last one last.
    previous: Vec<Arc<Generation<P>>>,
}

/// A plugin in a slot.
#[derive(Debug)]
pub struct Generation<P> {
    /// Counts the plugins that ran in this slot, from 1.
    pub number: u64,
    /// When it was loaded.
    pub loaded_at: Time,
    /// Which plugin it is.
    pub identity: Arc<Identity>,
    /// The plugin.
    pub plugin: Arc<P>,
}

/// Which plugin it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The operator's name for the slot that it is meant for.
    pub slot: Arc<str>,
    /// The name that the plugin gives itself; the operator's name for it until it was asked.
    pub name: Arc<str>,
    /// The version that the plugin gives itself; `None` until it was asked.
    pub version: Option<Arc<str>>,
    /// SHA-256 of the component in hexadecimal.
    pub sha256: Arc<str>,
    /// Where it was read from; `None` for a built-in plugin.
    pub file: Option<PathBuf>,
    /// The operator's configuration for it.
    pub config: Arc<serde_json::Value>,
    /// Its instances that were lost.
    pub losses: Losses,
}

/// A slot as operators see it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
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
    /// The one that was loaded and is not used yet.
    pub candidate: Option<GenerationStatus>,
    /// Those that were active and can be rolled back to, the last one first.
    pub previous: Vec<GenerationStatus>,
    /// What runs beside the active one and is not served.
    pub beside: Option<Beside>,
    /// The last instances of the active one that were lost, the newest first.
    pub losses: Vec<Loss>,
}

/// A version that runs beside the active one, as operators see it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Beside {
    /// Why.
    pub mode: Mode,
    /// Its generation.
    pub generation: u64,
    /// Share of its answers that differ from the active one's; none while nothing was compared.
    pub difference_rate: Option<f64>,
}

/// A generation as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GenerationStatus {
    /// See [`Generation::number`].
    pub generation: u64,
    /// See [`Identity::name`].
    pub plugin: String,
    /// See [`Identity::version`].
    pub version: Option<String>,
    /// See [`Identity::sha256`].
    pub sha256: String,
}

// === impl SlotStatus ===

impl SlotStatus {
    /// The generation that runs.
    pub fn active(&self) -> GenerationStatus {
        GenerationStatus {
            generation: self.generation,
            plugin: self.plugin.clone(),
            version: self.version.clone(),
            sha256: self.sha256.clone(),
        }
    }

    /// Whether this generation runs, or can be rolled back to.
    pub(super) fn holds(&self, generation: u64) -> bool {
        self.generation == generation || self.previous.iter().any(|previous| previous.generation == generation)
    }
}

// === impl Slot ===

impl<P> Slot<P> {
    /// A slot with its first generation.
    pub fn new(name: Arc<str>, identity: Arc<Identity>, plugin: Arc<P>) -> Self {
        let first = Generation { number: 1, loaded_at: Time::now(), identity, plugin };
        first.identity.tell_active(true);
        let rack = Rack { last: 1, candidate: None, previous: Vec::new() };
        Self { name, active: ArcSwap::from_pointee(first), rack: Mutex::new(rack) }
    }

    /// The operator's name for the slot.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The generation that runs now.
    pub fn active(&self) -> Arc<Generation<P>> {
        self.active.load_full()
    }

    /// Makes `plugin` the candidate, in place of an earlier one that was not used.
    pub fn offer(&self, identity: Arc<Identity>, plugin: Arc<P>) -> Arc<Generation<P>> {
        let mut rack = self.rack();
        rack.last += 1;
        let offered = Arc::new(Generation { number: rack.last, loaded_at: Time::now(), identity, plugin });
        rack.candidate = Some(offered.clone());
        offered
    }

    /// The generation that was loaded and is not used yet.
    pub fn candidate(&self) -> Option<Arc<Generation<P>>> {
        self.rack().candidate.clone()
    }

    /// The generation that was active before this one.
    pub fn previous(&self) -> Option<Arc<Generation<P>>> {
        self.rack().previous.last().cloned()
    }

    /// The generations that were active and the one that is, from the oldest on.
    pub fn chain(&self) -> Vec<Arc<Generation<P>>> {
        self.rack().previous.iter().cloned().chain([self.active()]).collect()
    }

    /// Makes `next`, the candidate or a previous generation, the active one in one step. The one that was is kept for the way
    /// back.
    pub fn activate(&self, next: &Arc<Generation<P>>) {
        let mut rack = self.rack();
        let is_next = |other: &Arc<Generation<P>>| other.number == next.number;
        rack.candidate = rack.candidate.take().filter(|candidate| !is_next(candidate));
        rack.previous.retain(|previous| !is_next(previous));
        let before = self.active.swap(next.clone());
        // In this order: two builds may give themselves one version.
        before.identity.tell_active(false);
        next.identity.tell_active(true);
        rack.previous.push(before);
        if rack.previous.len() > PREVIOUS_MAX {
            rack.previous.remove(0);
        }
    }

    /// Forgets the candidate or the previous generation of this number; answers it.
    pub fn discard(&self, number: u64) -> Option<Arc<Generation<P>>> {
        let mut rack = self.rack();
        if let Some(candidate) = rack.candidate.take_if(|candidate| candidate.number == number) {
            return Some(candidate);
        }
        let at = rack.previous.iter().position(|previous| previous.number == number)?;
        Some(rack.previous.remove(at))
    }

    /// The slot as operators see it.
    pub fn status(&self, world: &'static str, beside: Option<Beside>) -> SlotStatus {
        let (active, rack) = (self.active(), self.rack());
        let GenerationStatus { generation, plugin, version, sha256 } = active.status();
        SlotStatus {
            slot: self.name.to_string(),
            world,
            plugin,
            version,
            sha256,
            file: active.identity.file.clone(),
            generation,
            loaded_at: active.loaded_at,
            candidate: rack.candidate.as_ref().map(|candidate| candidate.status()),
            previous: rack.previous.iter().rev().map(|previous| previous.status()).collect(),
            beside,
            losses: active.identity.losses.last(),
        }
    }

    fn rack(&self) -> MutexGuard<'_, Rack<P>> {
        self.rack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Generation ===

impl<P> Generation<P> {
    /// The generation as operators see it.
    pub fn status(&self) -> GenerationStatus {
        let Identity { name, version, sha256, .. } = &*self.identity;
        GenerationStatus {
            generation: self.number,
            plugin: name.to_string(),
            version: version.as_ref().map(Arc::to_string),
            sha256: sha256.to_string(),
        }
    }
}

// === impl Identity ===

/// A line of the log about a plugin: its slot, name and version are fields, whatever the text says.
macro_rules! tell {
    ($level:ident, $identity:expr, $($line:tt)+) => {{
        let identity: &$crate::plugin::slot::Identity = &$identity;
        let $crate::plugin::slot::Identity { slot, name, version, .. } = identity;
        tracing::$level!(%slot, plugin = %name, version = version.as_deref(), $($line)+)
    }};
}
pub(super) use tell;

impl Identity {
    /// Its metrics.
    pub(super) fn metrics(&self) -> plugin_metrics::Of<'_> {
        plugin_metrics::Of { slot: &self.slot, plugin: &self.name }
    }

    fn tell_active(&self, is_active: bool) {
        self.metrics().active(self.version.as_ref(), is_active);
    }

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
impl Identity {
    /// Some plugin of this name.
    pub(super) fn named(name: &str) -> Self {
        Self {
            slot: "slot".into(),
            name: name.into(),
            version: Some("1.0.0".into()),
            sha256: "00".into(),
            file: None,
            config: Arc::default(),
            losses: Losses::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Arc<Identity> {
        Arc::new(Identity::named(name))
    }

    #[test]
    fn a_call_in_flight_keeps_the_generation_it_began_with_and_the_way_back_is_kept() {
        let slot = Slot::new("codecs".into(), identity("old"), Arc::new(1));
        let in_flight = slot.active();
        let offered = slot.offer(identity("new"), Arc::new(2));
        assert_eq!(slot.status("codec-plugin", None).candidate.unwrap().plugin, "new");
        assert_eq!(slot.active().number, 1, "an offer changes nothing");
        slot.activate(&offered);
        assert_eq!((in_flight.number, *in_flight.plugin), (1, 1));
        let status = slot.status("codec-plugin", None);
        assert_eq!((status.generation, &*status.plugin, status.candidate), (2, "new", None));
        slot.activate(&slot.previous().unwrap());
        assert_eq!((slot.active().number, slot.previous().unwrap().number), (1, 2));
    }

    #[test]
    fn generations_that_are_kept_are_bounded_and_can_be_discarded() {
        let slot = Slot::new("codecs".into(), identity("1"), Arc::new(()));
        for n in 2..=PREVIOUS_MAX + 3 {
            slot.activate(&slot.offer(identity(&n.to_string()), Arc::new(())));
        }
        let kept = |slot: &Slot<()>| slot.status("w", None).previous.iter().map(|g| g.generation).collect::<Vec<_>>();
        assert_eq!(kept(&slot), [4, 3]);
        assert!(slot.discard(3).is_some() && slot.discard(3).is_none() && slot.discard(5).is_none(), "5 is active");
        assert_eq!(kept(&slot), [4]);
    }
}
