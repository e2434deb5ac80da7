//! [`Codec`]: what the engine asks of the plugins that know the schemas.

use std::sync::Arc;

use bytes::Bytes;

use crate::record::{Key, Kind, Rejection, Repair, Time};

/// Reads payloads into canonical values. Implemented by the `plugin` room.
pub trait Codec: Send + Sync + 'static {
    /// Reads a payload of `key`. `flags` are memcached client flags, 0 elsewhere.
    fn decode(&self, key: &Key, payload: &Bytes, flags: u32) -> Result<Decoded, DecodeError>;

    /// Reads a payload by the codec of this name, whatever keys it claims: the answer of an origin, to become a payload of
    /// `key`.
    fn decode_by(&self, codec: &str, key: &Key, payload: &Bytes) -> Result<Decoded, DecodeError>;

    /// The keys, and prefixes that end in `*`, that it reads payloads of.
    fn claims(&self) -> Vec<String>;

    /// Changes whenever the same payload may be decoded otherwise than before.
    fn epoch(&self) -> u64;
}

/// An accepted payload.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Canonical bytes; `None` when the payload is canonical as it came.
    pub canonical: Option<Bytes>,
    /// As the codec judged it.
    pub kind: Kind,
    /// The payload's own timestamp.
    pub produced_at: Option<Time>,
    /// Name of the schema that the codec claims for the key.
    pub schema: Arc<str>,
    /// The schema version that the payload names.
    pub schema_version: Option<String>,
    /// What was mended.
    pub repairs: Vec<Repair>,
}

/// Why a payload was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The codec refused the payload.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The plugin failed: it trapped, ran out of time or memory, or answered nonsense.
    #[error("{0}")]
    Plugin(String),
}
