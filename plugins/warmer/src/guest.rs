//! The plugin as its host sees it: the WIT interface over one [`Warmer`].

use std::cell::RefCell;

use crate::contract::{self, Action, Attempt, Fate, Holding, KeyState, Kind, SourceState, Step};
use crate::{NAME, VERSION, Warmer};

use bindings::exports::tiergate::plugin::{lifecycle, state, warmer};
use bindings::tiergate::plugin::{host_metrics, types};

#[allow(unsafe_code, missing_docs, reason = "generated from the WIT package: the calls across the component's border")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "warmer-plugin" });
    use super::Plugin;
    export!(Plugin);
}

thread_local! {
    /// The state of this instance; none before `init`.
    static WARMER: RefCell<Option<Warmer>> = const { RefCell::new(None) };
}

/// Runs `call` on the state.
fn with<T>(call: impl FnOnce(&mut Warmer) -> Result<T, contract::Error>) -> Result<T, types::PluginError> {
    WARMER.with_borrow_mut(|slot| match slot {
        Some(warmer) => call(warmer).map_err(Into::into),
        None => Err(types::PluginError::InvalidInput("called before `init`".to_owned())),
    })
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> lifecycle::Info {
        lifecycle::Info { name: NAME.to_owned(), version: VERSION.to_owned() }
    }

    fn init(config: Vec<u8>) -> Result<(), types::PluginError> {
        let warmer = Warmer::new(&config)?;
        WARMER.set(Some(warmer));
        Ok(())
    }
}

impl state::Guest for Plugin {
    fn save() -> Result<Vec<u8>, types::PluginError> {
        with(|warmer| warmer.save())
    }

    fn restore(saved: Vec<u8>) -> Result<(), types::PluginError> {
        with(|warmer| warmer.restore(&saved))
    }
}

impl warmer::Guest for Plugin {
    fn watches() -> Vec<String> {
        WARMER.with_borrow(|slot| slot.as_ref().map(Warmer::watches).unwrap_or_default())
    }

    fn plan(
        now: u64,
        keys: Vec<warmer::KeyState>,
        max_actions: u32,
    ) -> Result<Vec<warmer::Action>, types::PluginError> {
        let keys: Vec<KeyState> = keys.into_iter().map(Into::into).collect();
        with(|warmer| {
            let actions = warmer.plan(now, &keys, max_actions);
            let due = actions.iter().filter(|action| action.step != Step::Leave).count();
            host_metrics::add("actions_proposed", due as u64);
            host_metrics::set("keys_due", due as f64);
            host_metrics::set("keys_remembered", warmer.remembered() as f64);
            Ok(actions.into_iter().map(Into::into).collect())
        })
    }
}

impl From<contract::Error> for types::PluginError {
    fn from(error: contract::Error) -> Self {
        match error {
            contract::Error::InvalidInput(why) => Self::InvalidInput(why),
            contract::Error::Internal(why) => Self::Internal(why),
        }
    }
}

impl From<warmer::KeyState> for KeyState {
    fn from(state: warmer::KeyState) -> Self {
        Self {
            key: state.key,
            kind: state.kind.map(|kind| match kind {
                types::Kind::Placeholder => Kind::Placeholder,
                types::Kind::Real => Kind::Real,
            }),
            produced_at: state.produced_at,
            version: state.version,
            fresh_until: state.fresh_until,
            in_memory: state.in_memory,
            tiers: state.tiers.into_iter().map(Into::into).collect(),
            hits: state.hits,
            misses: state.misses,
            source: state.source.map(Into::into),
            last_attempt: state.last_attempt.map(Into::into),
            failures: state.failures,
        }
    }
}

impl From<warmer::Holding> for Holding {
    fn from(holding: warmer::Holding) -> Self {
        match holding {
            warmer::Holding::Unknown => Self::Unknown,
            warmer::Holding::Absent => Self::Absent,
            warmer::Holding::Until(until) => Self::Until(until),
        }
    }
}

impl From<warmer::SourceState> for SourceState {
    fn from(source: warmer::SourceState) -> Self {
        Self {
            name: source.name,
            interval_seconds: source.interval_seconds,
            not_before: source.not_before,
            cost: source.cost,
        }
    }
}

impl From<warmer::Attempt> for Attempt {
    fn from(attempt: warmer::Attempt) -> Self {
        let step = match attempt.step {
            warmer::Step::Promote => Step::Promote,
            warmer::Step::Refresh => Step::Refresh,
            warmer::Step::Placeholder => Step::Placeholder,
            warmer::Step::Leave => Step::Leave,
        };
        let fate = match attempt.fate {
            warmer::Fate::Done => Fate::Done,
            warmer::Fate::AlreadyThere => Fate::AlreadyThere,
            warmer::Fate::Refused => Fate::Refused,
            warmer::Fate::OverBudget => Fate::OverBudget,
            warmer::Fate::Failed => Fate::Failed,
        };
        Self { step, at: attempt.at, fate }
    }
}

impl From<Action> for warmer::Action {
    fn from(action: Action) -> Self {
        Self {
            key: action.key,
            step: match action.step {
                Step::Promote => warmer::Step::Promote,
                Step::Refresh => warmer::Step::Refresh,
                Step::Placeholder => warmer::Step::Placeholder,
                Step::Leave => warmer::Step::Leave,
            },
            body: action.body,
            priority: action.priority,
            next_at: action.next_at,
            reason: action.reason,
        }
    }
}
