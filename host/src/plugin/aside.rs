//! Work that gives way: it runs on threads that are given the processor when no other wants it, so that who is being served
//! feels neither a candidate nor the checks of a load. The deadline of a call on such a thread counts what it was given of the
//! processor: see [`Grace`].
//!
//! They are of the policy `SCHED_IDLE` (`sched(7)`): others need not even wait for the end of a slice, as they would with the
//! lowest priority of the usual policy, and a thread can leave it again when it is waited for.

use std::cell::Cell;
use std::io;
use std::os::unix::thread::JoinHandleExt as _;
use std::pin::pin;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadId, ThreadPriority, ThreadPriorityOsValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy_param,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::call::Stopwatch;

/// How many times its deadline a call may take on a thread that gives way, however little of the processor it was given.
const PATIENCE: u32 = 100;

/// How long work gives way that somebody waits for: on a machine that never rests it would not end.
const GIVES_WAY_FOR: Duration = Duration::from_secs(1);

thread_local! {
    static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Why something was not done aside.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// There was no thread to be had.
    #[error("there is no thread for it: {0}")]
    NoThread(io::Error),
    /// It panicked.
    #[error("its thread has died")]
    Died,
}

/// Puts this thread behind all others.
pub(super) fn give_way() {
    schedule(thread_native_id(), NormalThreadSchedulePolicy::Idle);
    GIVES_WAY.set(true);
}

/// Puts a thread that gave way among all others again.
pub(super) fn hurry<T>(thread: &JoinHandle<T>) {
    schedule(thread.as_pthread_t(), NormalThreadSchedulePolicy::Other);
}

fn schedule(thread: ThreadId, policy: NormalThreadSchedulePolicy) {
    let policy = ThreadSchedulePolicy::Normal(policy);
    // It would set the caller's niceness, too, which an operator may have chosen otherwise: what counts is the policy.
    let usual = ThreadPriority::Os(ThreadPriorityOsValue::default());
    let set = set_thread_priority_and_policy(thread, usual, policy);
    let found = thread_schedule_policy_param(thread).map(|(policy, _)| policy);
    if found != Ok(policy) {
        tracing::warn!(?set, ?found, wanted = ?policy, "a thread of the plugins is not scheduled as it should be");
    }
}

/// Does `work` on a thread of its own that gives way.
///
/// # Errors
///
/// When there is no thread to be had, or `work` panics.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unfinished> {
    let (done, result) = oneshot::channel();
    let run = move || {
        give_way();
        if done.send(work()).is_err() {
            tracing::debug!("nobody waits any more for what was done aside");
        }
    };
    let thread = thread::Builder::new().name("aside".into()).spawn(run).map_err(Unfinished::NoThread)?;
    let mut result = pin!(result);
    loop {
        if let Ok(done) = timeout(GIVES_WAY_FOR, &mut result).await {
            return done.map_err(|_| Unfinished::Died);
        }
        // Again and again: a thread that begins late gives way only then.
        hurry(&thread);
    }
}

/// What a call on a thread that gives way may take beyond its deadline: as long as it had less of the processor than that.
pub(super) struct Grace {
    deadline: Duration,
    begun: Instant,
    spent: Stopwatch,
}

impl Grace {
    /// That of a call which begins now; `None` on a thread like any other, where somebody waits.
    pub(super) fn begin(deadline: Duration) -> Option<Self> {
        let begin = || Self { deadline, begun: Instant::now(), spent: Stopwatch::start() };
        GIVES_WAY.get().then(begin)
    }

    /// What is left of the deadline; `None` if nothing is, or patience is at its end.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.deadline.checked_sub(self.spent.took()).filter(|left| !left.is_zero());
        left.filter(|_| self.begun.elapsed() < self.deadline.saturating_mul(PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_aside_is_answered_and_a_panic_is_an_error() {
        assert_eq!(aside(|| (GIVES_WAY.get(), 1 + 1)).await.unwrap(), (true, 2));
        assert!(!GIVES_WAY.get());
        let died: Result<(), _> = aside(|| panic!("for a test")).await;
        assert!(matches!(died, Err(Unfinished::Died)));
    }

    #[tokio::test]
    async fn work_that_somebody_has_waited_for_long_enough_gives_way_no_more() {
        let policy = || thread_schedule_policy_param(thread_native_id()).map(|(policy, _)| policy);
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let given_way = move || {
            give_way();
            policy()
        };
        assert_eq!(thread::spawn(given_way).join().unwrap(), Ok(idle));
        let waited_for = move || {
            while policy() == Ok(idle) {
                thread::sleep(Duration::from_millis(10));
            }
            (GIVES_WAY.get(), policy())
        };
        let usual = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        assert_eq!(aside(waited_for).await.unwrap(), (true, Ok(usual)));
        assert_eq!(policy(), Ok(usual));
    }

    #[tokio::test]
    async fn a_call_that_was_given_nothing_of_the_processor_has_time_left_until_patience_ends() {
        const DEADLINE: Duration = Duration::from_millis(5);
        assert!(Grace::begin(DEADLINE).is_none(), "on a thread like any other");
        let idle = |deadline: Duration, span: Duration| {
            move || {
                let grace = Grace::begin(deadline).unwrap();
                thread::sleep(span);
                grace.left()
            }
        };
        // A thread that gives way may wake late: patience is long enough for that.
        let long = DEADLINE * 20;
        assert!(aside(idle(long, long * 2)).await.unwrap().is_some());
        assert_eq!(aside(idle(DEADLINE, DEADLINE * PATIENCE)).await.unwrap(), None);
        let busy = || {
            let grace = Grace::begin(DEADLINE).unwrap();
            while grace.spent.took() < DEADLINE {}
            grace.left()
        };
        assert_eq!(aside(busy).await.unwrap(), None);
    }
}
