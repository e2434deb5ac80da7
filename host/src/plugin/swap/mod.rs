//! [`Operator`]: `load`, `shadow`, `use`, `rollback` and `discard` for every slot. One state machine for all who ask.
//!
//! ```text
//!          load              use                       use of another
//! file ──> candidate ──────> active, on probation ─────────────> previous ──> discarded (the oldest, or on request)
//!             │  ^ │              │        │ time                   │
//!      shadow └──┘ │ discard      │        v                        │
//!                  v              │     active, confirmed           │
//!             discarded           └──────── a bound, or rollback ───┘
//! ```
//!
//! | step | what may fail | what then |
//! | --- | --- | --- |
//! | `load` | too large, not the pinned digest, not signed by a trusted key, no component, does not compile, foreign imports, wrong world, refuses its configuration, other inputs | it is refused with the reason; nothing changes |
//! | `shadow` | no candidate, or the slot is on probation | it is refused; nothing changes |
//! | `shadow` | the candidate traps, is slow, or refuses the state | it is in the report; nobody else notices |
//! | `use`, `rollback` | `save` fails, or the new version refuses the state | an earlier state and the recorded inputs since are replayed into it; where the tape does not reach back, the active one goes on, and `fresh` starts without state |
//! | `use`, `rollback` | it fails at a recorded input that the version before took, or more comes in while it is prepared than is kept for it | the active one goes on |
//! | `use`, `rollback` | it claims what another codec claims | the active one goes on |
//! | `use` | there is no thread for the version before to go on beside it | it is done, and the answer says that there is no probation |
//! | `use` | no codec would claim keys any more that one claims now | the active one goes on; a `rollback` is done all the same, and the log names the keys |
//! | probation | it crosses a bound | the version before, which was fed all along, serves again, and loses nothing |
//! | probation | the version before does not take over | it is tried again, and told when the reason is another, until it does or somebody decides otherwise |
//! | any | two at once | one waits for the other; for what a `load` compiles and checks only another `load` waits |
//! | any | the audit log, or the note for the next start, cannot be written | the step is done, or refused, all the same: the answer of one that is done says so, and the log of the process |
//! | any | the process ends | the active one of the last `use` or `rollback` that was answered is active again, with its way back; its probation is over, and shadows are gone |
//!
//! Every step is in the audit log, whether or not it was carried out, with the plugin as far as it is known; so is what the
//! gateway discards by itself, because only so many are kept. Calls in flight finish on the generation that they
//! began with.

mod beside;
mod load;
mod written;

pub use beside::PROBATION;
pub use written::Done;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{self, Arc, PoisonError};

use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use super::aside::{Unfinished, aside};
use super::config::Config;
use super::error::PluginError;
use super::loader::Loader;
use super::shadow::{Activated, Report};
use super::slot::{Generation, GenerationStatus, Identity, Slot, SlotStatus};
use super::store::{Held, Store};
use super::{Plugins, runtime_error};
use crate::telemetry::audit::Audit;
use written::{About, DISCARDED_AS_OLDEST, UNWATCHED, joined};

