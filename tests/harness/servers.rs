//! Real servers on free loopback ports, one process each, gone when the value is dropped.
//!
//! They can be frozen (`SIGSTOP`: the connections stay, nothing answers), killed, and started again on the same port.

use std::hash::{BuildHasher as _, RandomState};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use crate::PATIENCE;

/// Below those that the system gives to whoever wants any.
const PORTS: Range<u16> = 15_000..32_000;

/// Ports that are tried before a server that does not start is given up: another process may take one meanwhile.
const PORTS_TRIED: usize = 5;

/// A memcached on `127.0.0.1`.
pub struct Memcached(Server);

/// A Redis on `127.0.0.1` that keeps nothing on disk.
pub struct Redis(Server);

/// A server that is not started yet.
pub struct Starting<S> {
    kind: Kind,
    args: Vec<String>,
    wrap: fn(Server) -> S,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memcached,
    Redis,
}

struct Server {
    kind: Kind,
    args: Vec<String>,
    port: u16,
    process: Option<Child>,
    directory: TempDir,
}

// === impl Memcached ===

impl Memcached {
    /// A server with the defaults of the package.
    pub async fn start() -> Self {
        Self::with().start().await
    }

    /// To add arguments: `Memcached::with().args(["-I", "10m"]).start()`.
    pub fn with() -> Starting<Self> {
        Starting { kind: Kind::Memcached, args: Vec::new(), wrap: Self }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// `memcached://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("memcached://{}", self.0.address())
    }
}

// === impl Redis ===

impl Redis {
    /// A server with the defaults of the package.
    pub async fn start() -> Self {
        Self::with().start().await
    }

    /// To add arguments: `Redis::with().args(["--requirepass", "secret"]).start()`.
    pub fn with() -> Starting<Self> {
        Starting { kind: Kind::Redis, args: Vec::new(), wrap: Self }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// `redis://127.0.0.1:port/0`.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.0.address())
    }
}

macro_rules! process {
    ($server:ident) => {
        impl $server {
            /// The port it listens on, which stays the same when it is started again.
            pub fn port(&self) -> u16 {
                self.0.port
            }

            /// Stops it from answering; its connections stay open.
            pub fn freeze(&self) {
                self.0.signal("STOP");
            }

            /// Lets it go on after [`freeze`](Self::freeze).
            pub fn thaw(&self) {
                self.0.signal("CONT");
            }

            /// Ends it at once. What it held is lost.
            pub fn kill(&mut self) {
                self.0.kill();
            }

            /// Starts it again, empty, on the same port.
            pub async fn restart(&mut self) {
                self.0.kill();
                assert!(
                    self.0.try_start().await,
                    "{} does not start again on port {}",
                    self.0.kind.binary(),
                    self.0.port
                );
            }
        }
    };
}

process!(Memcached);
process!(Redis);

// === impl Starting ===

impl<S> Starting<S> {
    /// Adds arguments to its command line.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts it and waits until it answers.
    pub async fn start(self) -> S {
        for _ in 0..PORTS_TRIED {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let mut server =
                Server { kind: self.kind, args: self.args.clone(), port: free_port(), process: None, directory };
            if server.try_start().await {
                return (self.wrap)(server);
            }
        }
        panic!("{} does not start with {:?}", self.kind.binary(), self.args);
    }
}

// === impl Kind ===

impl Kind {
    const fn binary(self) -> &'static str {
        match self {
            Self::Memcached => "memcached",
            Self::Redis => "redis-server",
        }
    }

    /// What to send, and how each answer of a server that is up begins. Redis may ask for a password first.
    const fn greeting(self) -> (&'static [u8], [&'static [u8]; 2]) {
        match self {
            Self::Memcached => (b"version\r\n", [b"VERSION", b"CLIENT_ERROR unauthenticated"]),
            Self::Redis => (b"PING\r\n", [b"+PONG", b"-NOAUTH"]),
        }
    }
}

// === impl Server ===

impl Server {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.kind.binary());
        let port = self.port.to_string();
        match self.kind {
            // `-u` is for a test run as root, which memcached refuses; others ignore it.
            Kind::Memcached => command.args(["-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", &port]),
            Kind::Redis => command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port]),
        };
        command.args(&self.args).current_dir(self.directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Whether it answers now; `false` when it ended, as it does when its port is taken.
    async fn try_start(&mut self) -> bool {
        let process = self.command().spawn().unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!("{0} is not installed: apt-get install {0}", self.kind.binary()),
            _ => panic!("{} cannot be started: {error}", self.kind.binary()),
        });
        let process = self.process.insert(process);
        let begun = Instant::now();
        while process.try_wait().expect("its state").is_none() {
            if answers(self.port, self.kind).await {
                return true;
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not answer on port {}", self.kind.binary(), self.port);
            sleep(Duration::from_millis(5)).await;
        }
        false
    }

    fn signal(&self, name: &str) {
        signal(self.process.as_ref().expect("it runs").id(), name);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("ended");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a process a signal, such as `KILL` or `STOP`. One that is to stop has stopped then: on a busy machine its threads run on
/// for a while, and hear of what comes next.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal {name} was not sent");
    let begun = Instant::now();
    while name == "STOP" && !has_stopped(pid) {
        assert!(begun.elapsed() < PATIENCE, "process {pid} does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether every thread of a process has stopped (`proc(5)`: its state stands after its name, which is in parentheses).
fn has_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    threads.map_while(Result::ok).all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // One that has ended meanwhile is none.
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

/// A port on which nobody listened a moment ago. The system gives it to nobody who wants any port, so that a server that was
/// gone for a while finds its own free.
pub fn free_port() -> u16 {
    let any = || PORTS.start + (RandomState::new().hash_one(()) % PORTS.len() as u64) as u16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(any).take(PORTS.len()).find(is_free).expect("a free port")
}

async fn answers(port: u16, kind: Kind) -> bool {
    let (question, expected) = kind.greeting();
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(question).await?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).await?;
        std::io::Result::Ok(expected.iter().any(|expected| answer[..length].starts_with(expected)))
    };
    matches!(timeout(Duration::from_secs(1), ask).await, Ok(Ok(true)))
}
