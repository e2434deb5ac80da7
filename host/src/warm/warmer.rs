//! [`Warmer`]: what this room asks of the plugin that decides what to refresh, and when.

use async_trait::async_trait;
use bytes::Bytes;

use crate::cache::Holding;
use crate::record::{Key, Kind, Time};
use crate::source::SourceState;

/// Decides what to do for each key. It proposes; this room checks and carries out. Implemented by the `plugin` room.
#[async_trait]
pub trait Warmer: Send + Sync + 'static {
    /// The keys to tell it of in every plan, whoever reads them.
    async fn watches(&self) -> Result<Vec<Key>, WarmerError>;

    /// What to do now: at most one action per key, of which at most `actions_max` are carried out.
    async fn plan(&self, now: Time, keys: Vec<KeyState>, actions_max: u32) -> Result<Vec<Action>, WarmerError>;
}

/// Why there is no plan. What was warm stays so until the next one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct WarmerError(pub String);

/// What is known of one key.
#[derive(Clone, Debug)]
pub struct KeyState {
    /// The key.
    pub key: Key,
    /// Of the greatest value known; `None`: there is none.
    pub kind: Option<Kind>,
    /// When that value was made.
    pub produced_at: Option<Time>,
    /// Its version; 0 when there is none.
    pub version: u64,
    /// Until when it is fresh.
    pub fresh_until: Option<Time>,
    /// Whether memory has a value.
    pub in_memory: bool,
    /// The tiers below memory, from the fastest to the slowest.
    pub tiers: Vec<Holding>,
    /// Reads since the last plan that memory answered.
    pub hits: u64,
    /// Reads since the last plan that found nothing.
    pub misses: u64,
    /// The source that can refresh it.
    pub source: Option<SourceState>,
    /// The last action for it, `Leave` apart.
    pub last_attempt: Option<Attempt>,
    /// Attempts in a row that failed.
    pub failures: u32,
}

/// A proposal for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The key.
    pub key: Key,
    /// What to do.
    pub step: Step,
    /// Greater goes first.
    pub priority: u8,
    /// When the plugin means to look at the key again.
    pub next_at: Option<Time>,
    /// For the operator.
    pub reason: String,
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copy from the slowest tier that has it to the faster ones.
    Promote,
    /// Fetch from its source.
    Refresh,
    /// Put this placeholder where nothing is.
    Placeholder(Bytes),
    /// Leave it.
    Leave,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Carried out.
    Done,
    /// Something as good is there.
    AlreadyThere,
    /// It would have broken an invariant.
    Refused,
    /// The budget of the plan was used up before it.
    OverBudget,
    /// The source or a tier did not do it.
    Failed,
}

/// The last action for a key, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// See [`Step::label`].
    pub step: &'static str,
    /// When it began.
    pub at: Time,
    /// What came of it.
    pub fate: Fate,
}

// === impl Step ===

impl Step {
    /// The label of [`Step::Promote`].
    pub const PROMOTE: &'static str = "promote";
    /// The label of [`Step::Refresh`].
    pub const REFRESH: &'static str = "refresh";
    /// The label of [`Step::Placeholder`].
    pub const PLACEHOLDER: &'static str = "placeholder";
    /// The label of [`Step::Leave`].
    pub const LEAVE: &'static str = "leave";

    /// The word in metrics and answers.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Promote => Self::PROMOTE,
            Self::Refresh => Self::REFRESH,
            Self::Placeholder(_) => Self::PLACEHOLDER,
            Self::Leave => Self::LEAVE,
        }
    }
}

// === impl Fate ===

impl Fate {
    /// The word in metrics and answers.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyThere => "already_there",
            Self::Refused => "refused",
            Self::OverBudget => "over_budget",
            Self::Failed => "failed",
        }
    }
}
