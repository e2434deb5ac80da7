//! [`Key`]: a cache key that is safe to send to every tier.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest key in bytes, as in the memcached protocol (`doc/protocol.txt`, "Keys").
pub const KEY_BYTES_MAX: usize = 250;

/// A cache key: 1 to [`KEY_BYTES_MAX`] bytes of printable ASCII without space. Braces are literal characters.
///
/// A `Key` that was not validated cannot be made. A key with a line break in it would be a command of its own in
/// memcached's text protocol.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No byte at all.
    #[error("a key must have at least 1 byte")]
    Empty,
    /// Longer than memcached accepts.
    #[error("a key may have at most {KEY_BYTES_MAX} bytes; this one has {bytes}")]
    TooLong {
        /// The length that was found, in bytes.
        bytes: usize,
    },
    /// A byte outside `!` to `~`.
    #[error("a key may hold printable ASCII without space only; byte 0x{byte:02x} at offset {at} is not allowed")]
    Forbidden {
        /// The byte.
        byte: u8,
        /// Its offset from the start, in bytes.
        at: usize,
    },
}

// === impl Key ===

impl Key {
    /// Validates `text`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, KeyError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        match text.bytes().position(|b| !b.is_ascii_graphic()) {
            Some(at) => Err(KeyError::Forbidden { byte: text.as_bytes()[at], at }),
            None => Ok(Self(text.into())),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_250_bytes_is_accepted_and_one_of_251_is_refused() {
        assert!(Key::new("k".repeat(KEY_BYTES_MAX)).is_ok());
        assert_eq!(Key::new("k".repeat(KEY_BYTES_MAX + 1)), Err(KeyError::TooLong { bytes: 251 }));
    }

    #[test]
    fn spaces_control_bytes_and_line_breaks_are_refused_by_name() {
        assert_eq!(Key::new(""), Err(KeyError::Empty));
        assert_eq!(Key::new("a b"), Err(KeyError::Forbidden { byte: b' ', at: 1 }));
        assert_eq!(Key::new("a\r\nset pwn 0 0 1\r\nZ"), Err(KeyError::Forbidden { byte: b'\r', at: 1 }));
        assert_eq!(Key::new("caf\u{e9}"), Err(KeyError::Forbidden { byte: 0xc3, at: 3 }));
        assert!(Key::new("confluence:breakdown:{BTC}").is_ok());
    }
}
