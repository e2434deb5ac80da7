//! [`Breaker`]: keeps callers from waiting for an endpoint that does not answer.
//!
//! An endpoint has one for its reads and one for its writes, shared by all its connections. Closed, it counts; open, every
//! call is answered at once that the endpoint is unavailable, and [`probe`] tries it off everybody's path until it answers
//! again. Only what says that the endpoint is out of reach counts against it: no connection, a broken one, no answer in
//! time, answers that are slow. A miss, a refusal, a value too large or bytes that cannot be decoded are answers.

mod window;

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ConstantBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::window::Window;
use super::{Tier, TierError};
use crate::record::TierName;
use crate::telemetry::metrics;

/// Calls within the window below which their ratios say nothing.
const CALLS_MIN: u32 = 20;

/// Share of failed calls, in percent, from which the endpoint counts as unavailable.
const FAILED_PERCENT: u32 = 50;

/// Share of slow calls, in percent, from which the endpoint counts as unavailable.
const SLOW_PERCENT: u32 = 80;

/// Failures in a row that count as much, where calls are too few for a ratio.
const FAILED_IN_A_ROW: u32 = 5;

/// How long it must have looked so: a hiccup is no outage.
const LASTING: Duration = Duration::from_secs(1);

/// Probes in a row that must succeed before callers are let through.
const PROBES: u32 = 3;

/// The pause between a probe that succeeded and the next.
const CONFIRMED_AFTER: Duration = Duration::from_millis(50);

/// The longest pause between probes that may be asked for. Jitter, so that many gateways do not probe in step, makes up to
/// twice as much of it, which is a second.
pub const PROBE_EVERY_MAX: Duration = Duration::from_millis(500);

/// The settings of the breakers.
#[derive(Clone, Debug)]
pub struct Config {
    /// A call that takes longer than this is slow.
    pub slow: Duration,
    /// The least pause between two probes of an endpoint that is unavailable; at most [`PROBE_EVERY_MAX`].
    pub probe_every: Duration,
}

/// The two breakers of an endpoint.
pub struct Breakers {
    /// For reads.
    pub read: Breaker,
    /// For writes and deletes.
    pub write: Breaker,
}

/// One breaker.
pub struct Breaker {
    tier: TierName,
    side: Side,
    config: Config,
    /// The phase again, for those who must not wait for the lock.
    phase: AtomicU8,
    phases: watch::Sender<Phase>,
    state: Mutex<State>,
}

/// What a breaker guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reads.
    Read,
    /// Writes and deletes.
    Write,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Calls go through.
    Closed,
    /// No call goes through; the last probe failed, or none was made yet.
    Open,
    /// No call goes through yet; the last probe succeeded.
    HalfOpen,
}

/// What a breaker tells of itself.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub lasting: Duration,
    /// Why it opened; `None` while it is closed.
    pub why: Option<Arc<str>>,
    /// Calls within the window.
    pub calls: u32,
    /// How many of them failed.
    pub failed: u32,
    /// How many of them were slow.
    pub slow: u32,
}

struct State {
    phase: Phase,
    since: Instant,
    why: Arc<str>,
    window: Window,
    /// Since when the calls within the window look like an outage.
    bad_since: Option<Instant>,
    in_a_row: u32,
    row_began: Instant,
    probes: u32,
}

/// A call on its way. Dropped before it ended, it was given up by its caller.
struct UnderWay<'a> {
    breaker: &'a Breaker,
    begun: Instant,
    ended: bool,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self { slow: Duration::from_millis(150), probe_every: Duration::from_millis(400) }
    }
}

// === impl Side ===

impl Side {
    /// The name in answers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

// === impl Phase ===

impl Phase {
    /// The name in answers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

// === impl Breakers ===

impl Breakers {
    /// Both closed.
    pub fn new(tier: &TierName, config: &Config) -> Self {
        let new = |side| Breaker::new(tier.clone(), side, config.clone());
        Self { read: new(Side::Read), write: new(Side::Write) }
    }

