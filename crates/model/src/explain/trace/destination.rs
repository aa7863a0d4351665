//! The hops behind a decision: DestinationRule and subset, load balancing, endpoints, and the pods behind them.

use super::super::verdict::{Destination, MirrorTo, State};
use super::{Branch, By, Hop, Known, Lost, Stage, percent, policies};
use crate::config::{Cluster, ClusterEndpoints, Discovery, Endpoint, EndpointAddress, LbPolicy, Locality};
use crate::host::{overlaps, resolve_short};
use crate::resource::{DestinationRule, Kind, Spec};
use crate::snapshot::{Pod, Snapshot};
use crate::translate::names;
use std::collections::BTreeMap;

/// `reviews.shop.svc.cluster.local:9080 v1`.
pub(in super::super) fn name_of(host: &str, port: u32, subset: Option<&str>) -> String {
    let port = if port == 0 { String::new() } else { format!(":{port}") };
    let subset = subset.map(|subset| format!(" {subset}")).unwrap_or_default();
    format!("{host}{port}{subset}")
}

/// A cluster's name as people read it.
pub(super) fn readable(cluster: &str) -> String {
    match names::parse_outbound(cluster).or_else(|| names::parse_passed(cluster)) {
        Some((port, subset, host)) => name_of(host, port, (!subset.is_empty()).then_some(subset)),
        None => cluster.to_string(),
    }
}

fn cluster_of(to: &Destination) -> String {
    if to.port == 0 {
        return to.host.clone();
    }
    let name = if to.passed { names::passed_cluster } else { names::outbound_cluster };
    name(to.port, to.subset.as_deref().unwrap_or_default(), &to.host)
}

pub(super) fn branch(known: &Known<'_>, all: &[Destination], to: &Destination) -> Branch {
    let sum = all.iter().map(|d| u64::from(d.weight)).sum();
    Branch {
        destination: to.name(),
        percent: percent(to.weight, sum),
        mirror: false,
        state: to.state,
        hops: hops(known, to),
    }
}

pub(super) fn mirror(known: &Known<'_>, to: &MirrorTo) -> Branch {
    let MirrorTo { host, port, subset, percent, state } = to.clone();
    let to = Destination { host, port, subset, weight: 100, state, passed: false, request: None, response: None };
    Branch { destination: to.name(), percent, mirror: true, state, hops: hops(known, &to) }
}

fn hops(known: &Known<'_>, to: &Destination) -> Vec<Hop> {
    let cluster_name = cluster_of(to);
    let Some(cluster) = known.config.clusters.get(cluster_name.as_str()) else {
        return vec![no_cluster(known, to, &cluster_name)];
    };
    let mut hops = vec![rule(known, to, cluster), balancing(cluster)];
    let endpoints = endpoints_of(known, cluster);
    let service = cluster.origins.iter().find(|origin| origin.kind != "DestinationRule");
    hops.push(endpoint_hop(cluster, endpoints).by(service.map(|origin| By::of(known.snapshot, origin))));
    if !known.has_workloads && endpoints.is_none_or(|endpoints| endpoints.localities.is_empty()) {
        untold(&mut hops);
    }
    let pods = pods(known, endpoints);
    hops.extend(policies::hops(known, cluster, endpoints, &pods));
    if to.state == State::Ready {
        hops.extend(pod_hop(endpoints, &pods));
    }
    hops
}

/// The rule is that of the service without the subset, which may be all that is missing.
fn no_cluster(known: &Known<'_>, to: &Destination, cluster_name: &str) -> Hop {
    let whole = known.config.clusters.get(names::outbound_cluster(to.port, "", &to.host).as_str());
    let mut hop = match (whole, &to.subset) {
        (Some(whole), Some(subset)) => {
            let hop = rule(known, &Destination { subset: None, ..to.clone() }, whole);
            Hop { what: format!("there is no subset {subset}"), ..hop }
        }
        _ => Hop { lost: losers(known, to, &[]), ..Hop::new(Stage::DestinationRule, "the service is not there") },
    };
    hop.details.push(format!("no cluster {cluster_name}"));
    hop
}

