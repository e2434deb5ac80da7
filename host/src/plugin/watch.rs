//! [`Watch`]: a directory whose components are loaded and used as they appear or change.
//!
//! | file | meaning |
//! | --- | --- |
//! | `SLOT.wasm` | the component for the slot of this name |
//! | `SLOT.json` | its configuration; without it, that of the active plugin |
//! | `SLOT.wasm.minisig` | its signature |
//!
//! Each content is taken once, by the [`Operator`] as any other swap: a restart does not undo a rollback, and a refusal is
//! reported once. A file that is gone changes nothing; one that comes back is taken again. One that cannot be read is not gone:
//! it is reported once for each reason, and tried again.
//!
//! The directory is looked at every second, rather than being told of by the kernel: a change must rest before it is taken in
//! any case, since a file that is being written looks like one that was, and network file systems and bind mounts tell nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::loader::{self, FILE_BYTES_MAX};
use super::swap::{Operator, SwapError};
use super::trust;

/// How often the directory is looked at, and how long a file must rest before it is taken.
const EVERY: Duration = Duration::from_secs(1);

/// The largest configuration in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Who the audit log says it was.
const BY: &str = "watch";

/// A directory that is watched.
pub struct Watch {
    dir: PathBuf,
    operator: Arc<Operator>,
    /// How the files of each slot looked the last time.
    seen: BTreeMap<String, Seen>,
    /// Why the files of a slot cannot be read, as it was reported.
    unread: BTreeMap<String, String>,
    taken: Taken,
}

/// The files of a slot.
#[derive(Clone, Debug)]
struct Files {
    component: PathBuf,
    config: PathBuf,
}

/// By which a file that was written to is told: its size, when it was written to, and which one it is.
type Stamp = Option<(u64, i64, i64, u64)>;

/// How the files of a slot looked.
struct Seen {
    stamps: [Stamp; 3],
    /// Whether they were read since.
    is_read: bool,
}

/// What the files of a slot hold.
struct Content {
    component: Bytes,
    config: Option<Vec<u8>>,
    signature: Option<String>,
}

/// The digest of what was taken last for each slot. It survives a restart.
struct Taken {
    file: PathBuf,
    digests: BTreeMap<String, String>,
}

// === impl Watch ===

impl Watch {
    /// Watches `dir` for `operator`, and keeps what it has to remember in `memory`, a file.
    ///
    /// # Errors
    ///
    /// When the memory cannot be read.
    pub fn new(dir: &Path, operator: Arc<Operator>, memory: PathBuf) -> io::Result<Self> {
        let taken = Taken::open(memory)?;
        Ok(Self { dir: dir.to_owned(), operator, seen: BTreeMap::new(), unread: BTreeMap::new(), taken })
    }

