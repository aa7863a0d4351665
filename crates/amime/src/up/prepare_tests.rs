//! Pods whose ports this machine can bind.

use super::*;
use amime_model::resource::load;
use amime_model::workload::{GatewayPortPolicy, Replacement};
use std::net::TcpListener;

const WEB: &str = "
kind: Deployment
apiVersion: apps/v1
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{containerPort: PORT}]}]}
---
kind: Gateway
apiVersion: networking.istio.io/v1
metadata: {name: way-in, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
";

fn resources(text: &str) -> ResourceSet {
    let mut set = ResourceSet::default();
    for object in load("web.yaml", text).objects {
        set.insert(object).expect("no duplicates");
    }
    set
}

fn prepare(offset: u16, replacements: Vec<Replacement>) -> Prepare {
    let network = Arc::new(Network::lock().expect("a free network"));
    let plan = AddressPlan::new(network.octets())
        .with_gateways(machine::gateway_addresses(), GatewayPortPolicy::Offset(offset))
        .with_replacements(replacements);
    Prepare::new(network, plan, Phases::default())
}

fn web(prepared: &(ResourceSet, Vec<Diagnostic>)) -> amime_model::workload::Placement {
    let pods = prepared.0.of_kind(Kind::Pod).filter(|object| &*object.id.namespace == "shop");
    let placements = pods.filter_map(|object| match &object.spec {
        Spec::Pod(pod) => pod.placement.clone(),
        _ => None,
    });
    placements.last().expect("a pod")
}

#[test]
fn ports_that_another_program_has_everywhere_are_bound_elsewhere() {
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = everywhere.local_addr().expect("bound").port();
    let prepared = prepare(0, Vec::new()).run(&resources(&WEB.replace("PORT", &port.to_string())));
    let bound = web(&prepared).bound(port);
    assert_ne!(bound, port);
    assert!(TcpListener::bind((web(&prepared).pod_ip, bound)).is_ok());
}

#[test]
fn a_gateway_port_that_another_program_has_is_an_error_that_names_it() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("bound").port();
    let mut prepare = prepare(port - 80, Vec::new());
    let prepared = prepare.run(&resources(&WEB.replace("PORT", "8080")));
    let [error] = prepared.1.as_slice() else { panic!("{:?}", prepared.1) };
    assert!(error.message.contains("Gateway shop/way-in") && error.message.contains(&port.to_string()), "{error:?}");
    assert_eq!(error.place.as_ref().map(|place| &*place.file), Some("web.yaml"));
}

#[test]
fn the_port_of_a_replacement_stays_free_and_its_workload_is_checked() {
    let replacement = |workload: &str, port| Replacement {
        namespace: "shop".into(),
        workload: workload.into(),
        port,
        address: "127.0.0.1:8080".parse().expect("an address"),
    };
    let all = vec![replacement("web", None), replacement("wep", None), replacement("web", Some(81))];
    let prepared = prepare(30_000, all).run(&resources(&WEB.replace("PORT", "8080")));
    assert_ne!(web(&prepared).bound(8080), 8080);
    assert!(web(&prepared).replaced.contains_key(&8080));
    let messages: Vec<&str> = prepared.1.iter().map(|error| error.message.as_str()).collect();
    let [unknown, port] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(unknown.contains("shop/wep") && unknown.contains("no such workload"), "{unknown}");
    assert!(port.contains("no port 81"), "{port}");
}

#[test]
fn pods_go_through_their_phases() {
    let mut prepare = prepare(30_000, Vec::new());
    let ready = |prepared: &(ResourceSet, Vec<Diagnostic>), name: &str| {
        let mut pods = prepared.0.of_kind(Kind::Pod).filter(|object| object.id.name.starts_with(name));
        pods.next().map(|object| match &object.spec {
            Spec::Pod(pod) => pod.status.conditions.iter().all(|condition| condition.status == "True"),
            _ => panic!("no pod"),
        })
    };
    let text = WEB.replace("PORT", "8080");
    assert_eq!(ready(&prepare.run(&resources(&text)), "web-"), Some(true));
    let two = format!("{text}---{}", text.split("---").next().expect("a part").replace("web", "late"));
    let prepared = prepare.run(&resources(&two));
    assert_eq!((ready(&prepared, "web-"), ready(&prepared, "late-")), (Some(true), Some(false)));
    let late = prepared.0.of_kind(Kind::Pod).find(|object| object.id.name.starts_with("late-"));
    let late = key_of(late.expect("there"));
    assert!(prepare.phases.ready(&late));
    assert_eq!(ready(&prepare.run(&resources(&two)), "late-"), Some(true));
    assert_eq!(ready(&prepare.run(&resources(&text)), "late-"), Some(false), "it drains");
    assert!(prepare.phases.gone(&late));
    assert_eq!(ready(&prepare.run(&resources(&text)), "late-"), None);
}
