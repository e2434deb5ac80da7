//! A TCP proxy in front of a server, which can be slow, or cut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are passed on at once.
const CHUNK: usize = 64 << 10;

/// How a [`Proxy`] treats what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// At once.
    Good,
    /// Every piece of an answer this much later.
    Slow(Duration),
    /// Not at all: connections end, and new ones end at once.
    Cut,
}

/// A proxy that runs for as long as this is kept.
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// In front of the server at this port of this machine.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (line, state) = watch::channel(Line::Good);
        tokio::spawn(async move {
            let mut ends = state.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        tokio::spawn(pass(client, to, state.clone()));
                    }
                    // Nobody holds the proxy any more.
                    ended = async { while ends.changed().await.is_ok() {} } => return ended,
                }
            }
        });
        Self { address, line }
    }

    /// Where it listens: `127.0.0.1:41234`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Treats everything like this from now on.
    pub fn becomes(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn pass(client: TcpStream, to: u16, mut line: watch::Receiver<Line>) {
    if *line.borrow() == Line::Cut {
        return;
    }
    // A server that is away is a connection that ends.
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let state = line.clone();
    let asks = async {
        let mut chunk = vec![0; CHUNK];
        while let Ok(bytes @ 1..) = from_client.read(&mut chunk).await {
            if to_server.write_all(&chunk[..bytes]).await.is_err() {
                return;
            }
        }
    };
    let answers = async {
        let mut chunk = vec![0; CHUNK];
        while let Ok(bytes @ 1..) = from_server.read(&mut chunk).await {
            let line = *state.borrow();
            if let Line::Slow(by) = line {
                tokio::time::sleep(by).await;
            }
            if to_client.write_all(&chunk[..bytes]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asks => {}
        () = answers => {}
        _ = line.wait_for(|line| *line == Line::Cut) => {}
    }
}
