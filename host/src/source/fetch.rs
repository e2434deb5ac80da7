//! [`Fetcher`]: one GET over HTTP or HTTPS, under one deadline and one limit of size.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION,
};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::check::{Target, shown};
use super::error::{Phase, SourceError};
use super::patience::retry_after;

/// The size in bytes at which an unfinished head of an answer is given up.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a connection waits for the next request. Short: servers close idle connections, some after 5 s, and a request
/// that is sent while they do is lost.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// The longest `Location` that is told, in bytes.
const LOCATION_BYTES_MAX: usize = 300;

/// Fetches what one source asks.
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    target: Target,
    timeout: Duration,
    bytes_max: u64,
}

/// By what an origin recognises the answer that it gave last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    pub etag: Option<HeaderValue>,
    pub last_modified: Option<HeaderValue>,
}

/// The last good answer of an origin that can say that it has not changed.
#[derive(Clone)]
pub(super) struct Held {
    pub validators: Validators,
    pub body: Bytes,
}

/// A good answer.
pub(super) struct Fetched {
    /// The whole body, which is not empty; the one that is held, where it has not changed.
    pub body: Bytes,
    pub validators: Option<Validators>,
    pub is_new: bool,
}

// === impl Fetcher ===

impl Fetcher {
    /// Fetches `target`.
    pub fn new(target: Target, timeout: Duration, bytes_max: u64, tls: ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        // Shared among the addresses of the host: a dead one leaves time for the next, and for the answer.
        http.set_connect_timeout(Some(timeout / 2));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Self { client, target, timeout, bytes_max }
    }

    /// What is fetched. Its query may hold a secret.
    pub fn url(&self) -> &Url {
        &self.target.url
    }

    /// Asks for what has changed since `held`; for all of it where nothing is held.
    ///
    /// # Errors
    ///
    /// Whatever is not a whole good answer within the deadline and the limit.
    pub async fn fetch(&self, held: Option<Held>) -> Result<Fetched, SourceError> {
        let deadline = Instant::now() + self.timeout;
        let request = self.request(held.as_ref().map(|held| &held.validators));
        let answer = match timeout_at(deadline, self.client.request(request)).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error))?,
            Err(_) => return Err(self.timed_out(Phase::Head)),
        };
        if let (StatusCode::NOT_MODIFIED, Some(Held { validators, body })) = (answer.status(), held) {
            return Ok(Fetched { body, validators: Some(validators), is_new: false });
        }
        self.check_head(&answer)?;
        let validators = Validators::of(answer.headers());
        let body = match timeout_at(deadline, self.read(answer.into_body())).await {
            Ok(body) => body?,
            Err(_) => return Err(self.timed_out(Phase::Body)),
        };
        if body.is_empty() { Err(SourceError::Empty) } else { Ok(Fetched { body, validators, is_new: true }) }
    }

    fn request(&self, held: Option<&Validators>) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = self.target.headers.clone();
        if let Some(held) = held {
            let mut send = |name: HeaderName, value: &Option<HeaderValue>| {
                request.headers_mut().extend(value.clone().map(|value| (name, value)));
            };
            send(IF_NONE_MATCH, &held.etag);
            send(IF_MODIFIED_SINCE, &held.last_modified);
        }
        request
    }

    /// Refuses what brings no payload, before its body is read.
    fn check_head(&self, answer: &Response<Incoming>) -> Result<(), SourceError> {
        let (status, headers) = (answer.status(), answer.headers());
        let asks = || retry_after(headers, SystemTime::now());
        if status.is_redirection() && headers.contains_key(LOCATION) {
            let location = self.location(headers);
            return Err(SourceError::Redirected { status, location, retry_after: asks() });
        }
        // No part was asked for, and a part is not a payload.
        if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
            return Err(SourceError::Status { status, retry_after: asks() });
        }
        match headers.get(CONTENT_ENCODING) {
            Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
                Err(SourceError::Encoded(String::from_utf8_lossy(coding.as_bytes()).into_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Where a redirect points to. Its query is not shown: it may repeat the one that was asked with.
    fn location(&self, headers: &HeaderMap) -> Option<String> {
        let url: Url = self.target.url.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
        Some(shown(&url)).filter(|shown| shown.len() <= LOCATION_BYTES_MAX)
    }

    /// Reads the whole body, of at most the limit.
    async fn read(&self, body: Incoming) -> Result<Bytes, SourceError> {
        let limit = self.bytes_max;
        let announced = body.size_hint().lower();
        if announced > limit {
            return Err(SourceError::TooLarge { bytes: Some(announced), limit });
        }
        match Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(SourceError::TooLarge { bytes: None, limit }),
            Err(error) => Err(SourceError::Broken(innermost(&*error).to_string())),
        }
    }

    fn timed_out(&self, phase: Phase) -> SourceError {
        SourceError::TimedOut { timeout: self.timeout, phase }
    }

    fn explain(&self, error: &ClientError) -> SourceError {
        let cause = innermost(error);
        if !error.is_connect() {
            return SourceError::Broken(cause.to_string());
        }
        match cause.downcast_ref::<io::Error>() {
            Some(io) if is_tls(io) => SourceError::Tls(cause.to_string()),
            Some(io) if io.kind() == io::ErrorKind::TimedOut => self.timed_out(Phase::Connect),
            _ => SourceError::Connect(cause.to_string()),
        }
    }
}

// === impl Validators ===

impl Validators {
    /// Those of an answer; `None` when it has none.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let found = Self { etag: headers.get(ETAG).cloned(), last_modified: headers.get(LAST_MODIFIED).cloned() };
        (found.etag.is_some() || found.last_modified.is_some()).then_some(found)
    }
}

/// The innermost reason, which is the one that says something.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// Whether TLS is the reason; the connector wraps it more than once.
fn is_tls(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_tls))
}

/// TLS as the operating system trusts it; `SSL_CERT_FILE` and `SSL_CERT_DIR` name other roots.
///
/// # Errors
///
/// When there are no roots.
pub(crate) fn native_tls() -> Result<ClientConfig, String> {
    let config = versions()?.with_native_roots().map_err(|error| {
        format!("no certificates to trust ({error}): install ca-certificates, or name a file of them in SSL_CERT_FILE")
    })?;
    Ok(config.with_no_client_auth())
}

/// TLS that trusts these certificates only.
///
/// # Errors
///
/// When TLS is not available.
pub(crate) fn tls(roots: RootCertStore) -> Result<ClientConfig, String> {
    Ok(versions()?.with_root_certificates(roots).with_no_client_auth())
}

fn versions() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))
}