/// Swaps plugins while they serve.
pub struct Operator {
    plugins: Plugins,
    config: Config,
    loader: Arc<Loader>,
    cache_dir: PathBuf,
    store: Arc<Store>,
    audit: Arc<Audit>,
    /// What the last companion of each slot had found.
    reports: sync::Mutex<BTreeMap<String, Report>>,
    /// Counts the swaps that were carried out.
    swaps: watch::Sender<u64>,
    /// One load at a time. It takes its turn when nothing is left to do but to offer what it has checked, so that a rollback
    /// waits for no compiler.
    loading: Mutex<()>,
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
    /// It is not signed by anybody whose components are taken.
    #[error("{0}")]
    Unsigned(String),
    /// The plugin was refused, or failed.
    #[error("{0}")]
    Refused(String),
    /// The host's own files.
    #[error("the plugin store: {0}")]
    Store(#[from] io::Error),
    /// The gateway could not do its part.
    #[error("a part of the step could not be done: {0}")]
    Unfinished(#[from] Unfinished),
}

/// As what a slot must be found for a swap.
enum Only {
    /// Whatever it holds.
    Any,
    /// With this generation as its candidate.
    Candidate(u64),
    /// With this generation active; why it is to be rolled back, and what was told of why that failed the last time.
    Active { generation: u64, why: String, told: Option<String> },
}

/// What can be done with a slot whatever kind of plugin it holds.
trait AnySlot {
    /// The number of the active generation.
    fn active(&self) -> u64;

    /// The plugins that were active and the one that is, from the oldest on.
    fn identities(&self) -> Vec<Arc<Identity>>;

    /// Forgets the candidate or a previous generation; answers it.
    fn discard(&self, generation: u64) -> Option<GenerationStatus>;
}

// === impl Only ===

impl Only {
    /// The version that is to serve next.
    fn next(&self, found: &SlotStatus, back: bool) -> Option<GenerationStatus> {
        let next = if back { found.previous.first() } else { found.candidate.as_ref() };
        next.filter(|next| !matches!(self, Self::Candidate(meant) if *meant != next.generation)).cloned()
    }

    /// Whether this is what was told of the last try.
    fn is_told(&self, error: &SwapError) -> bool {
        matches!(self, Self::Active { told: Some(told), .. } if *told == error.to_string())
    }
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
        let store = Arc::new(Store::open(&data_dir.join("plugins")).map_err(of_store)?);
        let audit = Arc::new(Audit::open(&data_dir.join("audit.jsonl")).map_err(of_store)?);
        let loader = super::start(&config, &cache_dir).map_err(|error| vec![runtime_error(format!("{error:#}"))])?;
        let plugins = Plugins::load_with(&config, &loader, Some(&store))?;
        let (loader, reports, swaps) = (Arc::new(loader), sync::Mutex::default(), watch::channel(0).0);
        let (loading, turn) = (Mutex::default(), Mutex::default());
        Ok(Self { plugins, config, loader, cache_dir, store, audit, reports, swaps, loading, turn })
    }

    /// The plugins that serve.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Changes with every swap, whoever asked for it.
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// Lets the candidate of a slot serve, with the state of the one before it, or without any if `fresh`. It is on probation
    /// from then on.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not take over, or it leaves keys to no codec; the active one goes on.
    pub async fn use_candidate(
        self: &Arc<Self>,
        slot: &str,
        fresh: bool,
        by: &str,
    ) -> Result<Done<SlotStatus>, SwapError> {
        self.swap_if(("use", slot), fresh, by, "candidate; load one first", Only::Any).await
    }

    /// The same, if the candidate is still that of this generation: nobody else has loaded another one meanwhile.
    ///
    /// # Errors
    ///
    /// When it is not, and as above.
    pub async fn use_loaded(
        self: &Arc<Self>,
        slot: &str,
        generation: u64,
        by: &str,
    ) -> Result<Done<SlotStatus>, SwapError> {
        let nothing = "candidate of this generation any more; somebody loaded another one meanwhile";
        self.swap_if(("use", slot), false, by, nothing, Only::Candidate(generation)).await
    }

    /// Lets the plugin serve again that was active before.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not take over; the active one goes on.
    pub async fn rollback(self: &Arc<Self>, slot: &str, fresh: bool, by: &str) -> Result<Done<SlotStatus>, SwapError> {
        let nothing = "previous version; nothing was used before this one";
        self.swap_if(("rollback", slot), fresh, by, nothing, Only::Any).await
    }

    /// Swaps, if the slot still is as it is meant to be.
    async fn swap_if(
        self: &Arc<Self>,
        (step, slot): (&'static str, &str),
        fresh: bool,
        by: &str,
        nothing: &str,
        only: Only,
    ) -> Result<Done<SlotStatus>, SwapError> {
        let _turn = self.turn.lock().await;
        let back = step == "rollback";
        let found = self.status_of(slot).ok();
        if let (Only::Active { generation, .. }, Some(found)) = (&only, &found)
            && found.generation != *generation
        {
            // It ended otherwise meanwhile.
            return Ok(Done { now: found.clone(), warning: None });
        }
        let next = found.as_ref().and_then(|found| only.next(found, back));
        let activated = match &only {
            Only::Candidate(_) if next.is_none() => {
                Err(SwapError::Nothing { slot: slot.to_owned(), what: nothing.to_owned() })
            }
            _ => self.activate(slot, back, fresh, nothing).await,
        };
        let about = About::some(next);
        let swapped = activated.and_then(|activated| Ok((activated, self.status_of(slot)?)));
        let (activated, now) = match swapped {
            Ok(swapped) => swapped,
            Err(error) if only.is_told(&error) => return Err(error),
            Err(error) => return Err(self.not_done((step, slot), about, error, by).await),
        };
        self.swaps.send_modify(|count| *count += 1);
        let unwatched = (self.is_watched(back) && !activated.watched).then(|| UNWATCHED.to_owned());
        if activated.watched {
            self.watch(slot, now.generation);
        }
        for gone in found.iter().flat_map(|found| &found.previous).filter(|before| !now.holds(before.generation)) {
            self.discarded(slot, gone.clone(), DISCARDED_AS_OLDEST).await;
        }
        let why = if let Only::Active { why, .. } = only { format!("{why}; ") } else { String::new() };
        let warning = joined([unwatched, self.unnoted(slot).await]);
        let note = format!("{why}state: {}", activated.state);
        Ok(self.done((step, slot), now, about, (Some(note), warning), by).await)
    }

    /// Whether the version that takes over is to be on probation.
    fn is_watched(&self, back: bool) -> bool {
        !back && !self.config.probation.lasts.is_zero()
    }

    async fn activate(&self, name: &str, back: bool, fresh: bool, nothing: &str) -> Result<Activated, SwapError> {
        let Plugins { codecs, aggregator, warmer } = &self.plugins;
        let none = || SwapError::Nothing { slot: name.to_owned(), what: nothing.to_owned() };
        let probation = self.is_watched(back);
        self.remember(name);
        if back {
            self.catch_up(name).await;
        }
        if let Some((at, slot)) = codecs.slot(name) {
            let next = next(slot, back).ok_or_else(none)?;
            return codecs.activate(at, &next, back, probation).map_err(refused);
        }
        if **aggregator.slot().name() == *name {
            let next = next(aggregator.slot(), back).ok_or_else(none)?;
            let activated = aggregator.activate(next, fresh, probation).await;
            return activated.map_err(|error| SwapError::Refused(stateless(&error.to_string())));
        }
        if **warmer.slot().name() == *name {
            let next = next(warmer.slot(), back).ok_or_else(none)?;
            let warmer = warmer.clone();
            let activated = aside(move || warmer.activate(&next, fresh, probation)).await?;
            return activated.map_err(|error| SwapError::Refused(stateless(&error.to_string())));
        }
        Err(self.no_slot(name))
    }

    /// Forgets the candidate or a previous generation.
    ///
    /// # Errors
    ///
    /// When the slot has none of this number, or it is the active one.
    pub async fn discard(&self, slot: &str, generation: u64, by: &str) -> Result<Done<SlotStatus>, SwapError> {
        let _turn = self.turn.lock().await;
        let found = self.slot(slot).and_then(|found| {
            let what = || format!("generation {generation} that could be discarded");
            found.discard(generation).ok_or_else(|| SwapError::Nothing { slot: slot.to_owned(), what: what() })
        });
        let step = ("discard", slot);
        let discarded = found.and_then(|gone| {
            self.part(slot, |companion| companion == generation)?;
            Ok((gone, self.status_of(slot)?))
        });
        match discarded {
            Ok((gone, now)) => {
                let unnoted = self.unnoted(slot).await;
                Ok(self.done(step, now, gone.into(), (None, unnoted), by).await)
            }
            Err(error) => {
                // The one that serves is known, and cannot be discarded.
                let active = self.status_of(slot).ok().map(|status| status.active());
                let about = About::some(active.filter(|active| active.generation == generation));
                Err(self.not_done(step, about, error, by).await)
            }
        }
    }

    /// Where every step is written down.
    pub const fn audit(&self) -> &Arc<Audit> {
        &self.audit
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
    async fn note(&self, slot: &str) -> Result<(), SwapError> {
        let chain = self.slot(slot)?.identities().iter().map(|identity| Held::of(identity)).collect();
        let spec = self.config.specs().find(|spec| spec.name == slot).ok_or_else(|| self.no_slot(slot))?.clone();
        self.in_store(move |store| store.note(&spec, chain)).await?;
        self.prune().await;
        Ok(())
    }

    /// Deletes the components that no slot needs. Of the step that left them, what came of it is told, and not that they
    /// are still there: that is in the log, and the next step tries it again.
    async fn prune(&self) {
        let candidates = self.plugins.status().into_iter().filter_map(|status| status.candidate);
        let candidates: Vec<_> = candidates.map(|candidate| candidate.sha256).collect();
        if let Err(error) = self.in_store(move |store| store.prune(&candidates)).await {
            tracing::error!(%error, "components that nobody needs any more could not be deleted");
        }
    }

    /// Changes the store where nobody else waits for the disk.
    async fn in_store(&self, change: impl FnOnce(&Store) -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let store = self.store.clone();
        spawn_blocking(move || change(&store)).await.map_err(io::Error::other).flatten()
    }

    fn reports(&self) -> sync::MutexGuard<'_, BTreeMap<String, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a version does not take over, and the way out.
fn stateless(why: &str) -> String {
    format!("{why}; the active version goes on. To start the new one without the old state, say so: `--fresh`")
}

fn next<P>(slot: &Slot<P>, back: bool) -> Option<Arc<Generation<P>>> {
    if back { slot.previous() } else { slot.candidate() }
}

impl<P: Send + Sync> AnySlot for Slot<P> {
    fn active(&self) -> u64 {
        Self::active(self).number
    }

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::market::{Aggregator as _, Signal, ViewRequest};
    use crate::plugin::bindings::{AggregatorPlugin, WarmerPlugin};
    use crate::plugin::config::Probation;
    use crate::plugin::warmer::Policy;
    use crate::plugin::{Limits, guest};
    use crate::record::Time;
    use crate::telemetry::audit::Entry;
    use crate::warm::Warmer as _;

    /// How long something may take that happens by itself: what runs beside gives way to everything else on the machine.
    const PATIENCE: Duration = Duration::from_secs(300);

    /// An operator over the aggregator that counts.
    pub(super) fn operator() -> (tempfile::TempDir, Arc<Operator>) {
        operator_over(|_| {})
    }

    /// The same, over data that is prepared like this.
    pub(super) fn operator_over(prepare: impl FnOnce(&Path)) -> (tempfile::TempDir, Arc<Operator>) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        prepare(&data);
        let aggregator = guest::spec(dir.path(), "aggregator", &guest::aggregator());
        let config = Config {
            aggregator,
            probation: Probation { lasts: Duration::from_secs(3_600), ..Probation::default() },
            ..Config::default()
        };
        let operator = Arc::new(Operator::new(config, &data).unwrap());
        (dir, operator)
    }

    /// Makes a component the candidate that `load` would refuse, because it breaks the contract.
    pub(super) fn offer(operator: &Operator, dir: &tempfile::TempDir, component: &[u8]) {
        let spec = guest::spec(dir.path(), "next", component);
        let loaded = operator.loader.load::<AggregatorPlugin>(&spec, &Limits::AGGREGATOR).unwrap();
        operator.plugins().aggregator.slot().offer(loaded.identity.clone(), Arc::new(loaded));
    }

    async fn ingest(operator: &Operator, seq: u64, body: &'static str) -> usize {
        let signal = Signal { seq, received_at: Time::now(), body: Bytes::from_static(body.as_bytes()) };
        operator.plugins().aggregator.ingest(Time::now(), vec![signal]).await.unwrap().len()
    }

    async fn count(operator: &Operator) -> String {
        let views = vec![ViewRequest { name: "count".to_owned(), limit: 1 }];
        let bodies = operator.plugins().aggregator.compose(Time::now(), views, Arc::from([])).await.unwrap();
        String::from_utf8(bodies[0].to_vec()).unwrap()
    }

    async fn last_step(operator: &Operator) -> Entry {
        operator.audit().last(1).unwrap().remove(0)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_that_traps_is_rolled_back_by_itself_and_what_it_lost_is_not_lost() {
        let (dir, operator) = operator();
        assert_eq!(ingest(&operator, 1, "{}").await, 0);
        offer(&operator, &dir, &guest::aggregator_that_traps());
        let used = operator.use_candidate("aggregator", false, "test").await.unwrap();
        assert_eq!(used.now.generation, 2);
        // Three instances each, and then the signal is quarantined: refused by name, and known to the version before.
        assert_eq!(ingest(&operator, 2, "{}").await, 1);
        assert_eq!(ingest(&operator, 3, "{}").await, 1);
        let rolled_back = async {
            while last_step(&operator).await.step != "rollback" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, rolled_back).await.expect("it is rolled back");
        let Entry { by, note, .. } = last_step(&operator).await;
        assert_eq!(by, "probation");
        assert!(
            note.as_deref().is_some_and(|note| note.contains("faults (") && note.contains("went on beside")),
            "{note:?}"
        );
        assert_eq!(count(&operator).await, "\"3\"", "the version before was fed all along");
        assert_eq!(ingest(&operator, 4, "{}").await, 0);
        let report = operator.report("aggregator").unwrap();
        assert!(report.active.faults["trap"] > 3 && report.other.faults.is_empty(), "{report:?}");
    }

    /// Does this over and over until probation rolls back; answers what is written of that. The version before hears all of it,
    /// however late: one that misses something does not go on beside.
    async fn rolled_back(operator: &Operator, slot: &str, meanwhile: impl AsyncFn()) -> String {
        let rolled_back = async {
            while last_step(operator).await.step != "rollback" {
                match operator.report(slot).unwrap().queued_bytes {
                    0 => meanwhile().await,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, rolled_back).await.expect("it is rolled back");
        let Entry { by, note, .. } = last_step(operator).await;
        assert_eq!(by, PROBATION);
        note.expect("a reason")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_that_is_slow_is_rolled_back_by_itself() {
        let (dir, operator) = operator();
        offer(&operator, &dir, &guest::aggregator_that_is_slow());
        operator.use_candidate("aggregator", false, "test").await.unwrap();
        let why = rolled_back(&operator, "aggregator", async || assert_eq!(ingest(&operator, 1, "{}").await, 0)).await;
        assert!(why.contains("us where the version before took") && why.contains("went on beside"), "{why}");
        assert_eq!(operator.status_of("aggregator").unwrap().generation, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_warmer_that_traps_is_rolled_back_by_itself() {
        let (dir, operator) = operator();
        let spec = guest::spec(dir.path(), "next", &guest::warmer());
        let loaded = operator.loader.load::<WarmerPlugin>(&spec, &Limits::WARMER).unwrap();
        let warmer = &operator.plugins().warmer;
        warmer.slot().offer(loaded.identity.clone(), Arc::new(Policy::new(loaded).unwrap()));
        operator.use_candidate("warmer", false, "test").await.unwrap();
        // With this budget that one traps.
        let plan = async || warmer.plan(Time::now(), Vec::new(), 1).await;
        plan().await.unwrap_err();
        let why = rolled_back(&operator, "warmer", async || drop(plan().await)).await;
        assert!(why.contains("faults (") && why.contains("trap") && why.contains("went on beside"), "{why}");
        assert_eq!(operator.status_of("warmer").unwrap().generation, 1);
        plan().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rollback_that_fails_is_tried_until_somebody_decides_otherwise_and_told_once() {
        let (dir, operator) = operator();
        offer(&operator, &dir, &guest::aggregator_that_refuses_states());
        operator.use_candidate("aggregator", false, "test").await.unwrap();
        offer(&operator, &dir, &guest::aggregator());
        let active = operator.use_candidate("aggregator", false, "test").await.unwrap().now.generation;
        // The version before is not beside it any more, refuses its state, and the tape does not reach back.
        operator.part("aggregator", |_| true).unwrap();
        let bulk = Bytes::from(vec![b' '; 1 << 20]);
        for seq in 1..=6 {
            let signal = Signal { seq, received_at: Time::now(), body: bulk.clone() };
            operator.plugins().aggregator.ingest(Time::now(), vec![signal]).await.unwrap();
        }
        let trying = {
            let operator = operator.clone();
            tokio::spawn(async move { operator.roll_back_because("aggregator", active, "for a test").await })
        };
        let told = async {
            while last_step(&operator).await.by != PROBATION {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("it is told");
        assert!(last_step(&operator).await.result.contains("the active version goes on"));
        operator.rollback("aggregator", true, "test").await.unwrap();
        tokio::time::timeout(PATIENCE, trying).await.expect("it ends").unwrap();
        let log = operator.audit().last(20).unwrap();
        assert_eq!(log.iter().filter(|entry| entry.by == PROBATION).count(), 1, "{log:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_that_refuses_the_state_is_given_the_recorded_inputs_and_refused_where_the_tape_does_not_reach_back()
     {
        let (dir, operator) = operator();
        for seq in 1..=3 {
            assert_eq!(ingest(&operator, seq, "{}").await, 0);
        }
        offer(&operator, &dir, &guest::aggregator_that_refuses_states());
        operator.use_candidate("aggregator", false, "test").await.unwrap();
        assert_eq!(count(&operator).await, "\"3\"");
        let note = last_step(&operator).await.note.unwrap();
        assert!(note.contains("rebuilt from 3 recorded inputs"), "{note}");
        operator.rollback("aggregator", false, "test").await.unwrap();

        // More than a tape holds: what it forgot is in a state that the next version refuses.
        let bulk = Bytes::from(vec![b' '; 1 << 20]);
        for seq in 4..=9 {
            let signal = Signal { seq, received_at: Time::now(), body: bulk.clone() };
            operator.plugins().aggregator.ingest(Time::now(), vec![signal]).await.unwrap();
        }
        offer(&operator, &dir, &guest::aggregator_that_refuses_states());
        let refused = operator.use_candidate("aggregator", false, "test").await.unwrap_err().to_string();
        assert!(refused.contains("restore") && refused.contains("--fresh"), "{refused}");
        let Entry { plugin, version, sha256, result, .. } = last_step(&operator).await;
        assert_eq!((plugin.as_deref(), version.as_deref(), &result), (Some("test-plugin"), Some("1.2.3"), &refused));
        assert_eq!(sha256, operator.status_of("aggregator").unwrap().candidate.map(|candidate| candidate.sha256));
        assert_eq!(count(&operator).await, "\"9\"", "the active one goes on");
        operator.use_candidate("aggregator", true, "test").await.unwrap();
        assert_eq!(count(&operator).await, "\"0\"");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_candidate_that_refuses_the_state_is_shadowed_without_it_and_only_the_report_tells() {
        let (dir, operator) = operator();
        // More than a tape holds: what it forgot is in a state that the candidate refuses.
        let bulk = Bytes::from(vec![b' '; 1 << 20]);
        for seq in 1..=6 {
            let signal = Signal { seq, received_at: Time::now(), body: bulk.clone() };
            operator.plugins().aggregator.ingest(Time::now(), vec![signal]).await.unwrap();
        }
        offer(&operator, &dir, &guest::aggregator_that_refuses_states());
        let shadowed = operator.shadow("aggregator", "test").await.unwrap();
        assert_eq!((shadowed.now.generation, shadowed.warning), (1, None));
        let differs = async {
            while operator.report("aggregator").unwrap().different == 0 {
                assert_eq!(count(&operator).await, "\"6\"", "the active one is served");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, differs).await.expect("the candidate begins at none");
        let state = operator.report("aggregator").unwrap().state;
        assert!(state.starts_with("not taken over, and it began without: ") && state.contains("restore"), "{state}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_steps_at_once_each_finds_what_the_one_before_it_left() {
        let (dir, operator) = operator();
        let mut other = guest::aggregator();
        // A section that means nothing.
        other.extend_from_slice(&[0, 3, 2, b'v', b'a']);
        offer(&operator, &dir, &other);
        operator.use_candidate("aggregator", false, "test").await.unwrap();
        let steps: Vec<_> = (0..8)
            .map(|_| {
                let operator = operator.clone();
                tokio::spawn(async move { operator.rollback("aggregator", false, "test").await.map(drop) })
            })
            .collect();
        for step in steps {
            step.await.unwrap().unwrap();
        }
        let log = operator.audit().last(9).unwrap();
        assert!(log.iter().all(|entry| entry.result == "done"), "{log:?}");
        let served: Vec<_> = log.iter().map(|entry| entry.sha256.clone()).collect();
        assert!(served.windows(2).all(|two| two[0] != two[1]), "one and the other by turns: {log:?}");
        assert_eq!(operator.status_of("aggregator").unwrap().generation, 2);
    }
}
