//! [`WarmerSlot`]: the warmer, one instance at a time.
//!
//! A plan is asked for about once a second, so there is nothing to gain from a thread or a pool of its own. The state is
//! saved after each plan; an instance that is lost is replaced by one that knows what it knew then.

mod convert;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use crate::record::{Key, Time};
use crate::warm::{Action, KeyState, Warmer, WarmerError};

use super::bindings::{WarmerPlugin, World as _};
use super::call::{Answer, Faults, Question, Stopwatch, Taken};
use super::error::{Cause, PluginError};
use super::loaded::Loaded;
use super::sandbox::{Answered, BEGINNING, Call, Sandbox};
use super::shadow::{Activated, Companion, Handover, Mode, Runner, beside, take_over};
use super::slot::{Generation, Identity, Slot, SlotStatus};
use super::tap::{AnyTap as _, Tap};
use super::tape::Room;

/// Plans after which the state is put on the tape.
const PLANS_PER_STATE: u32 = 60;

pub(super) use convert::actions;

type Instance = Sandbox<WarmerPlugin>;

/// The warmer's place.
pub struct WarmerSlot {
    slot: Arc<Slot<Policy>>,
    running: Arc<Mutex<Running>>,
    tap: Arc<Tap<Planner>>,
}

/// A warmer, and the keys that it watches.
pub(super) struct Policy {
    pub(super) warmer: Loaded<WarmerPlugin>,
    watches: Vec<Key>,
}

/// The active version.
struct Running {
    planner: Planner,
    /// Plans since the state was put on the tape.
    plans: u32,
}

/// A version of the warmer with its state, whatever instances it goes through.
pub(super) struct Planner {
    generation: Arc<Generation<Policy>>,
    /// `None` after a call that cost it.
    instance: Option<Instance>,
    /// The state after the last plan.
    saved: Option<Arc<[u8]>>,
}

// === impl Policy ===

impl Policy {
    /// Asks a warmer which keys it watches, and checks that it saves a state that it restores.
    pub(super) fn new(warmer: Loaded<WarmerPlugin>) -> Result<Self, PluginError> {
        let (instance, saved) = save_at(warmer.start()?, BEGINNING)?;
        let (instance, restored) = restore(instance, &saved?)?;
        restored?;
        let (_, watches) = watches(instance)?;
        Ok(Self { warmer, watches })
    }
}

/// The keys that a warmer watches.
pub(super) fn watches(instance: Instance) -> Result<(Instance, Vec<Key>), PluginError> {
    let call = Call::at_start("watches");
    let (instance, keys) =
        instance.call(call, |s| s.world.tiergate_plugin_warmer().call_watches(&mut s.store), |_| "ok")?;
    match convert::keys(keys) {
        Ok(keys) => Ok((instance, keys)),
        Err(what) => Err(instance.condemn(call, what)),
    }
}

// === impl WarmerSlot ===

impl WarmerSlot {
    pub(super) fn new(slot: Slot<Policy>, tape_bytes_max: usize) -> Self {
        let running = Running { planner: Planner::new(slot.active()), plans: 0 };
        let tap = Arc::new(Tap::new(tape_bytes_max));
        Self { slot: Arc::new(slot), running: Arc::new(Mutex::new(running)), tap }
    }

    pub(super) fn slot(&self) -> &Slot<Policy> {
        &self.slot
    }

    pub(super) fn tap(&self) -> &Tap<Planner> {
        &self.tap
    }

    /// Lets `candidate` run beside the active version, from its state on.
    pub(super) fn shadow(&self, candidate: &Arc<Generation<Policy>>) -> Result<(), PluginError> {
        let running = lock(&self.running);
        let (next, saved, record) = (candidate.clone(), running.planner.saved.clone(), self.tap.record());
        let make = move || {
            let new = || Planner::new(next.clone());
            match saved {
                Some(saved) => beside(new, Ok(saved), &record),
                None => (new(), Handover::Nothing.to_string()),
            }
        };
        self.tap.accompany(candidate, Mode::Shadow, make)
    }

