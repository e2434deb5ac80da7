//! [`Tls`]: the data listener over TLS, with a certificate that may be renewed while it serves.
//!
//! Certificates of today live for weeks, and what renews them writes the files anew: they are looked at once a minute, and
//! read again when they have changed. What cannot be used then is told, and the certificate before it serves on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The largest certificate chain or key that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Files {
    /// The certificate and those that vouch for it, in PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key in PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why files cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct TlsError {
    field: Field,
    file: String,
    why: String,
}

/// Which of the files is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Cert,
    Key,
}

/// TLS for a listener.
pub(super) struct Tls {
    files: Files,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    /// When the files that serve, or that were refused, were written.
    written: Mutex<[Option<SystemTime>; 2]>,
}

/// The certificate of now.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

// === impl Tls ===

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or are no certificate with its key.
    pub fn new(files: Files) -> Result<Self, TlsError> {
        let written = files.written();
        let current = Arc::new(Current(ArcSwap::new(files.read()?)));
        let protocols = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| files.wrong(Field::Cert, error))?;
        let mut config = protocols.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files, current, acceptor: TlsAcceptor::from(Arc::new(config)), written: Mutex::new(written) })
    }

    /// Speaks TLS with who connects.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Takes the files again if they were written since; whether it did.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), once for each time that they are written; then the certificate before serves on.
    pub fn renew(&self) -> Result<bool, TlsError> {
        let written = self.files.written();
        if std::mem::replace(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner), written) == written {
            return Ok(false);
        }
        self.current.0.store(self.files.read()?);
        Ok(true)
    }
}

// === impl TlsError ===

impl TlsError {
    /// The key in the configuration that names the file.
    pub const fn path(&self) -> &'static str {
        match self.field {
            Field::Cert => "http.tls.cert",
            Field::Key => "http.tls.key",
        }
    }
}

// === impl Files ===

impl Files {
    /// Whether they can serve.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or are no certificate with its key.
    pub fn check(&self) -> Result<(), TlsError> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = self.bytes(Field::Cert, &self.cert)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrong(Field::Cert, format!("this is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(
                self.wrong(Field::Cert, "there is no certificate in it; PEM begins with -----BEGIN CERTIFICATE-----")
            );
        }
        let key = PrivateKeyDer::from_pem_slice(&self.bytes(Field::Key, &self.key)?).map_err(|error| {
            self.wrong(Field::Key, format!("there is no private key in it that could be read: {error}"))
        })?;
        let key = any_supported_type(&key).map_err(|error| self.wrong(Field::Key, error))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| {
            self.wrong(Field::Key, format!("this is not the key of the certificate in {}", self.cert.display()))
        })?;
        Ok(Arc::new(certified))
    }

    fn bytes(&self, field: Field, path: &Path) -> Result<Vec<u8>, TlsError> {
        let bytes = fs::metadata(path).map_err(|error| self.wrong(field, error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(self.wrong(field, format!("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read")));
        }
        fs::read(path).map_err(|error| self.wrong(field, error))
    }

    fn wrong(&self, field: Field, why: impl ToString) -> TlsError {
        let file = match field {
            Field::Cert => &self.cert,
            Field::Key => &self.key,
        };
        TlsError { field, file: file.display().to_string(), why: why.to_string() }
    }

    fn written(&self) -> [Option<SystemTime>; 2] {
        [&self.cert, &self.key].map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }
}

// === impl Current ===

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    fn write(files: &Files, made: &Made<rcgen::KeyPair>) {
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        // The clock of the file system may be coarse.
        let later = SystemTime::now() + Duration::from_secs(u64::from(fastrand::u16(1..)));
        fs::File::options().write(true).open(&files.key).unwrap().set_modified(later).unwrap();
    }

    fn made() -> Made<rcgen::KeyPair> {
        generate_simple_self_signed(["dash.example".to_owned()]).unwrap()
    }

    fn files(dir: &tempfile::TempDir) -> Files {
        Files { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") }
    }

    fn serves(tls: &Tls) -> CertificateDer<'static> {
        tls.current.0.load().cert[0].clone()
    }

    #[test]
    fn a_renewed_certificate_is_taken_and_a_broken_one_is_told_once_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let (first, second) = (made(), made());
        write(&files, &first);
        let tls = Tls::new(files.clone()).unwrap();
        assert_eq!(tls.renew(), Ok(false), "nothing was written");
        write(&files, &second);
        assert_eq!(tls.renew(), Ok(true));
        assert_eq!(serves(&tls), *second.cert.der());
        fs::remove_file(&files.cert).unwrap();
        assert_eq!(tls.renew().unwrap_err().field, Field::Cert);
        assert_eq!(tls.renew(), Ok(false), "it was told");
        assert_eq!(serves(&tls), *second.cert.der());
        write(&files, &first);
        assert_eq!(tls.renew(), Ok(true));
    }

    #[track_caller]
    fn check_refused(field: Field, words: &str, spoil: impl FnOnce(&Files)) {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        write(&files, &made());
        spoil(&files);
        let error = Tls::new(files).err().unwrap();
        assert_eq!(error.field, field, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn what_cannot_serve_is_named_with_its_file() {
        check_refused(Field::Cert, "cert.pem: No such file", |files| fs::remove_file(&files.cert).unwrap());
        check_refused(Field::Key, "key.pem: No such file", |files| fs::remove_file(&files.key).unwrap());
        check_refused(Field::Cert, "there is no certificate in it", |files| fs::write(&files.cert, "junk").unwrap());
        check_refused(Field::Key, "no private key", |files| fs::write(&files.key, "junk").unwrap());
        check_refused(Field::Key, "not the key of the certificate", |files| {
            fs::write(&files.key, made().signing_key.serialize_pem()).unwrap();
        });
    }

    #[test]
    fn a_file_as_large_as_allowed_is_read_and_a_larger_one_is_not() {
        let fill = |path: &Path, to: u64| {
            let text = fs::read_to_string(path).unwrap();
            let more = usize::try_from(to).unwrap() - text.len();
            fs::write(path, text + &"\n".repeat(more)).unwrap();
        };
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        write(&files, &made());
        fill(&files.cert, FILE_BYTES_MAX);
        Tls::new(files).unwrap();
        check_refused(Field::Cert, "at most 1048576 are read", |files| fill(&files.cert, FILE_BYTES_MAX + 1));
    }
}