    /// The one of this side.
    pub const fn of(&self, side: Side) -> &Breaker {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }
}

// === impl Breaker ===

impl Breaker {
    fn new(tier: TierName, side: Side, config: Config) -> Self {
        let now = Instant::now();
        metrics::breaker(&tier, side.as_str(), false);
        Self {
            tier,
            side,
            config,
            phase: AtomicU8::new(Phase::Closed as u8),
            phases: watch::Sender::new(Phase::Closed),
            state: Mutex::new(State {
                phase: Phase::Closed,
                since: now,
                why: Arc::from(""),
                window: Window::new(now),
                bad_since: None,
                in_a_row: 0,
                row_began: now,
                probes: 0,
            }),
        }
    }

    /// Makes a call and counts what became of it; while the breaker is not closed it is not made.
    ///
    /// # Errors
    ///
    /// The call's own, or that the endpoint is unavailable.
    pub async fn call<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<TierError> + AsRef<TierError>,
    {
        if self.phase.load(Relaxed) != Phase::Closed as u8 {
            return Err(TierError::Unavailable(self.lock().why.clone()).into());
        }
        let under_way = UnderWay { breaker: self, begun: Instant::now(), ended: false };
        let answer = call.await;
        under_way.end(answer.as_ref().err().map(AsRef::as_ref));
        answer
    }

    /// A call that takes longer than this is slow.
    pub const fn slow(&self) -> Duration {
        self.config.slow
    }

    /// Whether calls go through.
    pub fn is_closed(&self) -> bool {
        self.phase.load(Relaxed) == Phase::Closed as u8
    }

    /// Every phase from the present one on.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phases.subscribe()
    }

    /// What it tells of itself.
    pub fn standing(&self) -> Standing {
        let now = Instant::now();
        let mut state = self.lock();
        let counted = state.window.counted(now);
        Standing {
            phase: state.phase,
            lasting: now.duration_since(state.since),
            why: (state.phase != Phase::Closed).then(|| state.why.clone()),
            calls: counted.calls,
            failed: counted.failed,
            slow: counted.slow,
        }
    }

    /// Counts a call that took so long and failed with this error, or did not fail.
    fn record(&self, took: Duration, error: Option<&TierError>) {
        let now = Instant::now();
        let mut state = self.lock();
        // Calls that were under way when it opened tell nothing new.
        if state.phase != Phase::Closed {
            return;
        }
        let failed = error.filter(|error| error.is_outage());
        state.window.count(now, failed.is_some(), took > self.config.slow);
        if failed.is_none() {
            state.in_a_row = 0;
        } else {
            if state.in_a_row == 0 {
                state.row_began = now;
            }
            state.in_a_row += 1;
        }
        if let Some(why) = state.outage(now, failed) {
            self.turn(&mut state, now, Phase::Open, Some(why.into()));
        }
    }

    /// Counts a probe.
    fn probed(&self, took: Duration, result: &Result<(), TierError>) {
        let now = Instant::now();
        let mut state = self.lock();
        let failure = match result {
            Err(error) if error.is_outage() => Some(error.to_string()),
            _ if took > self.config.slow => Some(format!("a probe took {took:?}")),
            _ => None,
        };
        match failure {
            Some(why) => {
                state.probes = 0;
                if state.phase == Phase::HalfOpen {
                    self.turn(&mut state, now, Phase::Open, Some(why.into()));
                }
            }
            None => {
                state.probes += 1;
                if state.probes >= PROBES {
                    self.turn(&mut state, now, Phase::Closed, None);
                } else if state.phase == Phase::Open {
                    self.turn(&mut state, now, Phase::HalfOpen, None);
                }
            }
        }
    }

