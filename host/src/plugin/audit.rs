//! The audit log: who did what to which plugin, when, and what came of it. It is only ever added to.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::record::Time;

/// One step, as a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in Unix microseconds.
    pub at: Time,
    /// Who, as far as they said.
    pub by: String,
    /// `load`, `shadow`, `use`, `rollback`, `confirm` or `discard`.
    pub step: String,
    /// The slot.
    pub slot: String,
    /// The plugin's name for itself.
    pub plugin: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The component's SHA-256.
    pub sha256: Option<String>,
    /// `done`, or why not.
    pub result: String,
    /// How a version came by its state, and why a probation ended in a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The log.
pub(super) struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

impl Audit {
    /// The log in the file at `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds an entry; it is on the disk when this returns.
    pub(super) fn add(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write for one line, so that a crash leaves whole lines or a last half one.
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The last `max` entries, the newest first.
    pub(super) fn last(&self, max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = VecDeque::new();
        for line in BufReader::new(File::open(&self.path)?).lines() {
            match serde_json::from_str(&line?) {
                Ok(entry) => entries.push_front(entry),
                Err(error) => tracing::warn!(%error, "a line of the audit log cannot be read"),
            }
            entries.truncate(max);
        }
        Ok(entries.into())
    }
}
