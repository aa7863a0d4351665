//! Gateways of the same pods that answer with the same certificate (IST0138).

use crate::analyze::world::{World, about, full_name};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::gateway::ServerTls;
use crate::resource::{Gateway, Map, Object};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What tells two certificates to be the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Certificate<'a> {
    Secret(&'a str),
    Files(&'a str, &'a str),
}

/// A Gateway that answers with some certificate.
type Holder<'a> = (&'a Arc<Object>, &'a Gateway);

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut holders: BTreeMap<Certificate<'_>, Vec<Holder<'_>>> = BTreeMap::new();
    for (object, gateway) in world.gateways() {
        for server in &gateway.servers {
            if let Some(certificate) = server.tls.as_ref().and_then(certificate) {
                holders.entry(certificate).or_default().push((object, gateway));
            }
        }
    }
    for of_one in holders.values() {
        for (object, gateway) in of_one {
            for (other, other_gateway) in of_one.iter().filter(|(other, _)| other.id != object.id) {
                if is_part(&gateway.selector, &other_gateway.selector) {
                    let message = format!("Gateway {} answers with the same certificate", full_name(other));
                    found.push(about(codes::DUPLICATE_CERTIFICATE, object, "metadata.name", message));
                }
            }
        }
    }
}

fn certificate(tls: &ServerTls) -> Option<Certificate<'_>> {
    match (tls.credential_name.as_str(), tls.server_certificate.as_str(), tls.private_key.as_str()) {
        ("", "", _) | ("", _, "") => None,
        ("", certificate, key) => Some(Certificate::Files(certificate, key)),
        (secret, ..) => Some(Certificate::Secret(secret)),
    }
}

/// Whether whatever the second chooses is chosen by the first.
fn is_part(first: &Map, second: &Map) -> bool {
    first.iter().all(|(key, value)| second.get(key) == Some(value))
}
