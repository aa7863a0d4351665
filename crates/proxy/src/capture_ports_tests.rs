//! The two listeners that move to other ports, and those that do not.

use super::*;
use amime_model::config::{FilterChain, FilterChainMatch};

fn listener(name: &str, port: u16) -> Arc<Listener> {
    let chain = |port: u16| FilterChain {
        matches: FilterChainMatch { destination_port: Some(port), ..FilterChainMatch::default() },
        ..FilterChain::new(Vec::new())
    };
    Arc::new(Listener {
        additional_addresses: vec![([127, 1, 0, 2], 9080).into()],
        listener_filters: vec![ListenerFilter::HttpInspector { disabled_ports: vec![9080, port] }],
        use_original_dst: true,
        filter_chains: vec![chain(port), chain(9080)],
        ..Listener::new(name, ([0, 0, 0, 0], port).into())
    })
}

#[test]
fn only_the_two_listeners_move_and_what_stays_is_the_same_value() {
    let mut config = ProxyConfig::default();
    for (name, port) in [("virtualOutbound", 15001), ("virtualInbound", 15006), ("0.0.0.0_15001", 15001)] {
        config.listeners.insert(name.into(), listener(name, port));
    }
    let config = Arc::new(config);
    let mut moved = Moved::default();
    assert!(Arc::ptr_eq(&moved.apply(CapturePorts::default(), Arc::clone(&config)), &config));

    let ports = CapturePorts { outbound: Some(25001), inbound: Some(15006) };
    let now = moved.apply(ports, Arc::clone(&config));
    let outbound = &now.listeners["virtualOutbound"];
    assert_eq!(outbound.address, ([0, 0, 0, 0], 25001).into());
    assert_eq!(outbound.additional_addresses, [([127, 1, 0, 2], 9080).into()]);
    let matched: Vec<_> = outbound.filter_chains.iter().map(|chain| chain.matches.destination_port).collect();
    assert_eq!(matched, [Some(25001), Some(9080)]);
    assert_eq!(outbound.listener_filters, [ListenerFilter::HttpInspector { disabled_ports: vec![9080, 25001] }]);
    for same in ["virtualInbound", "0.0.0.0_15001"] {
        assert!(Arc::ptr_eq(&now.listeners[same], &config.listeners[same]), "{same}");
    }
    let again = moved.apply(ports, config);
    assert!(Arc::ptr_eq(&again.listeners["virtualOutbound"], outbound));
}
