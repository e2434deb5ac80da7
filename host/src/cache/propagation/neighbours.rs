//! [`Neighbours`]: the other gateways over the same tiers, by their heartbeats.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::Time;
use crate::tier::canary;

/// Gateways that are remembered beside this one. Of more, the ones heard of longest ago are forgotten.
pub const NEIGHBOURS_MAX: usize = 64;

/// After so long without a heartbeat a gateway is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The longest version that is kept, in bytes.
const VERSION_BYTES_MAX: usize = 32;

/// Another gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its name: another one at each start.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When a heartbeat of it was last read, by the clock of whoever read it.
    pub heard: Time,
}

#[derive(Default)]
pub(in crate::cache) struct Neighbours(Mutex<BTreeMap<String, Neighbour>>);

// === impl Neighbours ===

impl Neighbours {
    /// Takes note of a heartbeat. What is no name of a gateway is none.
    pub fn beats(&self, name: &str, version: &str, now: Time) {
        if canary::key_of(name).is_none() {
            return;
        }
        let version = version[..version.floor_char_boundary(VERSION_BYTES_MAX)].to_owned();
        let mut all = self.lock();
        all.insert(name.to_owned(), Neighbour { name: name.to_owned(), version, heard: now });
        all.retain(|_, neighbour| now.since(neighbour.heard) < FORGOTTEN_AFTER);
        if all.len() > NEIGHBOURS_MAX
            && let Some(name) = all.values().min_by_key(|neighbour| neighbour.heard).map(|oldest| oldest.name.clone())
        {
            all.remove(&name);
        }
    }

    /// Those that were heard of lately, by name.
    pub fn all(&self, now: Time) -> Vec<Neighbour> {
        let all = self.lock();
        all.values().filter(|neighbour| now.since(neighbour.heard) < FORGOTTEN_AFTER).cloned().collect()
    }

    /// Every change under the lock is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Neighbour>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn names(neighbours: &Neighbours, now: Time) -> Vec<String> {
        neighbours.all(now).into_iter().map(|neighbour| neighbour.name).collect()
    }

    #[test]
    fn a_gateway_is_known_until_a_minute_after_its_last_heartbeat() {
        let neighbours = Neighbours::default();
        neighbours.beats("a", "0.1.0", at(0));
        neighbours.beats("b", "0.1.0", at(30));
        assert_eq!(names(&neighbours, at(59)), ["a", "b"]);
        assert_eq!(names(&neighbours, at(60)), ["b"]);
        neighbours.beats("no name!", "0.1.0", at(60));
        neighbours.beats("", "0.1.0", at(60));
        neighbours.beats("c", "0.1.0", at(60));
        assert_eq!(neighbours.lock().len(), 2, "what is forgotten takes no room");
    }

    #[test]
    fn as_many_are_known_as_there_is_room_for_and_for_one_more_the_oldest_is_forgotten() {
        let neighbours = Neighbours::default();
        for n in 0..NEIGHBOURS_MAX {
            neighbours.beats(&format!("g{n:02}"), "0.1.0", Time::from_micros(n as u64));
        }
        assert_eq!(names(&neighbours, at(1)).len(), NEIGHBOURS_MAX);
        neighbours.beats("one1more", &"9".repeat(40), at(1));
        let all = neighbours.all(at(1));
        assert_eq!((all.len(), all[0].name.as_str()), (NEIGHBOURS_MAX, "g01"));
        assert!(all.iter().any(|neighbour| neighbour.version.len() == VERSION_BYTES_MAX));
    }
}
