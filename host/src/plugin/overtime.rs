//! [`Overtime`]: the deadline of a call counts what the call was given of the processor. That a busy machine let its thread wait
//! is nothing that a plugin could help, and must cost neither the request nor the instance.

use std::time::{Duration, Instant};

use super::aside;
use super::call::Stopwatch;

/// How many times its deadline a call may take by the clock, on a thread that serves.
const SERVING: u32 = 10;

/// The same on a thread that gives way, which may be given little for long.
const GIVING_WAY: u32 = 100;

/// What a call may take by the clock beyond its deadline: as long as it had less of the processor than that, within bounds.
pub(super) struct Overtime {
    deadline: Duration,
    most: Duration,
    begun: Instant,
    spent: Stopwatch,
}

impl Overtime {
    /// That of a call which begins now, on this thread.
    pub(super) fn begin(deadline: Duration) -> Self {
        let times = if aside::gives_way() { GIVING_WAY } else { SERVING };
        Self { deadline, most: deadline.saturating_mul(times), begun: Instant::now(), spent: Stopwatch::start() }
    }

    /// What is left of the deadline; `None` if nothing is, or the call has taken too long by any measure.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.deadline.checked_sub(self.spent.took()).filter(|left| !left.is_zero());
        left.filter(|_| self.begun.elapsed() < self.most)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What is left to a call that sleeps for so long.
    fn slept(deadline: Duration, span: Duration) -> Option<Duration> {
        let overtime = Overtime::begin(deadline);
        thread::sleep(span);
        overtime.left()
    }

    #[tokio::test]
    async fn a_call_that_was_given_nothing_of_the_processor_has_time_left_within_bounds() {
        const LONG: Duration = Duration::from_secs(1);
        const SHORT: Duration = Duration::from_millis(5);
        assert!(slept(LONG, LONG * 2).is_some());
        assert_eq!(slept(SHORT, SHORT * SERVING), None);
        // A thread that gives way may wake late.
        assert!(aside::aside(move || slept(LONG / 10, LONG / 10 * (SERVING + 1))).await.unwrap().is_some());
        assert_eq!(aside::aside(move || slept(SHORT, SHORT * GIVING_WAY)).await.unwrap(), None);
    }

    #[test]
    fn a_call_that_had_the_processor_for_its_deadline_has_nothing_left() {
        let overtime = Overtime::begin(Duration::from_millis(5));
        while overtime.spent.took() < overtime.deadline {}
        assert_eq!(overtime.left(), None);
    }
}
