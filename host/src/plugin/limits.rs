//! [`Limits`]: what one instance of a plugin may use. Every bound that an operator may want to move is here; the others are
//! named constants beside the code that keeps them. None can be turned off.

use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;

/// What one instance may use. A plugin that crosses a limit loses the call and the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For each call, in steps of a millisecond, of the processor time that it is given: a machine that lets it wait may take ten
    /// times as long. A codec gets more for a large payload.
    pub deadline: Duration,
    /// Linear memory and tables together.
    pub memory: ByteSize,
    /// Elements of one table. A component made from JavaScript needs 7,691.
    pub table_elements: u32,
    /// What one call may answer, and what one import may be given.
    pub output: ByteSize,
    /// Log lines in one second, of all instances together; more are counted instead of written.
    pub log_lines: u32,
}

/// What the process may use that compiles a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// From start to end.
    pub deadline: Duration,
    /// What it may hold at once.
    pub memory: ByteSize,
}

/// Stack of one call, of every kind: it is a setting of the engine. The threads that make calls keep at least four times as
/// much.
pub(super) const STACK: ByteSize = ByteSize::kib(512);

/// For instantiating, `describe`, `init` and `claims`, which run once and are not on anybody's path.
pub(super) const START_DEADLINE: Duration = Duration::from_millis(250);

/// The bounds of the limits: zero would refuse everything, and beyond them a limit would be none.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
const MEMORIES: RangeInclusive<ByteSize> = ByteSize::kib(64)..=ByteSize::gib(4);
const TABLES: RangeInclusive<u32> = 1..=1_000_000;
const OUTPUTS: RangeInclusive<ByteSize> = ByteSize::kib(1)..=ByteSize::mib(512);
const LOG_LINES: RangeInclusive<u32> = 1..=10_000;
const COMPILE_DEADLINES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
const COMPILE_MEMORIES: RangeInclusive<ByteSize> = ByteSize::mib(64)..=ByteSize::gib(64);

// === impl Limits ===

impl Limits {
    /// For codecs, which run on the threads that serve requests: their deadline is what one reader may lose.
    pub const CODEC: Self = Self {
        deadline: Duration::from_millis(50),
        memory: ByteSize::mib(64),
        table_elements: 20_000,
        output: ByteSize::mib(16),
        log_lines: 100,
    };

    /// For the aggregator, which has a thread of its own.
    pub const AGGREGATOR: Self = Self { deadline: Duration::from_secs(1), memory: ByteSize::mib(256), ..Self::CODEC };

    /// For the warmer, which is asked about once a second and is in nobody's path.
    pub const WARMER: Self = Self {
        deadline: Duration::from_millis(250),
        memory: ByteSize::mib(32),
        output: ByteSize::mib(4),
        ..Self::CODEC
    };

    /// Every limit that is not one: its name, and what it must be.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        [
            outside("deadline", &self.deadline, &DEADLINES, |span| format!("{span:?}")),
            outside("memory", &self.memory, &MEMORIES, ByteSize::to_string),
            outside("table_elements", &self.table_elements, &TABLES, u32::to_string),
            outside("output", &self.output, &OUTPUTS, ByteSize::to_string),
            outside("log_lines", &self.log_lines, &LOG_LINES, u32::to_string),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

// === impl CompileLimits ===

impl Default for CompileLimits {
    /// Enough for the largest component that is taken: see [`super::FILE_BYTES_MAX`].
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), memory: ByteSize::gib(4) }
    }
}

impl CompileLimits {
    /// See [`Limits::mistakes`].
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        [
            outside("deadline", &self.deadline, &COMPILE_DEADLINES, |span| format!("{span:?}")),
            outside("memory", &self.memory, &COMPILE_MEMORIES, ByteSize::to_string),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Processor seconds that can pass within the deadline, so that a process whose parent died ends as well.
    pub(super) fn processor_seconds(&self) -> u64 {
        let processors = thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
        (self.deadline.as_secs() + 1).saturating_mul(processors)
    }
}

fn outside<T: PartialOrd>(
    name: &'static str,
    value: &T,
    range: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Option<(&'static str, String)> {
    let must = || format!("must be from {} to {}", show(range.start()), show(range.end()));
    (!range.contains(value)).then(|| (name, must()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_taken_at_its_bounds_and_refused_one_past_them() {
        let least = Limits {
            deadline: *DEADLINES.start(),
            memory: *MEMORIES.start(),
            table_elements: *TABLES.start(),
            output: *OUTPUTS.start(),
            log_lines: *LOG_LINES.start(),
        };
        let most = Limits {
            deadline: *DEADLINES.end(),
            memory: *MEMORIES.end(),
            table_elements: *TABLES.end(),
            output: *OUTPUTS.end(),
            log_lines: *LOG_LINES.end(),
        };
        assert_eq!((least.mistakes(), most.mistakes()), (vec![], vec![]));
        let zero = Limits {
            deadline: Duration::ZERO,
            memory: ByteSize::b(0),
            table_elements: 0,
            output: ByteSize::b(0),
            log_lines: 0,
        };
        let beyond = Limits {
            deadline: most.deadline + Duration::from_nanos(1),
            memory: most.memory + 1_u64,
            table_elements: most.table_elements + 1,
            output: most.output + 1_u64,
            log_lines: most.log_lines + 1,
        };
        for limits in [zero, beyond] {
            let names: Vec<_> = limits.mistakes().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["deadline", "memory", "table_elements", "output", "log_lines"]);
        }
        let (_, must) = Limits { log_lines: 0, ..Limits::CODEC }.mistakes().remove(0);
        assert_eq!(must, "must be from 1 to 10000");
        let none = CompileLimits { deadline: Duration::ZERO, memory: ByteSize::b(0) };
        assert_eq!(none.mistakes().len(), 2);
        assert_eq!(CompileLimits::default().mistakes(), []);
    }
}
