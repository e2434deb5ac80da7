//! What a history must keep to. It knows neither servers nor gateways: only what was asked, answered, and done to stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A shared store by its name in answers.
pub type Store = &'static str;

/// Microseconds since the history began.
pub type Moment = u64;

/// A value as readers tell it: its version, and whether it is real data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Real data counts more than a placeholder, whatever their versions.
    pub real: bool,
    /// Microseconds since 1970.
    pub version: u64,
}

/// A write that was answered.
#[derive(Clone, Debug)]
pub struct Write {
    pub key: usize,
    pub value: Seen,
    pub begun: Moment,
    /// The shared stores that stored it, as its answer says.
    pub stored: Vec<Store>,
}

/// A delete through a gateway. Which versions it was to remove, the gateway decided while it was asked.
#[derive(Clone, Debug)]
pub struct Delete {
    pub key: usize,
    /// It was to remove these for certain: what was written before it was asked for. Microseconds since 1970.
    pub certainly: u64,
    /// It was not to remove what is newer: it had been answered by then, or whoever was asked had ended.
    pub at_most: u64,
    /// Whether the answer says of all stores that they are rid of it, or will be.
    pub promised: bool,
}

/// A read that was answered; `None`: with no value.
#[derive(Clone, Debug)]
pub struct Read {
    /// One reader of one life of one gateway. Its reads come in their order.
    pub session: String,
    pub key: usize,
    pub value: Option<Seen>,
}

/// All that happened.
#[derive(Default)]
pub struct History {
    pub writes: Vec<Write>,
    /// Of keys that nobody but the gateways writes.
    pub deletes: Vec<Delete>,
    pub reads: Vec<Read>,
    /// When a store lost what it held, from its end to its new beginning.
    pub emptied: Vec<(Store, Moment)>,
    /// What every gateway and every store held of each key when all was last well and nobody wrote: place, key, value.
    pub last: Vec<(String, usize, Option<Seen>)>,
    /// What was broken at such a moment before.
    pub broken: Vec<Broken>,
}

/// A rule that was broken, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A reader got a lesser value than before, or none though nobody had deleted it.
    WentBack(String),
    /// What a delete was to remove is still there then.
    CameBack(String),
    /// A value that a living store had stored is not there at the end, nor is a greater one.
    Lost(String),
    /// What came to wait in a gateway, and how it ended, are not as many.
    Unended(String),
    /// Not all hold the same, long after all is well and nobody writes.
    Disagree(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WentBack(how) => write!(f, "went back: {how}"),
            Self::CameBack(what) => write!(f, "came back: {what}"),
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Unended(how) => write!(f, "unended: {how}"),
            Self::Disagree(who) => write!(f, "disagree: {who}"),
        }
    }
}

impl History {
    /// Every rule that this history breaks.
    pub fn check(&self) -> Vec<Broken> {
        let mut broken = self.broken.clone();
        broken.extend(self.check_readers());
        broken.extend(self.check_last());
        broken
    }

    /// Every rule that is broken by what all hold when all is well: it may still be mended.
    pub fn check_last(&self) -> Vec<Broken> {
        let mut broken = self.check_losses();
        broken.extend(self.check_deletes());
        broken.extend(self.disagreements());
        broken
    }

    /// For a reader values never get less, and real data never becomes a placeholder, or nothing unless it may be deleted.
    fn check_readers(&self) -> Vec<Broken> {
        let mut greatest: BTreeMap<(&str, usize), Seen> = BTreeMap::new();
        let mut broken = Vec::new();
        let deleted: BTreeSet<_> = self.deletes.iter().map(|delete| delete.key).collect();
        for Read { session, key, value } in &self.reads {
            let before = greatest.get(&(session, *key)).copied();
            if value.is_none() && deleted.contains(key) {
                continue;
            }
            if *value < before {
                broken.push(Broken::WentBack(format!("{session}, key {key}: {value:?} after {before:?}")));
            } else if let Some(value) = value {
                greatest.insert((session, *key), *value);
            }
        }
        broken
    }

    /// What a store has stored is there at the end, or a greater value, unless all stores that had it have lost it since, or it
    /// may have been deleted.
    fn check_losses(&self) -> Vec<Broken> {
        let survives = |write: &Write| {
            let is_kept = |store: &Store| !self.emptied.iter().any(|(lost, at)| lost == store && *at >= write.begun);
            write.stored.iter().any(is_kept)
        };
        let least = self.least_held();
        let is_lost = |write: &&Write| least.get(&write.key).is_some_and(|held| *held < Some(write.value));
        let deleted = greatest(self.deletes.iter().map(|delete| (delete.key, delete.at_most)));
        let is_deleted = |write: &Write| deleted.get(&write.key).is_some_and(|at_most| write.value.version <= *at_most);
        let lost = self.writes.iter().filter(is_lost).filter(|write| survives(write) && !is_deleted(write));
        lost.map(|write| Broken::Lost(format!("{write:?}, of {:?}", self.holders(write.key)))).collect()
    }

    /// What a delete that was promised was to remove is nowhere.
    fn check_deletes(&self) -> Vec<Broken> {
        let promised = self.deletes.iter().filter(|delete| delete.promised);
        let deleted = greatest(promised.map(|delete| (delete.key, delete.certainly)));
        let came_back = |(_, key, value): &&(String, usize, Option<Seen>)| {
            deleted.get(key).zip(*value).is_some_and(|(floor, value)| value.version <= *floor)
        };
        let back = self.last.iter().filter(came_back);
        back.map(|back| Broken::CameBack(format!("{back:?}, deleted up to {}", deleted[&back.1]))).collect()
    }

