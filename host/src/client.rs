//! A small HTTP client for the gateway's own API: what the command line and the demo feed speak.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;

use crate::source::{native_tls, tls};

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Speaks to one gateway.
#[derive(Clone)]
pub struct Client {
    base: String,
    token: Option<String>,
    deadline: Duration,
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The `Cache-Status` header.
    pub cache_status: Option<String>,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request cannot be made.
    #[error("{0}")]
    Request(String),
    /// No gateway answered.
    #[error("no answer from {base}: {why}; is the gateway running there?")]
    NoAnswer {
        /// The gateway's URL.
        base: String,
        /// What happened.
        why: String,
    },
}

// === impl Client ===

impl Client {
    /// Speaks to the gateway at `base`, such as `http://127.0.0.1:8002`, with this write token.
    ///
    /// # Errors
    ///
    /// When `base` is no `http://` or `https://` URL, or no certificates are there to trust.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        let url =
            url::Url::parse(base).map_err(|error| ClientError::Request(format!("`{base}` is no URL: {error}")))?;
        // Whom to trust is asked of the system where it matters only.
        let trust = match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => native_tls(),
            ("http", Some(_)) => tls(RootCertStore::empty()),
            _ => return Err(ClientError::Request(format!("`{base}` is no http:// or https:// URL"))),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust.map_err(ClientError::Request)?)
            .https_or_http()
            .enable_http1()
            .build();
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, token, deadline: DEADLINE, pool: Pool::builder(TokioExecutor::new()).build(connector) })
    }

    /// The same, with another deadline for each request than half a minute.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The path of a key's value.
    pub fn key_path(key: &str) -> String {
        format!("/api/cache/{}", percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC))
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// When there is no answer. An answer with an error status is an answer.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Request(error.to_string()))?;
        let no_answer = |why: String| ClientError::NoAnswer { base: self.base.clone(), why };
        let exchange = async {
            let answer = self.pool.request(request).await.map_err(|error| no_answer(cause(&error)))?;
            let status = answer.status();
            let cache_status =
                answer.headers().get("cache-status").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = answer.into_body().collect().await.map_err(|error| no_answer(error.to_string()))?.to_bytes();
            Ok(Answer { status, cache_status, body })
        };
        tokio::time::timeout(self.deadline, exchange)
            .await
            .map_err(|_| no_answer(format!("it took more than {}", humantime::format_duration(self.deadline))))?
    }
}

/// The innermost reason, which is the one that says something.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
