//! The fast lane: plain requests for views, answered without the HTTP library.
//!
//! Nearly all that a dashboard asks for are views, and their answers are the same for everybody within a second. A connection
//! starts here, where such a request costs one read and one write: the answer, head and all, is made once a second. The first
//! request that is anything else (another route, a parameter, a condition, a body, half a head) ends the lane, and hyper
//! serves the connection from there, with the bytes that were read. Whether a request may be answered, and with what, is said
//! by [`access`] and [`data`] alone, so both ways answer alike.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use httparse::{EMPTY_HEADER, Request, Status};
use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::pin;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::listen::{Door, told};
use super::stream::Stream;
use super::{App, access, data, negotiate};
use crate::market::{ENCODINGS, Encoding, Snapshot, VIEWS};
use crate::record::Time;

/// Bytes that are read at once. A request that has more is no plain one.
const READ_BYTES: usize = 8 << 10;

/// From this size on an answer is sent from a file in memory, whose pages are not copied into the connection.
const FILE_BYTES_MIN: usize = 16 << 10;

/// Headers of a plain request, at most.
const HEADERS_MAX: usize = 32;

/// Headers that hyper or [`data`] acts upon.
const NOT_PLAIN: [&str; 5] = ["if-none-match", "content-length", "transfer-encoding", "expect", "upgrade"];

/// A request that can be answered here.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    /// Its place in [`VIEWS`].
    view: usize,
    /// The best that the client accepts.
    encoding: Encoding,
    /// Bytes of the request.
    length: usize,
}

/// What is sent for a view in an encoding.
struct Ready {
    snapshot: Arc<Snapshot>,
    /// `Cache-Status` says it.
    is_degraded: bool,
    /// `Date`, `Age` and the time to live count in seconds.
    second: u64,
    bytes: Vec<u8>,
    /// The same bytes, if they are many.
    file: Option<File>,
}

/// The last answer of every view in every encoding.
#[derive(Default)]
pub(super) struct Answers([[ArcSwapOption<Ready>; ENCODINGS.len()]; VIEWS.len()]);

/// Serves `stream` as long as its requests are plain; then answers what was read of the next one, or `None` when the
/// connection has ended.
pub(super) async fn drive(
    door: &Door,
    stream: &mut dyn Stream,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<Option<Vec<u8>>> {
    let patience = door.app.config.head_deadline;
    let (stopped, idle) = (told(stop), sleep(patience));
    pin!(stopped, idle);
    let mut read = Vec::with_capacity(READ_BYTES);
    loop {
        let since = Instant::now();
        loop {
            tokio::select! {
                biased;
                bytes = stream.read_buf(&mut read) => match bytes? {
                    0 => return Ok(None),
                    _ => break,
                },
                () = &mut stopped => return Ok(None),
                // Set again only when it rings: that costs less than with every request.
                () = &mut idle => {
                    if since.elapsed() >= patience {
                        return Ok(None);
                    }
                    idle.as_mut().reset(since + patience);
                }
            }
        }
        while !read.is_empty() {
            let Some(plain) = plain(&read, |host| access::is_known(&door.listener, host, &door.app.config.hosts))
            else {
                return Ok(Some(read));
            };
            let ready = door.answers.ready(&door.app, &plain);
            let Some(ready) = ready.as_ref() else { return Ok(Some(read)) };
            match &ready.file {
                Some(file) if stream.sends_files() => stream.send_file(file, ready.bytes.len()).await?,
                _ => {
                    stream.write_all(&ready.bytes).await?;
                    // One that encrypts may hold the last of it back.
                    stream.flush().await?;
                }
            }
            door.requests.answered(StatusCode::OK.as_u16());
            read.drain(..plain.length);
        }
    }
}

/// Reads a request; `None` when it is not all there, or not plain.
fn plain(read: &[u8], is_known: impl Fn(&str) -> bool) -> Option<Plain> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let Ok(Status::Complete(length)) = request.parse(read) else { return None };
    let view = data::view(request.path?)?;
    if request.method != Some(Method::GET.as_str()) || request.version != Some(1) {
        return None;
    }
    let (mut host, mut encodings) = (None, None);
    for header in &*request.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let text = || str::from_utf8(header.value).ok();
        let is_plain = if is("host") {
            host.replace(text()?).is_none()
        } else if is("accept-encoding") {
            encodings.replace(text()?).is_none()
        } else if is("connection") {
            header.value.eq_ignore_ascii_case(b"keep-alive")
        } else {
            !NOT_PLAIN.iter().any(|name| is(name))
        };
        if !is_plain {
            return None;
        }
    }
    is_known(host?).then_some(Plain { view, encoding: negotiate::best(encodings), length })
}

