//! TLS that a gateway's server ends, and the certificates for it.
//!
//! Certificates are named as Istio names them to SDS: Secrets by `kubernetes://`, files by path.

use super::view::View;
use crate::config::{DownstreamTls, Secret, TlsVersion};
use crate::resource;
use crate::resource::gateway::{ServerTls, ServerTlsMode, TlsProtocol};
use crate::resource::tls_names::{is_cipher_suite, is_curve};
use std::collections::BTreeSet;

/// What a Secret of the mesh may hold beside a certificate.
const CA_SUFFIX: &str = "-cacert";

pub(super) fn of(written: &ServerTls) -> DownstreamTls {
    let validates = matches!(written.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let credentials = credentials(written);
    let mut certificates: Vec<String> = credentials.iter().map(|name| sds_name(name)).collect();
    if certificates.is_empty() {
        let file = |chain: &str, key: &str| format!("file-cert:{chain}~{key}");
        if !written.server_certificate.is_empty() {
            certificates.push(file(&written.server_certificate, &written.private_key));
        }
        certificates.extend(written.tls_certificates.iter().map(|c| file(&c.server_certificate, &c.private_key)));
    }
    let validation = validates.then(|| match (written.ca_cert_credential_name.as_str(), credentials.first()) {
        ("", Some(name)) => format!("{}{CA_SUFFIX}", sds_name(name)),
        ("", None) => format!("file-root:{}", written.ca_certificates),
        (name, _) => sds_name(name),
    });
    DownstreamTls {
        certificates,
        validation: validation.filter(|_| written.insecure_skip_verify != Some(true)),
        crl: (validates && !written.ca_crl.is_empty() && written.insecure_skip_verify != Some(true))
            .then(|| format!("file-crl:{}", written.ca_crl)),
        require_client_certificate: matches!(written.mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual),
        alpn: vec!["h2".to_string(), "http/1.1".to_string()],
        min_version: version(written.min_protocol_version),
        max_version: version(written.max_protocol_version),
        cipher_suites: known(&written.cipher_suites, is_cipher_suite),
        curves: known(&written.ecdh_curves, is_curve),
        match_sans: written.subject_alt_names.clone(),
        certificate_hashes: written.verify_certificate_hash.clone(),
        certificate_spki: written.verify_certificate_spki.clone(),
    }
}

/// One unknown name would have Envoy refuse the whole listener. Where none is known, they stay: nothing is chosen instead.
fn known(names: &[String], is_known: fn(&str) -> bool) -> Vec<String> {
    let known: Vec<_> = names.iter().filter(|name| is_known(name)).cloned().collect();
    if known.is_empty() { names.to_vec() } else { known }
}

fn version(written: TlsProtocol) -> TlsVersion {
    match written {
        TlsProtocol::Auto => TlsVersion::Auto,
        TlsProtocol::V1_0 => TlsVersion::V1_0,
        TlsProtocol::V1_1 => TlsVersion::V1_1,
        TlsProtocol::V1_2 => TlsVersion::V1_2,
        TlsProtocol::V1_3 => TlsVersion::V1_3,
    }
}

fn credentials(written: &ServerTls) -> Vec<&str> {
    let several: Vec<_> = written.credential_names.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
    if several.is_empty() && !written.credential_name.is_empty() { vec![&written.credential_name] } else { several }
}

fn sds_name(credential: &str) -> String {
    if credential.contains("://") { credential.to_string() } else { format!("kubernetes://{credential}") }
}

/// What the Secrets of the proxy's namespace hold of these SDS names, as far as they are there.
pub(super) fn secrets<'n>(view: &View<'_>, names: impl Iterator<Item = &'n str>) -> Vec<Secret> {
    let names: BTreeSet<&str> = names.collect();
    names.into_iter().filter_map(|name| secret(view, name)).collect()
}

fn secret(view: &View<'_>, name: &str) -> Option<Secret> {
    let bare = name.strip_prefix("kubernetes://")?;
    let of = |bare: &str| view.snapshot.secret(&view.scope.namespace, bare);
    if let Some((chain, key)) = of(bare).and_then(|secret| key_pair(secret)) {
        return Some(Secret::Certificate { name: name.to_string(), chain, key });
    }
    // A Secret of its own for the roots wins over roots beside the certificate.
    let beside = || of(bare.strip_suffix(CA_SUFFIX)?);
    let own = of(bare).and_then(|secret| roots(name, secret));
    own.or_else(|| beside().and_then(|secret| roots(name, secret)))
}

/// The SDS names of a server's TLS.
pub(super) fn names(tls: &DownstreamTls) -> impl Iterator<Item = &str> {
    tls.certificates.iter().chain(&tls.validation).map(String::as_str)
}

fn field(secret: &resource::Secret, names: [&str; 2]) -> Option<Vec<u8>> {
    names.iter().find_map(|name| {
        let text = secret.string_data.get(*name).map(|text| text.clone().into_bytes());
        text.or_else(|| secret.data.get(*name).map(|bytes| bytes.0.clone())).filter(|bytes| !bytes.is_empty())
    })
}

/// Kubernetes' layout (`tls.crt`, `tls.key`), or Istio's own (`cert`, `key`).
fn key_pair(secret: &resource::Secret) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((field(secret, ["tls.crt", "cert"])?, field(secret, ["tls.key", "key"])?))
}

fn roots(name: &str, secret: &resource::Secret) -> Option<Secret> {
    let roots = field(secret, ["ca.crt", "cacert"])?;
    let crl = field(secret, ["ca.crl", "crl"]).unwrap_or_default();
    Some(Secret::Validation { name: name.to_string(), roots, crl })
}
