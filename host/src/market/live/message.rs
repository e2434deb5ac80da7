//! [`Message`]: a server-sent event as bytes ready to send, plain and compressed.

use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use serde::Serialize;

/// What a gzip stream of messages starts with (RFC 1952, 2.3): deflate, no name, no time, any system.
pub const GZIP_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// More than deflate adds to what does not compress, and its end of a flush.
const DEFLATE_ROOM: usize = 64;

/// One event for all listeners.
#[derive(Debug)]
pub struct Message {
    /// As text.
    pub plain: Bytes,
    /// Deflated for itself alone and ended at a byte, so that messages may follow each other in one gzip stream: each is
    /// compressed once, whoever listens and since when.
    pub deflated: Bytes,
}

// === impl Message ===

impl Message {
    /// Encodes an event.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded or compressed.
    pub(super) fn new(event: &str, id: Option<&str>, data: &impl Serialize) -> io::Result<Self> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        Self::of(format!("event: {event}\n{id}data: {}\n\n", serde_json::to_string(data)?))
    }

    /// Tells a listener to fetch the document again.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn reset() -> io::Result<Self> {
        Self::of("event: reset\ndata: {}\n\n".to_owned())
    }

    /// Text for a listener that is no event.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn text(text: &str) -> io::Result<Self> {
        Self::of(text.to_owned())
    }

    /// Its size in memory.
    pub(super) const fn bytes(&self) -> usize {
        self.plain.len() + self.deflated.len()
    }

    fn of(text: String) -> io::Result<Self> {
        let deflated = deflate(text.as_bytes())?;
        Ok(Self { plain: text.into(), deflated })
    }
}

fn deflate(text: &[u8]) -> io::Result<Bytes> {
    let mut deflate = Compress::new(Compression::default(), false);
    let mut out = Vec::with_capacity(text.len() / 2 + DEFLATE_ROOM);
    loop {
        let read = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX).min(text.len());
        deflate.compress_vec(&text[read..], &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room left over means that all was written, the flush too.
        if out.len() < out.capacity() {
            return Ok(out.into());
        }
        out.reserve(text.len() + DEFLATE_ROOM);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn messages_that_follow_each_other_are_one_gzip_stream() {
        let noise: Vec<u32> = (0..5_000u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
        let messages = [
            Message::reset().unwrap(),
            Message::new("patch", Some("a-1"), &noise).unwrap(),
            Message::new("beat", None, &serde_json::json!({ "now_ms": 1 })).unwrap(),
        ];
        let stream: Vec<u8> = messages.iter().fold(GZIP_HEAD.to_vec(), |all, next| [&all, &next.deflated[..]].concat());
        let expected: Vec<u8> = messages.iter().flat_map(|message| message.plain.to_vec()).collect();
        let mut read = vec![0; expected.len()];
        flate2::read::GzDecoder::new(&stream[..]).read_exact(&mut read).unwrap();
        assert_eq!(read, expected);
    }

    #[test]
    fn an_event_names_its_version_where_there_is_one() {
        let message = Message::new("patch", Some("a-1"), &1).unwrap();
        assert_eq!(message.plain, "event: patch\nid: a-1\ndata: 1\n\n");
        assert_eq!(Message::new("beat", None, &1).unwrap().plain, "event: beat\ndata: 1\n\n");
    }
}
