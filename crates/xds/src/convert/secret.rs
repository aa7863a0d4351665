//! Secrets.

use super::common::{bytes_source, field, from_source};
use crate::decode::DecodeError;
use amime_model::config::Secret;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::secret::Type;

pub(crate) fn to_pb(secret: &Secret) -> pb::Secret {
    let (name, kind) = match secret {
        Secret::Certificate { name, chain, key } => {
            let certificate = pb::TlsCertificate {
                certificate_chain: bytes_source(chain),
                private_key: bytes_source(key),
                ..Default::default()
            };
            (name, Type::TlsCertificate(certificate))
        }
        Secret::Validation { name, roots, crl } => {
            let context = pb::CertificateValidationContext {
                trusted_ca: bytes_source(roots),
                crl: bytes_source(crl),
                ..Default::default()
            };
            (name, Type::ValidationContext(context))
        }
    };
    pb::Secret { name: name.clone(), r#type: Some(kind) }
}

pub(crate) fn from_pb(secret: pb::Secret) -> Result<Secret, DecodeError> {
    let name = secret.name;
    match secret.r#type {
        Some(Type::TlsCertificate(certificate)) => Ok(Secret::Certificate {
            name,
            chain: from_source(certificate.certificate_chain, "certificate_chain")?,
            key: from_source(certificate.private_key, "private_key")?,
        }),
        Some(Type::ValidationContext(context)) => Ok(Secret::Validation {
            name,
            roots: from_source(context.trusted_ca, "trusted_ca")?,
            crl: from_source(context.crl, "crl")?,
        }),
        Some(Type::SessionTicketKeys(_)) => Err(field("session_ticket_keys", "not understood")),
        Some(Type::GenericSecret(_)) => Err(field("generic_secret", "not understood")),
        None => Err(field("type", "missing")),
    }
}
