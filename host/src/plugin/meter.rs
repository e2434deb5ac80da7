//! [`Meter`]: how much memory one instance holds, over all its memories and tables.

use bytesize::ByteSize;
use wasmtime::ResourceLimiter;

use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// Counts what an instance holds, and says no at its limit.
///
/// A plugin that is told no may do without: it sees a failed `memory.grow`. If the call then fails, the limit is the cause.
pub(super) struct Meter {
    limit: usize,
    used: usize,
    /// The growth that was allowed last, to be taken back if it fails.
    allowed: usize,
    denied: bool,
}

/// What the host holds for one element of a table.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

// === impl Meter ===

impl Meter {
    pub(super) fn new(limit: ByteSize) -> Self {
        Self { limit: usize::try_from(limit.as_u64()).unwrap_or(usize::MAX), used: 0, allowed: 0, denied: false }
    }

    /// Forgets what was denied to earlier calls.
    pub(super) fn begin(&mut self) {
        self.denied = false;
    }

    /// Whether this call was denied memory.
    pub(super) fn denied(&self) -> bool {
        self.denied
    }

    /// Whether more than three quarters of the limit are in use.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.used > self.limit / 4 * 3
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.used.checked_add(bytes).is_some_and(|used| used <= self.limit);
        self.allowed = if fits { bytes } else { 0 };
        self.used += self.allowed;
        self.denied |= !fits;
        fits
    }

    fn take_back(&mut self) {
        self.used -= std::mem::take(&mut self.allowed);
        self.denied = true;
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(desired <= TABLE_ELEMENTS_MAX && self.grow(bytes))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_stay_under_the_limit() {
        let mut meter = Meter::new(ByteSize::kib(128));
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        assert!(meter.is_nearly_full() && !meter.denied());
        assert!(!meter.memory_growing(64 << 10, 128 << 10, None).unwrap());
        assert!(meter.denied());
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let mut meter = Meter::new(ByteSize::kib(64));
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no more")).unwrap();
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
    }
}
