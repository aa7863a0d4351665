//! Configuration of other control planes: what is not understood is kept, refused or named, never passed over.

use amime_model::config::{HttpFilter, NetworkFilter, PathMatch, RedirectPath, RouteAction, StringMatch, ValueMatch};
use amime_xds::{ResourceType, decode, intern::Interner};
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_types::pb::envoy::r#type::v3::Int64Range;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use envoy_types::util::pack_any;
use prost::{Message, Name};
use std::collections::HashMap;
use std::sync::Arc;

fn routes(route: route::Route) -> route::RouteConfiguration {
    let host =
        route::VirtualHost { name: "h".into(), domains: vec!["*".into()], routes: vec![route], ..Default::default() };
    route::RouteConfiguration { name: "80".into(), virtual_hosts: vec![host], ..Default::default() }
}

fn to(cluster: &str) -> Option<route::route::Action> {
    let cluster = route::route_action::ClusterSpecifier::Cluster(cluster.into());
    Some(route::route::Action::Route(route::RouteAction { cluster_specifier: Some(cluster), ..Default::default() }))
}

fn prefix(path: &str) -> route::RouteMatch {
    let path = route::route_match::PathSpecifier::Prefix(path.into());
    route::RouteMatch { path_specifier: Some(path), ..Default::default() }
}

