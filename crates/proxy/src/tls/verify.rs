//! Whether a peer's certificate is accepted: its chain, revocation, names and pins. One set of rules for clients' and
//! servers' certificates, which is Envoy's.

use super::parameters::provider;
use super::san::San;
use super::secrets::{Revoked, Trust};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use webpki::{EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, UnknownStatusPolicy};

/// What is asked of a peer's certificate.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// None: any chain.
    pub(super) trust: Option<Arc<Trust>>,
    /// Beside those that `trust` knows of.
    pub(super) revoked: Option<Arc<Revoked>>,
    /// One of them is a name of the certificate; any where empty.
    pub(super) names: Vec<San>,
    /// SHA-256 of certificates or public keys, one of which it must be; any where both are empty.
    pub(super) certificates: Vec<[u8; 32]>,
    pub(super) keys: Vec<[u8; 32]>,
    /// It must be for the name that was dialled.
    pub(super) dialled_name: bool,
}

/// A SHA-256 in hexadecimal, with or without colons (Envoy's verify_certificate_hash).
pub(super) fn hash(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let mut hash = [0; 32];
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bad = || format!("`{}` is no SHA-256 in hexadecimal", text.escape_debug());
    if digits.len() != 64 {
        return Err(bad());
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high * 16 + low).ok_or_else(bad)?;
    }
    Ok(hash)
}

/// A SHA-256 in base64 (Envoy's verify_certificate_spki).
pub(super) fn key_pin(text: &str) -> Result<[u8; 32], String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok();
    let pin = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    pin.ok_or_else(|| format!("`{}` is no SHA-256 in base64", text.escape_debug()))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

impl Rules {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: Option<&ServerName<'_>>,
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(leaf).map_err(refused)?;
        if let Some(trust) = &self.trust {
            self.chain(trust, &certificate, leaf, intermediates, usage, now)?;
        }
        let accepted = self.names.is_empty() || self.names.iter().any(|name| name.is_of(&certificate));
        let dialled = dialled.filter(|_| self.dialled_name);
        if !accepted || dialled.is_some_and(|name| certificate.verify_is_valid_for_subject_name(name).is_err()) {
            return Err(CertificateError::NotValidForName.into());
        }
        let pinned = !self.certificates.is_empty() || !self.keys.is_empty();
        let is_pinned = || {
            self.certificates.contains(&sha256(leaf))
                || self.keys.contains(&sha256(&certificate.subject_public_key_info()))
        };
        if pinned && !is_pinned() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }

    /// That a trusted authority has signed it, for this use, and none on the way was revoked.
    fn chain(
        &self,
        trust: &Trust,
        certificate: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Error> {
        let beside = self.revoked.iter().flat_map(|revoked| revoked.iter());
        let lists: Vec<&webpki::CertRevocationList<'_>> = trust.revoked.iter().chain(beside).collect();
        let revocation = webpki::RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let algorithms = provider().signature_verification_algorithms.all;
        // One that is trusted by itself need not be fit to sign, nor be signed by another.
        if lists.is_empty() && trust.certificates.iter().any(|trusted| trusted == leaf) {
            return in_force(leaf, now);
        }
        let checked =
            certificate.verify_for_usage(algorithms, &trust.roots.roots, intermediates, now, usage, revocation, None);
        checked.map(|_| ()).map_err(refused)
    }
}

/// That it has begun to be valid and has not ceased.
fn in_force(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let read = x509_parser::parse_x509_certificate(certificate);
    let (_, read) = read.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < read.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > read.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn refused(error: webpki::Error) -> Error {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertExpired { .. } | E::InvalidCertValidity => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertRevoked => CertificateError::Revoked,
        E::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertNotValidForName(_) => CertificateError::NotValidForName,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    }
    .into()
}

/// Rules for servers' certificates.
#[derive(Debug)]
pub(super) struct OfServers(pub(super) Rules);

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.check(end_entity, intermediates, Some(server_name), KeyUsage::server_auth(), now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Rules for clients' certificates, and whether one is needed.
#[derive(Debug)]
pub(super) struct OfClients {
    pub(super) rules: Rules,
    pub(super) required: bool,
    /// The names of the authorities, for clients that have to choose.
    pub(super) hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.rules.check(end_entity, intermediates, None, KeyUsage::client_auth(), now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
