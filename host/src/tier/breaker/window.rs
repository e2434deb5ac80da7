//! [`Window`]: how the calls of the last seconds went.

use std::time::Duration;

use tokio::time::Instant;

/// Buckets of the window. A call leaves it with its bucket.
const BUCKETS: usize = 20;

/// The span of one bucket.
const BUCKET: Duration = Duration::from_millis(500);

/// Calls, and how many of them failed and were slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub calls: u32,
    pub failed: u32,
    pub slow: u32,
}

pub(super) struct Window {
    began: Instant,
    /// The number of the newest bucket since the beginning.
    newest: u64,
    buckets: [Counted; BUCKETS],
}

// === impl Window ===

impl Window {
    pub fn new(now: Instant) -> Self {
        Self { began: now, newest: 0, buckets: [Counted::default(); BUCKETS] }
    }

    pub fn count(&mut self, now: Instant, failed: bool, slow: bool) {
        self.advance(now);
        let bucket = &mut self.buckets[self.newest as usize % BUCKETS];
        bucket.calls = bucket.calls.saturating_add(1);
        bucket.failed = bucket.failed.saturating_add(failed.into());
        bucket.slow = bucket.slow.saturating_add(slow.into());
    }

    /// The sum of the window.
    pub fn counted(&mut self, now: Instant) -> Counted {
        self.advance(now);
        self.buckets.iter().fold(Counted::default(), |sum, bucket| Counted {
            calls: sum.calls.saturating_add(bucket.calls),
            failed: sum.failed.saturating_add(bucket.failed),
            slow: sum.slow.saturating_add(bucket.slow),
        })
    }

    /// Empties the buckets whose time has come again.
    fn advance(&mut self, now: Instant) {
        let newest = (now.duration_since(self.began).as_millis() / BUCKET.as_millis()) as u64;
        let passed = newest.saturating_sub(self.newest).min(BUCKETS as u64);
        for back in 0..passed {
            self.buckets[(newest - back) as usize % BUCKETS] = Counted::default();
        }
        self.newest = self.newest.max(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_leaves_the_window_after_ten_seconds() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.count(now, true, false);
        window.count(now + BUCKET, false, true);
        let both = Counted { calls: 2, failed: 1, slow: 1 };
        assert_eq!(window.counted(now + BUCKET * 19), both);
        assert_eq!(window.counted(now + BUCKET * 20), Counted { calls: 1, failed: 0, slow: 1 });
        assert_eq!(window.counted(now + BUCKET * 21), Counted::default());
        // However long nobody called.
        window.count(now + BUCKET * 1_000, true, true);
        assert_eq!(window.counted(now + BUCKET * 1_000), Counted { calls: 1, failed: 1, slow: 1 });
    }
}
