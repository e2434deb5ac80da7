//! [`Disk`]: one file that survives restarts and crashes.
//!
//! `Stored` means durable: the answer comes after the commit that holds the record was flushed. One thread writes, in
//! groups; readers see the last commit and wait for nobody. A file that cannot be read is set aside under another name and
//! the start goes on with an empty one: a cache must not keep its gateway from starting.

pub mod journal;
mod row;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, DatabaseError, StorageError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::writer::{Command, Gauges, Index, Meant, Writer};
use super::{Floors, Found, Health, Tier, TierError};
use crate::record::{
    DeleteOutcome, Digest, Failure, Key, Kind, Record, RejectedWhy, TierName, Time, Version, WriteOutcome,
};

/// Bytes of the file that redb keeps in memory. Small, because the memory tier stands in front.
const PAGE_CACHE_BYTES: usize = 16 << 20;

/// Commands that may wait for the writing thread. At the limit writers wait, within their deadline.
const QUEUE_MAX: usize = 1_024;

/// Reads under way at once, each on a thread of its own. At the limit readers wait, within their deadline.
const READS_MAX: usize = 8;

/// What redb tells of its progress just before it goes back to the last commit but one, and never else. The tests of damaged
/// files fail should that change.
const UNDOING: f64 = 0.3;

/// The settings of [`Disk`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The file. Its directory is made when it is missing.
    pub path: PathBuf,
    /// Bytes of rows with their keys; the file itself is somewhat larger. The oldest go at the limit.
    pub bytes_max: u64,
    /// Rows. The oldest go at the limit.
    pub rows_max: usize,
    /// The longest that one call may take, the flush to the disk included.
    pub deadline: Duration,
}

/// The tier on disk.
pub struct Disk {
    name: TierName,
    config: Config,
    database: Arc<Database>,
    gauges: Arc<Gauges>,
    /// See [`READS_MAX`].
    reads: Arc<Semaphore>,
    /// `None` only while it is dropped.
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// What [`Disk::open`] brought.
pub struct Opened {
    /// The tier.
    pub disk: Disk,
    /// Where the old file is now, and what was wrong with it.
    pub set_aside: Option<(PathBuf, String)>,
    /// Whether the last commit in the file was torn and is undone: what it wrote is gone, and the rest is there.
    pub is_undone: bool,
}

/// A file that is open, and what had happened to it.
struct Opening<T> {
    /// What was made of it.
    made: T,
    /// See [`Opened::set_aside`].
    set_aside: Option<(PathBuf, String)>,
    /// See [`Opened::is_undone`].
    is_undone: bool,
}

/// Why a file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    AlreadyOpen(PathBuf),
    /// The system refused: no permission, no space, no directory.
    #[error("cannot open {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It was opened and then could not be used.
    #[error("cannot use {}: {why}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

// === impl Config ===

impl Config {
    /// The usual settings for the file at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), bytes_max: 256 << 20, rows_max: 100_000, deadline: Duration::from_secs(2) }
    }
}

// === impl Disk ===

impl Disk {
    /// Opens the file, or makes it. Reads all of it, so it is to be called before the gateway serves.
    ///
    /// # Errors
    ///
    /// A damaged file is no error: see [`Opened::set_aside`]. A file in use, or one that the system refuses, is.
    pub fn open(config: Config) -> Result<Opened, OpenError> {
        let path = config.path.clone();
        let start = |database| Self::start(config.clone(), database);
        let Opening { made: disk, set_aside, is_undone } = open_or_set_aside(&path, PAGE_CACHE_BYTES, start)?;
        Ok(Opened { disk, set_aside, is_undone })
    }

    /// Every live record, to start from. Reads the whole file.
    pub fn all_live(&self, now: Time) -> Result<Vec<(Key, Arc<Record>)>, TierError> {
        writer::read_all(&self.database, &self.gauges, now).map_err(|error| TierError::Broken(error.to_string()))
    }

