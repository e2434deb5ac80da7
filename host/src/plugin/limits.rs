//! [`Limits`]: what one instance of a plugin may use. Every bound of the room that is not here is a named constant beside
//! the code that keeps it.

use std::time::Duration;

use bytesize::ByteSize;

/// What one instance may use. A plugin that crosses a limit loses the call and the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory and tables together.
    pub memory: ByteSize,
    /// For each call, in steps of a millisecond. A codec gets more for a large payload.
    pub deadline: Duration,
    /// What one call may answer, and what one import may be given.
    pub output: ByteSize,
}

/// For instantiating, `describe`, `init` and `claims`, which run once and are not on anybody's path.
pub(super) const START_DEADLINE: Duration = Duration::from_millis(250);

// === impl Limits ===

impl Limits {
    /// For codecs, which run on the threads that serve requests: their deadline is what one reader may lose.
    pub const CODEC: Self =
        Self { memory: ByteSize::mib(64), deadline: Duration::from_millis(50), output: ByteSize::mib(16) };

    /// For the warmer, which is asked about once a second and is in nobody's path.
    pub const WARMER: Self =
        Self { memory: ByteSize::mib(32), deadline: Duration::from_millis(250), output: ByteSize::mib(4) };

    /// For the aggregator, which has a thread of its own.
    pub const AGGREGATOR: Self =
        Self { memory: ByteSize::mib(256), deadline: Duration::from_secs(1), output: ByteSize::mib(16) };
}
