//! Certificates made for a test, and TLS clients and origins that use them.

use crate::client::PATIENCE;
use crate::origin::{Body, Origin};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub chain: String,
    pub key: String,
    serial: u64,
}

/// What kind of key a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Ecdsa,
    Rsa,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For these names (DNS names, addresses and URIs), for servers and clients.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, KeyKind::Ecdsa, |_| {})
    }

    pub fn issue_with(&self, names: &[&str], kind: KeyKind, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        static SERIAL: AtomicU64 = AtomicU64::new(1000);
        let serial = SERIAL.fetch_add(1, Ordering::SeqCst);
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("test"));
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = match kind {
            KeyKind::Ecdsa => KeyPair::generate(),
            KeyKind::Rsa => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
        };
        let key = key.expect("a key");
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { chain, key: key.serialize_pem(), serial }
    }

    /// A list that revokes these, in PEM.
    pub fn revoke(&self, pairs: &[&Pair]) -> String {
        let now = rcgen::date_time_ymd(2020, 1, 1);
        let revoked = pairs.iter().map(|pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: rcgen::date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// Trusts this authority alone.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")).expect("an authority");
        Arc::new(roots)
    }
}

fn san(name: &str) -> SanType {
    if name.contains("://") {
        SanType::URI(name.try_into().expect("ASCII"))
    } else if let Ok(address) = name.parse::<IpAddr>() {
        SanType::IpAddress(address)
    } else {
        SanType::DnsName(name.try_into().expect("ASCII"))
    }
}

impl Pair {
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>().expect("PEM")
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }
}

/// A TLS client.
#[derive(Clone)]
pub struct Client {
    roots: Arc<RootCertStore>,
    certificate: Option<Pair>,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
}

impl Client {
    /// One that trusts this authority, and offers nothing else.
    pub fn trusting(authority: &Authority) -> Self {
        Self {
            roots: authority.roots(),
            certificate: None,
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            provider: provider(),
        }
    }

    #[must_use]
    pub fn with(mut self, certificate: &Pair) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    #[must_use]
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Offers these groups for the key exchange alone.
    #[must_use]
    pub fn curves(mut self, names: &[NamedGroup]) -> Self {
        let mut provider = (*self.provider).clone();
        provider.kx_groups.retain(|group| names.contains(&group.name()));
        self.provider = Arc::new(provider);
        self
    }

    /// Takes certificates with keys of this kind alone.
    #[must_use]
    pub fn only(mut self, kind: KeyKind) -> Self {
        let mut provider = (*self.provider).clone();
        let algorithms = &mut provider.signature_verification_algorithms;
        let is_ecdsa = |scheme: rustls::SignatureScheme| {
            matches!(
                scheme,
                rustls::SignatureScheme::ECDSA_NISTP256_SHA256 | rustls::SignatureScheme::ECDSA_NISTP384_SHA384
            )
        };
        let chosen: Vec<_> =
            algorithms.mapping.iter().filter(|(s, _)| is_ecdsa(*s) == (kind == KeyKind::Ecdsa)).copied().collect();
        algorithms.mapping = Box::leak(chosen.into_boxed_slice());
        self.provider = Arc::new(provider);
        self
    }

    fn config(&self) -> ClientConfig {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&self.provider));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_webpki_verifier(verifier.build().expect("a verifier"));
        let mut config = match &self.certificate {
            Some(pair) => builder.with_client_auth_cert(pair.certificates(), pair.private_key()).expect("a pair"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config
    }

    /// A handshake for this server name.
    ///
    /// # Errors
    /// Where either side refuses it.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?, name).await
    }

    /// The same, over a connection that is there.
    ///
    /// # Errors
    /// As `connect`.
    pub async fn over(&self, stream: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let shaking = TlsConnector::from(Arc::new(self.config())).connect(name, stream);
        tokio::time::timeout(PATIENCE, shaking).await.expect("a handshake in time")
    }
}

/// What a TLS origin's handshakes go by.
pub fn server_config(pair: &Pair, clients: Option<&Authority>, alpn: &[&str]) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = match clients {
        Some(authority) => {
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(authority.roots(), provider());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(pair.certificates(), pair.private_key()).expect("a pair");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What a client told in its handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub server_name: Option<String>,
    pub alpn: Option<String>,
    /// It showed a certificate.
    pub certificate: bool,
}

/// An HTTP server behind TLS, which speaks what ALPN agreed on. `answer` gets what the client told.
pub async fn origin<F>(config: Arc<ServerConfig>, answer: F) -> Origin
where
    F: Fn(Told, Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
{
    changing_origin(move || Arc::clone(&config), answer).await
}

/// The same, whose handshakes each go by what `config` gives then.
pub async fn changing_origin<C, F>(config: C, answer: F) -> Origin
where
    C: Fn() -> Arc<ServerConfig> + Send + Sync + 'static,
    F: Fn(Told, Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    Origin::tcp(move |stream| {
        let (config, answer) = (config(), Arc::clone(&answer));
        async move {
            // Who is refused sees it himself.
            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            let session = stream.get_ref().1;
            let told = Told {
                server_name: session.server_name().map(str::to_owned),
                alpn: session.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
                certificate: session.peer_certificates().is_some(),
            };
            let http2 = told.alpn.as_deref() == Some("h2");
            let service = service_fn(move |request| {
                let answer = answer(told.clone(), request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let io = TokioIo::new(stream);
            // How a connection ends is the test's matter, not the server's.
            if http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            } else {
                let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                let _ = serving.with_upgrades().await;
            }
        }
    })
    .await
}
