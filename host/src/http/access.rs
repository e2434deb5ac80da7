//! Who may do what: tokens, `Host` and `Origin`.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode};
use subtle::ConstantTimeEq as _;

use super::App;
use super::listener::Listener;
use super::respond::Refusal;
use super::session::{self, Session};

/// Random bytes in a token that is made here.
const TOKEN_BYTES: usize = 32;

/// A token. It never appears in a log or an error.
#[derive(Clone)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    /// Takes a token as configured.
    ///
    /// # Errors
    ///
    /// When it is too short to be one.
    pub fn new(token: impl Into<String>) -> Result<Self, String> {
        let token = token.into();
        if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a token must have at least 16 printable characters and no space".to_owned());
        }
        Ok(Self(token))
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub fn random() -> Result<Self, String> {
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random).map_err(|error| format!("no randomness for a token: {error}"))?;
        Ok(Self(random.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The token itself, to be presented and never to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in constant time.
    pub(super) fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The token in `path`, made at the first start and readable by this user alone.
///
/// # Errors
///
/// When the file cannot be read or made, or holds no token.
pub fn token_file(path: &Path) -> Result<Secret, String> {
    let explain = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => Secret::new(text.trim()).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = Secret::random()?;
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(explain)?;
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(explain)?;
            writeln!(file, "{}", token.reveal()).map_err(explain)?;
            Ok(token)
        }
        Err(error) => Err(explain(error)),
    }
}

/// Lets a request to the data listener pass, or says why not.
pub(super) fn data(app: &App, listener: &Listener, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if listener.is_unix() {
        return Ok(());
    }
    let host = host(headers)?;
    if !is_known(listener, host, &app.config.hosts) {
        // A page of another site whose name was made to point here must not read from here (DNS rebinding).
        return Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown-host",
            format!(
                "this gateway does not answer for the host `{}`; add its name to `http.hosts`",
                host.escape_default()
            ),
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    same_origin(headers, host)?;
    if listener.is_loopback() {
        return Ok(());
    }
    match &app.config.write_token {
        None => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "writes-off",
            "writes from other machines need `http.write_token` to be configured".to_owned(),
        )),
        Some(token) => bearer(headers, token, "the write token (`http.write_token`)"),
    }
}

/// Whether a client of the data listener may call it by this `Host`.
pub(super) fn is_known(listener: &Listener, host: &str, known: &[String]) -> bool {
    listener.is_unix() || is_known_host(host, known)
}

/// Who asks the admin listener.
pub(super) enum Caller {
    /// Who presents the admin token.
    Token,
    /// Who logged in to the console.
    Session(Session),
}

/// Lets a request to the admin listener pass, or says why not.
pub(super) fn admin(app: &App, method: &Method, headers: &HeaderMap) -> Result<Caller, Refusal> {
    own_page(app, headers)?;
    if headers.contains_key(AUTHORIZATION) || !headers.contains_key(COOKIE) {
        bearer(headers, &app.admin_token, "the admin token (file `admin.token` in the data directory)")?;
        return Ok(Caller::Token);
    }
    let session = session::find(&app.console, headers)?;
    if !method.is_safe() {
        session::may_change(&session, headers)?;
    }
    Ok(Caller::Session(session))
}

/// Refuses what calls the admin listener by an unknown name, or comes from a page of another origin.
pub(super) fn own_page(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = host(headers)?;
    if !is_known_host(host, &app.config.hosts) {
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "unknown host".to_owned()));
    }
    same_origin(headers, host)
}

// === impl Caller ===

impl Caller {
    /// Who asks: whose session it is, or else who they say they are.
    pub fn name(&self, said: Option<String>) -> String {
        match self {
            Self::Session(session) => session.by.clone(),
            Self::Token => said.unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// What the client calls this gateway by.
pub(super) fn host(headers: &HeaderMap) -> Result<&str, Refusal> {
    headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "no-host", "the request has no Host header".to_owned()))
}

/// An address cannot be rebound by a name server, so only names must be known.
fn is_known_host(host: &str, known: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || bare.eq_ignore_ascii_case("localhost")
        || known.iter().any(|known| known.eq_ignore_ascii_case(bare))
}

/// Refuses what a page of another origin sends.
pub(super) fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    if authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "foreign-origin", "a page of another origin may not write here".to_owned()))
}

fn bearer(headers: &HeaderMap, token: &Secret, what: &str) -> Result<(), Refusal> {
    let presented = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if presented.is_some_and(|presented| token.matches(presented)) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::UNAUTHORIZED, "no-token", format!("present {what} as `Authorization: Bearer ...`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_known_and_addresses_need_not() {
        let known = vec!["dash.example".to_owned()];
        for host in ["localhost:8002", "127.0.0.1", "[::1]:8002", "192.0.2.7:80", "Dash.Example:443"] {
            assert!(is_known_host(host, &known), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8002", "", "127.0.0.1.evil.example"] {
            assert!(!is_known_host(host, &known), "{host}");
        }
    }

    #[test]
    fn a_token_is_made_once_and_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.token");
        let made = token_file(&path).unwrap();
        assert!(made.matches(std::fs::read_to_string(&path).unwrap().trim()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = token_file(&path).unwrap();
        assert_eq!(made.0, again.0);
        assert_eq!(format!("{again:?}"), "(secret)");
    }
}
