//! Outcomes: what became of a write, a delete or a read. Answers, log lines, metrics labels and the `Cache-Status` header
//! all come from these, so that they cannot disagree.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::Kind;

/// The name of a tier in answers, metrics and configuration: `memory`, `disk`, `memcached`, `redis`, `redis-2`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TierName(Arc<str>);

/// What became of a write in one tier. Every one but `Unknown` is the tier's own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a write that is not `Stored` must be told to somebody"]
pub enum WriteOutcome {
    /// The tier holds this value now.
    Stored,
    /// The tier holds a greater value of the same kind.
    Superseded,
    /// The tier holds a value of this greater kind.
    Refused(Kind),
    /// The tier can never take this value.
    Rejected(RejectedWhy),
    /// The value waits for the tier to come back.
    Queued(String),
    /// The tier did not take the value.
    Failed(Failure),
    /// The connection was lost, or time ran out, after the value was sent.
    Unknown(String),
}

/// Why a tier did not do what it was asked, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    why: String,
    may_pass: bool,
}

/// Why a tier can never take a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectedWhy {
    /// Larger than the tier's item limit.
    TooLarge {
        /// Size of the item in bytes.
        bytes: usize,
        /// The tier's limit in bytes.
        limit: usize,
    },
    /// A repaired foreign payload: repairs are not written to shared tiers.
    Repaired,
    /// A remembered absence: it lives in memory only.
    Negative,
    /// Its lifetime has ended: no tier would hold it.
    Ended,
}

/// What became of a delete in one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a delete that failed must be told to somebody"]
pub enum DeleteOutcome {
    /// It was there and is gone.
    Deleted,
    /// There was nothing.
    Absent,
    /// A value newer than the delete is there and stays.
    Superseded,
    /// The delete waits for the tier to come back.
    Queued(String),
    /// The tier did not do it.
    Failed(Failure),
    /// The connection was lost, or time ran out, after the command was sent.
    Unknown(String),
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A fresh value from this tier.
    Hit {
        /// Where it was.
        tier: TierName,
    },
    /// A value past its time to live, within its hard limit.
    Stale {
        /// Where it was.
        tier: TierName,
        /// Why nothing fresher was found.
        why: StaleWhy,
    },
    /// No tier has it.
    Miss,
    /// No tier that answered has it, and these did not answer.
    Unavailable {
        /// The tiers, with what happened.
        failed: Vec<(TierName, String)>,
    },
}

/// Why a stale value was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleWhy {
    /// A refresh is under way.
    Revalidating,
    /// Its producer has not renewed it.
    NotRenewed,
    /// A tier that may have something newer did not answer.
    TierFailed,
}

// === impl StaleWhy ===

impl StaleWhy {
    /// The word in headers and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revalidating => "revalidating",
            Self::NotRenewed => "stale",
            Self::TierFailed => "tier-failed",
        }
    }
}

// === impl TierName ===

impl TierName {
    /// Names a tier.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(name.as_ref().into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl WriteOutcome ===

impl WriteOutcome {
    /// The label in answers and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Superseded => "superseded",
            Self::Refused(_) => "refused",
            Self::Rejected(_) => "rejected",
            Self::Queued(_) => "queued",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The reason in words; `None` for `Stored`.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Stored => None,
            Self::Superseded => Some("a newer value is there".to_owned()),
            Self::Refused(kind) => Some(format!("a {} value is there", kind.as_str())),
            Self::Rejected(RejectedWhy::TooLarge { bytes, limit }) => {
                Some(format!("the item has {bytes} bytes; the tier takes at most {limit}"))
            }
            Self::Rejected(RejectedWhy::Repaired) => Some("repairs are not written to shared tiers".to_owned()),
            Self::Rejected(RejectedWhy::Negative) => Some("a remembered absence lives in memory only".to_owned()),
            Self::Rejected(RejectedWhy::Ended) => Some("its lifetime has ended".to_owned()),
            Self::Queued(why) | Self::Unknown(why) => Some(why.clone()),
            Self::Failed(failure) => Some(failure.to_string()),
        }
    }
}

// === impl Failure ===

impl Failure {
    /// The tier is out of reach, or refuses whatever it is brought: it may take the same later. Other failures are about the
    /// value.
    pub fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), may_pass: true }
    }

    /// Whether the tier may take the same later.
    pub const fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, may_pass: false }
    }
}

impl Deref for Failure {
    type Target = str;
    fn deref(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

// === impl DeleteOutcome ===

impl DeleteOutcome {
    /// The label in answers and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Superseded => "superseded",
            Self::Queued(_) => "queued",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The reason in words, where there is more to say than the label.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Deleted | Self::Absent => None,
            Self::Superseded => Some("a newer value is there".to_owned()),
            Self::Queued(why) | Self::Unknown(why) => Some(why.clone()),
            Self::Failed(failure) => Some(failure.to_string()),
        }
    }
}

// === impl ReadOutcome ===

impl ReadOutcome {
    /// The label in answers and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Stale { .. } => "stale",
            Self::Miss => "miss",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}
