//! Addresses of a mesh, and where this machine reaches them.

use super::*;
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::Held;
use amime_model::workload::{AddressPlan, expand};

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 192.0.2.7, selector: {app: web}, ports: [{port: 80}, {name: other, port: 81, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: none}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}}
";

fn mesh() -> (Arc<Snapshot>, Table) {
    let mut resources = ResourceSet::default();
    for object in load("mesh.yaml", MESH).objects {
        resources.insert(object).expect("no duplicates");
    }
    let mut plan = AddressPlan::default();
    plan.mark_unbindable(80);
    let expanded = expand(&resources, &mut plan);
    let snapshot = Snapshot::build(&expanded.resources, &MeshConfig::default(), &Held::default()).snapshot;
    let table = Table::of(&snapshot);
    (snapshot, table)
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn a_virtual_address_is_reached_at_the_pods_in_turn() {
    let (snapshot, table) = mesh();
    let pods: HashSet<IpAddr> = snapshot.pods().flat_map(|pod| pod.addresses.clone()).collect();
    for (dialled, bound) in [("192.0.2.7:80", 20080), ("192.0.2.7:81", 8080)] {
        let reached: HashSet<SocketAddr> = (0..4).filter_map(|turn| table.reach(at(dialled), turn)).collect();
        assert_eq!(reached, pods.iter().map(|ip| SocketAddr::new(*ip, bound)).collect(), "{dialled}");
    }
}

#[test]
fn a_pod_port_that_is_bound_elsewhere_is_reached_there() {
    let (snapshot, table) = mesh();
    let pod = snapshot.pods().next().expect("a pod").addresses[0];
    assert_eq!(table.reach(SocketAddr::new(pod, 80), 0), Some(SocketAddr::new(pod, 20080)));
    assert_eq!(table.reach(SocketAddr::new(pod, 8080), 0), Some(SocketAddr::new(pod, 8080)));
}

#[test]
fn what_is_made_up_never_leaves_the_machine() {
    let (snapshot, table) = mesh();
    let empty = snapshot.resolve("empty", "default")[0];
    let nowhere = [SocketAddr::new(empty, 80), at("192.0.2.7:9999"), at("10.100.1.1:80"), at("240.241.9.9:80")];
    for address in nowhere {
        assert_eq!(table.reach(address, 0), None, "{address}");
    }
    for address in ["198.51.100.1:443", "127.0.0.1:9000", "[2001:db8::1]:80", "10.1.2.3:80"] {
        assert_eq!(table.reach(at(address), 0), Some(at(address)), "{address}");
    }
}
