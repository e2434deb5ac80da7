//! Foreign clients: what a producer or reader that knows nothing of Tiergate does to the stores.

use std::io;

use redis::AsyncCommands as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A plain memcached client over the text protocol.
pub struct PlainMemcached {
    stream: BufReader<TcpStream>,
}

/// A plain Redis client.
pub struct PlainRedis {
    connection: redis::aio::MultiplexedConnection,
}

// === impl PlainMemcached ===

impl PlainMemcached {
    /// Connects to `127.0.0.1:port`.
    pub async fn connect(port: u16) -> Self {
        Self::try_connect(port).await.expect("memcached accepts")
    }

    /// The same to one that may be away.
    pub async fn try_connect(port: u16) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?) })
    }

    /// `set`, as an unsuspecting producer sends it.
    pub async fn set(&mut self, key: &str, value: &[u8], flags: u32, ttl_seconds: u32) {
        assert_eq!(self.set_answer(key, value, flags, ttl_seconds).await, "STORED", "set {key}");
    }

    /// `set`, with the server's answer.
    pub async fn set_answer(&mut self, key: &str, value: &[u8], flags: u32, ttl_seconds: u32) -> String {
        self.try_set(key, value, flags, ttl_seconds).await.expect("an answer")
    }

    /// The same of one that may go away.
    pub async fn try_set(&mut self, key: &str, value: &[u8], flags: u32, ttl_seconds: u32) -> io::Result<String> {
        let head = format!("set {key} {flags} {ttl_seconds} {}\r\n", value.len());
        self.stream.write_all(&[head.as_bytes(), value, b"\r\n"].concat()).await?;
        self.try_line().await
    }

    /// `get`: flags and value.
    pub async fn get(&mut self, key: &str) -> Option<(u32, Vec<u8>)> {
        self.stream.write_all(format!("get {key}\r\n").as_bytes()).await.expect("sent");
        let head = self.line().await;
        if head == "END" {
            return None;
        }
        let words: Vec<&str> = head.split(' ').collect();
        let (flags, length) = (words[2].parse().expect("flags"), words[3].parse::<usize>().expect("length"));
        let mut value = vec![0; length + 2];
        self.stream.read_exact(&mut value).await.expect("a value");
        value.truncate(length);
        assert_eq!(self.line().await, "END");
        Some((flags, value))
    }

    /// The remaining lifetime in seconds; -1 without end.
    pub async fn ttl(&mut self, key: &str) -> Option<i64> {
        self.stream.write_all(format!("mg {key} t\r\n").as_bytes()).await.expect("sent");
        let answer = self.line().await;
        answer.strip_prefix("HD t").map(|ttl| ttl.parse().expect("a number"))
    }

    /// A number of `stats`, such as `cmd_set`: the writes that the server has seen from anybody.
    pub async fn stat(&mut self, name: &str) -> u64 {
        self.stream.write_all(b"stats\r\n").await.expect("sent");
        let mut found = None;
        loop {
            let line = self.line().await;
            if line == "END" {
                return found.unwrap_or_else(|| panic!("memcached counts no {name}"));
            }
            found = line.strip_prefix(&format!("STAT {name} ")).map(|value| value.parse().expect("a number")).or(found);
        }
    }

    /// `delete`.
    pub async fn delete(&mut self, key: &str) {
        self.stream.write_all(format!("delete {key}\r\n").as_bytes()).await.expect("sent");
        let answer = self.line().await;
        assert!(matches!(answer.as_str(), "DELETED" | "NOT_FOUND"), "{answer}");
    }

    async fn line(&mut self) -> String {
        self.try_line().await.expect("an answer")
    }

    async fn try_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        Ok(line.trim_end().to_owned())
    }
}

// === impl PlainRedis ===

impl PlainRedis {
    /// Connects to database 0 of `127.0.0.1:port`.
    pub async fn connect(port: u16) -> Self {
        Self::try_connect(port).await.expect("redis accepts")
    }

    /// The same to one that may be away.
    pub async fn try_connect(port: u16) -> redis::RedisResult<Self> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/0"))?;
        Ok(Self { connection: client.get_multiplexed_async_connection().await? })
    }

    /// `SETEX`, as an unsuspecting producer sends it.
    pub async fn setex(&mut self, key: &str, value: &[u8], ttl_seconds: u64) {
        self.try_setex(key, value, ttl_seconds).await.expect("SETEX");
    }

    /// The same of one that may go away.
    pub async fn try_setex(&mut self, key: &str, value: &[u8], ttl_seconds: u64) -> redis::RedisResult<()> {
        self.connection.set_ex(key, value, ttl_seconds).await
    }

    /// `GET`.
    pub async fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.connection.get(key).await.expect("GET")
    }

    /// `PTTL` in milliseconds.
    pub async fn pttl(&mut self, key: &str) -> i64 {
        self.connection.pttl(key).await.expect("PTTL")
    }

    /// Any command that answers a number.
    pub async fn command(&mut self, words: &[&str]) -> i64 {
        let mut command = redis::cmd(words[0]);
        command
            .arg(&words[1..])
            .query_async(&mut self.connection)
            .await
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// `CONFIG SET`.
    pub async fn set_config(&mut self, name: &str, value: &str) {
        let mut command = redis::cmd("CONFIG");
        let () = command.arg("SET").arg(name).arg(value).query_async(&mut self.connection).await.expect("CONFIG SET");
    }

    /// `ACL SETUSER`: what every client may do from now on, such as `-xread`.
    pub async fn allow(&mut self, rule: &str) {
        let mut command = redis::cmd("ACL");
        command.arg(&["SETUSER", "default", rule]);
        let () = command.query_async(&mut self.connection).await.expect("ACL SETUSER");
    }

    /// `DEL`.
    pub async fn del(&mut self, key: &str) {
        let () = self.connection.del(key).await.expect("DEL");
    }
}
