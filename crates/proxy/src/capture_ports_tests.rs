use super::*;
use amime_model::config::{Direction, FilterChain, FilterChainMatch};

fn listener(name: &str, port: u16) -> Arc<Listener> {
    let chain = |port: u16| FilterChain {
        name: String::new(),
        matches: FilterChainMatch { destination_port: Some(port), ..FilterChainMatch::default() },
        tls: None,
        opaque_transport: None,
        filters: Vec::new(),
        origin: None,
    };
    Arc::new(Listener {
        name: name.into(),
        address: ([0, 0, 0, 0], port).into(),
        additional_addresses: vec![([127, 1, 0, 2], 9080).into()],
        bind_to_port: true,
        direction: Direction::Unspecified,
        listener_filters: vec![ListenerFilter::HttpInspector { disabled_ports: vec![9080, port] }],
        listener_filters_timeout: None,
        continue_on_timeout: false,
        use_original_dst: true,
        filter_chains: vec![chain(port), chain(9080)],
        default_filter_chain: None,
        origins: Vec::new(),
        access_log: Vec::new(),
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
