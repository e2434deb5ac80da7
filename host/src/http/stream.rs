//! [`Stream`]: a connection that can send a file; and [`Rewound`], one of which something was read already.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// Whether the kernel can send a file by itself. It cannot encrypt what it sends.
    fn sends_files(&self) -> bool;

    /// Sends of `file`, from `at` on, what the connection takes now, and moves `at` by it.
    fn poll_send_file(&self, cx: &mut Context<'_>, file: &File, at: &mut u64, bytes: usize) -> Poll<io::Result<usize>>;
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            fn sends_files(&self) -> bool {
                true
            }

            fn poll_send_file(
                &self,
                cx: &mut Context<'_>,
                file: &File,
                at: &mut u64,
                bytes: usize,
            ) -> Poll<io::Result<usize>> {
                loop {
                    ready!(self.poll_write_ready(cx))?;
                    let send = || Ok(rustix::fs::sendfile(self, file, Some(at), bytes)?);
                    match self.try_io(Interest::WRITABLE, send) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        sent => return Poll::Ready(sent),
                    }
                }
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

impl Stream for TlsStream<TcpStream> {
    fn sends_files(&self) -> bool {
        false
    }

    fn poll_send_file(&self, _: &mut Context<'_>, _: &File, _: &mut u64, _: usize) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl dyn Stream + '_ {
    /// Sends the first `bytes` of `file`.
    pub async fn send_file(&self, file: &File, bytes: usize) -> io::Result<()> {
        let mut at = 0;
        while let left @ 1.. = bytes.saturating_sub(usize::try_from(at).unwrap_or(usize::MAX)) {
            if poll_fn(|cx| self.poll_send_file(cx, file, &mut at, left)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Gives what was read before what is still to come.
pub(super) struct Rewound<S> {
    pub read: Bytes,
    pub stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let bytes = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..bytes]);
        self.read.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