    /// Looks again and again, until it is dropped.
    pub async fn run(&mut self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for slot in self.operator.plugins().status() {
                let looked = self.look(&slot.slot).await;
                self.report(slot.slot, looked).await;
            }
        }
    }

    /// Reports that the files of a slot cannot be read, if it is news.
    async fn report(&mut self, slot: String, looked: io::Result<()>) {
        let Err(error) = looked else {
            self.unread.remove(&slot);
            return;
        };
        let why = format!("in the watched directory: {error}");
        if self.unread.get(&slot) != Some(&why) {
            self.operator.unread(&slot, why.clone(), BY).await;
            self.unread.insert(slot, why);
        }
    }

    /// Takes what is new for a slot, once it rests; answers which of its files cannot be read.
    async fn look(&mut self, slot: &str) -> io::Result<()> {
        let files = Files::of(&self.dir, slot);
        let stamps = files.stamps()?;
        let [Some(_), ..] = stamps else {
            self.seen.remove(slot);
            self.taken.forget(slot);
            return Ok(());
        };
        let seen = self.seen.entry(slot.to_owned()).or_insert(Seen { stamps: [None; 3], is_read: false });
        if seen.stamps != stamps {
            *seen = Seen { stamps, is_read: false };
            return Ok(());
        }
        if seen.is_read {
            return Ok(());
        }
        let reader = files.clone();
        let content = spawn_blocking(move || reader.read()).await.map_err(io::Error::other)?;
        if files.stamps()? != stamps {
            // It was written to meanwhile, and is looked at again when that has come to rest.
            return Ok(());
        }
        let content = content?;
        seen.is_read = true;
        let digest = content.digest();
        if self.taken.digests.get(slot) == Some(&digest) {
            return Ok(());
        }
        // What is refused is in the audit log, and is not tried again either.
        if let Err(error) = self.take(slot, content).await {
            tracing::debug!(slot, %error, "a component in the watched directory was not taken");
        }
        self.taken.remember(slot, digest);
        Ok(())
    }

    /// Loads and uses. The operator reports what came of it.
    async fn take(&self, slot: &str, Content { component, config, signature }: Content) -> Result<(), SwapError> {
        let config = config.as_deref().map(serde_json::from_slice).transpose();
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                let why = format!("{slot}.json in {} is not JSON: {error}", self.dir.display());
                return Err(self.operator.refuse(slot, component, why, BY).await);
            }
        };
        let loaded = self.operator.load(slot, component, config, None, signature.as_deref(), BY).await?;
        let used = self.operator.use_loaded(slot, loaded.now.generation, BY).await;
        if used.is_err() {
            // What is refused changes nothing.
            self.operator.discard(slot, loaded.now.generation, BY).await?;
        }
        used.map(drop)
    }
}

// === impl Files ===

impl Files {
    fn of(dir: &Path, slot: &str) -> Self {
        Self { component: dir.join(format!("{slot}.wasm")), config: dir.join(format!("{slot}.json")) }
    }

    /// The component's, the configuration's and the signature's.
    fn stamps(&self) -> io::Result<[Stamp; 3]> {
        Ok([stamp(&self.component)?, stamp(&self.config)?, stamp(&trust::signature_file(&self.component))?])
    }

    fn read(&self) -> io::Result<Content> {
        let config = match read(&self.config, CONFIG_BYTES_MAX) {
            Ok(config) => Some(config),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let signature = trust::read_signature(&self.component);
        let signature = signature.map_err(|error| unreadable(&trust::signature_file(&self.component), &error))?;
        // One byte more than is taken, so that a larger one is refused for what it is.
        let component = read(&self.component, FILE_BYTES_MAX.as_u64() + 1)?.into();
        Ok(Content { component, config, signature })
    }
}

/// `None` if there is no such file. One that cannot be looked at may still be there.
fn stamp(path: &Path) -> io::Result<Stamp> {
    let of = |found: &fs::Metadata| (found.len(), found.mtime(), found.mtime_nsec(), found.ino());
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file().then(|| of(&found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

/// `error`, with the file that it is about.
fn unreadable(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()))
}

// === impl Content ===

impl Content {
    fn digest(&self) -> String {
        let config = self.config.as_deref();
        let signature = self.signature.as_deref().map(str::as_bytes);
        let mut digest = Sha256::new();
        for part in [Some(&*self.component), config, signature] {
            digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            digest.update(part.unwrap_or_default());
        }
        loader::hex(&digest.finalize())
    }
}

// === impl Taken ===

impl Taken {
    fn open(file: PathBuf) -> io::Result<Self> {
        let digests = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, digests })
    }

    fn remember(&mut self, slot: &str, digest: String) {
        self.digests.insert(slot.to_owned(), digest);
        self.note(slot);
    }

    fn forget(&mut self, slot: &str) {
        if self.digests.remove(slot).is_some() {
            self.note(slot);
        }
    }

    fn note(&self, slot: &str) {
        if let Err(error) = self.write() {
            tracing::error!(slot, file = %self.file.display(), %error, "what was taken from the watched directory could not be noted: after a restart it counts as it did before");
        }
    }

    /// A crash leaves the old file or the new one, whole.
    fn write(&self) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.file.parent().unwrap_or(Path::new(".")))?;
        file.write_all(&serde_json::to_vec_pretty(&self.digests)?)?;
        file.persist(&self.file)?;
        Ok(())
    }
}
