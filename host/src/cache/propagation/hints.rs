//! [`Hints`]: keys that may have changed below, each once however often it is hinted at.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::record::Key;

/// Keys that wait to be looked at. One more, and everything is looked at instead.
pub const HINTS_MAX: usize = 4_096;

#[derive(Default)]
pub(in crate::cache) struct Hints {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    /// In the order of arrival.
    queue: VecDeque<Key>,
    waiting: HashSet<Key>,
    /// Keys to be looked at again, at most [`HINTS_MAX`].
    later: HashSet<Key>,
    /// Those that were kept before the last call of [`Hints::ripe`].
    ripening: HashSet<Key>,
    /// How many writes of each key this gateway has under way.
    writing: HashMap<Key, usize>,
}

/// A write of this gateway that is under way: what is hinted of its key waits until it has ended, because the hint is most
/// likely of this very write. So does what tiers lack of it.
pub(in crate::cache) struct Writing<'a> {
    hints: &'a Hints,
    key: &'a Key,
}

/// Too many hints wait; this one was not kept.
#[derive(Debug)]
pub(in crate::cache) struct Overflow;

// === impl Hints ===

impl Hints {
    /// Keeps a hint.
    pub(super) fn add(&self, key: Key) -> Result<(), Overflow> {
        let mut state = self.state();
        if state.waiting.contains(&key) {
            return Ok(());
        }
        if state.waiting.len() == HINTS_MAX {
            return Err(Overflow);
        }
        state.queue.push_back(key.clone());
        state.waiting.insert(key);
        self.news.notify_one();
        Ok(())
    }

    /// Keeps a key for [`ripe`](Self::ripe).
    pub(in crate::cache) fn add_later(&self, key: &Key) -> Result<(), Overflow> {
        let mut state = self.state();
        if state.later.contains(key) {
            return Ok(());
        }
        if state.later.len() == HINTS_MAX {
            return Err(Overflow);
        }
        state.later.insert(key.clone());
        Ok(())
    }

    /// What was kept for later before the last call: each has waited at least for the time between two calls.
    pub(in crate::cache) fn ripe(&self) -> Vec<Key> {
        let mut state = self.state();
        let kept = std::mem::take(&mut state.later);
        std::mem::replace(&mut state.ripening, kept).into_iter().collect()
    }

    /// The next keys to look at, once there are some.
    pub(super) async fn next(&self, at_most: usize) -> Vec<Key> {
        loop {
            let some = self.state().take(at_most);
            if !some.is_empty() {
                return some;
            }
            self.news.notified().await;
        }
    }

    /// Notes that a write of `key` is under way until what is given back is dropped.
    pub(in crate::cache) fn writing<'a>(&'a self, key: &'a Key) -> Writing<'a> {
        *self.state().writing.entry(key.clone()).or_default() += 1;
        Writing { hints: self, key }
    }

    /// Whether a write of `key` is under way.
    pub(in crate::cache) fn is_written(&self, key: &Key) -> bool {
        self.state().writing.contains_key(key)
    }

    /// A change under the lock is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn take(&mut self, at_most: usize) -> Vec<Key> {
        let mut some = Vec::new();
        for _ in 0..self.queue.len() {
            if some.len() == at_most {
                break;
            }
            let Some(key) = self.queue.pop_front() else { break };
            if self.writing.contains_key(&key) {
                self.queue.push_back(key);
            } else {
                self.waiting.remove(&key);
                some.push(key);
            }
        }
        some
    }
}

// === impl Writing ===

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut state = self.hints.state();
        if let Some(under_way) = state.writing.get_mut(self.key) {
            *under_way -= 1;
            if *under_way == 0 {
                state.writing.remove(self.key);
            }
        }
        if state.waiting.contains(self.key) {
            self.hints.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: impl ToString) -> Key {
        Key::new(text.to_string()).unwrap()
    }

    #[tokio::test]
    async fn a_key_is_looked_at_once_however_often_it_is_hinted_at() {
        let hints = Hints::default();
        for text in ["a", "b", "a", "a"] {
            hints.add(key(text)).unwrap();
        }
        assert_eq!(hints.next(64).await, [key("a"), key("b")]);
        hints.add(key("a")).unwrap();
        assert_eq!(hints.next(64).await, [key("a")], "and again when it is hinted at after it was taken");
    }

    #[tokio::test]
    async fn a_hint_of_a_key_that_is_being_written_waits_for_the_end_of_the_write() {
        let hints = Hints::default();
        let written = key("written");
        let (first, second) = (hints.writing(&written), hints.writing(&written));
        hints.add(written.clone()).unwrap();
        hints.add(key("other")).unwrap();
        assert_eq!(hints.next(64).await, [key("other")]);
        drop(first);
        assert!(hints.state().take(64).is_empty());
        drop(second);
        assert_eq!(hints.next(64).await, [written]);
    }

    #[test]
    fn what_is_kept_for_later_waits_until_then_and_has_a_bound_of_its_own() {
        let hints = Hints::default();
        for n in 0..HINTS_MAX {
            hints.add_later(&key(n)).unwrap();
        }
        hints.add_later(&key(0)).unwrap();
        hints.add_later(&key(HINTS_MAX)).unwrap_err();
        assert!(hints.state().take(64).is_empty());
        assert!(hints.ripe().is_empty(), "not yet");
        assert_eq!(hints.ripe().len(), HINTS_MAX);
        assert!(hints.ripe().is_empty(), "once");
    }

    #[test]
    fn as_many_keys_wait_as_there_is_room_for_and_no_more() {
        let hints = Hints::default();
        for n in 0..HINTS_MAX {
            hints.add(key(n)).unwrap();
        }
        assert!(hints.add(key("0")).is_ok(), "it waits already");
        assert!(hints.add(key(HINTS_MAX)).is_err());
        hints.state().take(1);
        assert!(hints.add(key(HINTS_MAX)).is_ok());
    }
}
