//! The policy with its state: one plan after the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::case::Case;
use crate::config::Config;
use crate::contract::{Action, Error, KeyState, Micros, Step};
use crate::decide::{self, Decision};
use crate::known::Remembered;
use crate::rank::{self, Standing};
use crate::state::State;
use crate::tasks::Task;

/// The default warmer.
#[derive(Debug)]
pub struct Warmer {
    config: Config,
    tasks: BTreeMap<String, Task>,
    state: State,
}

impl Warmer {
    /// A warmer that remembers nothing; `config` is the operator's JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when the configuration is wrong; it names the field.
    pub fn new(config: &[u8]) -> Result<Self, Error> {
        let config = Config::from_json(config)?;
        let tasks = config.tasks.iter().map(|task| (task.key.clone(), task.clone())).collect();
        Ok(Self { config, tasks, state: State::default() })
    }

    /// The keys of the tasks.
    pub fn watches(&self) -> Vec<String> {
        self.config.tasks.iter().map(|task| task.key.clone()).collect()
    }

    /// The number of keys that are remembered.
    pub fn remembered(&self) -> usize {
        self.state.keys.len()
    }

    /// One action for each key, what is due first, in the order in which it should go. `max_actions` is the number that the
    /// host will carry out; what stands behind it is told so, and rises until its turn comes.
    pub fn plan(&mut self, now: Micros, keys: &[KeyState], max_actions: u32) -> Vec<Action> {
        let elapsed = self.state.begin(now);
        let mut told = BTreeSet::new();
        let (mut due, mut left) = (Vec::new(), Vec::new());
        for state in keys.iter().filter(|state| told.insert(state.key.as_str())) {
            let mut known = self.state.keys.remove(&state.key).unwrap_or_default();
            known.observe(state, now, elapsed, self.config.half_life());
            let action = self.act(state, &mut known, now);
            match action.step {
                Step::Leave => left.push(action),
                _ => due.push((known.waited(now), action)),
            }
            self.state.keys.insert(state.key.clone(), known);
        }
        let tasks = &self.tasks;
        self.state.forget(now, self.config.half_life(), self.config.keys_max, |key| tasks.contains_key(key));

        due.sort_by_key(|(waited, action)| (Reverse(action.priority), Reverse(*waited)));
        let mut actions: Vec<Action> = due.into_iter().map(|(_, action)| action).collect();
        for (index, action) in actions.iter_mut().enumerate().skip(max_actions as usize) {
            action.reason.push_str(&format!("; number {} for {max_actions} places", index + 1));
        }
        actions.append(&mut left);
        actions
    }

    /// Everything that is remembered, as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when the state has no JSON form.
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(&self.state).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Remembers what another instance saved.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] when it cannot be read; the state is as before.
    pub fn restore(&mut self, saved: &[u8]) -> Result<(), Error> {
        self.state = State::from_json(saved)?;
        Ok(())
    }

    fn act(&self, state: &KeyState, known: &mut Remembered, now: Micros) -> Action {
        let (gap, config, task) = (self.state.gap(), &self.config, self.tasks.get(&state.key));
        let case = Case { now, gap, config, task, state, known };
        let (class, Decision { step, urgency, body, next_at, reason }) = (case.class(), decide::decide(&case));
        known.propose(step, state, now);
        let priority = match step {
            Step::Leave => 0,
            _ => rank::priority(&Standing {
                class,
                urgency,
                reads: known.reads,
                cost: state.source.as_ref().map_or(0, |source| source.cost),
                failures: known.track(step).failures,
                waited: known.waited(now),
            }),
        };
        Action { key: state.key.clone(), step, body, priority, next_at, reason }
    }
}