    /// The least that anybody holds of each key.
    fn least_held(&self) -> BTreeMap<usize, Option<Seen>> {
        let mut least = BTreeMap::new();
        for (_, key, value) in &self.last {
            let held = least.entry(*key).or_insert(*value);
            *held = (*held).min(*value);
        }
        least
    }

    /// The keys of which not all hold the same.
    fn disagreements(&self) -> Vec<Broken> {
        let keys: BTreeSet<_> = self.last.iter().map(|(_, key, _)| *key).collect();
        let disagrees = |key: &usize| {
            let mut values = self.last.iter().filter(|(_, of, _)| of == key).map(|(_, _, value)| value);
            let first = values.next();
            values.any(|value| Some(value) != first)
        };
        keys.into_iter()
            .filter(disagrees)
            .map(|key| Broken::Disagree(format!("key {key}: {:?}", self.holders(key))))
            .collect()
    }

    fn holders(&self, key: usize) -> Vec<(&str, Option<Seen>)> {
        let of_key = self.last.iter().filter(|(_, of, _)| *of == key);
        of_key.map(|(place, _, value)| (place.as_str(), *value)).collect()
    }
}

/// The greatest version of each key.
fn greatest(versions: impl Iterator<Item = (usize, u64)>) -> BTreeMap<usize, u64> {
    let mut greatest = BTreeMap::new();
    for (key, version) in versions {
        let known: &mut u64 = greatest.entry(key).or_default();
        *known = (*known).max(version);
    }
    greatest
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn real(version: u64) -> Seen {
        Seen { real: true, version }
    }

    fn read(session: &str, value: Option<Seen>) -> Read {
        Read { session: session.to_owned(), key: 0, value }
    }

    fn write(version: u64, begun: Moment, stored: &[Store]) -> Write {
        Write { key: 0, value: real(version), begun, stored: stored.to_vec() }
    }

    fn last(values: &[Option<Seen>]) -> Vec<(String, usize, Option<Seen>)> {
        values.iter().enumerate().map(|(at, value)| (format!("place {at}"), 0, *value)).collect()
    }

    #[test]
    fn readers_may_see_the_same_again_or_greater_each_on_their_own() {
        let reads = [
            read("a", None),
            read("a", Some(real(1))),
            read("b", Some(real(2))),
            read("a", Some(real(1))),
            read("b", Some(real(3))),
        ];
        assert_eq!(History { reads: reads.into(), ..History::default() }.check(), []);
    }

    #[test]
    fn an_older_value_a_placeholder_or_nothing_after_real_data_is_told() {
        for less in [Some(real(1)), Some(Seen { real: false, version: 9 }), None] {
            let reads = vec![read("a", Some(real(2))), read("a", less)];
            let broken = History { reads, ..History::default() }.check();
            assert!(matches!(&broken[..], [Broken::WentBack(_)]), "{less:?}: {broken:?}");
        }
    }

    #[test]
    fn a_stored_value_is_lost_where_a_store_that_had_it_lived_and_only_there() {
        let check = |stored: &[Store], emptied: &[(Store, Moment)]| {
            let history = History {
                writes: vec![write(5, 100, stored)],
                emptied: emptied.to_vec(),
                last: last(&[Some(real(4))]),
                ..History::default()
            };
            history.check().len()
        };
        assert_eq!(check(&["redis"], &[]), 1);
        assert_eq!(check(&["redis"], &[("memcached", 200), ("redis", 50)]), 1, "another store, or earlier");
        assert_eq!(check(&["redis"], &[("redis", 200)]), 0);
        assert_eq!(check(&["redis", "memcached"], &[("redis", 200)]), 1, "the other one lived");
        assert_eq!(check(&[], &[]), 0, "nobody said that it was stored");
    }

    #[test]
    fn what_may_have_been_deleted_is_not_lost_and_what_was_must_not_come_back() {
        let check = |held: Option<Seen>, promised: bool| {
            let history = History {
                writes: vec![write(5, 100, &["redis"])],
                deletes: vec![Delete { key: 0, certainly: 4, at_most: 6, promised }],
                reads: vec![read("a", Some(real(5))), read("a", None), read("a", Some(real(7)))],
                last: last(&[held]),
                ..History::default()
            };
            history.check()
        };
        assert_eq!(check(None, true), [], "it may have been before or after the write");
        assert_eq!(check(Some(real(5)), true), []);
        assert_eq!(check(Some(real(4)), false), []);
        assert!(matches!(&check(Some(real(4)), true)[..], [Broken::CameBack(_)]));
        let later = History {
            writes: vec![write(7, 100, &["redis"])],
            deletes: vec![Delete { key: 0, certainly: 4, at_most: 6, promised: true }],
            last: last(&[None]),
            ..History::default()
        };
        assert!(matches!(&later.check()[..], [Broken::Lost(_)]), "it is newer than the delete");
    }

    #[test]
    fn all_must_hold_the_same_at_the_end() {
        let check = |values: &[Option<Seen>]| History { last: last(values), ..History::default() }.check().len();
        assert_eq!((check(&[Some(real(1)), Some(real(1))]), check(&[None, None])), (0, 0));
        assert_eq!((check(&[Some(real(1)), Some(real(2))]), check(&[Some(real(1)), None])), (1, 1));
    }
}
