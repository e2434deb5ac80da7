//! [`Journal`]: what waits for a tier that does not answer, in a file, so that it survives a crash.
//!
//! One row for each tier and key. One thread writes: it takes every change that was noted since its last commit, the newest
//! of each row, and makes them durable together. So a burst costs one flush, and what is noted and forgotten in between
//! costs none. Whoever must know waits for the commit that holds its change.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder as ThreadBuilder, JoinHandle};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::watch;

use super::{OpenError, Opening, open_or_set_aside, row};
use crate::record::{Key, Record, TierName, Time, Version};
use crate::telemetry::metrics;

/// What waits, by the name of the tier, a space, and the key.
const WAITING: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("waiting");

/// Bytes of the file that redb keeps in memory. It is written, and read once.
const PAGE_CACHE_BYTES: usize = 1 << 20;

/// Bytes of a row before the record: since when (8), whether there is a floor (1), the floor (8).
const HEAD_BYTES: usize = 17;

/// What waits for a tier under a key: first the delete, then the write.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Values up to this version are to be deleted.
    pub floor: Option<Version>,
    /// This is to be written.
    pub record: Option<Arc<Record>>,
    /// Since when it waits.
    pub since: Time,
}

/// A wish, and whose it is.
pub type Waiting = (TierName, Key, Wish);

/// The file.
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What [`Journal::open`] brought.
pub struct OpenedJournal {
    /// The journal.
    pub journal: Journal,
    /// What waited when the process ended.
    pub waiting: Vec<Waiting>,
    /// Where the old file is now, and what was wrong with it.
    pub set_aside: Option<(PathBuf, String)>,
}

/// A place in the order of changes; see [`Journal::durable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Pending {
    /// The newest change of each row; `None`: it no longer waits, and the file may hold it. Bounded by what may wait, now and
    /// when the file was last written.
    changes: Changes,
    /// The rows that the file holds.
    held: HashSet<Row>,
    /// Those that it may hold soon: a commit is under way.
    under_way: HashSet<Row>,
    /// Of the last change.
    noted: u64,
    has_ended: bool,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// The last change that a commit was tried for.
    tried: u64,
    /// Why the last commit failed.
    failure: Option<String>,
}

// === impl Journal ===

impl Journal {
    /// Opens the file, or makes it, and reads what waits. A damaged file is set aside.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<OpenedJournal, OpenError> {
        let unusable = |why: String| OpenError::Unusable { path: path.to_owned(), why };
        let opening = open_or_set_aside(path, PAGE_CACHE_BYTES, |database| {
            let waiting = read_all(&database).map_err(|error| unusable(error.to_string()))?;
            Ok((database, waiting))
        })?;
        let Opening { made: (database, waiting), set_aside, .. } = opening;
        let held = waiting.iter().map(|(tier, key, _)| (tier.clone(), key.clone())).collect();
        let (pending, progress) = (Mutex::new(Pending { held, ..Pending::default() }), watch::Sender::default());
        let shared = Arc::new(Shared { pending, wake: Condvar::new(), progress });
        let writer = shared.clone();
        let thread = ThreadBuilder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.run(&database))
            .map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
        Ok(OpenedJournal { journal: Self { shared, thread: Some(thread) }, waiting, set_aside })
    }

    /// One that never gets to write what is noted.
    #[cfg(test)]
    pub(crate) fn stuck() -> Self {
        let shared = Shared { pending: Mutex::default(), wake: Condvar::new(), progress: watch::Sender::default() };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Notes what waits under a key of a tier now; `None`: nothing. Later notes of the same row replace earlier ones.
    pub fn note(&self, tier: &TierName, key: &Key, wish: Option<Wish>) -> Ticket {
        let mut pending = self.shared.lock();
        pending.note((tier.clone(), key.clone()), wish);
        self.shared.wake.notify_one();
        Ticket(pending.noted)
    }

    /// Waits until the change is on the disk.
    ///
    /// # Errors
    ///
    /// Why it is not. It is tried again with the next change.
    pub async fn durable(&self, ticket: Ticket) -> Result<(), String> {
        let mut progress = self.shared.progress.subscribe();
        let tried = progress.wait_for(|progress| progress.tried >= ticket.0).await;
        match tried.map_err(|_| "the journal's thread has ended".to_owned())?.failure.clone() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }
}

impl Drop for Journal {
    /// Waits for what was noted to be written.
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread had panicked");
        }
    }
}

