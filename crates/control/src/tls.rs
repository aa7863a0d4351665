//! The certificate by which proxies know a control plane: the user's own files, or a self-signed one made at the start.
//! `listen` takes connections with it. Who the proxies are it does not ask.

use crate::state::replace_file;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt::Write;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, at most: at a handshake.
const LOOK: Duration = Duration::from_secs(1);
/// The files of a self-signed certificate in the state folder.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Why there is no certificate to be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("no certificate can be made: {0}")]
    Make(String),
}

/// What connections are taken with. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
}

/// The certificate that is shown, and where it comes from.
#[derive(Debug)]
struct Certificate {
    provider: Arc<CryptoProvider>,
    files: Option<(PathBuf, PathBuf)>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// Of the files that it was read from.
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What tells two states of two files apart, also where a link leads elsewhere now.
type Stamp = [(u64, u64, i64, i64); 2];

impl ServerTls {
    /// The user's own, in PEM. Read again when they change; what cannot be used keeps the last one.
    ///
    /// # Errors
    /// Where the files hold no certificate with its key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = provider();
        let stamp = stamp(certificate, key);
        let shown = read(&provider, certificate, key)?;
        Self::new(provider, shown, Some((certificate.to_owned(), key.to_owned())), stamp)
    }

    /// One for these names and addresses, that proxies trust by itself. It stays the same over restarts where there is
    /// a folder to keep it in.
    ///
    /// # Errors
    /// Where it cannot be made or kept.
    pub fn self_signed(names: &[String], folder: Option<&Path>) -> Result<Self, TlsError> {
        let provider = provider();
        let (certificate, key) = match folder {
            Some(folder) => {
                let paths = (folder.join(CERTIFICATE), folder.join(KEY));
                match kept(&provider, names, &paths) {
                    Some(kept) => return Self::new(provider, kept, None, None),
                    None => keep(make(names)?, names, &paths)?,
                }
            }
            None => make(names)?,
        };
        let shown = certified(&provider, certificate.as_bytes(), key.as_bytes()).map_err(TlsError::Make)?;
        Self::new(provider, shown, None, None)
    }

    fn new(
        provider: Arc<CryptoProvider>,
        shown: CertifiedKey,
        files: Option<(PathBuf, PathBuf)>,
        stamp: Option<Stamp>,
    ) -> Result<Self, TlsError> {
        let shown = Mutex::new(Shown { key: Arc::new(shown), stamp, looked: Instant::now() });
        let certificate = Arc::new(Certificate { provider: provider.clone(), files, shown });
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::Make(error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Arc::new(config), certificate })
    }

    /// The SHA-256 of the certificate that is shown now, as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        let shown = self.certificate.shown();
        let Some(certificate) = shown.cert.first() else { return String::new() };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        let mut text = String::new();
        for (index, byte) in digest.as_ref().iter().enumerate() {
            // Writing into a String cannot fail.
            let _ = write!(text, "{}{byte:02X}", if index > 0 { ":" } else { "" });
        }
        text
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

impl Certificate {
    /// The newest that can be used.
    fn shown(&self) -> Arc<CertifiedKey> {
        // A whole value is put in its place at once.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((certificate, key)) = &self.files
            && shown.looked.elapsed() >= LOOK
        {
            shown.looked = Instant::now();
            let now = stamp(certificate, key);
            if now != shown.stamp {
                match read(&self.provider, certificate, key) {
                    Ok(new) => (shown.key, shown.stamp) = (Arc::new(new), now),
                    Err(error) => tracing::warn!(%error, "the certificate that was read before is still shown"),
                }
            }
        }
        shown.key.clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn stamp(certificate: &Path, key: &Path) -> Option<Stamp> {
    let of = |metadata: Metadata| (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Some([of(std::fs::metadata(certificate).ok()?), of(std::fs::metadata(key).ok()?)])
}

fn read(provider: &CryptoProvider, certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let fail = |path: &Path, reason: String| TlsError::File { path: path.display().to_string(), reason };
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| fail(path, error.to_string()));
    let (certificates, keys) = (bytes(certificate)?, bytes(key)?);
    certified(provider, &certificates, &keys).map_err(|reason| fail(certificate, reason))
}

fn certified(provider: &CryptoProvider, certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("there is no certificate in it".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("its key cannot be read: {error}"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| format!("with its key: {error}"))
}

/// Certificate and key, in PEM.
fn make(names: &[String]) -> Result<(String, String), TlsError> {
    let fail = |error: rcgen::Error| TlsError::Make(error.to_string());
    let mut params = CertificateParams::new(names.to_vec()).map_err(fail)?;
    params.distinguished_name.push(DnType::CommonName, "amime control");
    let key = KeyPair::generate().map_err(fail)?;
    let certificate = params.self_signed(&key).map_err(fail)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// The line before the certificate: what it was made for.
fn made_for(names: &[String]) -> String {
    format!("amime control: {}\n", names.join(" "))
}

fn kept(provider: &CryptoProvider, names: &[String], paths: &(PathBuf, PathBuf)) -> Option<CertifiedKey> {
    let text = std::fs::read_to_string(&paths.0).ok()?;
    text.starts_with(&made_for(names)).then(|| read(provider, &paths.0, &paths.1).ok()).flatten()
}

fn keep(
    (certificate, key): (String, String),
    names: &[String],
    paths: &(PathBuf, PathBuf),
) -> Result<(String, String), TlsError> {
    let write = |path: &Path, parts: &[&[u8]]| {
        let fail =
            |error: std::io::Error| TlsError::File { path: path.display().to_string(), reason: error.to_string() };
        replace_file(path, parts).map_err(fail)
    };
    write(&paths.1, &[key.as_bytes()])?;
    write(&paths.0, &[made_for(names).as_bytes(), certificate.as_bytes()])?;
    Ok((certificate, key))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