    /// Lets `next` plan from now on, with the state of the one before it, or without any if `fresh`. On `probation` the one
    /// before it goes on beside it. On an error nothing changes.
    pub(super) fn activate(
        &self,
        next: &Arc<Generation<Policy>>,
        fresh: bool,
        probation: bool,
    ) -> Result<Activated, PluginError> {
        let mut running = lock(&self.running);
        let new = || Planner::new(next.clone());
        let (mut planner, state) = if fresh {
            (new(), Handover::Fresh)
        } else if let Some(planner) = self.tap.come_back(next.number).and_then(Companion::finish) {
            (planner, Handover::Kept)
        } else {
            match running.planner.saved.clone() {
                Some(saved) => take_over(new, Ok(saved), || self.tap.record().histories())?,
                None => (new(), Handover::Nothing),
            }
        };
        let saved = planner.save(Time::now())?;
        let before = std::mem::replace(&mut running.planner, planner);
        running.plans = 0;
        self.tap.taken_over(&state);
        self.tap.state(&saved);
        self.tap.dismiss(&|_| true);
        self.slot.activate(next);
        let old = before.generation.clone();
        let watched = probation && {
            let make = move || (before, "its own: it was active".to_owned());
            self.tap.watch(next, &old, make)
        };
        Ok(Activated { state, watched })
    }

    /// The slot as operators see it.
    pub fn status(&self) -> SlotStatus {
        self.slot.status(WarmerPlugin::NAME, self.tap.beside())
    }
}

#[async_trait]
impl Warmer for WarmerSlot {
    async fn watches(&self) -> Result<Vec<Key>, WarmerError> {
        Ok(self.slot.active().plugin.watches.clone())
    }

    async fn plan(&self, now: Time, keys: Vec<KeyState>, actions_max: u32) -> Result<Vec<Action>, WarmerError> {
        let (running, tap) = (self.running.clone(), self.tap.clone());
        // Where it holds up nobody; and under the lock, so that a swap changes all or nothing.
        let called = spawn_blocking(move || lock(&running).plan(&tap, now, keys.into(), actions_max));
        let answer = called.await.map_err(|died| WarmerError(format!("the call died: {died}")))?;
        answer.map_err(|error| WarmerError(error.to_string()))
    }
}

// === impl Running ===

impl Running {
    /// Makes a plan and lets it be heard.
    fn plan(
        &mut self,
        tap: &Tap<Planner>,
        now: Time,
        keys: Arc<[KeyState]>,
        actions_max: u32,
    ) -> Result<Vec<Action>, PluginError> {
        let spent = Stopwatch::start();
        let planned = self.planner.plan(now, &keys, actions_max);
        let took = spent.took();
        let answer = Answer::of(planned.clone(), Answer::Planned);
        let taken = Taken::new(&self.planner.generation, Question::Plan { now, keys, actions_max }, answer, took);
        let room = tap.heard(taken);
        self.plans += 1;
        if room == Room::NeedsState || self.plans >= PLANS_PER_STATE {
            self.plans = 0;
            match &self.planner.saved {
                Some(saved) => tap.state(saved),
                None => tap.no_state(),
            }
        }
        planned
    }
}

// === impl Planner ===

impl Planner {
    /// A version that has made no plan.
    pub(super) fn new(generation: Arc<Generation<Policy>>) -> Self {
        Self { generation, instance: None, saved: None }
    }

    fn restore(&mut self, saved: &Arc<[u8]>) -> Result<(), PluginError> {
        let (instance, answer) = restore(self.generation.plugin.warmer.start()?, saved)?;
        answer?;
        (self.instance, self.saved) = (Some(instance), Some(saved.clone()));
        Ok(())
    }

    fn save(&mut self, now: Time) -> Result<Arc<[u8]>, PluginError> {
        let (instance, saved) = save_at(self.ready()?, now)?;
        let saved: Arc<[u8]> = saved?.into();
        (self.instance, self.saved) = (Some(instance), Some(saved.clone()));
        Ok(saved)
    }

