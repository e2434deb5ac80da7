//! [`Tail`]: the last lines of the log, for operators who look from elsewhere. The log itself goes to standard error.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::record::Time;

/// Lines that are kept; beyond it the oldest is forgotten.
pub const LINES_MAX: usize = 1_000;

/// Bytes that they take together; beyond it the oldest are forgotten.
pub const BYTES_MAX: usize = 512 << 10;

/// What is kept of the text of one line, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;

/// The lines of this process, which has one log.
static LINES: Mutex<Lines> = Mutex::new(Lines::new());

/// Keeps what is logged.
#[derive(Clone, Copy, Debug)]
pub struct Tail;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Counts the lines, from 1.
    pub seq: u64,
    /// When, in Unix microseconds.
    pub at: Time,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: &'static str,
    /// The module that says it.
    pub target: Box<str>,
    /// The message, and after it its fields.
    pub text: Box<str>,
}

struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    last: u64,
}

/// The words of an event.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

/// At most `max` lines after the one with this number, the newest ones, in their order.
pub fn after(seq: u64, max: usize) -> Vec<Line> {
    lock().after(seq, max)
}

/// The number of the last line.
pub fn last() -> u64 {
    lock().last
}

/// Every change under the lock is whole before anything in it can panic.
fn lock() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Tail ===

impl<S: Subscriber> Layer<S> for Tail {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        // Before the lock: what is logged may take long to write down.
        event.record(&mut text);
        let metadata = event.metadata();
        lock().push(metadata.level().as_str(), metadata.target(), text.whole());
    }
}

// === impl Lines ===

impl Lines {
    const fn new() -> Self {
        Self { kept: VecDeque::new(), bytes: 0, last: 0 }
    }

    fn push(&mut self, level: &'static str, target: &str, text: Box<str>) {
        self.last += 1;
        let line = Line { seq: self.last, at: Time::now(), level, target: target.into(), text };
        self.bytes += line.bytes_held();
        self.kept.push_back(line);
        while self.kept.len() > LINES_MAX || self.bytes > BYTES_MAX {
            self.bytes -= self.kept.pop_front().map_or(0, |line| line.bytes_held());
        }
    }

    fn after(&self, seq: u64, max: usize) -> Vec<Line> {
        let new = self.kept.iter().rev().take_while(|line| line.seq > seq).take(max).count();
        self.kept.range(self.kept.len() - new..).cloned().collect()
    }
}

// === impl Line ===

impl Line {
    fn bytes_held(&self) -> usize {
        size_of::<Self>() + self.target.len() + self.text.len()
    }
}

// === impl Text ===

impl Text {
    fn whole(self) -> Box<str> {
        let mut whole = self.message + &self.fields;
        whole.truncate(whole.floor_char_boundary(TEXT_BYTES_MAX));
        whole.into()
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        if written.is_err() {
            self.fields.push_str(" (a field could not be written)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_are_kept_and_one_more_pushes_the_oldest_out() {
        let mut lines = Lines::new();
        for n in 0..LINES_MAX {
            lines.push("INFO", "here", n.to_string().into());
        }
        assert_eq!((lines.kept.len(), lines.kept[0].seq), (LINES_MAX, 1));
        lines.push("INFO", "here", "one more".into());
        assert_eq!((lines.kept.len(), lines.kept[0].seq), (LINES_MAX, 2));
        let texts = |after: u64, max: usize| -> Vec<String> {
            lines.after(after, max).iter().map(|line| line.text.to_string()).collect()
        };
        assert_eq!(texts(999, 10), ["999", "one more"]);
        assert_eq!(texts(0, 1), ["one more"]);
        assert_eq!(texts(1_001, 10), [""; 0]);
    }

    #[test]
    fn their_bytes_are_bounded_too() {
        let mut lines = Lines::new();
        let long: String = "x".repeat(TEXT_BYTES_MAX);
        let fit = BYTES_MAX / (size_of::<Line>() + 4 + TEXT_BYTES_MAX);
        assert!(fit < LINES_MAX, "else this shows nothing");
        (0..fit).for_each(|_| lines.push("WARN", "here", long.as_str().into()));
        assert_eq!(lines.kept[0].seq, 1);
        lines.push("WARN", "here", long.as_str().into());
        assert_eq!(lines.kept[0].seq, 2);
        assert!(lines.bytes <= BYTES_MAX);
    }

    #[test]
    fn a_line_says_message_and_fields_and_is_cut_between_characters() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let before = last();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Tail), || {
            tracing::warn!(key = "a:b", n = 3, error = %"too large", "a payload was refused");
            tracing::info!("{}", "é".repeat(TEXT_BYTES_MAX));
        });
        let lines = after(before, 10);
        assert_eq!((lines[0].level, &*lines[0].text), ("WARN", "a payload was refused key=a:b n=3 error=too large"));
        assert!(lines[0].target.ends_with("telemetry::tail::tests"), "{}", lines[0].target);
        assert_eq!(lines[1].text.len(), TEXT_BYTES_MAX);
    }
}
