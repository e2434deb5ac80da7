//! The types of the WIT interface as plain Rust, so that the logic can be called without a WebAssembly host.

use std::fmt;

/// Unix time in microseconds.
pub type Micros = u64;

/// What a value is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stand-in that a warmer wrote. Never shown as data.
    Placeholder,
    /// Data.
    Real,
}

/// How a document stands at the moment of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within its time to live.
    Fresh,
    /// Past its time to live, within its hard limit.
    Stale,
}

/// A canonical value as the host holds it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The cache key.
    pub key: String,
    /// What it is worth.
    pub kind: Kind,
    /// How it stands.
    pub freshness: Freshness,
    /// When its producer made it.
    pub produced_at: Micros,
    /// Grows with every change of the value.
    pub version: u64,
    /// Canonical JSON.
    pub body: Vec<u8>,
}

/// One signal as a producer posted it.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Strictly increasing.
    pub seq: u64,
    /// When the host accepted it.
    pub received_at: Micros,
    /// One JSON object.
    pub body: Vec<u8>,
}

/// A signal that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The `seq` of the signal.
    pub seq: u64,
    /// Lower-case words joined by `-`, few in number.
    pub code: &'static str,
    /// What is wrong, with the JSON path of the field.
    pub message: String,
}

/// A document to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The cache key.
    pub key: &'static str,
    /// Plain JSON, encoded once.
    pub body: Vec<u8>,
    /// Time to live in the shared tiers, in seconds.
    pub ttl_seconds: u32,
}

/// A view to compose.
#[derive(Clone, Debug)]
pub struct ViewRequest {
    /// The name of the view, such as `mobile-data`.
    pub name: String,
    /// The greatest number of records in each list.
    pub limit: u32,
}

/// Why a call could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The configuration or the arguments are wrong; the text names the culprit.
    InvalidInput(String),
    /// This plugin does not do that.
    Unsupported(String),
    /// The plugin's own state is broken.
    Internal(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput(why) => write!(f, "invalid input: {why}"),
            Self::Unsupported(why) => write!(f, "unsupported: {why}"),
            Self::Internal(why) => write!(f, "internal: {why}"),
        }
    }
}

impl std::error::Error for Error {}
