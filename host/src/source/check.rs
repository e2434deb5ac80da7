//! The check that finds every mistake in all sources at once, and what each of them asks.

use std::collections::HashSet;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::config::{Config, Hidden, Mistake};

/// How often a source may be asked at most.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How seldom a source may be asked.
const INTERVAL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest name: it stands in metrics and log lines.
const NAME_BYTES_MAX: usize = 64;

/// Headers that the fetch itself sets, or that would change what an answer means.
const RESERVED: [HeaderName; 16] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    HeaderName::from_static("keep-alive"),
];

/// What a source asks, checked.
pub(super) struct Target {
    pub url: Url,
    pub uri: Uri,
    /// The configured headers, over the defaults.
    pub headers: HeaderMap,
}

/// Collects the mistakes of one source.
struct Mistakes<'a> {
    index: usize,
    all: &'a mut Vec<Mistake>,
}

// === impl Mistakes ===

impl Mistakes<'_> {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.all.push(Mistake::new(self.index, field, message));
    }
}

// === the check ===

/// What each source asks, in their order; `None` for one whose URL is wrong. And everything that is wrong.
pub(super) fn check(configs: &[Config]) -> (Vec<Option<Target>>, Vec<Mistake>) {
    let (mut names, mut keys, mut all) = (HashSet::new(), HashSet::new(), Vec::new());
    let targets = configs.iter().enumerate().map(|(index, config)| {
        let mut mistakes = Mistakes { index, all: &mut all };
        check_name(&config.name, &mut mistakes);
        if !names.insert(&config.name) {
            mistakes.add("name", format!("another source is named `{}` already", config.name));
        }
        if !keys.insert(&config.key) {
            mistakes.add("key", format!("another source refreshes `{}` already", config.key));
        }
        check_bounds(config, &mut mistakes);
        let headers = check_headers(&config.headers, &mut mistakes);
        let (url, uri) = check_url(config.url.reveal()).map_err(|message| mistakes.add("url", message)).ok()?;
        Some(Target { url, uri, headers })
    });
    (targets.collect(), all)
}

fn check_name(name: &str, mistakes: &mut Mistakes<'_>) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let rule = format!("a name has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`");
        mistakes.add("name", rule);
    }
}

fn check_bounds(config: &Config, mistakes: &mut Mistakes<'_>) {
    let shown = |span| humantime::format_duration(span);
    if config.interval < INTERVAL_MIN || config.interval > INTERVAL_MAX {
        mistakes.add("interval", format!("write {} to {}", shown(INTERVAL_MIN), shown(INTERVAL_MAX)));
    }
    if config.timeout.is_zero() {
        mistakes.add("timeout", "nothing can be fetched in no time");
    } else if config.timeout > config.interval {
        mistakes.add("timeout", format!("it may not be longer than the interval, {}", shown(config.interval)));
    }
    if config.bytes_max == 0 {
        mistakes.add("bytes_max", "every answer has at least 1 byte");
    }
    if config.ttl.is_some_and(|ttl| ttl.is_zero()) {
        mistakes.add("ttl", "a value with no time to live would be gone at once");
    }
}

fn check_url(text: &str) -> Result<(Url, Uri), String> {
    // The parser's error does not repeat the text.
    let mut url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("`{}` cannot be fetched: write http:// or https://", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password; send them in `headers` (Authorization)".to_owned());
    }
    if url.port() == Some(0) {
        return Err("nobody listens on port 0".to_owned());
    }
    url.set_fragment(None);
    let uri = url.as_str().parse::<Uri>().map_err(|error| format!("it cannot be asked for: {error}"))?;
    Ok((url, uri))
}