    fn turn(&self, state: &mut State, now: Instant, to: Phase, why: Option<Arc<str>>) {
        let from = std::mem::replace(&mut state.phase, to);
        if let Some(why) = why {
            state.why = why;
        }
        if to == Phase::Closed {
            (state.window, state.bad_since, state.in_a_row) = (Window::new(now), None, 0);
        }
        if to == Phase::Open {
            state.probes = 0;
        }
        state.since = now;
        self.phase.store(to as u8, Relaxed);
        self.phases.send_replace(to);
        metrics::breaker(&self.tier, self.side.as_str(), to != Phase::Closed);
        metrics::breaker_turned(&self.tier, self.side.as_str(), to.as_str());
        let (tier, side, from) = (&self.tier, self.side.as_str(), from.as_str());
        match to {
            Phase::Open => {
                tracing::warn!(%tier, side, from, why = &*state.why, "the breaker opened: nobody waits for the tier");
            }
            Phase::HalfOpen => tracing::info!(%tier, side, from, "the breaker is half open: a probe was answered"),
            Phase::Closed => tracing::info!(%tier, side, from, "the breaker closed: the tier is used again"),
        }
    }

    /// The pause before the next probe.
    fn pause(&self) -> Duration {
        if self.lock().phase == Phase::HalfOpen {
            return CONFIRMED_AFTER;
        }
        let every = self.config.probe_every;
        ConstantBuilder::default().with_delay(every).with_jitter().build().next().unwrap_or(every)
    }

    /// Nothing that runs under the lock can panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Why the calls so far are an outage that has lasted, if they are. `failed` is the error of the last one.
    fn outage(&mut self, now: Instant, failed: Option<&TierError>) -> Option<String> {
        let counted = self.window.counted(now);
        let is_share = |some: u32, percent: u32| counted.calls >= CALLS_MIN && some * 100 >= counted.calls * percent;
        let (failing, slow) = (is_share(counted.failed, FAILED_PERCENT), is_share(counted.slow, SLOW_PERCENT));
        if !failing && !slow {
            self.bad_since = None;
        } else if self.bad_since.is_none() {
            self.bad_since = Some(now);
        }
        let last = || failed.map_or_else(String::new, |error| format!("; {error}"));
        if self.in_a_row >= FAILED_IN_A_ROW && now.duration_since(self.row_began) >= LASTING {
            return Some(format!("{} calls in a row failed{}", self.in_a_row, last()));
        }
        if self.bad_since.is_none_or(|since| now.duration_since(since) < LASTING) {
            return None;
        }
        Some(if failing {
            format!("{} of {} calls failed{}", counted.failed, counted.calls, last())
        } else {
            format!("{} of {} calls were slow", counted.slow, counted.calls)
        })
    }
}

// === impl UnderWay ===

impl UnderWay<'_> {
    fn end(mut self, error: Option<&TierError>) {
        self.ended = true;
        self.breaker.record(self.begun.elapsed(), error);
    }
}

impl Drop for UnderWay<'_> {
    /// A caller that gave up after a long wait was not answered; one that went away at once has nothing to tell.
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        if !self.ended && waited > self.breaker.config.slow {
            self.breaker.record(waited, Some(&TierError::Deadline(waited)));
        }
    }
}

/// Probes `tier` for ever, whenever one of its breakers is not closed.
pub async fn probe(tier: &dyn Tier) {
    let Some(breakers) = tier.breakers() else { return };
    tokio::join!(probe_side(tier, &breakers.read), probe_side(tier, &breakers.write));
}

async fn probe_side(tier: &dyn Tier, breaker: &Breaker) {
    let mut phases = breaker.phases();
    // The sender lives in the breaker, so the wait ends with an open breaker alone.
    while phases.wait_for(|phase| *phase != Phase::Closed).await.is_ok() {
        sleep(breaker.pause()).await;
        let begun = Instant::now();
        let result = tier.probe(breaker.side).await;
        breaker.probed(begun.elapsed(), &result);
    }
}

#[cfg(test)]
mod tests;
