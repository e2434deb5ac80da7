//! [`TrustedKeys`]: whose components are taken. Signatures are those of minisign, which are Ed25519.
//!
//! A component that comes from outside (by its path, by `load`, from the watched directory, or kept from before a restart)
//! must be signed by one of the keys, as soon as there are any. The signature of a file lies beside it, in `FILE.minisig`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey, Signature};

/// The longest signature in bytes: one has about 300, and a comment of the author's choice.
pub const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// What is added to the name of a file for that of its signature.
const EXTENSION: &str = ".minisig";

/// The public keys whose signatures count. Without any, components need none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<PublicKey>);

/// The file with the signature of the component in `file`.
pub fn signature_file(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(EXTENSION);
    name.into()
}

/// The signature of the component in `file`; `None` if there is none.
///
/// # Errors
///
/// When the file with it cannot be read.
pub fn read_signature(file: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(signature_file(file)) {
        // One that is cut off is no signature.
        Ok(found) => found.take(SIGNATURE_BYTES_MAX).read_to_string(&mut text).map(|_| Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

// === impl TrustedKeys ===

impl TrustedKeys {
    /// The keys from their base64 form, as `minisign -G` prints them; else every one that is none, by its position.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<(usize, String)>> {
        let (mut trusted, mut wrong) = (Vec::new(), Vec::new());
        for (at, key) in keys.into_iter().enumerate() {
            match PublicKey::from_base64(key.trim()) {
                Ok(key) => trusted.push(key),
                Err(_) => wrong.push((at, NO_KEY.to_owned())),
            }
        }
        if wrong.is_empty() { Ok(Self(trusted)) } else { Err(wrong) }
    }

    /// Checks that `component` carries a signature by one of the keys.
    ///
    /// # Errors
    ///
    /// What is missing, and how to sign.
    pub(super) fn verify(&self, component: &[u8], signature: Option<&str>) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let refused = |why: &str| Err(format!("{why}; {HOW}"));
        let Some(signature) = signature else { return refused("it is not signed, and `trusted_keys` asks for it") };
        let Ok(signature) = Signature::decode(signature) else {
            return refused("its signature is not one of minisign");
        };
        let mut why = "its signature is by a key that is not among `trusted_keys`";
        for key in &self.0 {
            match key.verify(component, &signature, false) {
                Ok(()) => return Ok(()),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => why = "its signature is in minisign's old format, without a hash",
                Err(_) => why = "its signature is not of these bytes: the component or the signature was changed",
            }
        }
        refused(why)
    }
}

const NO_KEY: &str = "is no public key of minisign; write the line of `minisign.pub` that begins with `RW`";

const HOW: &str = "sign it with `minisign -Sm plugin.wasm`, which writes plugin.wasm.minisig, and keep that beside it";

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    fn signature(key: &KeyPair, component: &[u8]) -> String {
        minisign::sign(Some(&key.pk), &key.sk, component, None, None).unwrap().into_string()
    }

    fn check(keys: &TrustedKeys, component: &[u8], signature: Option<&str>, expected: &str) {
        let told = keys.verify(component, signature).unwrap_err();
        assert!(told.contains(expected) && told.contains("minisign -Sm"), "{told}");
    }

    #[test]
    fn only_a_signature_of_these_bytes_by_a_trusted_key_counts() {
        let keys = [(); 3].map(|()| KeyPair::generate_unencrypted_keypair().unwrap());
        let [ours, also_ours, foreign] = &keys;
        let trusted = [ours, also_ours].map(|key| key.pk.to_base64());
        let trusted = TrustedKeys::new(trusted.iter().map(String::as_str)).unwrap();
        for key in [ours, also_ours] {
            assert_eq!(trusted.verify(b"component", Some(&signature(key, b"component"))), Ok(()));
        }
        check(&trusted, b"component", None, "not signed");
        check(&trusted, b"component", Some(""), "not one of minisign");
        check(&trusted, b"component", Some("nonsense\nin\nfour\nlines"), "not one of minisign");
        check(&trusted, b"component", Some(&signature(foreign, b"component")), "not among `trusted_keys`");
        check(&trusted, b"components", Some(&signature(ours, b"component")), "was changed");
        let whole = signature(ours, b"component");
        check(&trusted, b"component", Some(&whole[..whole.len() / 2]), "not one of minisign");
        // The comment is signed too.
        let altered = whole.replace("trusted comment: timestamp", "trusted comment: timestemp");
        assert_ne!(altered, whole);
        check(&trusted, b"component", Some(&altered), "was changed");
    }

    #[test]
    fn without_keys_no_signature_is_asked_for() {
        assert_eq!(TrustedKeys::default().verify(b"component", None), Ok(()));
    }

    #[test]
    fn every_key_that_is_none_is_told_by_its_position() {
        let key = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
        let wrong = TrustedKeys::new([&key, "RWnonsense", ""]).unwrap_err();
        assert_eq!(wrong.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2]);
        assert!(wrong[0].1.contains("minisign.pub"));
    }

    #[test]
    fn the_signature_of_a_file_lies_beside_it_and_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plugin.wasm");
        assert_eq!(signature_file(&file), dir.path().join("plugin.wasm.minisig"));
        assert_eq!(read_signature(&file).unwrap(), None);
        std::fs::write(signature_file(&file), vec![b'x'; 5 << 10]).unwrap();
        assert_eq!(read_signature(&file).unwrap().unwrap().len() as u64, SIGNATURE_BYTES_MAX);
    }
}