fn check_headers(configured: &[(String, Hidden)], mistakes: &mut Mistakes<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let field = format!("headers.{name}");
        let Ok(checked) = HeaderName::try_from(name.as_str()) else {
            mistakes.add(field, "this is not the name of a header");
            continue;
        };
        if RESERVED.contains(&checked) {
            mistakes.add(field, "this header is set by the fetch itself");
            continue;
        }
        let Ok(mut value) = HeaderValue::try_from(value.reveal()) else {
            mistakes.add(field, "its value has a control character, such as a line break");
            continue;
        };
        value.set_sensitive(true);
        if headers.insert(checked, value).is_some() {
            mistakes.add(field, "this header stands twice");
        }
    }
    let version = concat!("tiergate/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [(header::ACCEPT, "application/json"), (header::USER_AGENT, version)] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // A coded body could grow beyond any bound, and is not worth it for what a dashboard needs.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// A URL as it may be shown: without user, password, query and fragment, where secrets stand.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[track_caller]
    fn check(configs: &[Config], expected: &[(usize, &str, &str)]) {
        let mistakes = super::check(configs).1;
        let found = mistakes.iter().map(|mistake| (mistake.index, mistake.field.as_str()));
        let expected_places = expected.iter().map(|(index, field, _)| (*index, *field));
        assert!(found.eq(expected_places), "{mistakes:#?}");
        for (mistake, (.., words)) in mistakes.iter().zip(expected) {
            assert!(mistake.message.contains(words), "{mistake:?}");
            assert!(!mistake.message.contains("s3cret"), "{mistake:?}");
        }
    }

    fn with_url(url: &str) -> Config {
        Config { url: url.into(), ..config("a", "k") }
    }

    #[test]
    fn every_mistake_of_every_source_is_told_at_once() {
        let zero = Duration::ZERO;
        let empty = Config {
            name: "".into(),
            url: "nowhere".into(),
            interval: Duration::from_millis(999),
            timeout: zero,
            bytes_max: 0,
            ttl: Some(zero),
            ..config("", "k")
        };
        let twice = config("same", "other");
        let again = Config { timeout: Duration::from_secs(61), ..config("same", "other") };
        check(
            &[empty, twice, again],
            &[
                (0, "name", "1 to 64"),
                (0, "interval", "1s to 30days"),
                (0, "timeout", "no time"),
                (0, "bytes_max", "1 byte"),
                (0, "ttl", "gone at once"),
                (0, "url", "no URL"),
                (2, "name", "named `same` already"),
                (2, "key", "refreshes `other` already"),
                (2, "timeout", "the interval, 1m"),
            ],
        );
    }

    #[test]
    fn only_http_and_https_urls_without_credentials_are_fetched() {
        for good in ["http://127.0.0.1:1/x?key=s3cret#part", "https://example.com", "http://[::1]:8080/a b|c"] {
            check(&[with_url(good)], &[]);
        }
        for (bad, words) in [
            ("s3cret", "no URL"),
            ("http://", "no URL"),
            ("ftp://example.com/s3cret", "`ftp` cannot be fetched"),
            ("https://user:s3cret@example.com/", "in `headers`"),
            ("https://s3cret@example.com/", "in `headers`"),
            ("http://example.com:0/s3cret", "port 0"),
        ] {
            check(&[with_url(bad)], &[(0, "url", words)]);
        }
    }

    #[test]
    fn headers_are_checked_and_never_shown() {
        let headers = [("X-Key", "s3cret"), ("x-key", "s3cret"), ("a b", "s3cret"), ("X-Line", "s3cret\r\nX: 1")]
            .map(|(name, value)| (name.to_owned(), Hidden::from(value)));
        let reserved =
            ["Host", "if-none-match", "Accept-Encoding"].map(|name| (name.to_owned(), Hidden::from("s3cret")));
        let source = Config { headers: [headers.to_vec(), reserved.to_vec()].concat(), ..config("a", "k") };
        assert!(!format!("{source:?}").contains("s3cret"), "{source:?}");
        check(
            &[source],
            &[
                (0, "headers.x-key", "stands twice"),
                (0, "headers.a b", "not the name"),
                (0, "headers.X-Line", "control character"),
                (0, "headers.Host", "by the fetch itself"),
                (0, "headers.if-none-match", "by the fetch itself"),
                (0, "headers.Accept-Encoding", "by the fetch itself"),
            ],
        );
    }

    #[test]
    fn a_shown_url_has_no_query_fragment_or_user() {
        let url = Url::parse("https://user:s3cret@example.com:443/a/b?key=s3cret#s3cret").expect("a URL");
        assert_eq!(shown(&url), "https://example.com/a/b");
    }
}
