//! AM-E10: what a DestinationRule makes clients send against what a PeerAuthentication makes servers take. `effect` calls
//! it.
//!
//! Told of services whose pods have sidecars, for without one a PeerAuthentication says nothing. Where a DestinationRule
//! says nothing of TLS, clients do what the server takes.

use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::{HostIndex, resolve_short};
use crate::resource::destination_rule::{ClientTlsMode, TrafficPolicy};
use crate::resource::security::{MutualTlsMode, PeerAuthentication};
use crate::resource::{DestinationRule, IntOrString, Kind, Object, ResourceId, Spec};
use crate::snapshot::{Age, Service, Snapshot, TargetPort, for_client, selects};
use crate::translate::{for_port, for_subset};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(super) fn find(world: &World<'_>, snapshot: &Snapshot, found: &mut Vec<Diagnostic>) {
    let peers = Peers::of(world);
    let senders = Senders::of(world);
    if peers.is_empty() || senders.is_empty() {
        return;
    }
    let mut told = BTreeMap::new();
    for service in snapshot.services().iter().filter(|service| service.id.kind == Kind::Service) {
        let is_client =
            |namespace: &&str| *namespace == service.namespace || world.pods.of_namespace(namespace).next().is_some();
        for namespace in senders.clients_of(service).into_iter().filter(is_client) {
            judge(world, snapshot, (&peers, &senders), service, namespace, &mut told);
        }
    }
    found.extend(told.into_values());
}

/// By DestinationRule and field: of several services the first is told.
type Told<'a> = BTreeMap<(&'a ResourceId, String), Diagnostic>;

fn judge<'a>(
    world: &World<'a>,
    snapshot: &Snapshot,
    (peers, senders): (&Peers<'a>, &Senders<'a>),
    service: &Service,
    client: &str,
    told: &mut Told<'a>,
) {
    let candidates = snapshot.destination_rules.candidates(client, service);
    let Some(merged) = for_client(&candidates, client, &BTreeMap::new()) else { return };
    let objects = || merged.origins.iter().filter_map(|origin| senders.rule(&origin.namespace, &origin.name));
    let general = merged.rule.traffic_policy.as_deref();
    let subsets = merged.rule.subsets.iter().map(Some);
    for (subset, port) in
        std::iter::once(None).chain(subsets).flat_map(|subset| service.ports.iter().map(move |port| (subset, port)))
    {
        let of_subset = subset.and_then(|subset| subset.traffic_policy.as_deref());
        if subset.is_some() && of_subset.is_none() {
            continue;
        }
        let policy = for_subset(for_port(general, port.number), of_subset, port.number);
        let Some(mode) = policy.and_then(|policy| policy.tls).map(|tls| tls.mode) else { continue };
        let mut labels = service.selector.clone();
        labels.extend(subset.into_iter().flat_map(|subset| subset.labels.clone()));
        let pods = world.pods.matching_in(&service.namespace, &labels);
        let fights = pods.filter(|pod| peers.has_sidecar(world, pod)).find_map(|pod| {
            let target = target_of(pod, &port.target)?;
            let (taken, by) = peers.taken(world, pod, target)?;
            is_fight(mode, taken).then_some((pod, taken, by))
        });
        let Some((pod, taken, by)) = fights else { continue };
        let name = subset.map(|subset| subset.name.as_str());
        let Some((object, field)) =
            objects().find_map(|(object, rule)| Some((object, place(rule, name, port.number, mode)?)))
        else {
            continue;
        };
        let (sends, takes) = words(mode, taken);
        let message = format!(
            "clients send {sends} to port {} of {}, and {} takes {takes} alone, by PeerAuthentication {}/{}: every \
             connection fails",
            port.number,
            service.host,
            pod.name(),
            by.id.namespace,
            by.id.name
        );
        told.entry((&object.id, field.clone()))
            .or_insert_with(|| about(codes::MTLS_MODES_FIGHT, object, &field, message));
    }
}

