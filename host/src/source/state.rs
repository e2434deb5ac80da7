//! [`State`]: what is known of one source between two fetches. Its [`History`] is shown to operators.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::error::SourceError;
use super::fetch::Held;
use super::patience::Backoff;
use crate::record::Time;

/// What is known of one source.
pub(super) struct State {
    /// It is not asked before.
    pub not_before: Instant,
    /// The last good answer, for an origin that can say that it has not changed.
    pub held: Option<Held>,
    /// What has become of its fetches.
    pub history: History,
    interval: Duration,
    backoff: Backoff,
    /// How it failed last, while it fails.
    failing: Option<&'static str>,
}

/// What has become of the fetches of a source. Times are in Unix microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// When the last fetch began.
    pub last_attempt_at: Option<Time>,
    /// When the last fetch began whose answer was stored, or unchanged.
    pub last_success_at: Option<Time>,
    /// Failures since then, in a row.
    pub failures: u32,
    /// When a fetch last failed.
    pub last_failure_at: Option<Time>,
    /// Why.
    pub last_error: Option<String>,
    /// How long the last good answer took, in seconds; 0 when there was none.
    #[serde(rename = "cost_seconds", serialize_with = "seconds")]
    pub cost: Duration,
    /// The size of the last good answer, in bytes.
    pub bytes: usize,
}

/// When a fetch began, by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub at: Time,
    pub instant: Instant,
}

/// What a failure or a success changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// It fails, after it answered or in another way than before.
    Fails,
    /// It answers again after so many failures.
    Answers { failures: u32 },
    /// All is as before.
    None,
}

// === impl Begun ===

impl Begun {
    pub fn now() -> Self {
        Self { at: Time::now(), instant: Instant::now() }
    }
}

// === impl State ===

impl State {
    pub fn new(interval: Duration) -> Self {
        let (not_before, backoff) = (Instant::now(), Backoff::new(interval));
        Self { not_before, held: None, history: History::default(), interval, backoff, failing: None }
    }

    /// A fetch is about to begin. Until it lands the interval counts, and so it does should the fetch die.
    pub fn begins(&mut self) {
        self.not_before = Instant::now() + self.interval;
    }

    /// The answer was stored.
    pub fn succeeded(&mut self, begun: Begun) -> Transition {
        self.rest(begun);
        self.failing = None;
        self.history.last_success_at = Some(begun.at);
        match std::mem::take(&mut self.history.failures) {
            0 => Transition::None,
            failures => Transition::Answers { failures },
        }
    }

    /// The fetch failed, or its answer was of no use.
    pub fn failed(&mut self, begun: Begun, error: &SourceError) -> Transition {
        let before = self.failing.replace(error.label());
        self.history.failures = self.history.failures.saturating_add(1);
        self.history.last_failure_at = Some(Time::now());
        self.history.last_error = Some(error.to_string());
        if matches!(error, SourceError::Unstored(_)) {
            // The origin has done its part.
            self.rest(begun);
        } else {
            let wait = self.backoff.next().max(error.retry_after().unwrap_or_default());
            self.not_before = Instant::now() + wait;
        }
        if before == self.failing { Transition::None } else { Transition::Fails }
    }

    /// The origin answered well: it is asked again after the interval, counted from the beginning of this fetch.
    fn rest(&mut self, begun: Begun) {
        self.backoff = Backoff::new(self.interval);
        self.not_before = begun.instant + self.interval;
    }
}

fn seconds<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn busy(retry_after: Option<Duration>) -> SourceError {
        SourceError::Status { status: hyper::StatusCode::SERVICE_UNAVAILABLE, retry_after }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_success_the_interval_counts_from_the_beginning_of_the_fetch() {
        let mut state = State::new(MINUTE);
        let begun = Begun::now();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(state.succeeded(begun), Transition::None);
        assert_eq!(state.not_before, begun.instant + MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_is_waited_out_for_longer_and_a_success_forgets_them() {
        let mut state = State::new(MINUTE);
        let mut span = Duration::from_secs(2);
        for failure in 1..=6 {
            assert_eq!(state.failed(Begun::now(), &SourceError::Empty) == Transition::Fails, failure == 1);
            let wait = state.not_before - Instant::now();
            assert!(wait >= span / 2 && wait <= span, "{wait:?} after {failure}");
            span *= 2;
        }
        assert_eq!(state.succeeded(Begun::now()), Transition::Answers { failures: 6 });
        assert_eq!(state.failed(Begun::now(), &SourceError::Empty), Transition::Fails);
        assert!(state.not_before - Instant::now() <= Duration::from_secs(2));
        assert_eq!(state.history.failures, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_origin_asks_for_is_waited_out_where_it_is_longer() {
        let mut state = State::new(MINUTE);
        assert_eq!(state.failed(Begun::now(), &busy(Some(HOUR))), Transition::Fails);
        assert_eq!(state.not_before - Instant::now(), HOUR);
        assert_eq!(state.failed(Begun::now(), &busy(Some(Duration::ZERO))), Transition::None);
        assert!(state.not_before - Instant::now() >= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn another_way_of_failing_is_news_and_tiers_that_fail_are_not_the_origins_fault() {
        let mut state = State::new(MINUTE);
        assert_eq!(state.failed(Begun::now(), &busy(None)), Transition::Fails);
        assert_eq!(state.failed(Begun::now(), &SourceError::Empty), Transition::Fails);
        let begun = Begun::now();
        assert_eq!(state.failed(begun, &SourceError::Unstored("redis: down".into())), Transition::Fails);
        assert_eq!(state.not_before, begun.instant + MINUTE);
        assert_eq!(state.history.failures, 3);
    }
}
