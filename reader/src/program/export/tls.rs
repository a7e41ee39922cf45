//! The certificate of `export prometheus`, and the newer one that takes its place.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use atomscope::text::{clean, clean_path};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::program::output::{Failure, note};

/// The time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The files of a certificate and its key. Connections that begin after a change of the files get the new certificate.
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    /// The files as they were when they were read last, and at the last look.
    read: [Stamp; 2],
    seen: [Stamp; 2],
    /// Why the files could not be used when they were read last.
    failure: Option<String>,
    next_look: Instant,
}

/// What changes with a file: its number, its length, and the times of the last changes of its contents and of all else, such
/// as its owner, in seconds and nanoseconds. `None` if it is not there.
type Stamp = Option<(u64, u64, [(i64, i64); 2])>;

/// The certificate that connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Certificate {
    /// Reads the files.
    pub fn new(cert: &Path, key: &Path) -> Result<Self, Failure> {
        // The files may change while they are read, so their stamps are older.
        let stamps = stamps(cert, key);
        let current = Arc::new(Current(RwLock::new(Arc::new(read(cert, key)?))));
        let (cert, key) = (cert.to_owned(), key.to_owned());
        let next_look = Instant::now() + LOOK;
        Ok(Self { cert, key, current, read: stamps, seen: stamps, failure: None, next_look })
    }

    /// What does the handshake with clients.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Failure> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&self.cert, &error))?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again if they have changed, and notes on stderr if they cannot be used: the certificate then stays.
    pub fn renew(&mut self) {
        if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + LOOK;
        if let Some(news) = self.look() {
            note(&news);
        }
    }

    /// Looks at the files. Returns what is new about them.
    fn look(&mut self) -> Option<String> {
        let stamps = stamps(&self.cert, &self.key);
        // One file is replaced after the other, so both files are read after two looks have found them unchanged.
        let is_settled = std::mem::replace(&mut self.seen, stamps) == stamps;
        // A failure may pass without a change of the files: for a moment, no descriptor was free.
        if !is_settled || stamps == self.read && self.failure.is_none() {
            return None;
        }
        self.read = stamps;
        match read(&self.cert, &self.key) {
            Ok(new) => {
                self.failure = None;
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                Some(format!("serving the new certificate in {}", clean_path(&self.cert)))
            }
            Err(failure) => {
                let failure = failure.to_string();
                let is_new = self.failure.as_ref() != Some(&failure);
                self.failure = Some(failure.clone());
                is_new.then(|| format!("{failure}; the previous certificate stays in use"))
            }
        }
    }
}

fn stamps(cert: &Path, key: &Path) -> [Stamp; 2] {
    [cert, key].map(|path| {
        let meta = path.metadata().ok()?;
        let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Some((meta.ino(), meta.len(), times))
    })
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, Failure> {
    let certificates = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| failed(cert, &error))?;
    if certificates.is_empty() {
        return Err(failed(cert, &"it has no certificate in PEM"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    CertifiedKey::from_der(certificates, private, &ring::default_provider())
        .map_err(|error| failed(key, &error))
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("cannot use {} for TLS: {}", clean_path(path), clean(&why.to_string())))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Copies of the certificate and key of the tests, as they are served.
    fn served() -> (tempfile::TempDir, Certificate) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        let dir = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| {
            fs::copy(from.join(name), dir.path().join(name)).unwrap();
            dir.path().join(name)
        });
        let certificate = Certificate::new(&cert, &key).unwrap_or_else(|failure| panic!("{failure}"));
        (dir, certificate)
    }

    #[test]
    fn a_broken_file_is_noted_once() {
        let (_dir, mut certificate) = served();
        assert_eq!(certificate.look(), None);
        fs::write(&certificate.cert, "no certificate\n").unwrap();
        assert_eq!(certificate.look(), None);
        let noted = certificate.look().unwrap();
        assert!(noted.contains("no certificate in PEM") && noted.ends_with("stays in use"), "{noted}");
        for _ in 0..3 {
            assert_eq!(certificate.look(), None);
        }
        fs::remove_file(&certificate.cert).unwrap();
        assert_eq!(certificate.look(), None);
        assert!(certificate.look().unwrap().contains("No such file"));
    }

    #[test]
    fn files_that_could_not_be_read_are_read_again() {
        let (_dir, mut certificate) = served();
        // As if no descriptor had been free at the last look.
        certificate.failure = Some("Too many open files".to_owned());
        assert!(certificate.look().unwrap().contains("serving the new certificate"));
        assert_eq!(certificate.look(), None);
    }

    #[test]
    fn a_key_that_becomes_readable_is_read() {
        let (_dir, mut certificate) = served();
        let before = certificate.read;
        for _ in 0..1000 {
            fs::set_permissions(&certificate.key, Permissions::from_mode(0o640)).unwrap();
            if stamps(&certificate.cert, &certificate.key) != before {
                break;
            }
            // Two changes within one tick of the kernel's clock have the same time.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(certificate.look(), None);
        assert!(certificate.look().unwrap().contains("serving the new certificate"));
    }
}