fn is_fight(sent: ClientTlsMode, taken: MutualTlsMode) -> bool {
    // Certificates of one's own may well be the mesh's, and TLS of one's own may end in the application.
    matches!(
        (sent, taken),
        (ClientTlsMode::Disable | ClientTlsMode::Simple, MutualTlsMode::Strict)
            | (ClientTlsMode::IstioMutual, MutualTlsMode::Disable)
    )
}

fn words(sent: ClientTlsMode, taken: MutualTlsMode) -> (&'static str, &'static str) {
    let sends = match sent {
        ClientTlsMode::Disable => "plain text (mode DISABLE)",
        ClientTlsMode::Simple => "TLS without a certificate of their own (mode SIMPLE)",
        ClientTlsMode::Mutual => "mutual TLS (mode MUTUAL)",
        ClientTlsMode::IstioMutual => "the mesh's mutual TLS (mode ISTIO_MUTUAL)",
    };
    (sends, if taken == MutualTlsMode::Strict { "mutual TLS (STRICT)" } else { "plain text (DISABLE)" })
}

/// Where in a rule the mode stands that counts for a port of a subset.
fn place(rule: &DestinationRule, subset: Option<&str>, port: u32, mode: ClientTlsMode) -> Option<String> {
    let in_policy = |policy: Option<&TrafficPolicy>, path: String| {
        let policy = policy?;
        let of_port = |settings: &crate::resource::destination_rule::PortTrafficPolicy| {
            settings.port.as_ref().is_some_and(|of| of.number == port)
        };
        if let Some(index) = policy.port_level_settings.iter().position(of_port) {
            let tls = policy.port_level_settings[index].tls.as_ref()?;
            return (tls.mode == mode).then(|| format!("{path}.portLevelSettings[{index}].tls.mode"));
        }
        policy.tls.as_ref().filter(|tls| tls.mode == mode).map(|_| format!("{path}.tls.mode"))
    };
    match subset {
        None => in_policy(rule.traffic_policy.as_deref(), "spec.trafficPolicy".to_owned()),
        Some(name) => {
            let index = rule.subsets.iter().position(|subset| subset.name == name)?;
            in_policy(rule.subsets[index].traffic_policy.as_deref(), format!("spec.subsets[{index}].trafficPolicy"))
        }
    }
}

fn target_of(pod: &PodView<'_>, target: &TargetPort) -> Option<u16> {
    match target {
        TargetPort::Number(number) => u16::try_from(*number).ok(),
        TargetPort::Name(name) => pod.spec.resolve_port(&IntOrString::String(name.clone())),
    }
}

/// DestinationRules that say anything of TLS.
struct Senders<'a> {
    rules: HashMap<(&'a str, &'a str), (&'a Arc<Object>, &'a DestinationRule)>,
    /// Namespaces of other than the root's, with a rule of their own for a host.
    by_host: HostIndex<BTreeSet<&'a str>>,
}

impl<'a> Senders<'a> {
    fn of(world: &World<'a>) -> Self {
        let says = |policy: Option<&TrafficPolicy>| {
            policy.is_some_and(|policy| {
                policy.tls.is_some() || policy.port_level_settings.iter().any(|of_port| of_port.tls.is_some())
            })
        };
        let mut rules = HashMap::new();
        let mut by_host: HostIndex<BTreeSet<&str>> = HostIndex::default();
        for (object, rule) in world.destination_rules() {
            let of_subsets = rule.subsets.iter().any(|subset| says(subset.traffic_policy.as_deref()));
            if rule.workload_selector.is_none() && (of_subsets || says(rule.traffic_policy.as_deref())) {
                rules.insert((&*object.id.namespace, &*object.id.name), (object, rule));
                if *object.id.namespace != *world.mesh.root_namespace {
                    by_host.entry(&resolve_short(&rule.host, &object.id.namespace)).insert(&*object.id.namespace);
                }
            }
        }
        Self { rules, by_host }
    }

    fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn rule(&self, namespace: &str, name: &str) -> Option<(&'a Arc<Object>, &'a DestinationRule)> {
        self.rules.get(&(namespace, name)).copied()
    }

    /// Namespaces whose clients may follow a rule of their own, or that of the service.
    fn clients_of<'s>(&'s self, service: &'s Service) -> BTreeSet<&'s str> {
        let others = self.by_host.overlapping(&service.host).flatten().copied();
        others.chain([service.namespace.as_str()]).collect()
    }
}

/// PeerAuthentications by namespace, the oldest first.
struct Peers<'a> {
    by_namespace: HashMap<&'a str, Vec<(&'a Arc<Object>, &'a PeerAuthentication)>>,
}

impl<'a> Peers<'a> {
    fn of(world: &World<'a>) -> Self {
        let mut by_namespace: HashMap<&str, Vec<(&Arc<Object>, &PeerAuthentication)>> = HashMap::new();
        for object in world.of(Kind::PeerAuthentication) {
            if let Spec::PeerAuthentication(peer) = &object.spec {
                by_namespace.entry(&object.id.namespace).or_default().push((object, peer));
            }
        }
        for of_namespace in by_namespace.values_mut() {
            of_namespace.sort_by_key(|(object, _)| Age::of(object));
        }
        Self { by_namespace }
    }

    fn is_empty(&self) -> bool {
        self.by_namespace.is_empty()
    }

    /// What a pod takes at a port, and by which object: of its own, its namespace's, the mesh's. None: nobody says.
    fn taken(&self, world: &World<'_>, pod: &PodView<'_>, port: u16) -> Option<(MutualTlsMode, &'a Arc<Object>)> {
        let set =
            |(object, mode): (&'a Arc<Object>, MutualTlsMode)| (mode != MutualTlsMode::Unset).then_some((mode, object));
        let mode = |peer: &PeerAuthentication| peer.mtls.as_ref().map(|mtls| mtls.mode).unwrap_or_default();
        let of = |namespace: &str| self.by_namespace.get(namespace).into_iter().flatten();
        let chooses = |peer: &PeerAuthentication| {
            let labels = peer.selector.as_ref().map(|selector| &selector.match_labels);
            labels.filter(|labels| !labels.is_empty()).map(|labels| selects(labels, pod.labels))
        };
        let namespace = &*pod.object.id.namespace;
        let own = of(namespace).find(|(_, peer)| chooses(peer) == Some(true)).and_then(|(object, peer)| {
            let ports = peer.port_level_mtls.as_ref();
            let of_port = ports.and_then(|ports| ports.get(&port.to_string())).map(|mtls| mtls.mode);
            of_port.and_then(|mode| set((object, mode))).or_else(|| set((object, mode(peer))))
        });
        let general = |namespace: &str| {
            let (object, peer) = of(namespace).find(|(_, peer)| chooses(peer).is_none())?;
            set((object, mode(peer)))
        };
        own.or_else(|| general(namespace)).or_else(|| general(&world.mesh.root_namespace))
    }

    /// Where the input does not have the namespace, a PeerAuthentication in it is taken for a sign that it is in the mesh.
    fn has_sidecar(&self, world: &World<'_>, pod: &PodView<'_>) -> bool {
        let namespace = &*pod.object.id.namespace;
        let labels = world.namespace_labels(namespace);
        let asked =
            pod.labels.get("sidecar.istio.io/inject").or_else(|| pod.annotations.get("sidecar.istio.io/inject"));
        if asked.is_some_and(|asked| asked == "false") || pod.is_ambient() {
            return false;
        }
        let has_revision = labels.is_some_and(|labels| labels.contains_key("istio.io/rev"));
        pod.is_in_mesh(labels) || has_revision || labels.is_none() && self.by_namespace.contains_key(namespace)
    }
}
