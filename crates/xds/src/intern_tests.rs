use super::*;
use crate::encode;
use crate::test_mesh::Mesh;
use amime_model::config::Cluster;

#[test]
fn equal_bytes_are_one_and_what_nobody_holds_is_forgotten() {
    let interner = Interner::default();
    let decode = |n: u64| {
        let mesh = Mesh::default().cluster("a", n, 1);
        let cluster: &Cluster = &mesh.config.clusters["a"];
        interner.decode(ResourceType::Cluster, &encode::cluster(cluster)).expect("a cluster")
    };
    let Decoded::Cluster(kept) = decode(1) else { panic!("a cluster") };
    for n in 2..10_000 {
        drop(decode(n));
    }
    let Decoded::Cluster(again) = decode(1) else { panic!("a cluster") };
    assert!(Arc::ptr_eq(&kept, &again));
    assert!(lock(&interner.clusters).known.len() <= SWEEP + 1, "edits leave nothing behind");
}

#[test]
fn route_configurations_of_the_same_parts_are_one() {
    let interner = Interner::default();
    let mesh = Mesh::default().hosts("80", &[("a", &["a"], "c"), ("b", &["b"], "c")]);
    let routes = &mesh.config.routes["80"];
    let whole = || interner.whole(routes, routes.virtual_hosts.clone());
    let one = whole();
    assert!(Arc::ptr_eq(&one, &whole()));
    let head = RouteConfig { validate_clusters: true, ..(**routes).clone() };
    assert!(!Arc::ptr_eq(&one, &interner.whole(&head, routes.virtual_hosts.clone())));
    assert!(!Arc::ptr_eq(&one, &interner.whole(routes, routes.virtual_hosts[..1].to_vec())));
}
