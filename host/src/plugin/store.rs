//! [`Store`]: the components that were swapped in, and which of them is active in each slot. Both survive a restart, so that
//! neither the active version nor the way back needs a file of the operator's.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// The digests of what is on its way into a slot: each as long as somebody holds what [`Store::keep`] answered.
    on_the_way: Mutex<Vec<Weak<str>>>,
}

/// The file of a component, which stays at least as long as this is held.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    _needed: Arc<str>,
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
        Ok(Self { dir: dir.to_owned(), slots: Mutex::new(slots), on_the_way: Mutex::default() })
    }

    /// Keeps a component with its signature; answers its file.
    pub(super) fn keep(&self, sha256: &str, component: &[u8], signature: Option<&str>) -> io::Result<Kept> {
        let (path, needed) = (self.path(sha256), Arc::from(sha256));
        // Before it is looked for: what is there may be about to be deleted.
        self.on_the_way().push(Arc::downgrade(&needed));
        if fs::read(&path).ok().as_deref() != Some(component) {
            self.write(&path, component)?;
        }
        if let Some(signature) = signature {
            self.write(&trust::signature_file(&path), signature.as_bytes())?;
        }
        Ok(Kept { path, _needed: needed })
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

    /// Deletes every component, with its signature, that neither a slot's chain nor `candidates` name, and that is not on its
    /// way.
    pub(super) fn prune(&self, candidates: &[String]) -> io::Result<()> {
        let (slots, mut on_the_way) = (self.slots(), self.on_the_way());
        on_the_way.retain(|needed| needed.strong_count() > 0);
        let needed = |name: &str| {
            candidates.iter().any(|sha256| sha256 == name)
                || on_the_way.iter().filter_map(Weak::upgrade).any(|sha256| *sha256 == *name)
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

    fn on_the_way(&self) -> MutexGuard<'_, Vec<Weak<str>>> {
        self.on_the_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl Held {
    pub(super) fn of(identity: &Identity) -> Self {
        Self { sha256: identity.sha256.to_string(), config: (*identity.config).clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_kept_and_what_nobody_needs_is_deleted_with_its_signature() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let files = || fs::read_dir(dir.path()).unwrap().count();
        let [first, second] = [(); 2].map(|()| store.keep("aa", b"component", Some("signature")).unwrap());
        assert_eq!(fs::read(&first.path).unwrap(), b"component");
        drop(first);
        store.prune(&[]).unwrap();
        assert_eq!(files(), 2, "the other one is on its way");
        drop(second);
        store.prune(&["aa".to_owned()]).unwrap();
        assert_eq!(files(), 2, "it is a candidate");
        store.prune(&[]).unwrap();
        assert_eq!(files(), 0);
    }
}
