//! `/api/admin/session`: the console's way in. A page presents the admin token once and gets a cookie that scripts cannot read.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST`, body `{"token", "name", "look_only"}` | a session, and its cookie; 401 where the token is another |
//! | `GET` | whose session it is, and whether it may act; `by` is null where there is none |
//! | `DELETE` | the session is over |
//!
//! What a session changes must come from a page of this origin and carry [`HEADER`], which no page of another origin can send.
//! One that only looks is refused every change. The way of programs, the token as `Authorization: Bearer`, knows no session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::access::{self, Secret};
use super::body::Pieces;
use super::respond::{self, Answer, Refusal};
use super::{App, Console, admin};
use crate::telemetry::audit;

pub(super) const PATH: &str = "/api/admin/session";

/// Sessions that may be open; beyond it the oldest is closed.
const SESSIONS_MAX: usize = 32;

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(12 * 3_600);

/// What a page sends with every change.
pub(super) const HEADER: HeaderName = HeaderName::from_static("tiergate-console");

/// Bytes of what a page sends to log in.
const LOGIN_BYTES_MAX: usize = 4_096;

/// Everybody who is logged in, by the digest of what their cookie holds.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Who, as far as they said.
    pub by: String,
    /// Whether changes are carried out, or refused.
    pub may_act: bool,
    until: Instant,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    look_only: bool,
}

/// Logs in, tells who is, logs out.
pub(super) async fn answer(app: &App, request: Request<Incoming>) -> Result<Answer, Refusal> {
    access::own_page(app, request.headers())?;
    let cookie = cookie_name(request.headers())?;
    match *request.method() {
        Method::POST => log_in(app, &cookie, request).await,
        // That nobody is logged in is an answer.
        Method::GET => Ok(find(&app.console, request.headers()).map_or_else(|_| nobody(), |session| told(&session))),
        Method::DELETE => {
            let session = find(&app.console, request.headers())?;
            if let Some(id) = presented(request.headers(), &cookie) {
                app.console.sessions.close(id);
            }
            tracing::info!(by = session.by, "logged out of the console");
            let mut answer = told(&session);
            set_cookie(&mut answer, &format!("{cookie}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"));
            Ok(answer)
        }
        _ => Err(admin::no_route(request.method(), PATH)),
    }
}

async fn log_in(app: &App, cookie: &str, request: Request<Incoming>) -> Result<Answer, Refusal> {
    // The admin listener speaks HTTP, to this machine or to a proxy beside it; the page knows whether that speaks TLS.
    let over_tls = request.headers().get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https:"));
    let body = Pieces::new(request.into_body(), app.config.body_pause_max).whole(LOGIN_BYTES_MAX).await?;
    let login: Login = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("send `{{\"token\", \"name\", \"look_only\"}}` as JSON: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, "bad-login", message)
    })?;
    let by = match audit::name(login.name.trim()) {
        name if name.is_empty() => "console".to_owned(),
        name => name,
    };
    if !app.admin_token.matches(&login.token) {
        tracing::warn!(by, "a login to the console was refused: wrong token");
        let message = "this is not the token in the file `admin.token` of the data directory".to_owned();
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong-token", message));
    }
    let session = Session { by, may_act: !login.look_only, until: Instant::now() + LASTS };
    let id = Secret::random().map_err(|why| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no-randomness", why))?;
    app.console.sessions.open(id.reveal(), session.clone());
    tracing::info!(by = session.by, may_act = session.may_act, "logged in to the console");
    let mut answer = told(&session);
    let (id, lasts, secure) = (id.reveal(), LASTS.as_secs(), if over_tls { "; Secure" } else { "" });
    set_cookie(&mut answer, &format!("{cookie}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={lasts}{secure}"));
    Ok(answer)
}

fn told(session: &Session) -> Answer {
    let lasts = session.until.saturating_duration_since(Instant::now()).as_secs();
    let body = json!({ "by": session.by, "may_act": session.may_act, "lasts_seconds": lasts });
    respond::json(StatusCode::OK, &body)
}

fn nobody() -> Answer {
    respond::json(StatusCode::OK, &json!({ "by": null, "may_act": false, "lasts_seconds": 0 }))
}

