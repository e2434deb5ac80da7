//! [`Companion`]: a version of a plugin that is asked what the active one is asked, and is never served.
//!
//! In shadow it is a candidate, to be judged before it is used. On probation it is the version before the active one, which
//! goes on knowing what it would know, so that a rollback loses nothing.
//!
//! It costs what it is allowed to: one thread that gives way to all others and rests as long as it worked, and a bounded queue.
//! What does not fit the queue is not asked, and counted. A companion with state that missed something is out of step: it is
//! asked nothing until it is given the state of the active one again.

mod difference;
mod handover;
mod report;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::aside::Thread;
use super::call::{Answer, Faults, Question, Stopwatch, Taken};
use super::error::PluginError;
use super::slot::{Beside, GenerationStatus, Identity, tell};

use difference::differences;
pub(super) use difference::{Difference, values};
pub(super) use handover::{Activated, Handover, beside, give, take_over};
pub(super) use report::Tally;
pub use report::{Bounds, Example, Mode, Report};

/// Calls that wait for a companion.
const QUEUE_CALLS_MAX: usize = 1_024;

/// Bytes of the calls that wait for a companion. They are mostly bytes that the gateway holds anyway.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// What a companion is that missed calls and refused the state that would have made up for them. Its own state is not taken
/// in that one's place: it lacks what was missed, and a swap loses nothing.
const OUT_OF_STEP: &str = "is out of step, and refuses the state that would have made up for what it missed; only what the \
                           tape still holds can bring it back, or `--fresh`";

/// The longest rest after a call.
const REST_MAX: Duration = Duration::from_secs(1);

/// What a companion runs.
pub(super) trait Runner: Send + 'static {
    /// Whether its answers depend on what it was asked before.
    const STATEFUL: bool;

    /// Answers as it would if it were active, and says by their causes which instances that cost.
    fn answer(&mut self, question: &Question) -> (Answer, Faults);

    /// Does what is due between two calls, and is nobody's cost.
    fn settle(&mut self) {}

    /// Takes over this state of the active version.
    ///
    /// # Errors
    ///
    /// When it refuses it; it goes on as it is.
    fn seed(&mut self, state: &Arc<[u8]>) -> Result<(), PluginError>;

    /// Who it is.
    fn identity(&self) -> &Identity;
}

/// A version that runs beside the active one.
pub(super) struct Companion<R> {
    status: GenerationStatus,
    mode: Mode,
    shared: Arc<Shared>,
    queue: SyncSender<Heard>,
    thread: Thread<R>,
    /// Whether it has heard everything that changes its state.
    in_step: bool,
    stateful: bool,
}

struct Shared {
    tally: Mutex<Tally>,
    queued_bytes: AtomicUsize,
    /// No longer wanted: what waits is not asked.
    dismissed: AtomicBool,
    /// Wanted at once: it does not rest.
    hurried: AtomicBool,
    /// It has missed something and refused the state that would have made up for it.
    lost: AtomicBool,
}

enum Heard {
    Call(Arc<Taken>),
    Seed(Arc<[u8]>),
}

// === impl Companion ===

