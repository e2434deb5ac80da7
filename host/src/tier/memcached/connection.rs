//! [`Connection`]: one TCP connection to memcached, and the few commands that the tier uses.
//!
//! Every command here reads its reply. Values are stored by `memcache-async`; that client returns neither client flags nor
//! the remaining lifetime and cannot ask for statistics, so `mg` (memcached `doc/protocol.txt`, "Meta Get") and `stats` are
//! spoken here.
//!
//! A call that is dropped half way leaves its reply in the socket. The [pool](super::pool) therefore throws away every
//! connection whose conversation was not completed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use memcache_async::ascii::Protocol;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::record::Key;
use crate::tier::TierError;

/// The longest line that is read in bytes: a reply's head, or a statistic.
const LINE_BYTES_MAX: u64 = 4_096;

/// Keys that are asked for before their answers are read: so few that neither side can wait for the other to read.
const PIPELINE_KEYS_MAX: usize = 64;

/// What memcached answers to a value over its limit (`items.c`, `memcached.c`).
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";

/// A connection with nothing unread.
pub(super) struct Connection {
    stream: TcpStream,
    /// Whether a conversation is under way, or was given up: a reply may be unread.
    pub mid_conversation: bool,
}

/// What `mg` tells of an item.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub flags: u32,
    /// `None`: it does not expire.
    pub remaining: Option<Duration>,
    pub cas: u64,
    pub bytes_len: usize,
    /// Only where it was asked for.
    pub value: Bytes,
}

/// What became of `add` or `cas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Yes,
    /// `NOT_STORED`, `EXISTS` or `NOT_FOUND`: somebody else was faster.
    Outrun,
    /// Over the server's item limit; what was there is still there.
    TooLarge,
}

// === impl Connection ===

impl Connection {
    /// Connects to `address`, `host:port`, as it is written. A host name may stand for several addresses: IPv4 is tried
    /// first, because servers that listen on `127.0.0.1` only are common and `localhost` often means `::1` (incident B1).
    pub async fn dial(address: &str, connect_timeout: Duration) -> Result<Self, TierError> {
        let connect = async {
            let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
            addresses.sort_by_key(SocketAddr::is_ipv6);
            // Each gets its share: one that does not answer must not use up the time of the others.
            let share = connect_timeout / addresses.len().max(1) as u32;
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in addresses {
                match timeout(share, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => return Ok(stream),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {share:?}")),
                }
            }
            Err(last)
        };
        let stream = match timeout(connect_timeout, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(TierError::Connect(format!("{address}: {error}"))),
            Err(_) => return Err(TierError::Connect(format!("{address}: no answer within {connect_timeout:?}"))),
        };
        // Without it the kernel waits 40 ms for an acknowledgement between the parts of a command.
        stream.set_nodelay(true).map_err(broken)?;
        Ok(Self { stream, mid_conversation: false })
    }

