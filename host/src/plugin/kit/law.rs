//! [`Law`]: what the contract promises of every plugin of a kind, as far as a call can show it.

use crate::plugin::error::{Cause, PluginError};

/// A promise of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Every input is answered, within the limits and in the form of the contract.
    Answers,
    /// The same call gives the same answer, at any time, on a fresh instance and on one that has been used.
    Repeatable,
    /// A codec that decodes its own answer changes neither bytes nor kind, and mends nothing.
    OwnAnswer,
    /// A signal that is refused costs itself, not its batch.
    EachSignalAlone,
    /// An aggregator that has ingested nothing publishes nothing.
    NothingFromNothing,
    /// Composing views changes nothing.
    ComposeIsPure,
    /// A plan has at most one action for each key, and only for keys that it was told of.
    OneActionPerKey,
    /// State that is saved and restored is the same state, and what follows is the same.
    StateRoundTrip,
    /// A state that is refused leaves the state as it was.
    RefusedStateChangesNothing,
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Broken {
    pub(super) law: Law,
    /// By what.
    pub(super) what: String,
    /// Whether time ran out, which a busy machine can be to blame for.
    pub(super) late: bool,
}

// === impl Law ===

impl Law {
    /// The name of its check.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Repeatable => "repeatable",
            Self::OwnAnswer => "own-answer",
            Self::EachSignalAlone => "each-signal-alone",
            Self::NothingFromNothing => "nothing-from-nothing",
            Self::ComposeIsPure => "compose-is-pure",
            Self::OneActionPerKey => "one-action-per-key",
            Self::StateRoundTrip => "state-round-trip",
            Self::RefusedStateChangesNothing => "refused-state",
        }
    }

    /// What it promises.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Answers => "every input is answered within the limits and in the form of the contract",
            Self::Repeatable => "the same call gives the same answer, on a fresh instance and on a used one",
            Self::OwnAnswer => "decoding its own answer changes neither bytes nor kind, and mends nothing",
            Self::EachSignalAlone => "a signal that is refused costs itself, not its batch",
            Self::NothingFromNothing => "having ingested nothing, it publishes nothing",
            Self::ComposeIsPure => "composing views changes nothing",
            Self::OneActionPerKey => "at most one action for each key, and only for keys it was told of",
            Self::StateRoundTrip => "saved, restored and saved again is the same, and so is what follows",
            Self::RefusedStateChangesNothing => "a state that is refused leaves the state as it was",
        }
    }

    /// That it was broken, by this.
    pub(super) fn broken(self, what: impl Into<String>) -> Broken {
        Broken { law: self, what: what.into(), late: false }
    }

    /// That it was broken by a call that failed.
    pub(super) fn failed(self, error: &PluginError) -> Broken {
        Broken { law: self, what: error.to_string(), late: matches!(error.cause, Cause::Deadline(_)) }
    }
}
