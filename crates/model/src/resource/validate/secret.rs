//! Secrets with certificates, in Kubernetes' layout (`tls.crt`, `tls.key`, `ca.crt`, `ca.crl`) and Istio's own (`cert`,
//! `key`, `cacert`, `crl`). Whether a key fits its certificate is for who uses them to find out; other Secrets are not
//! looked at.

use super::report::Report;
use crate::resource::Secret;
use crate::yaml::Path;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

pub(super) fn check(report: &mut Report<'_>, secret: &Secret) {
    let is_tls = secret.secret_type == "kubernetes.io/tls";
    if is_tls {
        for name in ["tls.crt", "tls.key"] {
            if value(secret, name).is_none_or(<[u8]>::is_empty) {
                report.error(&Path::ROOT.key("data"), format!("a Secret of type kubernetes.io/tls needs `{name}`"));
            }
        }
    }
    let is_pem = |name: &str| value(secret, name).is_some_and(|v| v.windows(11).any(|w| w == b"-----BEGIN "));
    // Names as common as these need not mean certificates.
    let generic = ["cert", "key", "cacert", "crl"].into_iter().any(is_pem);
    for (name, looked_at, wanted) in [
        ("tls.crt", is_tls || is_pem("tls.key"), Wanted::Certificates),
        ("tls.key", is_tls || is_pem("tls.crt"), Wanted::Key),
        ("ca.crt", is_tls || is_pem("ca.crt"), Wanted::Certificates),
        ("ca.crl", is_tls || is_pem("ca.crl"), Wanted::List),
        ("cert", generic, Wanted::Certificates),
        ("key", generic, Wanted::Key),
        ("cacert", generic, Wanted::Certificates),
        ("crl", generic, Wanted::List),
    ] {
        let Some(found) = value(secret, name).filter(|found| looked_at && !found.is_empty()) else { continue };
        let of = if secret.string_data.contains_key(name) { "stringData" } else { "data" };
        if let Err(reason) = wanted.check(found) {
            report.error(&Path::ROOT.key(of).key(name), reason);
        }
    }
}

fn value<'s>(secret: &'s Secret, name: &str) -> Option<&'s [u8]> {
    let text = secret.string_data.get(name).map(|text| text.as_bytes());
    text.or_else(|| secret.data.get(name).map(|bytes| bytes.0.as_slice()))
}

enum Wanted {
    Certificates,
    Key,
    List,
}

impl Wanted {
    fn check(&self, pem: &[u8]) -> Result<(), String> {
        match self {
            Self::Certificates => some(CertificateDer::pem_slice_iter(pem), "certificate"),
            Self::List => some(CertificateRevocationListDer::pem_slice_iter(pem), "revocation list"),
            Self::Key => match PrivateKeyDer::from_pem_slice(pem) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("no private key in PEM, without a password: {error}")),
            },
        }
    }
}

fn some<T>(found: impl Iterator<Item = Result<T, rustls_pki_types::pem::Error>>, what: &str) -> Result<(), String> {
    let mut count = 0;
    for one in found {
        one.map_err(|error| format!("no {what} in PEM: {error}"))?;
        count += 1;
    }
    if count == 0 { Err(format!("no {what} in PEM")) } else { Ok(()) }
}
