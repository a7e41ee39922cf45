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
    next_look: Instant,
}

/// What changes with a file: its number, its time in seconds and nanoseconds, and its length. `None` if it is not there.
type Stamp = Option<(u64, i64, i64, u64)>;

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
        Ok(Self { cert, key, current, read: stamps, seen: stamps, next_look: Instant::now() + LOOK })
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
        let stamps = stamps(&self.cert, &self.key);
        // One file is replaced after the other, so they are read once both were the same twice.
        let is_settled = std::mem::replace(&mut self.seen, stamps) == stamps;
        if !is_settled || stamps == self.read {
            return;
        }
        self.read = stamps;
        match read(&self.cert, &self.key) {
            Ok(new) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                note(&format!("serving the new certificate in {}", clean_path(&self.cert)));
            }
            Err(failure) => note(&format!("{failure}; the certificate before it is served on")),
        }
    }
}

fn stamps(cert: &Path, key: &Path) -> [Stamp; 2] {
    [cert, key].map(|path| {
        let meta = path.metadata().ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
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