    fn plan(&mut self, now: Time, keys: &[KeyState], actions_max: u32) -> Result<Vec<Action>, PluginError> {
        let states: Vec<_> = keys.iter().map(convert::state).collect();
        let instance = self.ready()?;
        let call = instance.within_limits("plan", now);
        let plan = |s: &mut Instance| {
            s.world.tiergate_plugin_warmer().call_plan(&mut s.store, now.micros(), &states, actions_max)
        };
        let (instance, answer) = instance.ask(call, plan)?;
        let plan = match answer.map(convert::actions) {
            Ok(Ok(plan)) => plan,
            Ok(Err(what)) => return Err(instance.condemn(call, what)),
            Err(error) => {
                self.instance = Some(instance);
                return Err(error);
            }
        };
        let (instance, saved) = save_at(instance, now)?;
        self.saved = Some(saved?.into());
        if !instance.is_worn() {
            self.instance = Some(instance);
        }
        Ok(plan)
    }

    /// The instance, or a new one that knows what the last one knew.
    fn ready(&mut self) -> Result<Instance, PluginError> {
        if let Some(instance) = self.instance.take() {
            return Ok(instance);
        }
        let Some(saved) = &self.saved else { return self.generation.plugin.warmer.start() };
        match restore(self.generation.plugin.warmer.start()?, saved) {
            Ok((instance, Ok(()))) => return Ok(instance),
            Ok((_, Err(error))) | Err(error) => {
                tracing::warn!(%error, "the warmer does not take its own state back; it starts without");
            }
        }
        self.saved = None;
        self.generation.plugin.warmer.start()
    }
}

impl Runner for Planner {
    const STATEFUL: bool = true;

    fn answer(&mut self, question: &Question) -> (Answer, Faults) {
        let planned = match question {
            Question::Plan { now, keys, actions_max } => self.plan(*now, keys, *actions_max),
            other => {
                let cause = Cause::Unsupported("a warmer has no such call".to_owned());
                Err(self.generation.identity.error(Some(other.call()), cause))
            }
        };
        Answer::of(planned, Answer::Planned)
    }

    fn seed(&mut self, state: &Arc<[u8]>) -> Result<(), PluginError> {
        self.restore(state)
    }

    fn identity(&self) -> &Identity {
        &self.generation.identity
    }
}

/// `now` is the time of the plan that led to the state, so that a replay of the plan is a replay of this.
fn save_at(instance: Instance, now: Time) -> Result<Answered<WarmerPlugin, Vec<u8>>, PluginError> {
    let call = instance.within_limits("save", now);
    instance.ask(call, |s| s.world.tiergate_plugin_state().call_save(&mut s.store))
}

