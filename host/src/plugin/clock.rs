//! The clock that deadlines are kept by: it counts epochs as long as calls are made, and sleeps otherwise, because a thread
//! that wakes every millisecond for nothing costs an idle machine more than the rest of an idle gateway.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::EngineWeak;

/// One epoch: the step in which deadlines are kept.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Epochs without a call before the clock sleeps, so that calls in quick succession need not wake it.
pub(super) const LINGER: u32 = 20;

/// How often a clock that sleeps looks whether its engine is gone.
const GONE_EVERY: Duration = Duration::from_secs(10);

/// Calls under way, of all engines of this process.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Clocks that sleep, or are about to.
static ASLEEP: AtomicUsize = AtomicUsize::new(0);
static BED: Mutex<()> = Mutex::new(());
static ALARM: Condvar = Condvar::new();

/// A call that is under way until this is dropped.
pub(super) struct UnderWay(());

/// Begins a call.
pub(super) fn begin() -> UnderWay {
    CALLS.fetch_add(1, SeqCst);
    // In one order for all: either this sees the sleeper, or the sleeper sees the call.
    if ASLEEP.load(SeqCst) > 0 {
        drop(BED.lock().unwrap_or_else(PoisonError::into_inner));
        ALARM.notify_all();
    }
    UnderWay(())
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, SeqCst);
    }
}

/// Starts the clock of `engine`. It ends when the engine is gone.
pub(super) fn start(engine: EngineWeak) -> io::Result<()> {
    let clock = move || {
        let mut quiet = 0;
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
            quiet = if CALLS.load(SeqCst) > 0 { 0 } else { quiet + 1 };
            if quiet == LINGER {
                sleep();
                quiet = 0;
            }
        }
    };
    thread::Builder::new().name("plugin-clock".into()).spawn(clock).map(drop)
}

/// Sleeps until a call is under way, at most [`GONE_EVERY`].
fn sleep() {
    let bed = BED.lock().unwrap_or_else(PoisonError::into_inner);
    ASLEEP.fetch_add(1, SeqCst);
    drop(ALARM.wait_timeout_while(bed, GONE_EVERY, |()| CALLS.load(SeqCst) == 0));
    ASLEEP.fetch_sub(1, SeqCst);
}