// === impl Shared ===

impl Shared {
    fn run(&self, database: &Database) {
        loop {
            let mut pending = self.lock();
            while pending.noted == self.progress.borrow().tried && !pending.has_ended {
                pending = self.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            let (changes, tried, has_ended) = (pending.take(), pending.noted, pending.has_ended);
            drop(pending);
            let failure = commit(database, &changes).err().map(|error| error.to_string());
            if let Some(error) = &failure {
                tracing::error!(%error, rows = changes.len(), "the journal could not be written");
            }
            self.lock().tried(changes, failure.is_none());
            self.progress.send_replace(Progress { tried, failure });
            if has_ended {
                return;
            }
        }
    }

    /// A panic under the lock leaves a change too few at most.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pending ===

impl Pending {
    fn note(&mut self, row: Row, wish: Option<Wish>) {
        self.noted += 1;
        if wish.is_some() || self.held.contains(&row) || self.under_way.contains(&row) {
            self.changes.insert(row, wish);
        } else {
            self.changes.remove(&row);
        }
    }

    /// What is to be committed now.
    fn take(&mut self) -> Changes {
        let changes = std::mem::take(&mut self.changes);
        self.under_way = changes.keys().cloned().collect();
        changes
    }

    /// Takes note of how the commit of these ended. What could not be written is tried again, with the next change.
    fn tried(&mut self, changes: Changes, is_written: bool) {
        self.under_way.clear();
        for (row, wish) in changes {
            if !is_written {
                self.changes.entry(row).or_insert(wish);
            } else if wish.is_some() {
                self.held.insert(row);
            } else {
                self.held.remove(&row);
            }
        }
        let held = &self.held;
        self.changes.retain(|row, wish| wish.is_some() || held.contains(row));
    }
}

/// The tier and the key of a row.
type Row = (TierName, Key);

type Changes = HashMap<Row, Option<Wish>>;

fn commit(database: &Database, changes: &Changes) -> Result<(), CommitError> {
    if changes.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    {
        let mut rows = transaction.open_table(WAITING).map_err(redb::Error::from)?;
        for ((tier, key), wish) in changes {
            let name = format!("{tier} {key}");
            match wish {
                Some(wish) => rows.insert(&*name, &*encode(wish)?).map_err(redb::Error::from)?,
                None => rows.remove(&*name).map_err(redb::Error::from)?,
            };
        }
    }
    transaction.commit().map_err(redb::Error::from)?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum CommitError {
    #[error(transparent)]
    Database(#[from] redb::Error),
    #[error("a row cannot be written: {0}")]
    Row(#[from] serde_json::Error),
}

fn encode(wish: &Wish) -> Result<Vec<u8>, serde_json::Error> {
    let mut row = Vec::with_capacity(HEAD_BYTES);
    row.extend_from_slice(&wish.since.micros().to_le_bytes());
    row.push(wish.floor.is_some().into());
    row.extend_from_slice(&wish.floor.unwrap_or_default().0.to_le_bytes());
    if let Some(record) = &wish.record {
        row.extend_from_slice(&row::encode(record)?);
    }
    Ok(row)
}

/// `None` for a row that is damaged; it is logged and counted.
fn decode(name: &str, bytes: &[u8]) -> Option<Waiting> {
    let damaged = |why: &str| {
        metrics::recovered(&TierName::new(name.split(' ').next().unwrap_or_default()), "damaged");
        tracing::warn!(row = name, why, "what waited for a tier cannot be read and is dropped");
    };
    let (Some((tier, key)), Some((head, record))) = (name.split_once(' '), bytes.split_at_checked(HEAD_BYTES)) else {
        damaged("it is cut short");
        return None;
    };
    let number = |at: usize| head[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let record = match (record.is_empty(), row::decode(record)) {
        (true, _) => None,
        (false, Ok(record)) => Some(Arc::new(record)),
        (false, Err(error)) => {
            damaged(&error.to_string());
            return None;
        }
    };
    let key = Key::new(key).inspect_err(|error| damaged(&error.to_string())).ok()?;
    let floor = (head[8] != 0).then(|| Version(number(9)));
    Some((TierName::new(tier), key, Wish { floor, record, since: Time::from_micros(number(0)) }))
}

fn read_all(database: &Database) -> Result<Vec<Waiting>, redb::Error> {
    // Made where it is missing, so that the first start is no special case.
    let transaction = database.begin_write()?;
    drop(transaction.open_table(WAITING)?);
    transaction.commit()?;
    let rows = database.begin_read()?.open_table(WAITING)?;
    let mut waiting = Vec::new();
    for entry in rows.iter()? {
        let (name, row) = entry?;
        waiting.extend(decode(name.value(), row.value()));
    }
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{Digest, Kind, Origin};

    fn record(text: &'static str) -> Arc<Record> {
        let bytes = Bytes::from_static(text.as_bytes());
        Arc::new(Record {
            digest: Digest::of(&bytes),
            bytes,
            foreign: None,
            kind: Kind::Real,
            version: Version(7),
            rank: 1,
            schema: "json".into(),
            produced_at: Time::from_micros(1),
            soft_expiry: Time::NEVER,
            lifetime_end: Time::NEVER,
            hard_expiry: Time::NEVER,
            origin: Origin::Gateway("api".into()),
            repairs: [].into(),
        })
    }

    fn place(key: &str) -> (TierName, Key) {
        (TierName::new("memcached-2"), Key::new(key).unwrap())
    }

    #[tokio::test]
    async fn what_is_durable_is_there_after_the_process_ended_and_what_was_forgotten_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recovery.redb");
        let opened = Journal::open(&path).unwrap();
        assert!(opened.waiting.is_empty() && opened.set_aside.is_none());
        let journal = opened.journal;
        let wish = |floor, record| Some(Wish { floor, record, since: Time::from_micros(42) });
        for (key, wish) in [
            ("written", wish(None, Some(record("1")))),
            ("deleted", wish(Some(Version(9)), None)),
            ("both", wish(Some(Version(5)), Some(record("2")))),
            ("forgotten", wish(None, Some(record("3")))),
        ] {
            let (tier, key) = place(key);
            journal.durable(journal.note(&tier, &key, wish)).await.unwrap();
        }
        let (tier, key) = place("forgotten");
        journal.durable(journal.note(&tier, &key, None)).await.unwrap();
        drop(journal);

        let mut waiting = Journal::open(&path).unwrap().waiting;
        waiting.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
        let told: Vec<_> = waiting
            .iter()
            .map(|(tier, key, wish)| {
                let bytes = wish.record.as_ref().map(|record| record.bytes.clone());
                (tier.as_str(), key.as_str(), wish.floor, bytes, wish.since.micros())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("memcached-2", "both", Some(Version(5)), Some("2".into()), 42),
                ("memcached-2", "deleted", Some(Version(9)), None, 42),
                ("memcached-2", "written", None, Some("1".into()), 42),
            ]
        );
    }

    #[test]
    fn while_nothing_can_be_written_what_came_and_went_is_not_kept() {
        let (mut pending, now) = (Pending::default(), Time::now());
        let wish = || Some(Wish { floor: Some(Version(1)), record: None, since: now });
        let commit = |pending: &mut Pending, is_written| {
            let changes = pending.take();
            pending.tried(changes, is_written);
        };
        pending.note(place("held"), wish());
        commit(&mut pending, true);
        pending.note(place("held"), None);
        for n in 0..100 {
            let row = place(&format!("k{n}"));
            pending.note(row.clone(), wish());
            let changes = pending.take();
            // While its commit is under way it may come into the file.
            pending.note(row, None);
            pending.tried(changes, false);
            pending.note(place("waits"), wish());
        }
        assert_eq!((pending.changes.len(), pending.held.len()), (2, 1), "what waits, and what the file must lose");
        commit(&mut pending, true);
        assert_eq!((pending.changes.len(), pending.held), (0, [place("waits")].into()));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_damaged_row_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recovery.redb");
        std::fs::write(&path, "no database").unwrap();
        let opened = Journal::open(&path).unwrap();
        assert!(opened.waiting.is_empty());
        assert!(opened.set_aside.is_some_and(|(aside, _)| aside.exists()));
        let row = encode(&Wish { floor: None, record: Some(record("1")), since: Time::now() }).unwrap();
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        ::metrics::with_local_recorder(&recorder, || {
            assert!(decode("redis k", &row).is_some());
            assert!(decode("redis k", &row[..row.len() - 1]).is_none());
            assert!(decode("redis k", &row[..HEAD_BYTES - 1]).is_none());
            assert!(decode("redis", &row).is_none());
        });
        let text = recorder.handle().render();
        assert!(text.contains("tiergate_recovery_total{tier=\"redis\",outcome=\"damaged\"} 3"), "{text}");
    }
}
