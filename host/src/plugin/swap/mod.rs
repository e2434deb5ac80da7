//! [`Operator`]: `load`, `use`, `rollback` and `discard` for every slot. One state machine for all who ask.
//!
//! ```text
//!          load              use                  use of another
//! file ──> candidate ──────> active ─────────────> previous ──> discarded (the oldest, or on request)
//!             │ discard        ^                      │
//!             v                └────── rollback ──────┘
//!          discarded
//! ```
//!
//! | step | what may fail | what then |
//! | --- | --- | --- |
//! | `load` | too large, not the pinned digest, no component, does not compile, foreign imports, wrong world, refuses its configuration, other claims or inputs | it is refused with the reason; nothing changes |
//! | `use`, `rollback` | it does not take the state over, or claims what another codec claims | the active one goes on; `fresh` starts without state |
//! | any | two at once | one waits for the other |
//! | any | the process ends | the active one of the last `use` or `rollback` that was answered is active again, with its way back |
//!
//! Every step is in the audit log, whether or not it was carried out. Calls in flight finish on the generation that they
//! began with.

mod load;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::audit::{Audit, Entry};
use super::config::Config;
use super::error::PluginError;
use super::loader::Loader;
use super::slot::{Generation, GenerationStatus, Identity, Slot, SlotStatus};
use super::store::{Held, Store};
use super::{Plugins, runtime_error};
use crate::record::Time;

/// Swaps plugins while they serve.
pub struct Operator {
    plugins: Plugins,
    config: Config,
    loader: Arc<Loader>,
    cache_dir: PathBuf,
    store: Store,
    audit: Audit,
    /// One step at a time.
    turn: Mutex<()>,
}

/// Why a step was not carried out. Everything is as before.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// There is no such slot.
    #[error("there is no slot `{slot}`; there are: {known}")]
    NoSlot {
        /// What was asked for.
        slot: String,
        /// The slots.
        known: String,
    },
    /// There is nothing of that kind in the slot.
    #[error("slot `{slot}` has no {what}")]
    Nothing {
        /// The slot.
        slot: String,
        /// What is missing, and what to do.
        what: String,
    },
    /// It is not the component that was asked for.
    #[error("the component's SHA-256 is {found}, not {pinned}")]
    NotPinned {
        /// The digest that was asked for.
        pinned: String,
        /// The digest of the component.
        found: String,
    },
    /// The plugin was refused, or failed.
    #[error("{0}")]
    Refused(String),
    /// The host's own files.
    #[error("the plugin store: {0}")]
    Store(#[from] io::Error),
}

/// What can be done with a slot whatever kind of plugin it holds.
trait AnySlot {
    /// The plugins that were active and the one that is, from the oldest on.
    fn identities(&self) -> Vec<Arc<Identity>>;

    /// Forgets the candidate or a previous generation; answers it.
    fn discard(&self, generation: u64) -> Option<GenerationStatus>;
}

// === impl Operator ===

impl Operator {
    /// Loads and starts the plugins of `config`, and what was swapped in before a restart. Keeps its files in `data_dir`.
    ///
    /// # Errors
    ///
    /// Every mistake at once.
    pub fn new(config: Config, data_dir: &Path) -> Result<Self, Vec<PluginError>> {
        let cache_dir = data_dir.join("compiled");
        let of_store = |error: io::Error| vec![runtime_error(format!("{}: {error}", data_dir.display()))];
        let store = Store::open(&data_dir.join("plugins")).map_err(of_store)?;
        let audit = Audit::open(&data_dir.join("audit.jsonl")).map_err(of_store)?;
        let loader = super::start(&config, &cache_dir).map_err(|error| vec![runtime_error(format!("{error:#}"))])?;
        let plugins = Plugins::load_with(&config, &loader, Some(&store))?;
        Ok(Self { plugins, config, loader: Arc::new(loader), cache_dir, store, audit, turn: Mutex::default() })
    }

    /// The plugins that serve.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Lets the candidate of a slot serve, with the state of the one before it, or without any if `fresh`.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not take over; the active one goes on.
    pub async fn use_candidate(&self, slot: &str, fresh: bool, by: &str) -> Result<SlotStatus, SwapError> {
        let nothing = "candidate; load one first";
        self.swap("use", slot, fresh, by, nothing).await
    }

    /// Lets the plugin serve again that was active before.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not take over; the active one goes on.
    pub async fn rollback(&self, slot: &str, fresh: bool, by: &str) -> Result<SlotStatus, SwapError> {
        self.swap("rollback", slot, fresh, by, "previous version; nothing was used before this one").await
    }

    async fn swap(
        &self,
        step: &'static str,
        slot: &str,
        fresh: bool,
        by: &str,
        nothing: &str,
    ) -> Result<SlotStatus, SwapError> {
        let _turn = self.turn.lock().await;
        let back = step == "rollback";
        let swapped = self.activate(slot, back, fresh, nothing).await.and_then(|()| {
            self.note(slot)?;
            self.status_of(slot)
        });
        let about = swapped.as_ref().ok().map(SlotStatus::active);
        self.tell(step, slot, about, swapped.as_ref().err(), by)?;
        swapped
    }

