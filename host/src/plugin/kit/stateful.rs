//! What the kit asks of every plugin that has state.

use super::law::{Broken, Law};
use crate::plugin::bindings::{AggregatorPlugin, WarmerPlugin, World};
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::{Answered, Sandbox};
use crate::record::Time;

/// States that no plugin has saved.
const FOREIGN: [&[u8]; 6] =
    [b"", b"\xff\x00", b"null", b"[]", b"{\"scores\": 5, \"reads\": [], \"alerts\": null}", b"{"];

/// A plugin that has state.
pub(super) trait Stateful: World {
    /// Calls `save`.
    fn save(instance: Sandbox<Self>, now: Time) -> Result<Answered<Self, Vec<u8>>, PluginError>;
    /// Calls `restore`.
    fn restore(instance: Sandbox<Self>, now: Time, saved: &[u8]) -> Result<Answered<Self, ()>, PluginError>;
}

macro_rules! impl_stateful {
    ($world:ty) => {
        impl Stateful for $world {
            fn save(instance: Sandbox<Self>, now: Time) -> Result<Answered<Self, Vec<u8>>, PluginError> {
                let call = instance.within_limits("save", now);
                instance.ask(call, |s| s.world.tiergate_plugin_state().call_save(&mut s.store))
            }

            fn restore(instance: Sandbox<Self>, now: Time, saved: &[u8]) -> Result<Answered<Self, ()>, PluginError> {
                let call = instance.within_limits("restore", now);
                instance.ask(call, |s| s.world.tiergate_plugin_state().call_restore(&mut s.store, saved))
            }
        }
    };
}

impl_stateful!(AggregatorPlugin);
impl_stateful!(WarmerPlugin);

/// The state of an instance.
pub(super) fn saved<S: Stateful>(instance: Sandbox<S>, now: Time) -> Result<(Sandbox<S>, Vec<u8>), Broken> {
    let (instance, saved) = S::save(instance, now).map_err(|error| Law::Answers.failed(&error))?;
    saved.map(|saved| (instance, saved)).map_err(|error| Law::StateRoundTrip.failed(&error))
}

/// The instance with another state.
pub(super) fn restored<S: Stateful>(instance: Sandbox<S>, now: Time, saved: &[u8]) -> Result<Sandbox<S>, Broken> {
    let (instance, answer) = S::restore(instance, now, saved).map_err(|error| Law::Answers.failed(&error))?;
    answer.map(|()| instance).map_err(|error| Law::StateRoundTrip.failed(&error))
}

/// A second instance with the state of `one`; checks that it saves the same.
pub(super) fn twin<S: Stateful>(
    plugin: &Loaded<S>,
    one: Sandbox<S>,
    now: Time,
) -> Result<(Sandbox<S>, Sandbox<S>), Broken> {
    let (one, state) = saved(one, now)?;
    let other = restored(fresh(plugin)?, now, &state)?;
    let (other, again) = saved(other, now)?;
    if state != again {
        return Err(Law::StateRoundTrip.broken(format!(
            "it saved {}, and after restoring that {}",
            shown(&state),
            shown(&again)
        )));
    }
    Ok((one, other))
}

/// Offers states that are none, and checks that those which are refused leave the state as it was.
pub(super) fn foreign_states<S: Stateful>(plugin: &Loaded<S>, now: Time) -> Result<(), Broken> {
    for foreign in FOREIGN {
        let (instance, before) = saved(fresh(plugin)?, now)?;
        let (instance, answer) = match S::restore(instance, now, foreign) {
            Ok(answered) => answered,
            // The host throws such an instance away, and it is the plugin's right to ask for it.
            Err(error) if matches!(error.cause, Cause::Internal(_)) => continue,
            Err(error) => {
                let broken = Law::Answers.failed(&error);
                return Err(Broken {
                    what: format!("offered the state {}: {}", shown(foreign), broken.what),
                    ..broken
                });
            }
        };
        let (_, after) = saved(instance, now)?;
        if answer.is_err() && before != after {
            let what = format!("it refuses the state {}, and then saves {}", shown(foreign), shown(&after));
            return Err(Law::RefusedStateChangesNothing.broken(what));
        }
    }
    Ok(())
}

/// A new instance.
pub(super) fn fresh<S: World>(plugin: &Loaded<S>) -> Result<Sandbox<S>, Broken> {
    plugin.start().map_err(|error| Law::Answers.failed(&error))
}

/// The beginning of some bytes, for a person.
pub(super) fn shown(bytes: &[u8]) -> String {
    format!("{:?}", super::blob::Blob(bytes.to_vec()))
}
