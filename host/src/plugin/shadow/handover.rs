//! [`take_over`]: how a version comes by the state of the one before it.

use std::fmt;
use std::sync::Arc;

use super::Runner;
use crate::plugin::call::Taken;
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::tape::{History, Record};

/// How a version came by its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Handover {
    /// It restored what the one before it saved.
    Restored,
    /// It was given so many recorded inputs, because of this.
    Replayed(usize, PluginError),
    /// It went on beside the one before it, and needs none.
    Kept,
    /// It began without, as it was asked to.
    Fresh,
    /// There was nothing to take over.
    Nothing,
    /// Plugins of its kind have none.
    Stateless,
}

/// What came of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Activated {
    /// How the new version came by its state.
    pub(in crate::plugin) state: Handover,
    /// Whether the version before it goes on beside it.
    pub(in crate::plugin) watched: bool,
}

/// A version that takes over from another: by the state that the other saved, or, where it refuses that or there is none, by an
/// earlier state and the inputs since. `make` makes one that knows nothing.
///
/// # Errors
///
/// When neither leads to the state of now. Of refused states the first reason is told.
pub(in crate::plugin) fn take_over<R: Runner>(
    make: impl Fn() -> R,
    saved: Result<Arc<[u8]>, PluginError>,
    histories: impl FnOnce() -> Vec<History>,
) -> Result<(R, Handover), PluginError> {
    let mut runner = make();
    let refused = match saved.and_then(|saved| runner.seed(&saved)) {
        Ok(()) => return Ok((runner, Handover::Restored)),
        Err(refused) => refused,
    };
    for history in histories() {
        let mut runner = make();
        if history.state.is_none_or(|state| runner.seed(&state).is_ok()) {
            for taken in &history.questions {
                give(&mut runner, taken)?;
            }
            return Ok((runner, Handover::Replayed(history.questions.len(), refused)));
        }
    }
    Err(refused)
}

/// Gives a version that is to take over an input that the one before it took.
///
/// # Errors
///
/// When it fails at it. What the one before it failed at, too, is not among these inputs (see [`Tape::record`]): each of them is
/// in the state of now, and a version that went on without one would have lost it.
///
/// [`Tape::record`]: crate::plugin::tape::Tape::record
pub(in crate::plugin) fn give<R: Runner>(runner: &mut R, taken: &Taken) -> Result<(), PluginError> {
    let (answer, _) = runner.answer(&taken.question);
    let Some(why) = answer.loses(&taken.answer) else { return Ok(()) };
    let what = taken.question.summary();
    let cause = Cause::Refused(format!("it does not take {what}, which the version before it took: {why}"));
    Err(runner.identity().error(None, cause))
}

/// [`take_over`] for a companion, which begins without state rather than not at all.
pub(in crate::plugin) fn beside<R: Runner>(
    make: impl Fn() -> R,
    saved: Result<Arc<[u8]>, PluginError>,
    record: &Record,
) -> (R, String) {
    match take_over(&make, saved, || record.histories()) {
        Ok((runner, handover)) => (runner, handover.to_string()),
        Err(error) => (make(), format!("not taken over, and it began without: {error}; `use` will ask for `--fresh`")),
    }
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored => f.write_str("taken over by `restore`"),
            Self::Replayed(count, why) => write!(f, "rebuilt from {count} recorded inputs, because {why}"),
            Self::Kept => f.write_str("its own: it went on beside the one before it"),
            Self::Fresh => f.write_str("begun without, as asked for"),
            Self::Nothing => f.write_str("there was none yet"),
            Self::Stateless => f.write_str("codecs have none"),
        }
    }
}