fn set_cookie(answer: &mut Answer, cookie: &str) {
    respond::insert(answer.headers_mut(), header::SET_COOKIE, cookie);
}

/// The session of a request, or why it has none.
pub(super) fn find(console: &Console, headers: &HeaderMap) -> Result<Session, Refusal> {
    let cookie = cookie_name(headers)?;
    presented(headers, &cookie).and_then(|id| console.sessions.find(id)).ok_or_else(|| {
        let message = "log in, or present the admin token as `Authorization: Bearer ...`".to_owned();
        Refusal::new(StatusCode::UNAUTHORIZED, "no-session", message)
    })
}

/// Refuses a change that is not the session's to make.
pub(super) fn may_change(session: &Session, headers: &HeaderMap) -> Result<(), Refusal> {
    // `access::own_page` has found the origin to be this one, if it is named.
    if !headers.contains_key(HEADER) || !headers.contains_key(header::ORIGIN) {
        let message = format!("with a session, changes need `Origin` and the header `{HEADER}`");
        return Err(Refusal::new(StatusCode::FORBIDDEN, "not-the-console", message));
    }
    if !session.may_act {
        let message = "this session only looks; log in again to change something".to_owned();
        return Err(Refusal::new(StatusCode::FORBIDDEN, "look-only", message));
    }
    Ok(())
}

/// Cookies know no ports, and several gateways may be on one machine, so the name does.
fn cookie_name(headers: &HeaderMap) -> Result<String, Refusal> {
    let port = access::host(headers)?.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(format!("tiergate-console-{}", port.unwrap_or("80")))
}

/// What the cookie of this name holds.
fn presented<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line: &HeaderValue| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(found, _)| *found == name).map(|(_, value)| value)
}

// === impl Sessions ===

impl Sessions {
    fn open(&self, id: &str, session: Session) {
        let mut sessions = self.lock();
        let now = Instant::now();
        sessions.retain(|_, session| now < session.until);
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.until).map(|(id, _)| *id)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(digest(id), session);
    }

    /// The open session of this cookie.
    pub fn find(&self, id: &str) -> Option<Session> {
        let session = self.lock().get(&digest(id)).cloned();
        session.filter(|session| Instant::now() < session.until)
    }

    fn close(&self, id: &str) {
        self.lock().remove(&digest(id));
    }

    /// Every change under the lock is whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looked up by its digest, so that how long the look-up takes says nothing about what is held.
fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(by: &str) -> Session {
        Session { by: by.to_owned(), may_act: true, until: Instant::now() + LASTS }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_by_itself_or_when_it_is_closed() {
        let sessions = Sessions::default();
        sessions.open("a", session("ann"));
        sessions.open("b", session("bob"));
        assert_eq!(sessions.find("a").unwrap().by, "ann");
        assert!(sessions.find("c").is_none());
        sessions.close("a");
        assert!(sessions.find("a").is_none());
        tokio::time::advance(LASTS).await;
        assert!(sessions.find("b").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_open_and_one_more_closes_the_oldest() {
        let sessions = Sessions::default();
        for n in 0..SESSIONS_MAX {
            sessions.open(&n.to_string(), session("ann"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(sessions.find("0").is_some());
        sessions.open("one more", session("bob"));
        assert!(sessions.find("0").is_none() && sessions.find("1").is_some() && sessions.find("one more").is_some());
    }

    #[test]
    fn a_cookie_is_found_among_others_and_is_that_of_the_port() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b; tiergate-console-8003=id; c=d"));
        for (host, found) in [("localhost:8003", Some("id")), ("localhost:8103", None), ("[::1]", None)] {
            headers.insert(header::HOST, HeaderValue::from_static(host));
            assert_eq!(presented(&headers, &cookie_name(&headers).unwrap()), found, "{host}");
        }
    }

    #[test]
    fn a_change_needs_the_header_the_origin_and_a_session_that_may_act() {
        let mut headers = HeaderMap::new();
        assert!(may_change(&session("ann"), &headers).is_err());
        headers.insert(HEADER, HeaderValue::from_static("1"));
        assert!(may_change(&session("ann"), &headers).is_err());
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://localhost:8003"));
        assert!(may_change(&session("ann"), &headers).is_ok());
        assert!(may_change(&Session { may_act: false, ..session("ann") }, &headers).is_err());
    }
}