// === impl Answers ===

impl Answers {
    /// The answer of this second and mode; `None` within as long as the view is not composed.
    fn ready(&self, app: &App, plain: &Plain) -> Guard<Option<Arc<Ready>>> {
        let place = &self.0[plain.view][plain.encoding as usize];
        let (snapshot, is_degraded, now) = (app.market.snapshot(plain.view), app.cache.is_degraded(), Time::now());
        let Some(snapshot) = &*snapshot else { return Guard::from_inner(None) };
        let last = place.load();
        let is_current = |last: &Arc<Ready>| {
            last.second == now.seconds() && last.is_degraded == is_degraded && Arc::ptr_eq(&last.snapshot, snapshot)
        };
        if last.as_ref().is_some_and(is_current) {
            return last;
        }
        let ready = Arc::new(Ready::new(snapshot.clone(), plain.encoding, is_degraded, now));
        place.store(Some(ready.clone()));
        Guard::from_inner(Some(ready))
    }
}

// === impl Ready ===

impl Ready {
    fn new(snapshot: Arc<Snapshot>, encoding: Encoding, is_degraded: bool, now: Time) -> Self {
        let accepted = encoding.token().map(|token| (ACCEPT_ENCODING, HeaderValue::from_static(token)));
        let answer = data::view_answer(&accepted.into_iter().collect::<HeaderMap>(), &snapshot, is_degraded, now);
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        let mut put = |name: &str, value: &[u8]| {
            [name.as_bytes(), b": ", value, b"\r\n"].iter().for_each(|part| bytes.extend_from_slice(part));
        };
        for (name, value) in answer.headers() {
            put(name.as_str(), value.as_bytes());
        }
        let body = &snapshot.body(encoding).bytes;
        put("content-length", body.len().to_string().as_bytes());
        put("date", httpdate::fmt_http_date(now.into()).as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        let file = (bytes.len() >= FILE_BYTES_MIN).then(|| file(&bytes)).transpose().unwrap_or_else(|error| {
            tracing::debug!(%error, "no file in memory for an answer; its bytes are copied");
            None
        });
        Self { snapshot, is_degraded, second: now.seconds(), bytes, file }
    }
}

fn file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("answer", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(request: &str) -> Option<Plain> {
        super::plain(request.as_bytes(), |host| host == "here")
    }

    fn with(header: &str) -> Option<Plain> {
        plain(&format!("GET /api/dashboard/overview HTTP/1.1\r\nhost: here\r\n{header}\r\n\r\n"))
    }

    #[test]
    fn a_plain_request_is_known_by_its_view_and_encoding() {
        let request =
            "GET /api/dashboard/mobile-data HTTP/1.1\r\nHost: here\r\nAccept-Encoding: gzip, br\r\n\r\nGET /more";
        assert_eq!(plain(request), Some(Plain { view: 0, encoding: Encoding::Brotli, length: request.len() - 9 }));
        for header in ["user-agent: any", "connection: keep-alive", "cookie: a=b", "if-modified-since: today"] {
            assert!(with(header).is_some(), "{header}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_library() {
        for header in [
            "host: here",
            "connection: close",
            "Connection: upgrade",
            "Upgrade: websocket",
            "content-length: 0",
            "Transfer-Encoding: chunked",
            "expect: 100-continue",
            "if-none-match: \"a\"",
            "accept-encoding: gzip\r\naccept-encoding: br",
            " folded: line",
            "no colon",
        ] {
            assert_eq!(with(header), None, "{header}");
        }
        for request in [
            "GET /api/dashboard/mobile-data HTTP/1.1\r\nhost: here\r\n",
            "GET /api/dashboard/mobile-data HTTP/1.1\r\n\r\n",
            "GET /api/dashboard/mobile-data HTTP/1.1\r\nhost: elsewhere\r\n\r\n",
            "GET /api/dashboard/mobile-data HTTP/1.0\r\nhost: here\r\n\r\n",
            "HEAD /api/dashboard/mobile-data HTTP/1.1\r\nhost: here\r\n\r\n",
            "GET /api/dashboard/mobile-data?limit=3 HTTP/1.1\r\nhost: here\r\n\r\n",
            "GET http://here/api/dashboard/mobile-data HTTP/1.1\r\nhost: here\r\n\r\n",
            "GET /mobile HTTP/1.1\r\nhost: here\r\n\r\n",
        ] {
            assert_eq!(plain(request), None, "{request}");
        }
    }
}
