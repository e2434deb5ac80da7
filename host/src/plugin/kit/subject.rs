//! [`Subject`]: a kind of plugin as the kit sees it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PluginKind;
use super::law::{Broken, Law};
use super::patience::patiently;
use crate::plugin::bindings::World;
use crate::plugin::config::Config;
use crate::plugin::error::PluginError;
use crate::plugin::limits::Limits;
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::Sandbox;

/// A kind of plugin that can be checked and measured.
pub(in crate::plugin) trait Subject: World {
    /// Its kind.
    const KIND: PluginKind;

    /// The laws of this kind, besides that it answers.
    const LAWS: &'static [Law];

    /// One input, or several that belong together.
    type Case: Serialize + DeserializeOwned;

    /// The limits of a gateway.
    fn limits(config: &Config) -> &Limits;

    /// What it says of itself when it starts, or what is wrong with that.
    fn introduction(plugin: &Loaded<Self>) -> Result<String, PluginError>;

    /// Everything that is to be thrown at it.
    fn groups(plugin: &Loaded<Self>, seed: u64) -> Result<Vec<Group<Self::Case>>, PluginError>;

    /// The few that are thrown at it when a running gateway loads it.
    fn vectors(plugin: &Loaded<Self>) -> Result<Vec<(String, Self::Case)>, PluginError>;

    /// Holds its answers to one case against the laws. `used` is an instance that has answered other cases.
    fn judge(plugin: &Loaded<Self>, used: &mut Option<Sandbox<Self>>, case: &Self::Case) -> Vec<Broken>;

    /// What a gateway asks of it all the time, for measuring.
    fn labour(plugin: &Loaded<Self>) -> Result<(String, Self::Case), PluginError>;

    /// Does a labour once.
    fn work(instance: Sandbox<Self>, case: &Self::Case) -> Result<Sandbox<Self>, PluginError>;
}

/// Cases of one sort.
pub(in crate::plugin) struct Group<C> {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    /// Each with a name.
    pub(super) cases: Vec<(String, C)>,
}

/// Checks, in far less than a second, that a plugin keeps the laws of its kind.
///
/// # Errors
///
/// The first law that it breaks, and by what.
pub(in crate::plugin) fn vectors<S: Subject>(plugin: &Loaded<S>) -> Result<(), PluginError> {
    let mut used = None;
    for (name, case) in S::vectors(plugin)? {
        let broken = patiently(|| S::judge(plugin, &mut used, &case));
        if let Some(Broken { law, what, .. }) = broken.first() {
            return Err(plugin.identity.refused(format!(
                "it fails the conformance vector `{name}` ({}): {what}; `tiergate plugin check` shows all that is \
                 wrong, with the inputs to repeat it",
                law.promise()
            )));
        }
    }
    Ok(())
}
