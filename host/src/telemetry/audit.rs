//! The audit log: who changed what in a running gateway, when, and what came of it. It is only ever added to.

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
    /// `load`, `shadow`, `use`, `rollback`, `confirm` or `discard` of a plugin; `quarantine-delete`; `log-level`.
    pub step: String,
    /// The slot, where it is a step of a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// What it was done to, where it is no step of a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The plugin's name for itself.
    pub plugin: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The component's SHA-256.
    pub sha256: Option<String>,
    /// `done`, or why not.
    pub result: String,
    /// How a version came by its state, why a probation ended in a rollback, or what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The longest name of somebody who asks, in characters.
const NAME_CHARS_MAX: usize = 100;

/// The log.
pub struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

// === impl Entry ===

impl Entry {
    /// Something that was done now, and not to a plugin.
    pub fn done(step: &str, what: String, by: &str) -> Self {
        Self {
            at: Time::now(),
            by: by.to_owned(),
            step: step.to_owned(),
            slot: None,
            what: Some(what),
            plugin: None,
            version: None,
            sha256: None,
            result: "done".to_owned(),
            note: None,
        }
    }
}

/// The name of somebody who asks, as it is kept: no control characters, and not too long.
pub fn name(said: &str) -> String {
    said.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

// === impl Audit ===

impl Audit {
    /// The log in the file at `path`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds an entry; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write for one line, so that a crash leaves whole lines or a last half one.
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The last `max` entries, the newest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn last(&self, max: usize) -> io::Result<Vec<Entry>> {
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
