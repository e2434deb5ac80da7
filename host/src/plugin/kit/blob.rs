//! [`Blob`]: bytes in a saved input: as text where they are text, so that an author can read them, else in base64.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Any bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Form", try_from = "Form")]
pub(super) struct Blob(pub(super) Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Text(String),
    Base64(String),
}

// === impl Blob ===

impl From<Blob> for Form {
    fn from(blob: Blob) -> Self {
        String::from_utf8(blob.0).map_or_else(|error| Self::Base64(STANDARD.encode(error.as_bytes())), Self::Text)
    }
}

impl TryFrom<Form> for Blob {
    type Error = base64::DecodeError;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        match form {
            Form::Text(text) => Ok(Self(text.into_bytes())),
            Form::Base64(text) => STANDARD.decode(text).map(Self),
        }
    }
}

/// The beginning, as far as it fits a line.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        let shown = String::from_utf8_lossy(&self.0[..self.0.len().min(SHOWN)]);
        let more = if self.0.len() > SHOWN { "…" } else { "" };
        write!(f, "{shown:?}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_they_are() {
        for (bytes, saved) in [(&b"{\"a\": 1}"[..], r#"{"text":"{\"a\": 1}"}"#), (b"\xff\0", r#"{"base64":"/wA="}"#)] {
            let text = serde_json::to_string(&Blob(bytes.to_vec())).unwrap();
            assert_eq!(text, saved);
            assert_eq!(serde_json::from_str::<Blob>(&text).unwrap().0, bytes);
        }
    }
}