    fn start(config: Config, database: Database) -> Result<Self, OpenError> {
        let unusable = |why: String| OpenError::Unusable { path: config.path.clone(), why };
        let (database, gauges) = (Arc::new(database), Arc::new(Gauges::default()));
        let mut writer = Writer {
            database: database.clone(),
            gauges: gauges.clone(),
            bytes_max: config.bytes_max,
            rows_max: config.rows_max,
            index: Index::default(),
            floors: Floors::default(),
        };
        writer.load(Time::now()).map_err(|error| unusable(error.to_string()))?;
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let thread = ThreadBuilder::new()
            .name("disk-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| OpenError::Io { path: config.path.clone(), error })?;
        let (name, reads) = (TierName::new("disk"), Arc::new(Semaphore::new(READS_MAX)));
        Ok(Self { name, config, database, gauges, reads, commands: Some(commands), thread: Some(thread) })
    }

    /// Hands `command` to the writing thread and waits for its answer. `Err` says whether the command was handed over.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, (bool, String)> {
        let (answer, answered) = oneshot::channel();
        let (command, deadline) = (command(answer), self.config.deadline);
        let gone = || "the writing thread has ended".to_owned();
        let late = || TierError::Deadline(deadline).to_string();
        let begun = tokio::time::Instant::now();
        let Some(commands) = &self.commands else { return Err((false, gone())) };
        match timeout(deadline, commands.send(command)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err((false, gone())),
            Err(_) => return Err((false, late())),
        }
        match tokio::time::timeout_at(begun + deadline, answered).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err((true, gone())),
            Err(_) => Err((true, late())),
        }
    }

    async fn remove(&self, key: &Key, meant: Meant) -> DeleteOutcome {
        match self.ask(|answer| Command::Delete { key: key.clone(), meant, answer }).await {
            Ok(outcome) => outcome,
            Err((true, why)) => DeleteOutcome::Unknown(why),
            Err((false, why)) => DeleteOutcome::Failed(Failure::passing(why)),
        }
    }
}

impl Drop for Disk {
    /// Waits for what was accepted to be written, and gives the file free.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writing thread of the disk tier had panicked");
        }
    }
}

#[async_trait]
impl Tier for Disk {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        format!("disk at {}", self.config.path.display())
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        let (database, gauges, keys) = (self.database.clone(), self.gauges.clone(), keys.to_vec());
        let read = async {
            let place = self.reads.clone().acquire_owned().await.map_err(|closed| closed.to_string())?;
            // A page that is not in memory is read from the disk, which must not hold up a thread that serves others. The
            // read keeps its place though nobody waits for it any more: on a slow disk, such reads would pile up (B61).
            let found = spawn_blocking(move || {
                let _place = place;
                writer::read(&database, &gauges, &keys, Time::now())
            });
            found.await.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
        };
        match timeout(self.config.deadline, read).await {
            Ok(Ok(found)) => Ok(found.into_iter().map(|record| record.map(Found::Whole)).collect()),
            Ok(Err(why)) => Err(TierError::Broken(why)),
            Err(_) => Err(TierError::Deadline(self.config.deadline)),
        }
    }

    async fn put(&self, key: &Key, record: &Record) -> WriteOutcome {
        if record.kind == Kind::Negative {
            return WriteOutcome::Rejected(RejectedWhy::Negative);
        }
        if !record.is_live(Time::now()) {
            return WriteOutcome::Rejected(RejectedWhy::Ended);
        }
        let row = match row::encode(record) {
            Ok(row) => row,
            Err(error) => return WriteOutcome::Failed(error.to_string().into()),
        };
        let record = Box::new(record.clone());
        match self.ask(|answer| Command::Put { key: key.clone(), record, row, answer }).await {
            Ok(outcome) => outcome,
            Err((true, why)) => WriteOutcome::Unknown(why),
            Err((false, why)) => WriteOutcome::Failed(Failure::passing(why)),
        }
    }

    async fn delete(&self, key: &Key, floor: Version) -> DeleteOutcome {
        self.remove(key, Meant::UpTo(floor)).await
    }

    async fn delete_exact(&self, key: &Key, stored: Digest) -> DeleteOutcome {
        self.remove(key, Meant::Exactly(stored)).await
    }

    async fn own(&self, now: Time) -> Result<Vec<(Key, Arc<Record>)>, TierError> {
        let (database, gauges) = (self.database.clone(), self.gauges.clone());
        let read = spawn_blocking(move || writer::read_all(&database, &gauges, now)).await;
        read.map_err(|panic| TierError::Broken(panic.to_string()))?
            .map_err(|error| TierError::Broken(error.to_string()))
    }

    async fn check(&self) -> Result<Health, TierError> {
        if self.commands.as_ref().is_none_or(mpsc::Sender::is_closed) {
            return Err(TierError::Broken("the writing thread has ended".to_owned()));
        }
        self.read(&[]).await?;
        let fact = |name: &str, value: u64| (name.to_owned(), value.to_string());
        Ok(Health {
            version: None,
            incarnation: None,
            item_bytes_max: Some(self.config.bytes_max as usize),
            facts: vec![
                ("path".to_owned(), self.config.path.display().to_string()),
                fact("rows", self.gauges.rows.load(Relaxed)),
                fact("rows_max", self.config.rows_max as u64),
                fact("bytes", self.gauges.bytes.load(Relaxed)),
                fact("bytes_max", self.config.bytes_max),
                fact("damaged_rows", self.gauges.damaged.load(Relaxed)),
            ],
        })
    }
}

