//! [`Snapshot`]: a view as bytes ready to send, in every encoding, each with its validator.

use std::io::Write as _;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::record::Time;

/// Brotli's quality: 5 is near the best ratio at a fraction of the time; a view is compressed once per change.
const BROTLI_QUALITY: u32 = 5;

/// Brotli's window as a power of two: larger than any view, so that repeated lists cost nothing.
const BROTLI_WINDOW_LOG2: u32 = 22;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
}

/// Every encoding, at the place that its number says.
pub const ENCODINGS: [Encoding; 3] = [Encoding::Identity, Encoding::Gzip, Encoding::Brotli];

/// One body with its validator.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// What is sent.
    pub bytes: Bytes,
    /// A strong `ETag` in quotes, different for each encoding (RFC 9110, 8.8.3.3).
    pub etag: String,
}

/// A view ready to send.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Without encoding.
    pub identity: Encoded,
    /// With gzip.
    pub gzip: Encoded,
    /// With Brotli.
    pub brotli: Encoded,
    /// When the newest data in it was produced; `None` when it holds none.
    pub as_of: Option<Time>,
    /// When the first of its documents becomes stale; `None` when one is already, or there is none.
    pub fresh_until: Option<Time>,
}

// === impl Encoding ===

impl Encoding {
    /// The `Content-Encoding` token; `None` for identity.
    pub const fn token(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Encodes `body`.
    ///
    /// # Errors
    ///
    /// When a compressor fails, which it does only for want of memory.
    pub fn new(body: Bytes, as_of: Option<Time>, fresh_until: Option<Time>) -> std::io::Result<Self> {
        let digest = Sha256::digest(&body);
        let tag = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>();
        let gzip = gzip(&body)?;
        let brotli = brotli(&body)?;
        Ok(Self {
            identity: Encoded { bytes: body, etag: format!("\"{tag}\"") },
            gzip: Encoded { bytes: gzip, etag: format!("\"{tag}-gzip\"") },
            brotli: Encoded { bytes: brotli, etag: format!("\"{tag}-br\"") },
            as_of,
            fresh_until,
        })
    }

    /// The body in this encoding.
    pub const fn body(&self, encoding: Encoding) -> &Encoded {
        match encoding {
            Encoding::Identity => &self.identity,
            Encoding::Gzip => &self.gzip,
            Encoding::Brotli => &self.brotli,
        }
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut out = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::default());
    out.write_all(body)?;
    Ok(out.finish()?.into())
}

fn brotli(body: &[u8]) -> std::io::Result<Bytes> {
    let mut out = Vec::with_capacity(body.len() / 4);
    let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, BROTLI_QUALITY, BROTLI_WINDOW_LOG2);
    encoder.write_all(body)?;
    encoder.flush()?;
    drop(encoder);
    Ok(out.into())
}
