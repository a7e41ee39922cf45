//! The certificate of `export prometheus`.

use std::path::Path;
use std::sync::Arc;

use atomscope::text::{clean, clean_path};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::program::export::renewed::{Latest, Renewed};
use crate::program::output::Failure;

/// Connections that begin after a change of the files get the new certificate.
impl ResolvesServerCert for Latest<CertifiedKey> {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

/// The certificate in these files.
pub fn certificate(cert: &Path, key: &Path) -> Result<Renewed<CertifiedKey>, Failure> {
    let files = [cert, key].map(Path::to_owned);
    Renewed::new("certificate", &[cert, key], move || read(&files[0], &files[1]))
}

/// What does the handshake with clients.
pub fn acceptor(certificate: &Renewed<CertifiedKey>) -> Result<TlsAcceptor, Failure> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Failed(format!("cannot use TLS: {}", clean(&error.to_string()))))?
        .with_no_client_auth()
        .with_cert_resolver(certificate.latest());
    Ok(TlsAcceptor::from(Arc::new(config)))
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