/// What `start` makes of the file at `path`. A file that holds nothing usable is set aside, and told with what was wrong with
/// it, and `start` gets a new one.
fn open_or_set_aside<T>(
    path: &Path,
    cache_bytes: usize,
    start: impl Fn(Database) -> Result<T, OpenError>,
) -> Result<Opening<T>, OpenError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    }
    let open = || {
        let (database, is_undone) = database(path, cache_bytes)?;
        Ok(Opening { made: start(database)?, set_aside: None, is_undone })
    };
    let opening = match open() {
        Err(OpenError::Unusable { why, .. }) => {
            let aside = set_aside(path)?;
            Opening { set_aside: Some((aside, why)), ..open()? }
        }
        other => other?,
    };
    if opening.is_undone {
        tracing::warn!(file = %path.display(), "the last commit in the file was torn and is undone; what it wrote is gone");
    }
    Ok(opening)
}

/// The file, and whether its last commit was torn and is undone.
fn database(path: &Path, cache_bytes: usize) -> Result<(Database, bool), OpenError> {
    let is_undone = Arc::new(AtomicBool::new(false));
    let noted = is_undone.clone();
    let database = Database::builder()
        .set_cache_size(cache_bytes)
        // Without it a file that was changed by somebody else may panic later on.
        .set_check_integrity_on_open(true)
        .set_repair_callback(move |repair| {
            if repair.progress() == UNDOING {
                noted.store(true, Relaxed);
            }
        })
        .create(path)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                OpenError::AlreadyOpen(path.to_owned())
            }
            DatabaseError::Storage(StorageError::Io(error)) if !says_damaged(&error) => {
                OpenError::Io { path: path.to_owned(), error }
            }
            other => OpenError::Unusable { path: path.to_owned(), why: other.to_string() },
        })?;
    Ok((database, is_undone.load(Relaxed)))
}

/// Gives the file at `path` another name and tells it: `tiergate.redb.broken-1767225600`.
fn set_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".broken-{}", Time::now().seconds()));
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside).map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    Ok(aside)
}

/// Whether an input or output error is about what the file holds, not about reaching it.
fn says_damaged(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::tier::canary;

    #[tokio::test]
    async fn b61_reads_that_do_not_end_hold_up_others_and_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { deadline: Duration::from_millis(50), ..Config::at(dir.path().join("cache.redb")) };
        let disk = Disk::open(config).unwrap().disk;
        let keys = [Key::new("k").unwrap()];
        // The places of reads that the disk does not answer.
        let stuck = disk.reads.clone().acquire_many_owned(READS_MAX as u32).await.unwrap();
        for _ in 0..3 {
            assert!(matches!(disk.read(&keys).await, Err(TierError::Deadline(_))));
        }
        drop(stuck);
        // One that comes late itself keeps its place for a moment longer.
        while disk.read(&keys).await.is_err() {}
        while disk.reads.available_permits() < READS_MAX {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_writer_does_not_wait_for_a_flush_that_does_not_end_and_hears_that_nobody_knows() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { deadline: Duration::from_millis(50), ..Config::at(dir.path().join("cache.redb")) };
        let disk = Disk::open(config).unwrap().disk;
        let (key, now) = (Key::new("k").unwrap(), Time::now());
        let record = canary::record(Bytes::from_static(b"1"), Version(1), Duration::from_secs(60), now);
        // Of several writers the file takes one at a time.
        let stuck = disk.database.begin_write().unwrap();
        let (written, deleted) = (disk.put(&key, &record).await, disk.delete(&key, Version(2)).await);
        stuck.abort().unwrap();
        assert!(matches!(&written, WriteOutcome::Unknown(why) if why.contains("no answer within 50ms")), "{written:?}");
        assert!(matches!(deleted, DeleteOutcome::Unknown(_)), "{deleted:?}");
    }
}
