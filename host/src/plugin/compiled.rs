//! [`CodeCache`]: native code of components that this host compiled before.
//!
//! Native code is not sandboxed, so what is loaded must be what this host wrote: the directory and the file belong to this
//! user and are closed to all others, and the file carries the SHA-256 of its content, so that one that was cut short by a
//! crash is compiled again. A file from anywhere else is never loaded.

use std::fs::{self, DirBuilder, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compiled components that are kept; beyond, the oldest are deleted.
const FILES_MAX: usize = 32;

/// How the name of a cached file ends.
const EXTENSION: &str = "cwasm";

const SHA256_BYTES: usize = 32;

/// A directory of compiled components, one file for each component and kind of engine.
pub(super) struct CodeCache {
    dir: PathBuf,
    /// Tells engines apart whose code is not interchangeable: version, settings, processor.
    engine: u64,
}

/// The native code of a component.
pub(super) struct NativeCode(Vec<u8>);

/// Translates a component to native code. This is the one heavy step of loading.
pub(super) fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<NativeCode> {
    engine.precompile_component(component).map(NativeCode)
}

// === impl NativeCode ===

impl NativeCode {
    /// Makes the code ready to run.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        #[expect(
            unsafe_code,
            reason = "native code is trusted: it comes from `compile` in this process, or from a private file that this \
                      host wrote and whose digest was checked; `NativeCode` cannot be made in another way"
        )]
        // SAFETY: see the reason above.
        unsafe {
            Component::deserialize(engine, &self.0)
        }
    }
}

// === impl CodeCache ===

impl CodeCache {
    /// The cache in `dir`, which is made if it is not there.
    pub(super) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let metadata = fs::symlink_metadata(dir)?;
        if !metadata.is_dir() || !is_private(&metadata) {
            let reason = "it must be a directory of this user that is closed to others; run `chmod 700` on it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), engine: hasher.finish() })
    }

    /// The code of the component with this digest; `None` if there is none that can be trusted.
    pub(super) fn get(&self, sha256: &str) -> io::Result<Option<NativeCode>> {
        let path = self.path(sha256);
        let file = rustix::fs::open(
            &path,
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let mut file = match file {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || !is_private(&metadata) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not a private file of this user"));
        }
        let mut digest = [0; SHA256_BYTES];
        let mut code = Vec::new();
        file.read_exact(&mut digest)?;
        file.read_to_end(&mut code)?;
        if digest[..] != Sha256::digest(&code)[..] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its content does not match its digest"));
        }
        Ok(Some(NativeCode(code)))
    }

    /// Keeps `code`. Others see the whole file or none.
    pub(super) fn put(&self, sha256: &str, code: &NativeCode) -> io::Result<()> {
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&Sha256::digest(&code.0))?;
        file.write_all(&code.0)?;
        file.persist(self.path(sha256))?;
        self.prune()
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}-{:016x}.{EXTENSION}", self.engine))
    }

    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// Whether only this user can read, write and replace it.
fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SHA256: &str = "ab";

    fn cache() -> (tempfile::TempDir, Engine, CodeCache) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CodeCache::open(&dir.path().join("code"), &engine).unwrap();
        (dir, engine, cache)
    }

    #[test]
    fn code_is_found_again_and_runs() {
        let (_dir, engine, cache) = cache();
        assert!(cache.get(SHA256).unwrap().is_none());
        cache.put(SHA256, &compile(&engine, b"\0asm\x0d\0\x01\0").unwrap()).unwrap();
        cache.get(SHA256).unwrap().unwrap().load(&engine).unwrap();
        assert_eq!(cache.path(SHA256).metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let (_dir, engine, cache) = cache();
        cache.put(SHA256, &compile(&engine, b"\0asm\x0d\0\x01\0").unwrap()).unwrap();
        let mut bytes = fs::read(cache.path(SHA256)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(cache.path(SHA256), &bytes).unwrap();
        assert!(cache.get(SHA256).is_err());
        fs::write(cache.path(SHA256), &bytes[..10]).unwrap();
        assert!(cache.get(SHA256).is_err());
    }

    #[test]
    fn a_file_or_directory_that_others_can_change_is_refused() {
        let (dir, engine, cache) = cache();
        cache.put(SHA256, &compile(&engine, b"\0asm\x0d\0\x01\0").unwrap()).unwrap();
        fs::set_permissions(cache.path(SHA256), fs::Permissions::from_mode(0o620)).unwrap();
        assert!(cache.get(SHA256).is_err());
        let code = dir.path().join("code");
        fs::set_permissions(&code, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(CodeCache::open(&code, &engine).is_err());
    }

    #[test]
    fn the_oldest_files_beyond_the_bound_are_deleted() {
        let (_dir, engine, cache) = cache();
        let code = compile(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        for i in 0..=FILES_MAX {
            cache.put(&format!("{i:02}"), &code).unwrap();
        }
        assert_eq!(fs::read_dir(&cache.dir).unwrap().count(), FILES_MAX);
        assert!(cache.get(&format!("{FILES_MAX:02}")).unwrap().is_some());
    }
}
