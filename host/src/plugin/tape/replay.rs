//! [`replay`]: what another version of a plugin would have answered to the calls on a tape.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::file::{self, Line, Recorded};
use super::json;
use crate::plugin::bindings::{AggregatorPlugin, CodecPlugin, WarmerPlugin, World};
use crate::plugin::call::{Faults, Question};
use crate::plugin::config::{Config, PluginSpec};
use crate::plugin::error::PluginError;
use crate::plugin::loader::Loader;
use crate::plugin::shadow::{Difference, Runner, values};
use crate::plugin::slot::{Generation, Identity};
use crate::plugin::{aggregator, codec, load_aggregator, load_codec, load_warmer, start, warmer};
use crate::record::Time;

/// Differences that are told of.
const EXAMPLES_MAX: usize = 20;

/// What came of a replay.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The plugin that was asked.
    pub plugin: String,
    /// Its version.
    pub version: Option<String>,
    /// Calls on the tape.
    pub calls: usize,
    /// Calls that were not asked, because no state before them is one that the plugin takes.
    pub skipped: usize,
    /// Why, if there are any.
    pub refused_state: Option<String>,
    /// Answers that are the same to the byte.
    pub identical: usize,
    /// Answers that say the same in another form.
    pub same: usize,
    /// Answers that say something else.
    pub different: usize,
    /// Instances that were lost, by cause.
    pub faults: Vec<&'static str>,
    /// The first differences.
    pub examples: Vec<Otherwise>,
}

/// A decision that would have been another.
#[derive(Debug, Serialize)]
pub struct Otherwise {
    /// The call's place on the tape, from 1.
    pub at: usize,
    /// When it was made, in Unix microseconds.
    pub now: Time,
    /// The call.
    pub call: &'static str,
    /// What it was about.
    pub about: String,
    /// The first place that differs, as a JSON pointer.
    pub path: String,
    /// Places that differ.
    pub places: usize,
    /// What was answered then.
    pub then: String,
    /// What this version answers.
    pub now_answered: String,
}

/// Why there is no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The tape cannot be read.
    #[error("the tape: {0}")]
    Tape(String),
    /// The plugin cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The engine does not start.
    #[error("the plugin engine: {0}")]
    Engine(String),
}

/// Asks the plugin that `spec` names what the tape's was asked, with the tape's configuration if it names none. Native code is
/// kept in `cache_dir`.
///
/// # Errors
///
/// When the tape or the plugin cannot be read.
pub fn replay(spec: &PluginSpec, tape: &[u8], cache_dir: &Path) -> Result<Replay, ReplayError> {
    let recorded = file::read(tape).map_err(ReplayError::Tape)?;
    let spec = &configured(spec, &recorded);
    let config = Config::default();
    let loader = start(&config, cache_dir).map_err(|error| ReplayError::Engine(format!("{error:#}")))?;
    match &*recorded.world {
        CodecPlugin::NAME => {
            let (identity, codec) = load_codec(&loader, spec, 0, &config)?;
            Ok(run(recorded, &identity, codec::Reader(generation(&identity, codec))))
        }
        AggregatorPlugin::NAME => {
            let (identity, aggregator) = load_aggregator(&loader, spec, &config)?;
            Ok(run(recorded, &identity, aggregator::Life::new(generation(&identity, aggregator))))
        }
        WarmerPlugin::NAME => {
            let (identity, policy) = load_warmer(&loader, spec, &config)?;
            Ok(run(recorded, &identity, warmer::Planner::new(generation(&identity, policy))))
        }
        other => Err(ReplayError::Tape(format!("line 1: there is no world `{}`", other.escape_default()))),
    }
}

/// `spec`, with the tape's configuration if it names none.
fn configured(spec: &PluginSpec, recorded: &Recorded) -> PluginSpec {
    if !spec.config.is_null() {
        return spec.clone();
    }
    // What cannot be read is told of when it is loaded.
    let sha256 = Loader::digest(spec).ok();
    PluginSpec { config: recorded.config(sha256.as_deref()), ..spec.clone() }
}

fn generation<P>(identity: &Arc<Identity>, plugin: Arc<P>) -> Arc<Generation<P>> {
    Arc::new(Generation { number: 1, loaded_at: Time::now(), identity: identity.clone(), plugin })
}

fn run<R: Runner>(recorded: Recorded, identity: &Identity, mut runner: R) -> Replay {
    let mut replay = Replay::of(identity);
    // A tape that begins with a call begins where the plugin did.
    let mut in_step = true;
    for (at, line) in recorded.lines.into_iter().enumerate() {
        match line {
            Line::State(state) => {
                // What comes after other calls is where those have led to.
                if replay.calls == 0 || !in_step {
                    let seeded = runner.seed(&state.into());
                    in_step = seeded.is_ok();
                    replay.refused_state = replay.refused_state.or(seeded.err().map(|error| error.to_string()));
                }
            }
            Line::Call { question, answer, .. } => {
                replay.calls += 1;
                if !in_step {
                    replay.skipped += 1;
                    continue;
                }
                let (ours, faults) = runner.answer(&question);
                replay.compare(at, &question, answer, json::answer(&ours), faults);
                runner.settle();
            }
        }
    }
    replay
}

// === impl Replay ===

impl Replay {
    fn of(identity: &Identity) -> Self {
        Self {
            plugin: identity.name.to_string(),
            version: identity.version.as_deref().map(str::to_owned),
            calls: 0,
            skipped: 0,
            refused_state: None,
            identical: 0,
            same: 0,
            different: 0,
            faults: Faults::new(),
            examples: Vec::new(),
        }
    }

    fn compare(&mut self, at: usize, question: &Question, then: Value, ours: Value, faults: Faults) {
        self.faults.extend(faults);
        if then == ours {
            self.identical += 1;
            return;
        }
        let (now, call) = (question.now(), question.call());
        let Some(Difference { path, active, other, places, .. }) =
            values(call, &json::opened(&json::whole(question, then)), &json::opened(&json::whole(question, ours)))
        else {
            self.same += 1;
            return;
        };
        self.different += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let about = question.summary();
            self.examples.push(Otherwise { at, now, call, about, path, places, then: active, now_answered: other });
        }
    }
}