    /// Whether the last conversation was completed, the server still holds the connection open, and nothing is unread.
    pub fn is_clean(&self) -> bool {
        let mut byte = [0];
        !self.mid_conversation
            && matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// `gets`: the value and its cas id.
    pub async fn gets(&mut self, key: &Key) -> Result<Option<(Bytes, u64)>, TierError> {
        match self.client().gets_cas(key).await {
            Ok((value, cas)) => Ok(Some((value.into(), cas))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// `add`: stores where there is nothing. `expiry` as in [`super::expiry`].
    pub async fn add(&mut self, key: &Key, value: &[u8], expiry: u32) -> Result<Stored, TierError> {
        match self.client().add(key, value, expiry).await {
            Ok(()) => Ok(Stored::Yes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Stored::Outrun),
            Err(error) => not_stored(error),
        }
    }

    /// `cas`: replaces what has this cas id.
    pub async fn cas(&mut self, key: &Key, value: &[u8], cas: u64, expiry: u32) -> Result<Stored, TierError> {
        match self.client().cas(key, value, cas, expiry).await {
            Ok(true) => Ok(Stored::Yes),
            Ok(false) => Ok(Stored::Outrun),
            Err(error) => not_stored(error),
        }
    }

    /// `version`.
    pub async fn version(&mut self) -> Result<String, TierError> {
        self.client().version().await.map_err(broken)
    }

    /// `mg`: what there is to know of an item but its value.
    pub async fn item(&mut self, key: &Key) -> Result<Option<Item>, TierError> {
        Ok(self.items(std::slice::from_ref(key), false, 0).await?.pop().flatten())
    }

    /// `mg` for each of `keys`, in their order: flags, time left, cas id and size, and the value where `values` is set, all
    /// of one moment. A value over `value_bytes_max` is taken for a broken reply.
    pub async fn items(
        &mut self,
        keys: &[Key],
        values: bool,
        value_bytes_max: usize,
    ) -> Result<Vec<Option<Item>>, TierError> {
        let mut items = Vec::with_capacity(keys.len());
        let mut stream = BufReader::new(&mut self.stream);
        for keys in keys.chunks(PIPELINE_KEYS_MAX) {
            let asked = if values { "f t c s v" } else { "f t c s" };
            let mut command: String = keys.iter().map(|key| format!("mg {key} {asked}\r\n")).collect();
            // Its answer marks the end, so that a reply too many or too few cannot go unnoticed.
            command.push_str("mn\r\n");
            stream.write_all(command.as_bytes()).await.map_err(broken)?;
            for _ in keys {
                let line = read_line(&mut stream).await?;
                let Some(mut item) = parse_item(&line)? else {
                    items.push(None);
                    continue;
                };
                if values {
                    if item.bytes_len > value_bytes_max {
                        return Err(nonsense(&line));
                    }
                    let mut value = vec![0; item.bytes_len + 2];
                    stream.read_exact(&mut value).await.map_err(broken)?;
                    if !value.ends_with(b"\r\n") {
                        return Err(TierError::Broken("a value did not end where it should".to_owned()));
                    }
                    value.truncate(item.bytes_len);
                    item.value = value.into();
                }
                items.push(Some(item));
            }
            let line = read_line(&mut stream).await?;
            if line != "MN" {
                return Err(nonsense(&line));
            }
        }
        Ok(items)
    }

    /// `stats`, or `stats settings` and the like: names and values.
    pub async fn stats(&mut self, command: &str) -> Result<Vec<(String, String)>, TierError> {
        let mut stream = BufReader::new(&mut self.stream);
        stream.write_all(format!("{command}\r\n").as_bytes()).await.map_err(broken)?;
        let mut stats = Vec::new();
        loop {
            let line = read_line(&mut stream).await?;
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next()) {
                (Some("END"), None) => return Ok(stats),
                (Some("STAT"), Some(name)) => {
                    stats.push((name.to_owned(), words.next().unwrap_or_default().to_owned()))
                }
                _ => return Err(nonsense(&line)),
            }
        }
    }

    /// The client of one command. A complete reply leaves nothing behind in its buffer.
    fn client(&mut self) -> Protocol<BufWriter<&mut TcpStream>> {
        Protocol::new(BufWriter::new(&mut self.stream))
    }
}

async fn read_line(stream: &mut BufReader<&mut TcpStream>) -> Result<String, TierError> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await.map_err(broken)?;
    if line.is_empty() {
        return Err(TierError::Broken("the server closed the connection".to_owned()));
    }
    match line.strip_suffix(b"\r\n").map(str::from_utf8) {
        Some(Ok(line)) => Ok(line.to_owned()),
        _ => Err(nonsense(&String::from_utf8_lossy(&line))),
    }
}

/// Reads `HD f0 t30 c5 s19`, `VA 19 f0 t30 c5 s19` or `EN`. `t-1` is an item that does not expire; flags that were not
/// asked for (`W`, `X`, `Z`: somebody's lease) are passed over.
fn parse_item(line: &str) -> Result<Option<Item>, TierError> {
    let mut words = line.split(' ');
    match words.next() {
        Some("EN") => return Ok(None),
        Some("HD" | "VA") => {}
        _ => return Err(nonsense(line)),
    }
    let (mut flags, mut remaining, mut cas, mut size) = (None, None, None, None);
    for word in words {
        match word.split_at_checked(1) {
            Some(("f", number)) => flags = number.parse().ok(),
            Some(("t", "-1")) => remaining = Some(None),
            Some(("t", number)) => remaining = number.parse().ok().map(|seconds| Some(Duration::from_secs(seconds))),
            Some(("c", number)) => cas = number.parse().ok(),
            Some(("s", number)) => size = number.parse().ok(),
            _ => {}
        }
    }
    match (flags, remaining, cas, size) {
        (Some(flags), Some(remaining), Some(cas), Some(bytes_len)) => {
            Ok(Some(Item { flags, remaining, cas, bytes_len, value: Bytes::new() }))
        }
        _ => Err(nonsense(line)),
    }
}

fn nonsense(line: &str) -> TierError {
    if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|word| line.starts_with(word)) {
        return TierError::Refused(line.trim_end().to_owned());
    }
    TierError::Broken(format!("the server answered {line:?}"))
}

/// `memcache-async` gives the server's own words as an error of kind `Other`.
fn broken(error: io::Error) -> TierError {
    match error.kind() {
        io::ErrorKind::Other => nonsense(&error.to_string()),
        io::ErrorKind::UnexpectedEof => TierError::Broken("the server closed the connection".to_owned()),
        _ => TierError::Broken(error.to_string()),
    }
}

fn not_stored(error: io::Error) -> Result<Stored, TierError> {
    let words = error.to_string();
    if error.kind() == io::ErrorKind::NotFound || words.starts_with("NOT_FOUND") {
        return Ok(Stored::Outrun);
    }
    if words.starts_with(TOO_LARGE) {
        return Ok(Stored::TooLarge);
    }
    Err(broken(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_to_mg_are_read_and_nonsense_is_not() {
        let item = parse_item("HD f1 t-1 c42 s3").unwrap().unwrap();
        assert_eq!((item.flags, item.remaining, item.cas, item.bytes_len), (1, None, 42, 3));
        let leased = parse_item("VA 0 f0 t29 c7 s0 W").unwrap().unwrap();
        assert_eq!((leased.remaining, leased.bytes_len), (Some(Duration::from_secs(29)), 0));
        assert!(parse_item("EN").unwrap().is_none());
        assert!(matches!(parse_item("HD f0 t1"), Err(TierError::Broken(_))));
        assert!(matches!(parse_item("ERROR"), Err(TierError::Refused(_))));
    }
}
