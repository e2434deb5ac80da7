//! [`Presence`]: what operators see of one instance as long as it lives: that it is there, and how much memory it holds.

use std::sync::Arc;

use metrics::Gauge;

use super::slot::Identity;

/// Counted among the instances of its plugin, with its memory, until it is dropped.
pub(super) struct Presence {
    instances: Gauge,
    memory: Gauge,
    bytes: usize,
}

// === impl Presence ===

impl Presence {
    /// One more instance of this plugin.
    pub(super) fn of(identity: &Arc<Identity>) -> Self {
        let (instances, memory) = identity.metrics().presence();
        instances.increment(1);
        Self { instances, memory, bytes: 0 }
    }

    /// It holds so many bytes now.
    pub(super) fn holds(&mut self, bytes: usize) {
        // Both are less than 2^53.
        self.memory.increment(bytes as f64 - self.bytes as f64);
        self.bytes = bytes;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.instances.decrement(1);
        self.memory.decrement(self.bytes as f64);
    }
}
