//! The audit log: who changed what in a running gateway, when, and what came of it. It is only ever added to.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

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
        let file = OpenOptions::new().read(true).create(true).append(true).mode(0o600).open(path)?;
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
        // One write for one line, so that a crash, or a full disk, leaves whole lines or a last half one.
        if is_torn(&mut file)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The same where nobody else waits for the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn add_aside(self: &Arc<Self>, entry: Entry) -> io::Result<()> {
        let audit = self.clone();
        spawn_blocking(move || audit.add(&entry)).await.map_err(io::Error::other).flatten()
    }

    /// The last `max` entries, the newest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn last(&self, max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = VecDeque::new();
        // A torn line may end within a character.
        for line in BufReader::new(File::open(&self.path)?).split(b'\n') {
            match serde_json::from_slice(&line?) {
                Ok(entry) => entries.push_front(entry),
                Err(error) => tracing::warn!(%error, "a line of the audit log cannot be read"),
            }
            entries.truncate(max);
        }
        Ok(entries.into())
    }
}

/// Whether the file ends within a line.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut end = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut end)?;
    Ok(end != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(audit: &Audit) -> Vec<String> {
        audit.last(10).unwrap().into_iter().map(|entry| entry.step).collect()
    }

    #[test]
    fn an_entry_after_a_torn_one_is_whole_though_the_cut_was_within_a_character() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let entry = |step| Entry::done(step, "k".to_owned(), "Zoë");
        Audit::open(&path).unwrap().add(&entry("first")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let within = whole.iter().rposition(|byte| !byte.is_ascii()).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..within]].concat()).unwrap();
        let audit = Audit::open(&path).unwrap();
        assert_eq!(steps(&audit), ["first"]);
        audit.add(&entry("second")).unwrap();
        assert_eq!(steps(&audit), ["second", "first"]);
    }
}
