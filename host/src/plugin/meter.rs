//! [`Meter`]: how much memory one instance holds, over all its memories and tables.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use super::limits::Limits;
use super::presence::Presence;
use super::slot::Identity;

/// Counts what an instance holds, and says no at its limit.
///
/// A plugin that is told no may do without: it sees a failed `memory.grow`. If the call then fails, the limit is the cause.
pub(super) struct Meter {
    limit: usize,
    elements_max: usize,
    used: usize,
    /// The growth that was allowed last, to be taken back if it fails.
    allowed: usize,
    denied: Option<Denied>,
    /// What operators see of it.
    presence: Presence,
}

/// What an instance was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It would hold too much.
    Memory,
    /// One of its tables would have too many elements.
    Table,
}

/// What the host holds for one element of a table.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

// === impl Meter ===

impl Meter {
    pub(super) fn new(identity: &Arc<Identity>, limits: &Limits) -> Self {
        Self {
            limit: usize::try_from(limits.memory.as_u64()).unwrap_or(usize::MAX),
            elements_max: limits.table_elements as usize,
            used: 0,
            allowed: 0,
            denied: None,
            presence: Presence::of(identity),
        }
    }

    /// Forgets what was denied to earlier calls.
    pub(super) fn begin(&mut self) {
        self.denied = None;
    }

    /// What this call was denied first.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Bytes of memories and tables.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether more than three quarters of the limit are in use.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.used > self.limit / 4 * 3
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.used.checked_add(bytes).is_some_and(|used| used <= self.limit);
        if fits {
            self.allowed = bytes;
            self.used += bytes;
            self.presence.holds(self.used);
        } else {
            self.deny(Denied::Memory);
        }
        fits
    }

    fn deny(&mut self, what: Denied) {
        self.allowed = 0;
        self.denied.get_or_insert(what);
    }

    fn take_back(&mut self, what: Denied) {
        self.used -= self.allowed;
        self.presence.holds(self.used);
        self.deny(what);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back(Denied::Memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.elements_max {
            self.deny(Denied::Table);
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back(Denied::Table);
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
    use bytesize::ByteSize;

    use super::*;

    fn meter(limits: Limits) -> Meter {
        Meter::new(&Arc::new(Identity::named("test")), &limits)
    }

    #[test]
    fn all_memories_together_stay_under_the_limit() {
        let mut meter = meter(Limits { memory: ByteSize::kib(128), ..Limits::CODEC });
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        assert!(meter.is_nearly_full() && meter.denied().is_none());
        assert!(!meter.memory_growing(64 << 10, 128 << 10, None).unwrap());
        assert_eq!(meter.denied(), Some(Denied::Memory));
        meter.begin();
        assert_eq!(meter.denied(), None, "what was denied to one call is no cause in the next");
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let mut meter = meter(Limits { memory: ByteSize::kib(64), ..Limits::CODEC });
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no more")).unwrap();
        assert!(meter.memory_growing(0, 64 << 10, None).unwrap());
        // One that was not even allowed has nothing to take back.
        assert!(!meter.memory_growing(64 << 10, 128 << 10, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no more")).unwrap();
        assert!(!meter.memory_growing(64 << 10, 128 << 10, None).unwrap());
    }

    #[test]
    fn a_table_grows_to_its_limit_and_not_by_one_element_more() {
        let mut meter = meter(Limits { table_elements: 10, ..Limits::CODEC });
        assert!(meter.table_growing(0, 10, None).unwrap());
        assert!(!meter.table_growing(10, 11, None).unwrap());
        assert_eq!(meter.denied(), Some(Denied::Table));
    }
}
