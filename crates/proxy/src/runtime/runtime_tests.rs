//! What an update takes over from the configuration before, and what is refused.

use super::*;
use amime_model::config::{Direction, VirtualHost};
use amime_model::route::listener::by_original_destination;
use proptest::prelude::*;

fn listener(name: &str, addresses: &[SocketAddr], bind_to_port: bool) -> Listener {
    Listener {
        additional_addresses: addresses[1..].to_vec(),
        bind_to_port,
        direction: Direction::Outbound,
        ..Listener::new(name, addresses[0])
    }
}

fn config(listeners: Vec<Listener>) -> Arc<ProxyConfig> {
    let listeners = listeners.into_iter().map(|l| (l.name.as_str().into(), Arc::new(l))).collect();
    Arc::new(ProxyConfig { listeners, ..Default::default() })
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (prop_oneof![Just([0, 0, 0, 0]), Just([10, 0, 0, 1]), Just([10, 0, 0, 2])], 80u16..84)
        .prop_map(|(ip, port)| SocketAddr::from((ip, port)))
}

proptest! {
    /// The index finds what the plain search of the matcher finds.
    #[test]
    fn hand_over_by_index(
        listeners in proptest::collection::vec(proptest::collection::vec(address(), 1..3), 0..6),
        destination in address(),
    ) {
        let listeners = listeners.iter().enumerate().map(|(i, a)| listener(&format!("l{i}"), a, false)).collect();
        let config = config(listeners);
        let runtime = RuntimeConfig::build(Arc::clone(&config), None).unwrap();
        let plain = by_original_destination(config.listeners.values().map(|l| &**l), destination);
        let found = runtime.listeners.by_original_destination(destination);
        prop_assert_eq!(found.map(|l| &*l.config.name), plain.map(|l| &*l.name));
    }
}

#[test]
fn what_an_update_does_not_touch_is_taken_over() {
    let at = |port| [SocketAddr::from(([127, 0, 0, 1], port))];
    let before = config(vec![listener("a", &at(1), true), listener("b", &at(2), true)]);
    let first = RuntimeConfig::build(Arc::clone(&before), None).unwrap();

    let mut endpoints_alone = (*before).clone();
    endpoints_alone.endpoints.insert("c".into(), Arc::default());
    let second = RuntimeConfig::build(Arc::new(endpoints_alone), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first.listeners, &second.listeners) && Arc::ptr_eq(&first.tables, &second.tables));

    let mut one_listener = (*before).clone();
    one_listener.listeners.insert("b".into(), Arc::new(listener("b", &at(3), true)));
    let third = RuntimeConfig::build(Arc::new(one_listener), Some(&second)).unwrap();
    assert!(Arc::ptr_eq(first.listeners.named("a").unwrap(), third.listeners.named("a").unwrap()));
    assert!(!Arc::ptr_eq(first.listeners.named("b").unwrap(), third.listeners.named("b").unwrap()));
}

#[test]
fn a_changed_virtual_host_compiles_its_route_configuration_alone() {
    let before = config(Vec::new());
    let host = |name: &str| {
        let domains = vec![name.to_owned()];
        Arc::new(VirtualHost { name: name.into(), domains, ..VirtualHost::default() })
    };
    let with = |name: &str, hosts: Vec<Arc<VirtualHost>>| {
        (Arc::from(name), Arc::new(RouteConfig { name: name.into(), virtual_hosts: hosts, ..Default::default() }))
    };
    let mut first = (*before).clone();
    first.routes = [with("80", vec![host("a"), host("b")]), with("90", vec![host("a")])].into();
    let mut second = first.clone();
    let kept = Arc::clone(&first.routes["80"].virtual_hosts[0]);
    second.routes.extend([with("80", vec![kept, host("c")])]);
    let first = RuntimeConfig::build(Arc::new(first), None).unwrap();
    let second = RuntimeConfig::build(Arc::new(second), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first.tables["90"], &second.tables["90"]));
    let found = |authority| second.tables["80"].virtual_host(authority).map(|h| h.name.as_str());
    assert_eq!(["a", "b", "c"].map(found), [Some("a"), None, Some("c")]);
}

#[test]
fn two_listeners_do_not_share_a_socket() {
    let at = [SocketAddr::from(([127, 0, 0, 1], 1))];
    let both = config(vec![listener("a", &at, true), listener("b", &at, true)]);
    let error = RuntimeConfig::build(both, None).err().unwrap();
    assert_eq!(error.to_string(), "Listener b: 127.0.0.1:1 is Listener a's already");
    // A virtual one may have the address of a socket.
    assert!(RuntimeConfig::build(config(vec![listener("a", &at, true), listener("b", &at, false)]), None).is_ok());
}
