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
use super::error::PluginError;
use super::loaded::Loaded;
use super::sandbox::{Answered, Call, Sandbox};
use super::slot::{Generation, Slot, SlotStatus};

type Instance = Sandbox<WarmerPlugin>;

/// The warmer's place.
pub struct WarmerSlot {
    slot: Arc<Slot<Policy>>,
    running: Arc<Mutex<Running>>,
}

/// A warmer, and the keys that it watches.
pub(super) struct Policy {
    warmer: Loaded<WarmerPlugin>,
    watches: Vec<Key>,
}

#[derive(Default)]
struct Running {
    /// `None` after a call that cost it.
    instance: Option<Instance>,
    /// The state after the last plan.
    saved: Option<Vec<u8>>,
}

// === impl Policy ===

impl Policy {
    /// Asks a warmer which keys it watches, and checks that it saves a state that it restores.
    pub(super) fn new(warmer: Loaded<WarmerPlugin>) -> Result<Self, PluginError> {
        let (instance, saved) = save(warmer.start()?)?;
        let (instance, restored) = restore(instance, &saved?)?;
        restored?;
        let call = Call::at_start("watches");
        let (instance, keys) =
            instance.call(call, |s| s.world.tiergate_plugin_warmer().call_watches(&mut s.store), |_| "ok")?;
        let watches = convert::keys(keys).map_err(|what| instance.condemn(call, what))?;
        Ok(Self { warmer, watches })
    }
}

// === impl WarmerSlot ===

impl WarmerSlot {
    pub(super) fn new(slot: Slot<Policy>) -> Self {
        Self { slot: Arc::new(slot), running: Arc::default() }
    }

    pub(super) fn slot(&self) -> &Slot<Policy> {
        &self.slot
    }

    /// Lets `next` plan from now on, with the state of the one before it, or without any if `fresh`. On an error nothing
    /// changes.
    pub(super) fn activate(&self, next: &Arc<Generation<Policy>>, fresh: bool) -> Result<(), PluginError> {
        let mut running = lock(&self.running);
        let mut instance = next.plugin.warmer.start()?;
        if let Some(saved) = running.saved.as_ref().filter(|_| !fresh) {
            let (restored, answer) = restore(instance, saved)?;
            answer?;
            instance = restored;
        }
        let (instance, saved) = save(instance)?;
        *running = Running { saved: Some(saved?), instance: Some(instance) };
        self.slot.activate(next);
        Ok(())
    }

    /// The slot as operators see it.
    pub fn status(&self) -> SlotStatus {
        self.slot.status(WarmerPlugin::NAME)
    }

    /// Runs `call` where it holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Loaded<WarmerPlugin>, &mut Running) -> Result<T, PluginError> + Send + 'static,
    ) -> Result<T, WarmerError> {
        let (slot, running) = (self.slot.clone(), self.running.clone());
        let called = spawn_blocking(move || {
            let mut running = lock(&running);
            // Under the lock: a swap changes both or neither.
            call(&slot.active().plugin.warmer, &mut running)
        });
        let answer = called.await.map_err(|died| WarmerError(format!("the call died: {died}")))?;
        answer.map_err(|error| WarmerError(error.to_string()))
    }
}

#[async_trait]
impl Warmer for WarmerSlot {
    async fn watches(&self) -> Result<Vec<Key>, WarmerError> {
        Ok(self.slot.active().plugin.watches.clone())
    }

    async fn plan(&self, now: Time, keys: Vec<KeyState>, actions_max: u32) -> Result<Vec<Action>, WarmerError> {
        self.blocking(move |warmer, running| running.plan(warmer, now, &keys, actions_max)).await
    }
}

// === impl Running ===

impl Running {
    fn plan(
        &mut self,
        warmer: &Loaded<WarmerPlugin>,
        now: Time,
        keys: &[KeyState],
        actions_max: u32,
    ) -> Result<Vec<Action>, PluginError> {
        let states: Vec<_> = keys.iter().map(convert::state).collect();
        let instance = self.ready(warmer)?;
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
        let (instance, saved) = save(instance)?;
        self.saved = Some(saved?);
        if !instance.is_worn() {
            self.instance = Some(instance);
        }
        Ok(plan)
    }

    /// The instance, or a new one that knows what the last one knew.
    fn ready(&mut self, warmer: &Loaded<WarmerPlugin>) -> Result<Instance, PluginError> {
        if let Some(instance) = self.instance.take() {
            return Ok(instance);
        }
        let Some(saved) = &self.saved else { return warmer.start() };
        match restore(warmer.start()?, saved) {
            Ok((instance, Ok(()))) => return Ok(instance),
            Ok((_, Err(error))) | Err(error) => {
                tracing::warn!(%error, "the warmer does not take its own state back; it starts without");
            }
        }
        self.saved = None;
        warmer.start()
    }
}

fn save(instance: Instance) -> Result<Answered<WarmerPlugin, Vec<u8>>, PluginError> {
    let call = instance.within_limits("save", Time::now());
    instance.ask(call, |s| s.world.tiergate_plugin_state().call_save(&mut s.store))
}

fn restore(instance: Instance, saved: &[u8]) -> Result<Answered<WarmerPlugin, ()>, PluginError> {
    let call = instance.within_limits("restore", Time::now());
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
    use super::super::{Limits, engine, guest};
    use super::*;
    use crate::warm::Step;

    fn warmer() -> (tempfile::TempDir, WarmerSlot) {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::new(engine::start(4, 64 << 20).unwrap(), &dir.path().join("code")).unwrap();
        let loaded = loader.load(&guest::spec(dir.path(), "warmer", &guest::warmer()), &Limits::WARMER).unwrap();
        let (identity, policy) = (loaded.identity.clone(), Policy::new(loaded).unwrap());
        assert_eq!(policy.watches, [Key::new("good").unwrap()]);
        let slot = Slot::new("warmer".into(), identity, Arc::new(policy));
        (dir, WarmerSlot::new(slot))
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
}
