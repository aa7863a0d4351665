//! Names in certificates, and the names that a certificate must have one of.

use rustls::pki_types::ServerName;
use webpki::EndEntityCert;

/// A subject alternative name that is accepted: a DNS name, an address or a URI.
#[derive(Debug, Clone)]
pub(super) struct San {
    text: String,
    /// Where it may be a DNS name or an address.
    name: Option<ServerName<'static>>,
}

impl San {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), name: ServerName::try_from(text.to_owned()).ok() }
    }

    /// A wildcard in the certificate stands for one label, as it does for Envoy's exact DNS matchers.
    pub(super) fn is_of(&self, certificate: &EndEntityCert<'_>) -> bool {
        let by_name = self.name.as_ref().is_some_and(|n| certificate.verify_is_valid_for_subject_name(n).is_ok());
        by_name || certificate.valid_uri_names().any(|uri| uri == self.text)
    }
}