fn restore(instance: Instance, saved: &[u8]) -> Result<Answered<WarmerPlugin, ()>, PluginError> {
    let call = instance.within_limits("restore", BEGINNING);
    instance.ask(call, |s| s.world.tiergate_plugin_state().call_restore(&mut s.store, saved))
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for WarmerSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WarmerSlot").field("slot", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::loader::Loader;
    use super::super::tape::Entry;
    use super::super::{Limits, engine, guest};
    use super::*;
    use crate::warm::Step;

    fn warmer() -> (tempfile::TempDir, WarmerSlot) {
        let dir = tempfile::tempdir().unwrap();
        let (identity, policy) = load(&dir, &guest::warmer());
        assert_eq!(policy.watches, [Key::new("good").unwrap()]);
        let slot = Slot::new("warmer".into(), identity, policy);
        (dir, WarmerSlot::new(slot, 1 << 20))
    }

    fn load(dir: &tempfile::TempDir, component: &[u8]) -> (Arc<Identity>, Arc<Policy>) {
        let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.path().join("code")).unwrap();
        let loaded = loader.load(&guest::spec(dir.path(), "warmer", component), &Limits::WARMER).unwrap();
        (loaded.identity.clone(), Arc::new(Policy::new(loaded).unwrap()))
    }

    async fn plan(warmer: &WarmerSlot, budget: u32) -> Result<Action, String> {
        let plan = warmer.plan(Time::now(), Vec::new(), budget).await;
        plan.map(|mut plan| plan.pop().expect("an action")).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_plan_that_fails_costs_itself_and_the_next_one_knows_what_the_last_good_one_knew() {
        let (_dir, warmer) = warmer();
        let first = plan(&warmer, 9).await.unwrap();
        assert_eq!((first.key.as_str(), &first.step, &*first.reason), ("good", &Step::Leave, "1"));
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "2");
        for (budget, expected) in [
            (1, "trap in plan"),
            (2, "deadline of 250ms exceeded in plan"),
            (3, "contract broken in plan: \"bad key\" is no key"),
        ] {
            let error = plan(&warmer, budget).await.unwrap_err();
            assert!(error.starts_with(&format!("plugin test-plugin 1.2.3: {expected}")), "{error}");
        }
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "3", "what failed is forgotten, what was saved is not");
    }

    #[tokio::test]
    async fn an_answer_internal_throws_the_instance_away_and_the_other_errors_keep_it() {
        let (_dir, warmer) = warmer();
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "1");
        for (budget, expected, then) in [
            (6, "invalid input in plan: unknown field", "3"),
            (7, "not supported in plan: unknown field", "5"),
            // Another one takes over, with the state after the last plan.
            (8, "internal error in plan: unknown field", "6"),
        ] {
            assert_eq!(plan(&warmer, budget).await.unwrap_err(), format!("plugin test-plugin 1.2.3: {expected}"));
            assert_eq!(
                plan(&warmer, 9).await.unwrap().reason,
                then,
                "{expected}: whether it knows the plan that failed"
            );
        }
    }

    fn offer(warmer: &WarmerSlot, dir: &tempfile::TempDir, component: &[u8]) -> Arc<Generation<Policy>> {
        let (identity, policy) = load(dir, component);
        warmer.slot().offer(identity, policy)
    }

    #[tokio::test]
    async fn a_swap_hands_the_state_over_and_the_way_back_takes_along_what_came_meanwhile() {
        let (dir, warmer) = warmer();
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "1");
        let activated = warmer.activate(&offer(&warmer, &dir, &guest::warmer()), false, true).unwrap();
        assert_eq!(activated, Activated { state: Handover::Restored, watched: true });
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "2");
        // A trap of the new one is made up for by what it was handed, and what it planned since.
        plan(&warmer, 1).await.unwrap_err();
        assert_eq!((plan(&warmer, 9).await.unwrap().reason.as_str(), warmer.slot().active().number), ("3", 2));
        let activated = warmer.activate(&warmer.slot().previous().unwrap(), false, false).unwrap();
        assert_eq!(activated, Activated { state: Handover::Kept, watched: false });
        assert_eq!((plan(&warmer, 9).await.unwrap().reason.as_str(), warmer.slot().active().number), ("4", 1));
    }

    #[tokio::test]
    async fn a_version_that_refuses_the_state_is_given_the_recorded_plans() {
        let (dir, warmer) = warmer();
        for _ in 1..=3 {
            plan(&warmer, 9).await.unwrap();
        }
        let next = offer(&warmer, &dir, &guest::warmer_that_refuses_states());
        let activated = warmer.activate(&next, false, false).unwrap();
        assert!(matches!(activated.state, Handover::Replayed(3, _)), "{:?}", activated.state);
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "4");
    }

    #[tokio::test]
    async fn what_a_fresh_start_discards_is_not_on_the_tape_and_what_comes_back_after_it_begins_the_tape_anew() {
        let (dir, warmer) = warmer();
        // The count that the tape begins with, the plans on it, and the ways to the state of now.
        let taped = || {
            let entries = warmer.tap().entries();
            let Some(Entry::State(first)) = entries.first() else { panic!("{entries:?}") };
            let plans = entries.iter().filter(|entry| matches!(entry, Entry::Call(_))).count();
            (first[0], plans, warmer.tap().record().histories().len())
        };
        plan(&warmer, 9).await.unwrap();
        warmer.activate(&offer(&warmer, &dir, &guest::warmer()), true, true).unwrap();
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "1");
        assert_eq!(taped(), (0, 1, 1));
        // The one that was beside it knows what was discarded.
        warmer.activate(&warmer.slot().previous().unwrap(), false, false).unwrap();
        assert_eq!(taped(), (2, 0, 1));
        warmer.activate(&offer(&warmer, &dir, &guest::warmer()), true, false).unwrap();
        plan(&warmer, 9).await.unwrap();
        let next = offer(&warmer, &dir, &guest::warmer_that_refuses_states());
        let activated = warmer.activate(&next, false, false).unwrap();
        assert!(matches!(activated.state, Handover::Replayed(1, _)), "{:?}", activated.state);
        assert_eq!(plan(&warmer, 9).await.unwrap().reason, "2", "what came since the fresh start, and nothing else");
    }
}
