use super::*;
use crate::resource::workload::{Container, ContainerPort};
use crate::resource::{Gateway, ObjectMeta, PodTemplate, ResourceId, Service, Workload};

fn deployment(name: &str, labels: &[(&str, &str)], port: i32, replicas: i32) -> Arc<Object> {
    let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let ports = vec![ContainerPort { container_port: port, ..ContainerPort::default() }];
    let mut template = PodTemplate::default();
    template.metadata.labels = labels;
    template.spec.containers = vec![Container { ports, ..Container::default() }];
    let workload = Workload { replicas: Some(replicas), template, ..Workload::default() };
    let id = ResourceId::new(Kind::Deployment, "default", name);
    Arc::new(Object::made_up(id, ObjectMeta::default(), Spec::Deployment(Arc::new(workload))))
}

fn gateway(name: &str, selector: &[(&str, &str)], port: u32) -> Arc<Object> {
    let selector = selector.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let port = crate::resource::gateway::Port { number: port, protocol: "HTTP".into(), ..Default::default() };
    let servers = vec![crate::resource::gateway::Server { port: Some(port), ..Default::default() }];
    let gateway = Gateway { selector, servers };
    let id = ResourceId::new(Kind::Gateway, "default", name);
    Arc::new(Object::made_up(id, ObjectMeta::default(), Spec::Gateway(Arc::new(gateway))))
}

fn set(objects: Vec<Arc<Object>>) -> ResourceSet {
    let mut set = ResourceSet::default();
    for object in objects {
        set.insert(object).expect("a name of its own");
    }
    set
}

fn placements(expanded: &Expanded) -> BTreeMap<String, Placement> {
    let pods = expanded.resources.of_kind(Kind::Pod).map(|object| match &object.spec {
        Spec::Pod(pod) => (object.id.name.to_string(), pod.placement.clone().expect("a place")),
        _ => panic!("a pod"),
    });
    pods.collect()
}

#[test]
fn no_other_edit_moves_a_pod() {
    let reviews = deployment("reviews-v1", &[("app", "reviews")], 9080, 2);
    let alone = expand(&set(vec![reviews.clone()]), &mut AddressPlan::default());
    let others = vec![deployment("a", &[], 1, 1), reviews, deployment("z", &[], 2, 3)];
    let among = expand(&set(others), &mut AddressPlan::default());
    let (alone, among) = (placements(&alone), placements(&among));
    assert_eq!(alone.len(), 2);
    for (name, place) in alone {
        assert!(name.starts_with("reviews-v1-"), "{name}");
        assert_eq!(among.get(&name), Some(&place));
    }
}

#[test]
fn services_add_their_target_ports() {
    let mut service = Service::default();
    service.spec.selector = BTreeMap::from([("app".into(), "web".into())]);
    service.spec.ports = vec![crate::resource::kube::ServicePort {
        port: 80,
        target_port: Some(IntOrString::Int(8080)),
        ..Default::default()
    }];
    let id = ResourceId::new(Kind::Service, "default", "web");
    let service = Arc::new(Object::made_up(id, ObjectMeta::default(), Spec::Service(Arc::new(service))));
    let expanded =
        expand(&set(vec![service, deployment("web", &[("app", "web")], 9090, 1)]), &mut AddressPlan::default());
    let ports: Vec<_> = placements(&expanded).into_values().flat_map(|p| p.ports.into_keys()).collect();
    assert_eq!(ports, [8080, 9090]);
}

#[test]
fn gateways_that_share_a_selector_share_a_pod() {
    let gateways = vec![
        gateway("a", &[("istio", "ingressgateway")], 80),
        gateway("b", &[("istio", "ingressgateway")], 443),
        gateway("c", &[("istio", "egressgateway")], 80),
    ];
    let expanded = expand(&set(gateways), &mut AddressPlan::default());
    assert_eq!(expanded.gateways.len(), 2);
    let ports: Vec<Vec<u16>> = expanded.gateways.values().map(|p| p.keys().copied().collect()).collect();
    assert!(ports.contains(&vec![80, 443]) && ports.contains(&vec![80]));
    assert!(placements(&expanded).values().all(|p| !p.bind.is_empty()));
}

#[test]
fn of_a_gateways_replicas_one_remains() {
    let objects = vec![
        deployment("edge", &[("istio", "ingressgateway")], 8080, 3),
        gateway("a", &[("istio", "ingressgateway")], 80),
    ];
    let expanded = expand(&set(objects), &mut AddressPlan::default());
    assert_eq!(placements(&expanded).len(), 1);
    assert_eq!(expanded.gateways.keys().next().map(|k| k.namespace.as_str()), Some("default"));
}

#[test]
fn more_replicas_than_there_are_addresses_are_told_of_and_not_made() {
    let huge = deployment("huge", &[("app", "huge")], 80, 2_000_000_000);
    let expanded = expand(&set(vec![huge]), &mut AddressPlan::default());
    assert!((1..=1000).contains(&expanded.unplaced.len()), "{}", expanded.unplaced.len());
}