fn rule(known: &Known<'_>, to: &Destination, cluster: &Cluster) -> Hop {
    let written = cluster.origins.iter().find(|origin| origin.kind == "DestinationRule");
    let mut hop = match (&to.subset, written) {
        (Some(subset), Some(_)) => Hop::new(Stage::DestinationRule, format!("subset {subset}")),
        (Some(subset), None) => Hop::new(Stage::DestinationRule, format!("subset {subset}, of an unknown rule")),
        (None, Some(_)) => Hop::new(Stage::DestinationRule, "no subset: all of the service's endpoints"),
        (None, None) => Hop::new(Stage::DestinationRule, "none"),
    };
    let own: Vec<_> = cluster.origins.iter().filter(|origin| origin.kind == "DestinationRule").collect();
    hop.by = written.map(|origin| By::of(known.snapshot, origin));
    if let (Some(snapshot), Some(subset)) = (known.snapshot, &to.subset) {
        for object in own.iter().filter_map(|o| object(snapshot, &o.namespace, &o.name)) {
            let Spec::DestinationRule(spec) = &object.spec else { continue };
            if let Some(index) = spec.subsets.iter().position(|s| s.name == *subset) {
                hop.by = Some(By::of_object(object, &format!("spec.subsets[{index}]")));
                hop.details.push(labels(&spec.subsets[index].labels));
                break;
            }
        }
    }
    let own: Vec<_> = own.iter().map(|o| (o.namespace.as_str(), o.name.as_str())).collect();
    hop.lost = losers(known, to, &own);
    hop
}

fn object<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s crate::resource::Object> {
    let id = crate::resource::ResourceId::new(Kind::DestinationRule, namespace, name);
    snapshot.object(&id).map(|object| &**object)
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// DestinationRules for the host that do not apply. A client's own namespace goes first, then the service's, then the
/// root namespace; in each the most specific host.
fn losers(known: &Known<'_>, to: &Destination, own: &[(&str, &str)]) -> Vec<Lost> {
    let (Some(snapshot), Some(scope)) = (known.snapshot, known.scope) else { return Vec::new() };
    let service = snapshot.services_of_host(&to.host).and_then(|of| of.values().next());
    let looked_up = [
        scope.shared.namespace.as_str(),
        service.map_or("", |service| service.namespace.as_str()),
        snapshot.mesh.root_namespace.as_str(),
    ];
    let mut lost = Vec::new();
    for object in snapshot.in_force().filter(|object| object.id.kind == Kind::DestinationRule) {
        let Spec::DestinationRule(spec) = &object.spec else { continue };
        if own.contains(&(&*object.id.namespace, &*object.id.name)) || !is_for(spec, &object.id.namespace, &to.host) {
            continue;
        }
        let why = match (looked_up.contains(&&*object.id.namespace), own.first()) {
            (false, _) => format!(
                "namespace {} is looked at by nobody here: only the client's ({}), the service's ({}), the root's ({})",
                object.id.namespace, looked_up[0], looked_up[1], looked_up[2]
            ),
            (true, Some((namespace, name))) => format!(
                "DestinationRule {namespace}/{name} goes first: the client's namespace, then the service's, then the \
                 root's, and the most specific host in each"
            ),
            (true, None) => format!("it is not for clients in {}", looked_up[0]),
        };
        lost.push(Lost { by: By::of_object(object, ""), why });
    }
    lost
}

fn is_for(spec: &DestinationRule, namespace: &str, host: &str) -> bool {
    overlaps(&resolve_short(&spec.host, namespace).to_ascii_lowercase(), &host.to_ascii_lowercase())
}

fn balancing(cluster: &Cluster) -> Hop {
    let policy = match (&cluster.discovery, &cluster.lb) {
        (Discovery::OriginalDst { .. }, _) => "none: the address that was dialled".to_string(),
        (_, LbPolicy::RoundRobin) => "round robin".to_string(),
        (_, LbPolicy::LeastRequest { choices }) => {
            format!("the least requests of {} drawn by chance", choices.unwrap_or(2))
        }
        (_, LbPolicy::Random) => "by chance".to_string(),
        (_, LbPolicy::RingHash { .. }) => "by hash on a ring".to_string(),
        (_, LbPolicy::Maglev { .. }) => "by hash (Maglev)".to_string(),
        (_, LbPolicy::ClusterProvided) => "of the cluster's own".to_string(),
    };
    let mut hop = Hop::new(Stage::LoadBalancing, policy);
    if cluster.locality_weighted {
        hop = hop.detail("localities by their weights");
    }
    if cluster.outlier.is_some() {
        hop = hop.detail("endpoints that fail are ejected (outlierDetection)");
    }
    hop
}

fn endpoints_of<'a>(known: &Known<'a>, cluster: &'a Cluster) -> Option<&'a ClusterEndpoints> {
    match &cluster.discovery {
        Discovery::Eds(name) => {
            let name = if name.is_empty() { &cluster.name } else { name };
            known.config.endpoints.get(name.as_str()).map(|endpoints| &**endpoints)
        }
        Discovery::Static(own) | Discovery::StrictDns(own) | Discovery::LogicalDns(own) => Some(own),
        Discovery::OriginalDst { .. } | Discovery::DynamicDns(_) | Discovery::Opaque(_) => None,
    }
}

/// Without workloads an empty list says nothing.
fn untold(hops: &mut [Hop]) {
    if let Some(hop) = hops.last_mut().filter(|hop| hop.what == NONE) {
        hop.what = "taken to be there".to_string();
        hop.details = vec!["no workload is in these files".to_string()];
    }
}

/// There are no endpoints.
const NONE: &str = "none";

fn endpoint_hop(cluster: &Cluster, endpoints: Option<&ClusterEndpoints>) -> Hop {
    let all = || endpoints.into_iter().flat_map(|e| &e.localities);
    let count: usize = all().map(|locality| locality.endpoints.len()).sum();
    let what = match &cluster.discovery {
        Discovery::OriginalDst { .. } => return Hop::new(Stage::Endpoints, "the address that was dialled"),
        Discovery::DynamicDns(_) => return Hop::new(Stage::Endpoints, "the name that the request is for, by DNS"),
        Discovery::Opaque(what) => return Hop::new(Stage::Endpoints, format!("not understood: {what}")),
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) => "by DNS".to_string(),
        Discovery::Eds(_) | Discovery::Static(_) if count == 0 => NONE.to_string(),
        Discovery::Eds(_) | Discovery::Static(_) => count.to_string(),
    };
    let mut hop = Hop::new(Stage::Endpoints, what);
    for locality in all() {
        let (taking, others): (Vec<_>, Vec<_>) = locality.endpoints.iter().partition(|e| e.health.takes_requests());
        let mut line = format!("{}: {} take requests", place(&locality.locality), taking.len());
        if !others.is_empty() {
            line.push_str(&format!(", {} do not ({:?})", others.len(), others[0].health));
        }
        if locality.priority > 0 {
            line.push_str(&format!(", priority {}", locality.priority));
        }
        if let Some(weight) = locality.weight.filter(|_| cluster.locality_weighted) {
            line.push_str(&format!(", weight {weight}"));
        }
        hop.details.push(line);
    }
    hop
}

