//! VirtualServices in the mesh that have a host in common, for clients that see both (IST0109).

use crate::analyze::world::{World, about, full_name, scopes};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{overlaps, resolve_short};
use crate::resource::{Object, ResourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// By the clients' namespace (`*` for all), then by host.
type Claims<'a> = BTreeMap<String, BTreeMap<String, Vec<&'a Arc<Object>>>>;

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let claims = claims(world);
    let public = claims.get("*");
    let mut told: BTreeSet<&ResourceId> = BTreeSet::new();
    for (scope, by_host) in &claims {
        for (host, own) in by_host {
            let mut all = own.clone();
            if scope != "*" {
                let others = public.into_iter().flatten().filter(|(other, _)| overlaps(host, other));
                all.extend(others.flat_map(|(_, objects)| objects));
            }
            if all.len() < 2 {
                continue;
            }
            for object in all.iter().filter(|object| told.insert(&object.id)) {
                let others: BTreeSet<_> = all.iter().filter(|o| o.id != object.id).map(|o| full_name(o)).collect();
                let others: Vec<_> = others.into_iter().collect();
                let message = format!(
                    "{host} of the mesh is a host of {} too; clients that see several follow one of them, and none of \
                     the others' rules",
                    if others.is_empty() { "this VirtualService twice, which".to_owned() } else { others.join(", ") }
                );
                found.push(about(codes::MESH_HOST_TAKEN, object, "metadata.name", message));
            }
        }
    }
}

fn claims<'a>(world: &World<'a>) -> Claims<'a> {
    let mut claims = Claims::new();
    let in_mesh = |gateways: &[String]| gateways.is_empty() || gateways.iter().any(|gateway| gateway == "mesh");
    for (object, vs) in world.virtual_services().filter(|(_, vs)| in_mesh(&vs.gateways)) {
        for scope in scopes(&vs.export_to, &object.id.namespace) {
            let by_host = claims.entry(scope).or_default();
            for host in &vs.hosts {
                by_host.entry(resolve_short(host, &object.id.namespace)).or_default().push(object);
            }
        }
    }
    claims
}
