//! When a source may be asked again: after a failure, and when the origin asks to be left alone.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use hyper::header::{HeaderMap, RETRY_AFTER};

/// The longest wait after the first failure. It doubles with each further one.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(2);

/// The longest wait after a failure, unless the interval is longer.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The longest that an origin is left alone because it asks for it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// The waits after one failure after another.
///
/// Each is drawn from the upper half of its span, so that sources which failed together do not come back together.
pub(super) struct Backoff {
    waits: ExponentialBackoff,
    longest: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// The waits of a source that has not failed yet, and is asked every `interval`.
    pub fn new(interval: Duration) -> Self {
        let longest = WAIT_MAX.max(interval);
        // The crate adds up to as much again to each wait.
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT_MAX / 2)
            .with_max_delay(longest / 2)
            .without_max_times()
            .with_jitter()
            .build();
        Self { waits, longest }
    }

    /// How long to wait after one more failure.
    pub fn next(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest).min(self.longest)
    }
}

/// How long an answer asks to be left alone: seconds, or a date (RFC 9110, 10.2.3). Never more than a day.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let span = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than a number holds are more than a day.
        text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(span.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_wait_doubles_with_jitter_up_to_the_cap() {
        let mut backoff = Backoff::new(MINUTE);
        let mut span = FIRST_WAIT_MAX;
        for _ in 0..40 {
            let wait = backoff.next();
            assert!(wait >= span / 2 && wait <= span, "{wait:?} of {span:?}");
            span = (span * 2).min(WAIT_MAX);
        }
    }

    #[test]
    fn the_cap_is_no_shorter_than_the_interval_and_waits_differ() {
        let hour = 60 * MINUTE;
        let fortieth = || {
            let mut backoff = Backoff::new(hour);
            (1..40).for_each(|_| assert!(backoff.next() <= hour));
            backoff.next()
        };
        let waits: Vec<_> = (0..8).map(|_| fortieth()).collect();
        assert!(waits.iter().all(|wait| *wait >= hour / 2 && *wait <= hour), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_a_date_and_bounded_by_a_day() {
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:58:59 GMT").expect("a date");
        let day = RETRY_AFTER_MAX;
        for (text, expected) in [
            ("120", Some(2 * MINUTE)),
            (" 0 ", Some(Duration::ZERO)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(MINUTE)),
            ("Friday, 31-Dec-99 23:59:59 GMT", Some(MINUTE)),
            ("Fri, 31 Dec 1999 23:00:00 GMT", Some(Duration::ZERO)),
            ("86400", Some(day)),
            ("86401", Some(day)),
            ("99999999999999999999999999", Some(day)),
            ("Thu, 31 Dec 2099 23:59:59 GMT", Some(day)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
