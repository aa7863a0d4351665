//! TLS that the proxy speaks to endpoints.

use super::files::SYSTEM;
use super::parameters::{provider, versions};
use super::san::San;
use super::secrets::{Secrets, Trust, Used};
use super::stream::UpstreamStream;
use super::verify::{OfServers, Rules};
use crate::connect::dial::Handshake;
use amime_model::config::UpstreamTls;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What handshakes with a cluster's endpoints go by.
pub(crate) struct ClientContext {
    config: Arc<ClientConfig>,
    /// The same for connections that no request names a server for: of these no name is checked.
    unnamed: Arc<ClientConfig>,
    sni: Option<ServerName<'static>>,
    /// The server name is the request's host.
    auto_sni: bool,
    tls: UpstreamTls,
    used: Used,
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl PartialEq for ClientContext {
    /// Whether connections of the one may be used in the place of the other's.
    fn eq(&self, other: &Self) -> bool {
        self.tls == other.tls && self.used == other.used
    }
}

impl ClientContext {
    /// Of these secrets.
    ///
    /// # Errors
    /// Why no connection can be made.
    pub(crate) fn build(tls: &UpstreamTls, secrets: &Secrets) -> Result<Self, String> {
        let sni = match tls.sni.as_str() {
            "" => None,
            name => {
                let bad = |_| format!("`{}` is no server name", name.escape_debug());
                Some(ServerName::try_from(name.to_owned()).map_err(bad)?)
            }
        };
        Ok(Self {
            config: client_config(tls, secrets, tls.auto_san_validation && tls.auto_sni)?,
            unnamed: client_config(tls, secrets, false)?,
            sni,
            auto_sni: tls.auto_sni && tls.sni.is_empty(),
            used: secrets.used(names(tls)),
            tls: tls.clone(),
        })
    }

    /// Whether it is what these settings and secrets would make.
    pub(crate) fn is(&self, tls: &UpstreamTls, secrets: &Secrets) -> bool {
        self.tls == *tls && self.is_of(secrets)
    }

    /// Whether it was made of what these secrets are now.
    pub(crate) fn is_of(&self, secrets: &Secrets) -> bool {
        self.used == secrets.used(names(&self.tls))
    }

    /// The name that a request's authority makes the server's; None: the cluster's own, or none.
    ///
    /// # Errors
    /// Where the authority is none that could be a server's name.
    pub(crate) fn name_of(&self, authority: &[u8]) -> Result<Option<ServerName<'static>>, &'static str> {
        if !self.auto_sni {
            return Ok(None);
        }
        let bad = "the request's host is no server name";
        let authority = http::uri::Authority::try_from(authority).map_err(|_| bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_ascii_lowercase()).map(Some).map_err(|_| bad)
    }

    /// The handshake with an endpoint.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        address: IpAddr,
        how: &Handshake,
    ) -> io::Result<UpstreamStream> {
        let name = how.name.as_ref();
        // No name is sent for an address.
        let config = if name.is_some() { &self.config } else { &self.unnamed };
        let name = name.or(self.sni.as_ref()).cloned().unwrap_or(ServerName::IpAddress(address.into()));
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = if how.http1 {
            connector.with_alpn(without_http2(&config.alpn_protocols)).connect(name, stream).await?
        } else {
            connector.connect(name, stream).await?
        };
        Ok(UpstreamStream::Tls(Box::new(stream)))
    }
}

fn without_http2(offered: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let rest: Vec<_> = offered.iter().filter(|protocol| protocol.as_slice() != b"h2").cloned().collect();
    if rest.is_empty() { vec![b"http/1.1".to_vec()] } else { rest }
}

fn names(tls: &UpstreamTls) -> impl Iterator<Item = &str> {
    tls.certificate.iter().chain(&tls.validation).chain(&tls.crl).map(String::as_str)
}

/// `dialled_name`: the certificate must be for the name that is dialled.
fn client_config(tls: &UpstreamTls, secrets: &Secrets, dialled_name: bool) -> Result<Arc<ClientConfig>, String> {
    let versions =
        versions(tls.min_version, tls.max_version).ok_or("of the TLS versions that are let in none is spoken here")?;
    let trust = match tls.validation.as_deref() {
        _ if tls.insecure => None,
        None | Some(SYSTEM) => Some(system()?),
        Some(name) => Some(Arc::clone(secrets.trust(name)?)),
    };
    let rules = Rules {
        names: if tls.insecure { Vec::new() } else { tls.match_sans.iter().map(|name| San::new(name)).collect() },
        dialled_name: dialled_name && !tls.insecure,
        revoked: tls.crl.as_deref().map(|name| secrets.revoked(name).cloned()).transpose()?,
        trust,
        ..Rules::default()
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OfServers(rules)));
    let mut config = match &tls.certificate {
        Some(name) => {
            let own = Arc::clone(secrets.certificate(name)?);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    Ok(Arc::new(config))
}

/// Where systems keep the authorities that they trust: the first that is there.
const SYSTEM_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities that the system trusts, read once.
fn system() -> Result<Arc<Trust>, String> {
    static ROOTS: OnceLock<Option<Arc<Trust>>> = OnceLock::new();
    let read = || {
        let pem = SYSTEM_FILES.iter().find_map(|file| std::fs::read(file).ok())?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        (!roots.is_empty()).then(|| Arc::new(Trust { roots, certificates, revoked: Vec::new() }))
    };
    ROOTS.get_or_init(read).clone().ok_or_else(|| "the system has no file of trusted authorities".into())
}

/// What Envoy calls a failed handshake with an endpoint, as near as the libraries' words allow.
pub(crate) fn tls_failure(error: &io::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::NotValidForName)) => {
            "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify SAN list:TLS_error_end"
        }
        Some(Error::InvalidCertificate(_)) => {
            "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"
        }
        Some(Error::InvalidMessage(_)) => {
            "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"
        }
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            "TLS_error:|268436496:SSL routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE:TLS_error_end"
        }
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "TLS_error:|268436526:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION:TLS_error_end"
        }
        Some(_) => "TLS_error:TLS_error_end",
        None => "",
    }
}
