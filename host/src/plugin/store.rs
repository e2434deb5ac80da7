//! [`Store`]: the components that were swapped in, and which of them is active in each slot. Both survive a restart, so that
//! neither the active version nor the way back needs a file of the operator's.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::config::PluginSpec;
use super::loader::Loader;
use super::slot::Identity;
use super::trust;

/// The file that tells which component is active.
const SLOTS: &str = "slots.json";

/// A private directory of components, each under its digest.
pub(super) struct Store {
    dir: PathBuf,
    slots: Mutex<BTreeMap<String, Swapped>>,
}

/// What was swapped into a slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Swapped {
    /// What the configuration names. When it names another one, that one counts.
    instead_of: Held,
    /// The generations from the oldest to the active one.
    chain: Vec<Held>,
}

/// A component with its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    sha256: String,
    config: serde_json::Value,
}

// === impl Store ===

impl Store {
    /// The store in `dir`, which is made if it is not there.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let slots = match fs::read(dir.join(SLOTS)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { dir: dir.to_owned(), slots: Mutex::new(slots) })
    }

    /// Keeps a component with its signature; answers its file.
    pub(super) fn keep(&self, sha256: &str, component: &[u8], signature: Option<&str>) -> io::Result<PathBuf> {
        let path = self.path(sha256);
        if fs::read(&path).ok().as_deref() != Some(component) {
            self.write(&path, component)?;
        }
        if let Some(signature) = signature {
            self.write(&trust::signature_file(&path), signature.as_bytes())?;
        }
        Ok(path)
    }

    /// The plugins that `spec`'s slot held, from the oldest to the active one; `spec` alone when nothing was swapped, or when
    /// the configuration has changed since.
    pub(super) fn chain(&self, spec: &PluginSpec) -> Vec<PluginSpec> {
        let slots = self.slots();
        let Some(swapped) = slots.get(&spec.name) else { return vec![spec.clone()] };
        let configured = Loader::digest(spec).map(|sha256| Held { sha256, config: spec.config.clone() });
        if configured.as_ref() != Ok(&swapped.instead_of) {
            tracing::warn!(
                slot = spec.name,
                "the configuration names another plugin than when this one was swapped; it counts"
            );
            return vec![spec.clone()];
        }
        let of = |held: &Held| match *held == swapped.instead_of {
            true => spec.clone(),
            false => {
                PluginSpec { name: spec.name.clone(), path: Some(self.path(&held.sha256)), config: held.config.clone() }
            }
        };
        swapped.chain.iter().map(of).collect()
    }

    /// Notes the generations of `spec`'s slot, from the oldest to the active one.
    pub(super) fn note(&self, spec: &PluginSpec, chain: Vec<Held>) -> io::Result<()> {
        let sha256 = Loader::digest(spec).map_err(io::Error::other)?;
        let mut slots = self.slots();
        let instead_of = Held { sha256, config: spec.config.clone() };
        slots.insert(spec.name.clone(), Swapped { instead_of, chain });
        self.write(&self.dir.join(SLOTS), &serde_json::to_vec_pretty(&*slots)?)
    }

    /// Deletes every component, with its signature, that neither a slot's chain nor `candidates` name.
    pub(super) fn prune(&self, candidates: &[String]) -> io::Result<()> {
        let slots = self.slots();
        let needed = |name: &str| {
            candidates.iter().any(|sha256| sha256 == name)
                || slots.values().any(|swapped| swapped.chain.iter().any(|held| held.sha256 == name))
        };
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let is_wasm = path.extension().is_some_and(|extension| extension == "wasm");
            if is_wasm && path.file_stem().is_some_and(|stem| !needed(&stem.to_string_lossy())) {
                fs::remove_file(&path)?;
                match fs::remove_file(trust::signature_file(&path)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Writes a file; a crash leaves the old one or the new one, whole.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}.wasm"))
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Swapped>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl Held {
    pub(super) fn of(identity: &Identity) -> Self {
        Self { sha256: identity.sha256.to_string(), config: (*identity.config).clone() }
    }
}
