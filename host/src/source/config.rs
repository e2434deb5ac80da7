//! [`Config`]: the settings of one source.

use std::fmt;
use std::time::Duration;

use crate::record::Key;

/// One source: an origin's answer that becomes the value of a key.
#[derive(Clone, Debug)]
pub struct Config {
    /// The operator's name for it.
    pub name: String,
    /// The key that it refreshes.
    pub key: Key,
    /// `http://` or `https://`. Its query may hold a secret.
    pub url: Hidden,
    /// The codec that turns the answer into a payload of the key, by its name in the configuration; `None` when the answer
    /// is one as it comes.
    pub codec: Option<String>,
    /// How often it is asked, while it answers.
    pub interval: Duration,
    /// For one fetch: connecting, TLS, and the whole answer.
    pub timeout: Duration,
    /// The largest body that is taken, in bytes.
    pub bytes_max: u64,
    /// Time to live in the shared tiers; `None`: the key's policy.
    pub ttl: Option<Duration>,
    /// Headers of the request, by name. Their values may be secrets.
    pub headers: Vec<(String, Hidden)>,
}

/// A text that is never shown.
#[derive(Clone)]
pub struct Hidden(String);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which source, counted from 0.
    pub index: usize,
    /// Which of its fields, such as `url` or `headers.X-Key`.
    pub field: String,
    /// What, and what to write instead. No header's value and no URL stands in it.
    pub message: String,
}

// === impl Hidden ===

impl Hidden {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

// === impl Mistake ===

impl Mistake {
    pub(super) fn new(index: usize, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { index, field: field.into(), message: message.into() }
    }
}
