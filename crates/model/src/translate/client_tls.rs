//! TLS towards a service, as a DestinationRule asks for it. (Mutual TLS of the mesh's own comes with identity.)
//!
//! Certificates are named as Istio names them to SDS: files by path, Secrets by `kubernetes://`.

use crate::config::{Cluster, UpstreamProtocol, UpstreamTls};
use crate::resource::destination_rule::{ClientTls, ClientTlsMode};
use crate::snapshot::Service;

pub(super) fn apply(cluster: &mut Cluster, written: &ClientTls, service: &Service) {
    let mutual = match written.mode {
        // Plaintext; and for the mesh's own certificates there is no one yet to give them.
        ClientTlsMode::Disable | ClientTlsMode::IstioMutual => return,
        ClientTlsMode::Simple => false,
        ClientTlsMode::Mutual => true,
    };
    let insecure = written.insecure_skip_verify == Some(true);
    let credential = (!written.credential_name.is_empty()).then(|| format!("kubernetes://{}", written.credential_name));
    let certificate = match &credential {
        _ if !mutual => None,
        Some(name) => Some(name.clone()),
        None => Some(format!("file-cert:{}~{}", written.client_certificate, written.private_key)),
    };
    let validation = match &credential {
        _ if insecure => None,
        Some(name) => Some(format!("{name}-cacert")),
        None if written.ca_certificates.is_empty() => None,
        None => Some(format!("file-root:{}", written.ca_certificates)),
    };
    let match_sans = if written.subject_alt_names.is_empty() {
        service.subject_alt_names.clone()
    } else {
        written.subject_alt_names.clone()
    };
    let has_sni = !written.sni.is_empty();
    cluster.tls = Some(UpstreamTls {
        sni: written.sni.clone(),
        auto_sni: !has_sni,
        alpn: match cluster.protocol {
            UpstreamProtocol::Http2 => vec!["h2".to_string()],
            _ => Vec::new(),
        },
        certificate,
        validation,
        crl: (!written.ca_crl.is_empty() && !insecure).then(|| format!("file-crl:{}", written.ca_crl)),
        auto_san_validation: !has_sni && match_sans.is_empty() && !insecure,
        match_sans,
        insecure,
        ..UpstreamTls::default()
    });
}

/// The SDS names of a cluster's TLS.
pub(super) fn names(tls: &UpstreamTls) -> impl Iterator<Item = &str> {
    tls.certificate.iter().chain(&tls.validation).map(String::as_str)
}
