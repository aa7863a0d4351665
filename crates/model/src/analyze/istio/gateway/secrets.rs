//! The Secrets of a Gateway's certificates: whether they are there (IST0101) and can be used (IST0161).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::{Gateway, Kind, Secret, Spec};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, gateway) in world.gateways() {
        let Some(home) = home(world, gateway) else { continue };
        for (index, server) in gateway.servers.iter().enumerate() {
            let Some(written) = server.tls.as_ref().map(|tls| &tls.credential_name).filter(|name| !name.is_empty())
            else {
                continue;
            };
            let name = written.strip_prefix("kubernetes://").unwrap_or(written);
            let (namespace, name) = name.split_once('/').unwrap_or((home, name));
            let field = format!("spec.servers[{index}].tls.credentialName");
            let secret = world.find(Kind::Secret, namespace, name).map(|secret| &secret.spec);
            let finding = match secret {
                None => Some((
                    codes::NOT_FOUND,
                    format!("there is no Secret {name} in {namespace}, where the gateway's pods are"),
                )),
                Some(Spec::Secret(secret)) => problem(secret, world.now)
                    .map(|problem| (codes::INVALID_CREDENTIAL, format!("Secret {namespace}/{name} {problem}"))),
                Some(_) => None,
            };
            found.extend(finding.map(|(code, message)| about(code, object, &field, message)));
        }
    }
}

/// Where the gateway's pods are, and so its Secrets; none where that is not known. Istio's own ingress gateway is beside
/// the control plane, where the input does not say otherwise.
fn home<'w>(world: &'w World<'_>, gateway: &Gateway) -> Option<&'w str> {
    let is_default =
        gateway.selector.len() == 1 && gateway.selector.get("istio").is_some_and(|value| value == "ingressgateway");
    let pod = world.pods.matching(&gateway.selector).next();
    pod.map(|pod| &*pod.object.id.namespace).or(is_default.then_some(world.mesh.root_namespace.as_str()))
}

/// Why TLS cannot be ended by this Secret.
fn problem(secret: &Secret, now: u64) -> Option<String> {
    let pair = [("cert", "key"), ("tls.crt", "tls.key")].into_iter().find_map(|(certificate, key)| {
        value(secret, key)?;
        value(secret, certificate)
    });
    let Some(pem) = pair else { return Some("has neither tls.crt and tls.key nor cert and key".to_owned()) };
    let Ok(der) = CertificateDer::from_pem_slice(pem) else { return Some("has no certificate in PEM".to_owned()) };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return Some("has a certificate that cannot be read".to_owned());
    };
    let validity = certificate.validity();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if now > validity.not_after.timestamp() {
        return Some(format!("has a certificate that ended on {}", validity.not_after));
    }
    (now < validity.not_before.timestamp()).then(|| format!("has a certificate that begins on {}", validity.not_before))
}

/// A value that is there and not empty.
fn value<'s>(secret: &'s Secret, key: &str) -> Option<&'s [u8]> {
    let text = secret.string_data.get(key).map(String::as_bytes);
    text.or_else(|| secret.data.get(key).map(|bytes| bytes.0.as_slice())).filter(|value| !value.is_empty())
}