fn listener(filter: listener::Filter) -> listener::Listener {
    let port = socket_address::PortSpecifier::PortValue(80);
    let socket = SocketAddress { address: "0.0.0.0".into(), port_specifier: Some(port), ..Default::default() };
    listener::Listener {
        name: "l".into(),
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        filter_chains: vec![listener::FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    }
}

fn typed<T: Message + Name>(name: &str, config: T) -> listener::Filter {
    let config = listener::filter::ConfigType::TypedConfig(pack_any(config));
    listener::Filter { name: name.into(), config_type: Some(config) }
}

#[test]
fn a_match_that_is_not_understood_answers_for_what_it_might_match() {
    let range = route::header_matcher::HeaderMatchSpecifier::RangeMatch(Int64Range { start: 1, end: 5 });
    let header = route::HeaderMatcher { name: "X-N".into(), header_match_specifier: Some(range), ..Default::default() };
    let matches = route::RouteMatch { headers: vec![header], ..prefix("/a") };
    let config = routes(route::Route { r#match: Some(matches), action: to("c"), ..Default::default() });
    let decoded = decode::route(&config.encode_to_vec()).expect("it is read");
    let route = &decoded.virtual_hosts[0].routes[0];
    assert_eq!(route.matches.path, PathMatch::Prefix("/a".into()));
    assert!(matches!(&route.action, RouteAction::Opaque(what) if what.contains("range")));
}

/// Istio writes an empty path for a redirect of the host alone; Envoy leaves the path as it is then.
#[test]
fn a_redirect_to_no_path_keeps_the_path() {
    use route::redirect_action::PathRewriteSpecifier::{PathRedirect, PrefixRewrite};
    for path in [PathRedirect(String::new()), PrefixRewrite(String::new())] {
        let redirect = route::RedirectAction { path_rewrite_specifier: Some(path), ..Default::default() };
        let action = Some(route::route::Action::Redirect(redirect));
        let config = routes(route::Route { r#match: Some(prefix("/a")), action, ..Default::default() });
        let decoded = decode::route(&config.encode_to_vec()).expect("it is read");
        let action = &decoded.virtual_hosts[0].routes[0].action;
        assert!(matches!(action, RouteAction::Redirect(redirect) if redirect.path == RedirectPath::Keep), "{action:?}");
    }
}

#[test]
fn older_header_matchers_are_read() {
    #[allow(deprecated, reason = "the older form is the point")]
    let exact = route::header_matcher::HeaderMatchSpecifier::ExactMatch("jason".into());
    let header =
        route::HeaderMatcher { name: "End-User".into(), header_match_specifier: Some(exact), ..Default::default() };
    let absent = route::header_matcher::HeaderMatchSpecifier::PresentMatch(false);
    let missing = route::HeaderMatcher { name: "x".into(), header_match_specifier: Some(absent), ..Default::default() };
    let matches = route::RouteMatch { headers: vec![header, missing], ..prefix("/") };
    let config = routes(route::Route { r#match: Some(matches), action: to("c"), ..Default::default() });
    let decoded = decode::route(&config.encode_to_vec()).expect("it is read");
    let headers = &decoded.virtual_hosts[0].routes[0].matches.headers;
    assert_eq!(headers[0].name, "end-user");
    assert_eq!(
        headers[0].matches,
        ValueMatch::String { value: StringMatch::Exact("jason".into()), ignore_case: false }
    );
    assert!(headers[1].invert && headers[1].matches == ValueMatch::Present);
}

#[test]
fn a_clusters_name_from_a_header_is_not_guessed() {
    let header = route::route_action::ClusterSpecifier::ClusterHeader("x-cluster".into());
    let action = route::RouteAction { cluster_specifier: Some(header), ..Default::default() };
    let action = Some(route::route::Action::Route(action));
    let config = routes(route::Route { r#match: Some(prefix("/")), action, ..Default::default() });
    let decoded = decode::route(&config.encode_to_vec()).expect("it is read");
    assert!(matches!(&decoded.virtual_hosts[0].routes[0].action, RouteAction::Opaque(_)));
}

#[test]
fn what_a_virtual_host_says_of_filters_holds_for_its_routes() {
    let mut config = routes(route::Route { r#match: Some(prefix("/")), action: to("c"), ..Default::default() });
    let filter = Any { type_url: "type.googleapis.com/vendor.Filter".into(), value: vec![1] };
    config.virtual_hosts[0].typed_per_filter_config = HashMap::from([("vendor".to_owned(), filter)]);
    let decoded = decode::route(&config.encode_to_vec()).expect("it is read");
    assert_eq!(decoded.virtual_hosts[0].routes[0].opaque_filters[0].name, "vendor");
}

#[test]
fn filters_that_are_not_understood_are_kept_byte_for_byte() {
    let rbac = pack_any(Rbac::default());
    let filter = |name: &str, config: Any| hcm::HttpFilter {
        name: name.into(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    };
    let manager = hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            route_config_name: "80".into(),
            ..Default::default()
        })),
        http_filters: vec![filter("envoy.filters.http.rbac", rbac.clone())],
        ..Default::default()
    };
    let encoded = listener(typed("envoy.filters.network.http_connection_manager", manager)).encode_to_vec();
    let decoded = decode::listener(&encoded).expect("it is read");
    let NetworkFilter::Http(manager) = &decoded.filter_chains[0].filters[0] else { panic!("{decoded:?}") };
    let HttpFilter::Opaque { filter, disabled: false } = &manager.http_filters[0] else { panic!("{manager:?}") };
    assert_eq!((filter.type_url.as_str(), &filter.bytes), (rbac.type_url.as_str(), &rbac.value));
}

#[test]
fn a_tunnel_to_a_formatted_name_is_no_plain_one() {
    let proxy = tcp::TcpProxy {
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster("c".into())),
        tunneling_config: Some(tcp::tcp_proxy::TunnelingConfig {
            hostname: "%DOWNSTREAM_SNI%:443".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let decoded = decode::listener(&listener(typed("tcp", proxy)).encode_to_vec()).expect("it is read");
    assert!(matches!(&decoded.filter_chains[0].filters[0], NetworkFilter::Opaque(_)));
}

#[test]
fn a_chain_chosen_by_what_is_not_looked_at_refuses() {
    let proxy = tcp::TcpProxy {
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster("c".into())),
        ..Default::default()
    };
    let mut config = listener(typed("tcp", proxy));
    let matches = listener::FilterChainMatch { source_ports: vec![7], ..Default::default() };
    config.filter_chains[0].filter_chain_match = Some(matches);
    let decoded = decode::listener(&config.encode_to_vec()).expect("it is read");
    assert!(decoded.filter_chains[0].opaque_transport.is_some());
}

#[test]
fn what_cannot_be_run_is_an_error_that_names_it() {
    let mut config = listener(listener::Filter::default());
    config.address = None;
    assert_eq!(decode::listener(&config.encode_to_vec()).unwrap_err().to_string(), "address: missing");
}

#[test]
fn equal_bytes_give_one_value_for_as_long_as_somebody_has_it() {
    let interner = Interner::default();
    let config = routes(route::Route { r#match: Some(prefix("/")), action: to("c"), ..Default::default() });
    let mut other = config.clone();
    other.validate_clusters = Some(BoolValue { value: true });
    let get = |config: &route::RouteConfiguration| {
        let decoded = interner.decode(ResourceType::Route, &config.encode_to_vec()).expect("it is read");
        let amime_xds::intern::Decoded::Route(routes) = decoded else { panic!("another type") };
        routes
    };
    let (one, again, another) = (get(&config), get(&config), get(&other));
    assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &another));
    let weak = Arc::downgrade(&one);
    drop((one, again));
    assert!(weak.upgrade().is_none(), "the interner does not keep it");
}