impl<R: Runner> Companion<R> {
    /// Starts what `make` makes on a thread of its own; `make` also says how it came by its state.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(super) fn start(
        status: GenerationStatus,
        mode: Mode,
        make: impl FnOnce() -> (R, String) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, calls) = sync_channel(QUEUE_CALLS_MAX);
        let shared = Arc::new(Shared {
            tally: Mutex::new(Tally::new(mode)),
            queued_bytes: AtomicUsize::new(0),
            dismissed: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        });
        let run = {
            let shared = shared.clone();
            move || {
                let (runner, state) = make();
                shared.tally().state = state;
                shared.run(runner, &calls)
            }
        };
        let thread = Thread::start("companion", run)?;
        Ok(Self { status, mode, shared, queue, thread, in_step: true, stateful: R::STATEFUL })
    }

    /// The number of the generation that it runs.
    pub(super) fn generation(&self) -> u64 {
        self.status.generation
    }

    /// Why it runs.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it has missed nothing, as far as is known while calls wait for it.
    pub(super) fn is_in_step(&self) -> bool {
        self.in_step && !self.shared.lost.load(SeqCst)
    }

    /// Asks it what the active version was asked, when its turn comes.
    pub(super) fn hear(&mut self, taken: &Arc<Taken>) {
        let bytes = taken.bytes();
        let fits = self.shared.queued_bytes.load(SeqCst) + bytes <= QUEUE_BYTES_MAX;
        if self.in_step && fits && self.send(Heard::Call(taken.clone()), bytes) {
            return;
        }
        self.shared.tally().skipped(taken);
        if self.stateful && taken.question.changes_state() {
            self.in_step = false;
        }
    }

    /// Gives it the state of the active version, if it has missed something.
    pub(super) fn seed(&mut self, state: &Arc<[u8]>) {
        if !self.in_step && self.send(Heard::Seed(state.clone()), state.len()) {
            self.in_step = true;
            self.shared.tally().reseeded += 1;
        }
    }

    fn send(&self, heard: Heard, bytes: usize) -> bool {
        self.shared.queued_bytes.fetch_add(bytes, SeqCst);
        match self.queue.try_send(heard) {
            Ok(()) => true,
            // A thread that has ended is told by `finish`.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.queued_bytes.fetch_sub(bytes, SeqCst);
                false
            }
        }
    }

    /// What a slot tells of it.
    pub(super) fn beside(&self) -> Beside {
        let difference_rate = self.shared.tally().difference_rate();
        Beside { mode: self.mode, generation: self.generation(), difference_rate }
    }

    /// What it has found so far.
    pub(super) fn report(&self) -> Report {
        let queued = self.shared.queued_bytes.load(SeqCst);
        self.shared.tally().report(self.status.clone(), queued)
    }

    /// Lets it rest no more, because it is wanted; answers how many bytes of calls still wait for it.
    pub(super) fn hurry(&self) -> usize {
        self.shared.hurried.store(true, SeqCst);
        self.thread.hurry();
        self.shared.queued_bytes.load(SeqCst)
    }

    /// Lets it answer what waits, and takes it off its thread; `None` if it is out of step, or has died.
    pub(super) fn finish(self) -> Option<R> {
        if !self.in_step {
            self.dismiss();
            return None;
        }
        self.hurry();
        drop(self.queue);
        let GenerationStatus { plugin, version, .. } = &self.status;
        let died = |_| tracing::error!(plugin, version, "a companion has died");
        let runner = self.thread.join().map_err(died).ok();
        runner.filter(|_| !self.shared.lost.load(SeqCst))
    }

    /// Lets it go without waiting for it.
    pub(super) fn dismiss(self) {
        self.shared.dismissed.store(true, SeqCst);
    }
}

// === impl Shared ===

impl Shared {
    fn run<R: Runner>(&self, mut runner: R, calls: &Receiver<Heard>) -> R {
        while let Ok(heard) = calls.recv() {
            if self.dismissed.load(SeqCst) {
                break;
            }
            let spent = Stopwatch::start();
            let bytes = match heard {
                Heard::Call(taken) => self.compare(&mut runner, &taken),
                Heard::Seed(state) => {
                    let seeded = runner.seed(&state);
                    self.lost.store(seeded.is_err(), SeqCst);
                    self.tally().state = match seeded {
                        Ok(()) => Handover::Restored.to_string(),
                        Err(error) => {
                            tell!(warn, runner.identity(), %error, "a companion {OUT_OF_STEP}");
                            format!("{OUT_OF_STEP}: {error}")
                        }
                    };
                    state.len()
                }
            };
            self.queued_bytes.fetch_sub(bytes, SeqCst);
            runner.settle();
            if !self.hurried.load(SeqCst) {
                thread::park_timeout(spent.took().min(REST_MAX));
            }
        }
        runner
    }

    fn compare<R: Runner>(&self, runner: &mut R, taken: &Taken) -> usize {
        let spent = Stopwatch::start();
        let (answer, faults) = runner.answer(&taken.question);
        let took = spent.took();
        let found = differences(&taken.question, &taken.answer, &answer);
        self.tally().compared(taken, &answer, &faults, took, found);
        taken.bytes()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
