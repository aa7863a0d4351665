//! What a build takes over from the one before. `Snapshot::build_after` calls it.
//!
//! Parts that are equal stay the same ones, so that `translate::Memo` knows them again. Where nothing but the
//! EndpointSlices of ordinary services has changed, which is what changes all day, no other part is even looked at.

use super::endpoints::Sources;
use super::service::{Registry, Resolution, Service, ServiceKey};
use super::{Built, Endpoints, EndpointsByPort, Held, Snapshot, endpoints};
use crate::resource::{Kind, MeshConfig, Object, ResourceId, ResourceSet, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// More changes at once than this, and everything is built anew.
const FEW: usize = 256;

/// The build, where at most EndpointSlices differ from the last one's objects, all of them without errors and of
/// services whose endpoints decide nothing else.
pub(super) fn endpoints_alone(resources: &ResourceSet, mesh: &MeshConfig, held: &Held, last: &Built) -> Option<Built> {
    let before = &last.snapshot;
    if before.mesh != *mesh || before.pods.values().any(|pod| pod.placement().is_some()) {
        return None;
    }
    let mut keys = BTreeSet::new();
    let mut held = held.clone();
    for (id, old, new) in changed(&before.objects, resources)? {
        for object in [old, new].into_iter().flatten() {
            keys.insert(service_of(object)?);
        }
        held.note(id, new);
    }
    let services = keys.into_iter().map(|key| ordinary(before, key)).collect::<Option<Vec<_>>>()?;
    let is_of = |slice: &Object, service: &Service| {
        service_name(slice) == Some(&service.name) && *slice.id.namespace == *service.namespace
    };
    let mut slices = ResourceSet::default();
    for slice in resources.of_kind(Kind::EndpointSlice).filter(|slice| services.iter().any(|s| is_of(slice, s))) {
        slices.replace(held.in_force(slice).clone());
    }
    if !services.iter().all(|service| slices.iter().any(|slice| is_of(slice, service))) {
        // Without any, other objects tell what endpoints there are.
        return None;
    }
    let sources = Sources::new(&slices, &before.pods, &[]);
    let mut endpoints = before.endpoints.clone();
    for service in services {
        endpoints.insert(service.key(), keep(service.key(), Arc::new(sources.of_service(service)), before));
    }
    let snapshot = Snapshot { parts: before.parts.clone(), endpoints, objects: resources.clone() };
    Some(Built { snapshot: Arc::new(snapshot), held, diagnostics: last.diagnostics.clone() })
}

/// An object that is not the same in two sets, as it was and as it is.
type Change<'a> = (&'a ResourceId, Option<&'a Arc<Object>>, Option<&'a Arc<Object>>);

/// What differs between two sets; None where it is much.
fn changed<'a>(before: &'a ResourceSet, now: &'a ResourceSet) -> Option<Vec<Change<'a>>> {
    let (mut olds, mut news) = (before.iter().peekable(), now.iter().peekable());
    let mut changed = Vec::new();
    loop {
        let (old, new) = match (olds.peek().copied(), news.peek().copied()) {
            (None, None) => return Some(changed),
            (Some(old), Some(new)) if old.id == new.id => (olds.next(), news.next()),
            (Some(old), Some(new)) if old.id > new.id => (None, news.next()),
            (Some(_), _) => (olds.next(), None),
            (None, Some(_)) => (None, news.next()),
        };
        if let (Some(old), Some(new)) = (old, new)
            && Arc::ptr_eq(old, new)
        {
            continue;
        }
        if changed.len() == FEW {
            return None;
        }
        changed.push((&old.or(new)?.id, old, new));
    }
}

/// The namespace and service of an EndpointSlice without errors; None for all other objects.
fn service_of(object: &Arc<Object>) -> Option<(&str, &str)> {
    let name = service_name(object)?;
    let is_sound = object.errors.is_empty() && matches!(object.spec, Spec::EndpointSlice(_));
    is_sound.then_some((&*object.id.namespace, name))
}

fn service_name(object: &Object) -> Option<&str> {
    object.meta.labels.get(endpoints::SERVICE_NAME).map(String::as_str)
}

/// A service whose endpoints are its clusters' and nothing else's: it has an address of its own, chooses its pods by
/// a selector, and no other service has its host.
fn ordinary<'s>(snapshot: &'s Snapshot, (namespace, name): (&str, &str)) -> Option<&'s Arc<Service>> {
    let host = crate::host::service_host(name, namespace);
    let mut of_host = snapshot.services.iter().filter(|service| service.host == host);
    let service = of_host.next().filter(|_| of_host.next().is_none())?;
    let is_plain = service.registry == Registry::Kubernetes
        && service.resolution == Resolution::Static
        && !service.selector.is_empty();
    is_plain.then_some(service)
}

/// The endpoints of the last build, where these are equal.
fn keep(key: ServiceKey, endpoints: Arc<EndpointsByPort>, last: &Snapshot) -> Arc<EndpointsByPort> {
    last.endpoints.get(&key).filter(|earlier| **earlier == endpoints).cloned().unwrap_or(endpoints)
}

/// Puts the endpoints of the last build in the place of equal ones.
pub(super) fn keep_endpoints(endpoints: &mut Endpoints, last: &Snapshot) {
    for (key, now) in endpoints {
        *now = keep(key.clone(), now.clone(), last);
    }
}

/// Puts the services of the last build in the place of equal ones.
pub(super) fn keep_services(services: &mut [Arc<Service>], last: &Snapshot) {
    let mut known: BTreeMap<&ResourceId, Vec<&Arc<Service>>> = BTreeMap::new();
    for service in &last.services {
        known.entry(&service.id).or_default().push(service);
    }
    for service in services {
        let mut earlier = known.get(&service.id).into_iter().flatten().copied();
        if let Some(same) = earlier.find(|earlier| **earlier == *service) {
            *service = same.clone();
        }
    }
}
