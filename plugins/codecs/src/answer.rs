//! What a codec answers, in plain types: the same records as in the plugin interface, so that all logic runs natively too.

/// A set of keys that this codec is responsible for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// A key, or a prefix of keys that ends in `*`.
    pub pattern: &'static str,
    /// Name of the schema.
    pub schema: &'static str,
    /// Version of the schema that canonical bytes follow.
    pub schema_version: &'static str,
}

/// What a value is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stand-in that carries no data.
    Placeholder,
    /// Data.
    Real,
}

/// One thing that was wrong with a payload and was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What, for metrics.
    pub code: &'static str,
    /// Where, as a JSON path.
    pub path: String,
    /// What, for a person.
    pub message: String,
}

/// An accepted payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The canonical bytes; `None` where the payload is canonical as it came.
    pub canonical: Option<Vec<u8>>,
    /// What the value is worth.
    pub kind: Kind,
    /// The payload's own time, in Unix microseconds.
    pub produced_at: Option<u64>,
    /// The schema version that the payload says it follows.
    pub schema_version: Option<String>,
    /// What was mended.
    pub repairs: Vec<Repair>,
}

/// A refused payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why, for metrics.
    pub code: &'static str,
    /// What is wrong and what to send instead.
    pub message: String,
    /// Where, as a JSON path; `$` for the whole.
    pub path: String,
}

impl Rejection {
    /// A refusal of the whole payload.
    pub(crate) fn whole(code: &'static str, message: impl Into<String>) -> Self {
        Self::at("$", code, message)
    }

    /// A refusal because of what stands at `path`.
    pub(crate) fn at(path: impl ToString, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: path.to_string() }
    }
}
