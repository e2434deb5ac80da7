//! The one thread that writes the file.
//!
//! It takes whatever waits, up to [`BATCH_MAX`] commands, applies them in one transaction, makes that durable, and only then
//! answers: one flush to the disk serves every writer that came while the last flush ran.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use redb::{Database, ReadableDatabase as _, ReadableTable, Table, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::row;
use crate::record::{DeleteOutcome, Digest, Failure, Key, Order, Record, RejectedWhy, Time, Version, WriteOutcome};
use crate::tier::Floors;
use crate::tier::contest::{Contest, contest};

/// The records, by key. See [`row`] for what a value looks like.
pub(super) const RECORDS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("records");

/// Commands that share one transaction.
const BATCH_MAX: usize = 256;

/// Rows past their hard limit that one transaction clears away.
const EXPIRED_PER_BATCH: usize = 64;

/// A change of one key, and where its answer goes.
pub(super) enum Command {
    Put { key: Key, record: Box<Record>, row: Vec<u8>, answer: oneshot::Sender<WriteOutcome> },
    Delete { key: Key, meant: Meant, answer: oneshot::Sender<DeleteOutcome> },
}

/// Which value a delete means.
#[derive(Clone, Copy)]
pub(super) enum Meant {
    /// Any up to this version.
    UpTo(Version),
    /// The one with these bytes.
    Exactly(Digest),
}

/// What the thread tells whoever asks.
#[derive(Default)]
pub(super) struct Gauges {
    pub rows: AtomicU64,
    pub bytes: AtomicU64,
    /// Rows that were found damaged since the start.
    pub damaged: AtomicU64,
}

/// The thread's own state.
pub(super) struct Writer {
    pub database: Arc<Database>,
    pub gauges: Arc<Gauges>,
    pub bytes_max: u64,
    pub rows_max: usize,
    pub index: Index,
    pub floors: Floors,
}

/// What is in the table, in the orders in which rows leave it.
#[derive(Default)]
pub(super) struct Index {
    by_key: HashMap<Key, Place>,
    by_age: BTreeSet<(Time, Key)>,
    by_end: BTreeSet<(Time, Key)>,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Place {
    bytes: u64,
    produced_at: Time,
    hard_expiry: Time,
}

enum Outcome {
    Write(WriteOutcome),
    Delete(DeleteOutcome),
}

type Rows<'txn> = Table<'txn, &'static str, &'static [u8]>;

// === impl Gauges ===

impl Gauges {
    /// Reads a row; one that is damaged is counted, logged, and as good as absent.
    pub fn decode(&self, key: &str, row: &[u8]) -> Option<Record> {
        row::decode(row)
            .inspect_err(|error| {
                self.damaged.fetch_add(1, Relaxed);
                tracing::warn!(key, %error, "a row of the disk tier cannot be read and is not served");
            })
            .ok()
    }
}

// === impl Index ===

impl Index {
    fn insert(&mut self, key: &Key, place: Place) {
        self.remove(key);
        self.by_age.insert((place.produced_at, key.clone()));
        self.by_end.insert((place.hard_expiry, key.clone()));
        self.by_key.insert(key.clone(), place);
        self.bytes += place.bytes;
    }

    fn remove(&mut self, key: &Key) {
        let Some((key, place)) = self.by_key.remove_entry(key) else { return };
        self.bytes -= place.bytes;
        self.by_age.remove(&(place.produced_at, key.clone()));
        self.by_end.remove(&(place.hard_expiry, key));
    }

    /// The row that was produced first, other than that of `spared`.
    fn oldest(&self, spared: &Key) -> Option<Key> {
        self.by_age.iter().map(|(_, key)| key).find(|key| *key != spared).cloned()
    }

    fn expired(&self, now: Time) -> Option<Key> {
        self.by_end.first().filter(|(end, _)| *end <= now).map(|(_, key)| key.clone())
    }
}

// === impl Writer ===

impl Writer {
    /// Reads the whole table: drops rows that are damaged or past their hard limit, and remembers the others.
    pub fn load(&mut self, now: Time) -> Result<(), redb::Error> {
        self.index = Index::default();
        let transaction = self.database.begin_write()?;
        {
            let mut rows = transaction.open_table(RECORDS)?;
            let (index, gauges) = (&mut self.index, &self.gauges);
            rows.retain(|name, row| {
                let (Ok(key), Some(record)) = (Key::new(name), gauges.decode(name, row)) else { return false };
                if record.is_live(now) {
                    index.insert(&key, place(&key, row.len(), &record));
                }
                record.is_live(now)
            })?;
        }
        transaction.commit()?;
        self.report();
        Ok(())
    }

