//! The types of the WIT interface as plain Rust, so that the logic can be called without a WebAssembly host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unix time in microseconds.
pub type Micros = u64;

/// What a value is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stand-in that a warmer wrote.
    Placeholder,
    /// Data.
    Real,
}

/// What one tier holds of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The tier did not answer.
    Unknown,
    /// It has nothing.
    Absent,
    /// It has a value until this time.
    Until(Micros),
}

/// A source that can refresh a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// The operator's name for it.
    pub name: String,
    /// How often the operator wants it to be asked.
    pub interval_seconds: u32,
    /// The host does not ask it before this time.
    pub not_before: Micros,
    /// How long its last answer took; 0 when it has not answered yet.
    pub cost: Micros,
}

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Copy from the slowest tier that has it to the faster ones.
    Promote,
    /// Fetch from the key's source.
    Refresh,
    /// Put a placeholder where nothing is.
    Placeholder,
    /// Leave it.
    Leave,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Carried out.
    Done,
    /// Something as good is there.
    AlreadyThere,
    /// It would have broken an invariant.
    Refused,
    /// The budget of the plan was used up before it.
    OverBudget,
    /// The source or the tier did not do it.
    Failed,
}

/// What became of the last action for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was to be done.
    pub step: Step,
    /// When.
    pub at: Micros,
    /// What came of it.
    pub fate: Fate,
}

/// What the host knows of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The cache key.
    pub key: String,
    /// What the value is worth; none when nothing is known of the key in any tier.
    pub kind: Option<Kind>,
    /// When its producer made it.
    pub produced_at: Option<Micros>,
    /// Grows with every change of the value; 0 when nothing is known.
    pub version: u64,
    /// Until when the value counts as fresh.
    pub fresh_until: Option<Micros>,
    /// Whether the host's memory has it.
    pub in_memory: bool,
    /// The tiers below memory, from the fastest to the slowest.
    pub tiers: Vec<Holding>,
    /// Reads since the last plan.
    pub hits: u64,
    /// Reads since the last plan that found nothing.
    pub misses: u64,
    /// The source that can refresh it.
    pub source: Option<SourceState>,
    /// What became of the last action for it.
    pub last_attempt: Option<Attempt>,
    /// Attempts in a row that failed.
    pub failures: u32,
}

/// A proposal for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The cache key.
    pub key: String,
    /// What to do.
    pub step: Step,
    /// The placeholder; empty with any other step.
    pub body: Vec<u8>,
    /// Greater goes first; 0 for what is left.
    pub priority: u8,
    /// When this key is looked at again, if nothing changes before.
    pub next_at: Option<Micros>,
    /// For the operator.
    pub reason: String,
}

/// Why a call could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The configuration or the arguments are wrong; the text names the culprit.
    InvalidInput(String),
    /// The plugin's own state is broken.
    Internal(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput(why) => write!(f, "invalid input: {why}"),
            Self::Internal(why) => write!(f, "internal: {why}"),
        }
    }
}

impl std::error::Error for Error {}
