//! TLS that a filter chain ends.

use super::parameters::{restricted, versions};
use super::san::San;
use super::secrets::Secrets;
use super::verify::{OfClients, Rules, hash, key_pin};
use crate::listen::stream::ClientStream;
use amime_model::config::DownstreamTls;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

/// How long a client may take for its handshake: Istio's for gateways.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// What handshakes of a filter chain go by.
pub(crate) struct ServerContext {
    /// Or why every handshake is refused.
    config: Result<Arc<ServerConfig>, String>,
}

/// A connection whose handshake is done.
pub(crate) struct Shaken {
    pub(crate) stream: ClientStream,
    /// By ALPN: HTTP/2, or something else; None where nothing was agreed on.
    pub(crate) http2: Option<bool>,
}

impl ServerContext {
    /// Of these secrets. What is missing or cannot be used refuses the chain's connections.
    pub(crate) fn build(tls: &DownstreamTls, secrets: &Secrets) -> Self {
        Self { config: server_config(tls, secrets) }
    }

    /// Why no connection is taken.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.config.as_ref().err().map(String::as_str)
    }

    /// Takes the handshake of a client.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn accept(&self, stream: ClientStream) -> Result<Shaken, String> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let shaking = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        match tokio::time::timeout(HANDSHAKE, shaking).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"h2");
                Ok(Shaken { stream: ClientStream::tls(stream), http2 })
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the client takes too long for its handshake".into()),
        }
    }
}

fn server_config(tls: &DownstreamTls, secrets: &Secrets) -> Result<Arc<ServerConfig>, String> {
    let versions =
        versions(tls.min_version, tls.max_version).ok_or("of the TLS versions that are let in none is spoken here")?;
    let keys: Result<Vec<_>, _> = tls.certificates.iter().map(|name| secrets.certificate(name).cloned()).collect();
    let keys = keys?;
    if keys.is_empty() {
        return Err("the server has no certificate".into());
    }
    let provider = restricted(&tls.cipher_suites, &tls.curves);
    if provider.kx_groups.is_empty() {
        return Err("of the curves that are let in none is spoken here".into());
    }
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = match client_rules(tls, secrets)? {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates(keys)));
    config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    // Clients keep their sessions themselves, so that the proxy's workers share no table of them. A new context, of
    // other certificates or authorities, takes no old session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

/// What is asked of clients' certificates; None where none is looked at.
fn client_rules(tls: &DownstreamTls, secrets: &Secrets) -> Result<Option<OfClients>, String> {
    let restricted =
        !(tls.match_sans.is_empty() && tls.certificate_hashes.is_empty() && tls.certificate_spki.is_empty());
    if tls.validation.is_none() && !tls.require_client_certificate && !restricted {
        return Ok(None);
    }
    let trust = tls.validation.as_deref().map(|name| secrets.trust(name).cloned()).transpose()?;
    let rules = Rules {
        names: tls.match_sans.iter().map(|name| San::new(name)).collect(),
        certificates: tls.certificate_hashes.iter().map(|text| hash(text)).collect::<Result<_, _>>()?,
        keys: tls.certificate_spki.iter().map(|text| key_pin(text)).collect::<Result<_, _>>()?,
        dialled_name: false,
        revoked: tls.crl.as_deref().map(|name| secrets.revoked(name).cloned()).transpose()?,
        trust,
    };
    let hints = rules.trust.as_ref().map(|trust| trust.roots.subjects()).unwrap_or_default();
    Ok(Some(OfClients { rules, required: tls.require_client_certificate, hints }))
}

/// The certificates of a server, in the order in which they are written.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    /// The first that has the client's server name (any, where none has it), of a kind that the client can check:
    /// ECDSA before RSA, as Envoy chooses.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [one] = self.0.as_slice() {
            return Some(Arc::clone(one));
        }
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let has_name = |key: &CertifiedKey| {
            name.as_ref().is_some_and(|name| {
                let certificate = key.cert.first().and_then(|der| EndEntityCert::try_from(der).ok());
                certificate.is_some_and(|c| c.verify_is_valid_for_subject_name(name).is_ok())
            })
        };
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let is_ecdsa = |key: &CertifiedKey| key.key.algorithm() == SignatureAlgorithm::ECDSA;
        let best = self.0.iter().filter(fits).min_by_key(|key| (!has_name(key), !is_ecdsa(key)));
        best.or_else(|| self.0.first()).cloned()
    }
}