    /// Serves commands until every sender is gone.
    pub fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = commands.try_recv()
            {
                batch.push(next);
            }
            match self.commit(&batch) {
                Ok(outcomes) => batch.into_iter().zip(outcomes).for_each(|(command, outcome)| command.answer(outcome)),
                Err(error) => {
                    tracing::error!(%error, commands = batch.len(), "the disk tier could not be written");
                    // The transaction is undone; what the index remembers of it must be, too.
                    if let Err(error) = self.load(Time::now()) {
                        tracing::error!(%error, "the disk tier could not be read again after a failed write");
                    }
                    let why = error.to_string();
                    batch.into_iter().for_each(|command| command.fail(&why));
                }
            }
        }
    }

    fn commit(&mut self, batch: &[Command]) -> Result<Vec<Outcome>, redb::Error> {
        let now = Time::now();
        let transaction = self.database.begin_write()?;
        let mut changed = false;
        let outcomes = {
            let mut rows = transaction.open_table(RECORDS)?;
            for _ in 0..EXPIRED_PER_BATCH {
                let Some(key) = self.index.expired(now) else { break };
                self.remove(&mut rows, &key)?;
                changed = true;
            }
            let mut outcomes = Vec::with_capacity(batch.len());
            for command in batch {
                outcomes.push(match command {
                    Command::Put { key, record, row, .. } => {
                        Outcome::Write(self.put(&mut rows, key, record, row, now, &mut changed)?)
                    }
                    Command::Delete { key, meant, .. } => {
                        Outcome::Delete(self.delete(&mut rows, key, *meant, now, &mut changed)?)
                    }
                });
            }
            outcomes
        };
        if changed {
            // A redb transaction is flushed to the disk by its commit unless it was told otherwise.
            transaction.commit()?;
            self.report();
        } else {
            transaction.abort()?;
        }
        Ok(outcomes)
    }

    fn put(
        &mut self,
        rows: &mut Rows<'_>,
        key: &Key,
        record: &Record,
        row: &[u8],
        now: Time,
        changed: &mut bool,
    ) -> Result<WriteOutcome, redb::Error> {
        let place = place(key, row.len(), record);
        if place.bytes > self.bytes_max {
            let (bytes, limit) = (place.bytes as usize, self.bytes_max as usize);
            return Ok(WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, limit }));
        }
        if self.floors.bars(key, record.version) {
            return Ok(WriteOutcome::Superseded);
        }
        if let Some(held) = self.held(rows, key)? {
            match contest(&Order::of(record, now), &Order::of(&held, now)) {
                Contest::Loses(outcome) => return Ok(outcome),
                Contest::Equal if record.hard_expiry <= held.hard_expiry => return Ok(WriteOutcome::Stored),
                Contest::Equal | Contest::Wins => {}
            }
        }
        rows.insert(key.as_str(), row)?;
        self.index.insert(key, place);
        *changed = true;
        while self.index.bytes > self.bytes_max || self.index.by_key.len() > self.rows_max {
            let Some(oldest) = self.index.oldest(key) else { break };
            self.remove(rows, &oldest)?;
        }
        Ok(WriteOutcome::Stored)
    }

    fn delete(
        &mut self,
        rows: &mut Rows<'_>,
        key: &Key,
        meant: Meant,
        now: Time,
        changed: &mut bool,
    ) -> Result<DeleteOutcome, redb::Error> {
        if let Meant::UpTo(floor) = meant {
            self.floors.raise(key, floor);
        }
        let held = self.held(rows, key)?;
        match (&held, meant) {
            (Some(held), Meant::UpTo(floor)) if held.version > floor && held.is_live(now) => {
                return Ok(DeleteOutcome::Superseded);
            }
            (Some(held), Meant::Exactly(digest)) if held.digest != digest => return Ok(DeleteOutcome::Superseded),
            _ => {}
        }
        self.remove(rows, key)?;
        *changed = true;
        Ok(if held.is_some_and(|held| held.is_live(now)) { DeleteOutcome::Deleted } else { DeleteOutcome::Absent })
    }

    fn held(&self, rows: &Rows<'_>, key: &Key) -> Result<Option<Record>, redb::Error> {
        Ok(rows.get(key.as_str())?.and_then(|row| self.gauges.decode(key.as_str(), row.value())))
    }

    fn remove(&mut self, rows: &mut Rows<'_>, key: &Key) -> Result<(), redb::Error> {
        rows.remove(key.as_str())?;
        self.index.remove(key);
        Ok(())
    }

    fn report(&self) {
        self.gauges.rows.store(self.index.by_key.len() as u64, Relaxed);
        self.gauges.bytes.store(self.index.bytes, Relaxed);
    }
}

// === impl Command ===

impl Command {
    fn answer(self, outcome: Outcome) {
        let heard = match (self, outcome) {
            (Self::Put { answer, .. }, Outcome::Write(outcome)) => answer.send(outcome).is_ok(),
            (Self::Delete { answer, .. }, Outcome::Delete(outcome)) => answer.send(outcome).is_ok(),
            _ => unreachable!("outcomes are made from the commands in their order"),
        };
        if !heard {
            tracing::debug!("a writer of the disk tier left before its answer came");
        }
    }

    fn fail(self, why: &str) {
        let outcome = match &self {
            Self::Put { .. } => Outcome::Write(WriteOutcome::Failed(Failure::passing(why))),
            Self::Delete { .. } => Outcome::Delete(DeleteOutcome::Failed(Failure::passing(why))),
        };
        self.answer(outcome);
    }
}

fn place(key: &Key, row_bytes: usize, record: &Record) -> Place {
    let bytes = (key.as_str().len() + row_bytes) as u64;
    Place { bytes, produced_at: record.produced_at, hard_expiry: record.hard_expiry }
}

/// The live records of `keys`, as the file holds them now.
pub(super) fn read(
    database: &Database,
    gauges: &Gauges,
    keys: &[Key],
    now: Time,
) -> Result<Vec<Option<Arc<Record>>>, redb::Error> {
    let rows = database.begin_read()?.open_table(RECORDS)?;
    keys.iter()
        .map(|key| {
            let row = rows.get(key.as_str())?;
            let record = row.and_then(|row| gauges.decode(key.as_str(), row.value()));
            Ok(record.filter(|record| record.is_live(now)).map(Arc::new))
        })
        .collect()
}

/// Every live record.
pub(super) fn read_all(
    database: &Database,
    gauges: &Gauges,
    now: Time,
) -> Result<Vec<(Key, Arc<Record>)>, redb::Error> {
    let rows = database.begin_read()?.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in rows.iter()? {
        let (name, row) = entry?;
        let (Ok(key), Some(record)) = (Key::new(name.value()), gauges.decode(name.value(), row.value())) else {
            continue;
        };
        if record.is_live(now) {
            records.push((key, Arc::new(record)));
        }
    }
    Ok(records)
}
