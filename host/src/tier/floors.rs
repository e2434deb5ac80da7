//! [`Floors`]: what keeps a deleted value from coming back.
//!
//! A delete raises the floor of its key; for [`FLOOR_KEPT`] a value whose version is not above the floor is not stored, be
//! it a late load, a retry or a slow writer. Floors live in this process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::FLOOR_KEPT;
use crate::record::{Key, Time, Version};

/// Floors that are remembered at once; beyond it the oldest is forgotten.
pub const FLOORS_MAX: usize = 65_536;

/// The floors of recently deleted keys.
#[derive(Debug, Default)]
pub struct Floors(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<Key, Floor>,
    /// Each raise, the oldest first. All are kept equally long, so this is their order of expiry too.
    raised: VecDeque<(Time, Key)>,
}

#[derive(Clone, Copy, Debug)]
struct Floor {
    version: Version,
    until: Time,
}

// === impl Floors ===

impl Floors {
    /// Keeps values of `key` up to `version` out, from now for [`FLOOR_KEPT`]. A floor is never lowered.
    pub fn raise(&self, key: &Key, version: Version) {
        self.raise_at(key, version, Time::now());
    }

    /// The floor of `key`, if it has one.
    pub fn get(&self, key: &Key) -> Option<Version> {
        self.get_at(key, Time::now())
    }

    /// Whether `version` of `key` is kept out.
    pub fn bars(&self, key: &Key, version: Version) -> bool {
        self.get(key).is_some_and(|floor| version <= floor)
    }

    fn raise_at(&self, key: &Key, version: Version, now: Time) {
        let mut state = self.lock();
        state.forget(now);
        let until = now.after(FLOOR_KEPT);
        let standing = state.by_key.get(key).map_or(version, |floor| floor.version.max(version));
        state.by_key.insert(key.clone(), Floor { version: standing, until });
        state.raised.push_back((until, key.clone()));
    }

    fn get_at(&self, key: &Key, now: Time) -> Option<Version> {
        self.lock().by_key.get(key).filter(|floor| now < floor.until).map(|floor| floor.version)
    }

    /// A panic elsewhere cannot leave the two collections at odds in a way that matters: a floor too many or too few.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Drops what has expired, and makes room for one more.
    fn forget(&mut self, now: Time) {
        while let Some((until, _)) = self.raised.front()
            && (*until <= now || self.raised.len() >= FLOORS_MAX)
        {
            let Some((until, key)) = self.raised.pop_front() else { return };
            // A key that was raised again since is still in the queue behind.
            if self.by_key.get(&key).is_some_and(|floor| floor.until == until) {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    #[test]
    fn a_floor_is_never_lowered_and_ends_in_time() {
        let (floors, now) = (Floors::default(), Time::from_micros(1_000_000));
        floors.raise_at(&key("a"), Version(9), now);
        floors.raise_at(&key("a"), Version(5), now);
        assert_eq!(floors.get_at(&key("a"), now), Some(Version(9)));
        assert_eq!(floors.get_at(&key("b"), now), None);
        assert_eq!(floors.get_at(&key("a"), now.after(FLOOR_KEPT)), None);
    }

    #[test]
    fn the_oldest_floor_is_forgotten_at_the_bound() {
        let (floors, now) = (Floors::default(), Time::from_micros(1));
        for n in 0..=FLOORS_MAX {
            floors.raise_at(&key(&n.to_string()), Version(1), now);
        }
        assert_eq!(floors.get_at(&key("0"), now), None);
        assert_eq!(floors.get_at(&key("1"), now), Some(Version(1)));
        assert_eq!(floors.lock().by_key.len(), FLOORS_MAX);
    }
}
