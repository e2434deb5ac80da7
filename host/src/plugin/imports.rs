//! What a plugin may call: the log, a clock that stands still, repeatable randomness, metrics. Nothing here can wait, write
//! to a tier, or reach the network.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::record::Time;

use super::answer;
use super::bindings::common::tiergate::plugin::{host_clock, host_log, host_metrics, host_random, types};
use super::limits::Limits;
use super::meter::Meter;
use super::overtime::Overtime;
use super::slot::{Identity, tell};

/// The longest log line in bytes; the rest is cut.
const LINE_BYTES_MAX: usize = 1 << 10;

/// What [`Limits::log_lines`] counts.
const LINES_WINDOW: Duration = Duration::from_secs(1);

/// Names of metrics that one plugin may use.
const NAMES_MAX: usize = 16;

/// What the host keeps for one instance.
pub(super) struct Host {
    pub(super) meter: Meter,
    identity: Arc<Identity>,
    voice: Arc<Voice>,
    now: Time,
    random: u64,
    /// What the call may take beyond its deadline.
    pub(super) overtime: Option<Overtime>,
}

/// What all instances of a plugin may say together.
pub(super) struct Voice {
    lines_max: u32,
    lines: Mutex<Lines>,
    names: Mutex<BTreeSet<String>>,
}

/// The log lines of the current window.
#[derive(Default)]
struct Lines {
    since: Option<Instant>,
    written: u32,
    dropped: u32,
}

// === impl Host ===

impl Host {
    pub(super) fn new(identity: Arc<Identity>, voice: Arc<Voice>, limits: &Limits) -> Self {
        Self { meter: Meter::new(&identity, limits), identity, voice, now: Time::default(), random: 0, overtime: None }
    }

    /// Sets the clock of a call and seeds its randomness by it: the same call at the same time sees the same numbers.
    pub(super) fn begin(&mut self, now: Time, overtime: Overtime) {
        self.now = now;
        self.overtime = Some(overtime);
        self.random = now.micros();
        self.meter.begin();
    }
}

impl types::Host for Host {}

impl host_log::Host for Host {
    fn log(&mut self, level: host_log::Level, message: String) {
        match self.voice.line() {
            Speak::Yes => {}
            Speak::YesAfter(dropped) => {
                let rate = self.voice.lines_max;
                tell!(warn, self.identity, dropped, "log lines over the plugin's rate of {rate}/s were dropped");
            }
            Speak::No => {
                self.identity.metrics().line_dropped();
                return;
            }
        }
        let line = answer::one_line(&message, LINE_BYTES_MAX);
        match level {
            host_log::Level::Trace => tell!(trace, self.identity, "{line}"),
            host_log::Level::Debug => tell!(debug, self.identity, "{line}"),
            host_log::Level::Info => tell!(info, self.identity, "{line}"),
            host_log::Level::Warn => tell!(warn, self.identity, "{line}"),
            host_log::Level::Error => tell!(error, self.identity, "{line}"),
        }
    }
}

impl host_clock::Host for Host {
    fn now(&mut self) -> u64 {
        self.now.micros()
    }
}

impl host_random::Host for Host {
    /// SplitMix64 (Steele, Lea, Flood 2014): one word of state, and the same numbers in every version of the host.
    fn next_u64(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl host_metrics::Host for Host {
    fn add(&mut self, name: String, delta: u64) {
        if self.may_name(&name) {
            self.identity.metrics().counts(name, delta);
        }
    }

    fn set(&mut self, name: String, value: f64) {
        if self.may_name(&name) {
            self.identity.metrics().measures(name, value);
        }
    }
}

impl Host {
    /// Whether the plugin may use this name of a metric; counted if not.
    fn may_name(&self, name: &str) -> bool {
        let may = self.voice.may_name(name);
        if !may {
            self.identity.metrics().name_dropped();
        }
        may
    }
}

// === impl Voice ===

/// Whether a line may be written.
enum Speak {
    Yes,
    /// After so many lines of the windows before were dropped.
    YesAfter(u32),
    No,
}

impl Voice {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { lines_max: limits.log_lines, lines: Mutex::default(), names: Mutex::default() }
    }

    fn line(&self) -> Speak {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.since.is_none_or(|since| since.elapsed() >= LINES_WINDOW) {
            let before = std::mem::replace(&mut *lines, Lines { since: Some(Instant::now()), written: 1, dropped: 0 });
            return if before.dropped == 0 { Speak::Yes } else { Speak::YesAfter(before.dropped) };
        }
        if lines.written < self.lines_max {
            lines.written += 1;
            return Speak::Yes;
        }
        lines.dropped += 1;
        Speak::No
    }

    fn may_name(&self, name: &str) -> bool {
        if !answer::is_words(name, b'_') {
            return false;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(name) || (names.len() < NAMES_MAX && names.insert(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_may_write_a_hundred_lines_in_a_second() {
        let voice = Voice::new(&Limits::CODEC);
        let max = Limits::CODEC.log_lines;
        let written = (0..max + 1).filter(|_| !matches!(voice.line(), Speak::No)).count();
        assert_eq!(written, max as usize);
    }

    #[test]
    fn a_plugin_may_use_sixteen_names_of_metrics() {
        let voice = Voice::new(&Limits::CODEC);
        assert!((0..NAMES_MAX).all(|i| voice.may_name(&format!("name_{i}"))));
        assert!(!voice.may_name("one_more"));
        assert!(voice.may_name("name_3"));
        assert!(!Voice::new(&Limits::CODEC).may_name("Not_Words"));
    }
}
