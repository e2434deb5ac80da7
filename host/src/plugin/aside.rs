//! Work that gives way: it runs on threads that are given the processor when no other wants it, so that who is being served
//! feels neither a candidate nor the checks of a load. A call on such a thread has the more patience with it: see
//! [`Overtime`](super::overtime::Overtime).
//!
//! They are of the policy `SCHED_IDLE` (`sched(7)`): others need not even wait for the end of a slice, as they would with the
//! lowest priority of the usual policy, and a thread can leave it again when it is waited for.

use std::cell::Cell;
use std::io;
use std::os::unix::thread::JoinHandleExt as _;
use std::pin::pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadId, ThreadPriority, ThreadPriorityOsValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy_param,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

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

/// Puts this thread among all others again.
pub(super) fn give_way_no_more() {
    schedule(thread_native_id(), NormalThreadSchedulePolicy::Other);
}

/// Whether this thread began as one that gives way.
pub(super) fn gives_way() -> bool {
    GIVES_WAY.get()
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
}
