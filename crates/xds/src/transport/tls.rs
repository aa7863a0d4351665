//! TLS towards a control plane: who it must be is told by a CA certificate. For [`super::dial`].

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a proxy knows its control plane.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// One CA certificate or more, in PEM; the control plane's own where that is self-signed.
    pub ca_pem: Vec<u8>,
    /// The name (or address) that the certificate must have; None: the host that is dialled.
    pub server_name: Option<String>,
}

/// Why TLS cannot be set up as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("the CA certificates cannot be read: {0}")]
    Certificates(String),
    #[error("there is no CA certificate")]
    NoCertificate,
    #[error("`{0}` is no name that a certificate could have")]
    Name(String),
}

/// [`ClientTls`], read.
#[derive(Clone)]
pub(super) struct Connector {
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl Connector {
    pub(super) fn new(tls: &ClientTls) -> Result<Self, TlsError> {
        let unreadable = |error: &dyn std::fmt::Display| TlsError::Certificates(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&tls.ca_pem) {
            let certificate = certificate.map_err(|e| unreadable(&e))?;
            roots.add(certificate).map_err(|e| unreadable(&e))?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| unreadable(&e))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = tls.server_name.as_deref().map(name).transpose()?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// The handshake with the host of that name.
    pub(super) async fn connect(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name(host).map_err(|e| e.to_string())?,
        };
        self.connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))
    }
}

fn name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}
