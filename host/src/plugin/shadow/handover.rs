//! [`take_over`]: how a version comes by the state of the one before it.

use std::fmt;
use std::sync::Arc;

use super::Runner;
use crate::plugin::error::PluginError;
use crate::plugin::tape::History;

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
/// When neither leads to the state of now. The first reason is told.
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
            let count = history.questions.len();
            for taken in history.questions {
                runner.answer(&taken.question);
            }
            return Ok((runner, Handover::Replayed(count, refused)));
        }
    }
    Err(refused)
}

/// The same for a companion, which begins without state rather than not at all.
pub(in crate::plugin) fn beside<R: Runner>(
    make: impl Fn() -> R,
    saved: Result<Arc<[u8]>, PluginError>,
    histories: Vec<History>,
) -> (R, String) {
    match take_over(&make, saved, || histories) {
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
