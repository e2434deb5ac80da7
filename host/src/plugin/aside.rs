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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
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

/// A thread that gives way until it is hurried.
pub(super) struct Thread<T> {
    handle: JoinHandle<T>,
    hurried: Arc<AtomicBool>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts `work` on it.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(super) fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let hurried = Arc::new(AtomicBool::new(false));
        let run = {
            let hurried = hurried.clone();
            move || {
                schedule(thread_native_id(), NormalThreadSchedulePolicy::Idle);
                GIVES_WAY.set(true);
                // It may be hurried before it has begun.
                if hurried.load(SeqCst) {
                    schedule(thread_native_id(), NormalThreadSchedulePolicy::Other);
                }
                work()
            }
        };
        Ok(Self { handle: thread::Builder::new().name(name.into()).spawn(run)?, hurried })
    }

    /// Puts it among all others again, and lets it rest no more.
    pub(super) fn hurry(&self) {
        self.hurried.store(true, SeqCst);
        schedule(self.handle.as_pthread_t(), NormalThreadSchedulePolicy::Other);
        self.handle.thread().unpark();
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it panicked.
    pub(super) fn join(self) -> thread::Result<T> {
        self.handle.join()
    }
}

/// Whether this thread began as one that gives way.
pub(super) fn gives_way() -> bool {
    GIVES_WAY.get()
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
        if done.send(work()).is_err() {
            tracing::debug!("nobody waits any more for what was done aside");
        }
    };
    let thread = Thread::start("aside", run).map_err(Unfinished::NoThread)?;
    let mut result = pin!(result);
    if let Ok(done) = timeout(GIVES_WAY_FOR, &mut result).await {
        return done.map_err(|_| Unfinished::Died);
    }
    thread.hurry();
    result.await.map_err(|_| Unfinished::Died)
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
        assert_eq!(Thread::start("for a test", policy).unwrap().join().unwrap(), Ok(idle));
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
