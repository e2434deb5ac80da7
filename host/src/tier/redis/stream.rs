//! [`Follower`]: reads a stream of numbered entries, and notices what it did not get.
//!
//! Whoever appends to such a stream numbers the entry in the same script, from a counter beside the stream. A number that is
//! skipped was trimmed away before it was read; one that went back is of another server, or of one that came back empty.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadReply};
use redis::{RedisResult, Script};

/// Entries that are read at once.
const ENTRIES_AT_ONCE: usize = 512;

static TAIL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tail.lua")));

/// A stream, and the counter of its entries.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub name: &'static str,
    pub count: &'static str,
    /// Entries that it keeps, or a few more. The oldest are trimmed away.
    pub kept: usize,
}

/// Reads one stream.
pub(super) struct Follower {
    pub stream: Stream,
    /// `None` until it is known where the stream ended at first.
    position: Option<Position>,
}

/// An entry's place in a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// Its number.
    n: u64,
    /// Its id, which Redis orders.
    id: (u64, u64),
}

// === impl Stream ===

impl Stream {
    /// Where it ends.
    pub async fn tail(&self, connection: &mut MultiplexedConnection) -> RedisResult<Position> {
        let mut script = TAIL.prepare_invoke();
        let (id, n): (String, u64) = script.key(self.name).key(self.count).invoke_async(connection).await?;
        Ok(Position { n, id: parse_id(&id).unwrap_or_default() })
    }
}

// === impl Follower ===

impl Follower {
    pub const fn new(stream: Stream) -> Self {
        Self { stream, position: None }
    }

    /// Reads from the oldest entry that there is.
    pub fn from_start(stream: Stream) -> Self {
        Self { stream, position: Some(Position::default()) }
    }

    /// Reads on in a stream that ends at `tail`; at first, from there on. Says what was missed for good, if anything was.
    pub fn resume(&mut self, tail: Position) -> Option<String> {
        let Some(read) = self.position else {
            self.position = Some(tail);
            return None;
        };
        // With a newer id there is something to read, whatever its number: what was missed before it is noticed then.
        (tail.id < read.id).then(|| {
            self.position = Some(tail);
            let Stream { name, .. } = self.stream;
            format!(
                "{name} ends at entry {}, and entry {} was read: the server is another, or came back empty",
                tail.n, read.n
            )
        })
    }

    /// The entries after those that were read, once there are some, or none after `wait`.
    pub async fn next(&self, connection: &mut MultiplexedConnection, wait: Duration) -> RedisResult<Vec<StreamId>> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(ENTRIES_AT_ONCE).arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let (ms, seq) = self.position.map_or((0, 0), |read| read.id);
        read.arg("STREAMS").arg(self.stream.name).arg(format!("{ms}-{seq}"));
        let reply: Option<StreamReadReply> = read.query_async(connection).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    /// Takes note that `entry` was read. Says what was missed before it, if anything was.
    pub fn took(&mut self, entry: &StreamId) -> Option<String> {
        let read = self.position.unwrap_or_default();
        let id = parse_id(&entry.id).unwrap_or((read.id.0, read.id.1 + 1));
        let Some(n) = entry.get::<u64>("n") else {
            self.position = Some(Position { id, ..read });
            return Some(format!("entry {} of {} has no number", entry.id, self.stream.name));
        };
        let before = self.position.replace(Position { n, id });
        // What was trimmed before this gateway began is not missed.
        before.filter(|before| before.id != (0, 0) && before.n + 1 != n).map(|before| {
            format!(
                "after entry {} of {} came entry {n}: what was between them was trimmed away",
                before.n, self.stream.name
            )
        })
    }
}

fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (ms, seq) = id.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    const STREAM: Stream = Stream { name: "s", count: "c", kept: 10 };

    fn entry(id: &str, n: u64) -> StreamId {
        let map = [("n".to_owned(), Value::BulkString(n.to_string().into_bytes()))].into();
        StreamId { id: id.to_owned(), map, milliseconds_elapsed_from_delivery: None, delivered_count: None }
    }

    #[test]
    fn a_skipped_number_is_a_gap_and_what_follows_it_is_none() {
        let mut follower = Follower::new(STREAM);
        assert_eq!(follower.resume(Position { n: 7, id: (5, 0) }), None);
        assert_eq!(follower.took(&entry("6-0", 8)), None);
        assert!(follower.took(&entry("7-0", 11)).is_some_and(|missed| missed.contains("came entry 11")));
        assert_eq!(follower.took(&entry("7-1", 12)), None);
    }

    #[test]
    fn a_stream_that_is_shorter_than_what_was_read_is_another_one() {
        let mut follower = Follower::new(STREAM);
        follower.resume(Position { n: 7, id: (5, 0) });
        assert_eq!(follower.resume(Position { n: 9, id: (6, 0) }), None, "it went on meanwhile");
        assert!(follower.resume(Position { n: 0, id: (0, 0) }).is_some(), "emptied");
        assert_eq!(follower.took(&entry("9-0", 1)), None, "read on from its new end");
    }

    #[test]
    fn what_a_server_that_came_back_empty_has_taken_meanwhile_is_read_with_a_gap_before_it() {
        let mut follower = Follower::new(STREAM);
        follower.resume(Position { n: 1_000, id: (5, 0) });
        assert_eq!(follower.resume(Position { n: 2, id: (9, 0) }), None);
        assert!(follower.took(&entry("8-0", 1)).is_some_and(|missed| missed.contains("came entry 1")));
        assert_eq!(follower.took(&entry("9-0", 2)), None);
    }

    #[test]
    fn an_entry_without_a_number_is_a_gap() {
        let mut follower = Follower::new(STREAM);
        follower.resume(Position { n: 0, id: (0, 0) });
        let unnumbered = StreamId { map: Default::default(), ..entry("1-0", 1) };
        assert!(follower.took(&unnumbered).is_some());
        assert_eq!(follower.took(&entry("2-0", 1)), None, "it is not read again");
    }
}