    async fn activate(&self, name: &str, back: bool, fresh: bool, nothing: &str) -> Result<(), SwapError> {
        let Plugins { codecs, aggregator, warmer } = &self.plugins;
        let none = || SwapError::Nothing { slot: name.to_owned(), what: nothing.to_owned() };
        if let Some((at, slot)) = codecs.slot(name) {
            let next = next(slot, back).ok_or_else(none)?;
            return codecs.activate(at, &next).map_err(refused);
        }
        if **aggregator.slot().name() == *name {
            let next = next(aggregator.slot(), back).ok_or_else(none)?;
            return aggregator.activate(next, fresh).await.map_err(|error| SwapError::Refused(error.to_string()));
        }
        if **warmer.slot().name() == *name {
            let next = next(warmer.slot(), back).ok_or_else(none)?;
            let warmer = warmer.clone();
            let activated = spawn_blocking(move || warmer.activate(&next, fresh)).await;
            return activated.map_err(|died| SwapError::Refused(format!("the swap died: {died}")))?.map_err(refused);
        }
        Err(self.no_slot(name))
    }

    /// Forgets the candidate or a previous generation.
    ///
    /// # Errors
    ///
    /// When the slot has none of this number, or it is the active one.
    pub async fn discard(&self, slot: &str, generation: u64, by: &str) -> Result<SlotStatus, SwapError> {
        let _turn = self.turn.lock().await;
        let found = self.slot(slot).and_then(|found| {
            let what = || format!("generation {generation} that could be discarded");
            found.discard(generation).ok_or_else(|| SwapError::Nothing { slot: slot.to_owned(), what: what() })
        });
        let about = found.as_ref().ok().cloned();
        let discarded = found.and_then(|_| {
            self.note(slot)?;
            self.status_of(slot)
        });
        self.tell("discard", slot, about, discarded.as_ref().err(), by)?;
        discarded
    }

    /// The last `max` steps, the newest first.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn audit(&self, max: usize) -> Result<Vec<Entry>, SwapError> {
        Ok(self.audit.last(max)?)
    }

    fn status_of(&self, slot: &str) -> Result<SlotStatus, SwapError> {
        self.plugins.status().into_iter().find(|status| status.slot == slot).ok_or_else(|| self.no_slot(slot))
    }

    /// The slot of this name, whatever it holds.
    fn slot(&self, name: &str) -> Result<&dyn AnySlot, SwapError> {
        let Plugins { codecs, aggregator, warmer } = &self.plugins;
        if let Some((_, slot)) = codecs.slot(name) {
            return Ok(slot);
        }
        let others: [(&str, &dyn AnySlot); 2] =
            [(aggregator.slot().name(), aggregator.slot()), (warmer.slot().name(), warmer.slot())];
        others.into_iter().find(|(known, _)| *known == name).map(|(_, slot)| slot).ok_or_else(|| self.no_slot(name))
    }

    fn no_slot(&self, slot: &str) -> SwapError {
        let known: Vec<_> = self.plugins.status().into_iter().map(|status| status.slot).collect();
        SwapError::NoSlot { slot: slot.to_owned(), known: known.join(", ") }
    }

    /// Writes down what a slot holds now, for the next start.
    fn note(&self, slot: &str) -> Result<(), SwapError> {
        let chain = self.slot(slot)?.identities().iter().map(|identity| Held::of(identity)).collect();
        let spec = self.config.specs().find(|spec| spec.name == slot).ok_or_else(|| self.no_slot(slot))?;
        self.store.note(spec, chain)?;
        self.prune()
    }

    fn prune(&self) -> Result<(), SwapError> {
        let candidates = self.plugins.status().into_iter().filter_map(|status| status.candidate);
        Ok(self.store.prune(&candidates.map(|candidate| candidate.sha256).collect::<Vec<_>>())?)
    }

    fn tell(
        &self,
        step: &'static str,
        slot: &str,
        about: Option<GenerationStatus>,
        error: Option<&SwapError>,
        by: &str,
    ) -> Result<(), SwapError> {
        let result = error.map_or_else(|| "done".to_owned(), ToString::to_string);
        match error {
            None => tracing::info!(step, slot, by, plugin = about.as_ref().map(|about| &*about.plugin), "plugin swap"),
            Some(error) => tracing::warn!(step, slot, by, %error, "a plugin swap was not carried out"),
        }
        let (plugin, version, sha256) = match about {
            Some(about) => (Some(about.plugin), about.version, Some(about.sha256)),
            None => (None, None, None),
        };
        let (at, by, step, slot) = (Time::now(), by.to_owned(), step.to_owned(), slot.to_owned());
        Ok(self.audit.add(&Entry { at, by, step, slot, plugin, version, sha256, result })?)
    }
}

fn next<P>(slot: &Slot<P>, back: bool) -> Option<Arc<Generation<P>>> {
    if back { slot.previous() } else { slot.candidate() }
}

impl<P: Send + Sync> AnySlot for Slot<P> {
    fn identities(&self) -> Vec<Arc<Identity>> {
        self.chain().iter().map(|generation| generation.identity.clone()).collect()
    }

    fn discard(&self, generation: u64) -> Option<GenerationStatus> {
        Self::discard(self, generation).map(|gone| gone.status())
    }
}

fn refused(error: PluginError) -> SwapError {
    SwapError::Refused(error.to_string())
}