fn place(locality: &Locality) -> String {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    if parts.is_empty() { "no zone known".to_string() } else { parts.join("/") }
}

/// The pods behind endpoints, as far as they are known.
fn pods<'a>(known: &Known<'a>, endpoints: Option<&ClusterEndpoints>) -> Vec<&'a Pod> {
    let Some(snapshot) = known.snapshot else { return Vec::new() };
    let mut found: Vec<&Pod> = Vec::new();
    for endpoint in endpoints.into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints) {
        let EndpointAddress::Socket(address) = endpoint.address else { continue };
        let pod = snapshot.pods().find(|pod| pod.addresses.contains(&address.ip()));
        found.extend(pod.map(|pod| &**pod));
    }
    found
}

fn pod_hop(endpoints: Option<&ClusterEndpoints>, pods: &[&Pod]) -> Option<Hop> {
    const MOST: usize = 5;
    let all: Vec<&Endpoint> = endpoints.into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints).collect();
    let taking: Vec<_> = all.into_iter().filter(|endpoint| endpoint.health.takes_requests()).collect();
    let what = match taking.len() {
        0 => return None,
        1 => "one".to_string(),
        many => format!("one of {many}"),
    };
    let mut hop = Hop::new(Stage::Pod, what);
    for endpoint in taking.iter().take(MOST) {
        let address = match &endpoint.address {
            EndpointAddress::Socket(address) => address.to_string(),
            EndpointAddress::Name { host, port } => format!("{host}:{port}"),
            EndpointAddress::Pipe(path) => path.clone(),
            EndpointAddress::Internal { endpoint_id, .. } => endpoint_id.clone(),
        };
        let pod = pods.iter().find(|pod| match endpoint.address {
            EndpointAddress::Socket(address) => pod.addresses.contains(&address.ip()),
            _ => false,
        });
        let identity = &endpoint.workload;
        hop.details.push(match pod {
            Some(pod) => format!("{}/{} {address}", pod.namespace, pod.name),
            None if identity.workload.is_empty() => address,
            None => format!("{}/{} {address}", identity.namespace, identity.workload),
        });
    }
    if taking.len() > MOST {
        hop.details.push(format!("and {} more", taking.len() - MOST));
    }
    Some(hop)
}
