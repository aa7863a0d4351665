//! Listeners, filter chains and network filters.

use super::http::manager;
use super::*;
use ipnet::IpNet;

pub(crate) fn access_logs() -> impl Strategy<Value = Vec<AccessLog>> {
    let format = prop_oneof![
        Just(LogFormat::Text(String::new())),
        text().prop_map(LogFormat::Text),
        labels().prop_map(|fields| LogFormat::Json(fields.into_iter().map(|(k, v)| (k, v.into())).collect())),
        (word(), word(), any::<i32>()).prop_map(|(outer, inner, number)| LogFormat::Json(
            [(outer, serde_json::json!({ inner: [number, "%PROTOCOL%", null, true] }))].into_iter().collect()
        )),
    ];
    let log = prop_oneof![
        (word(), format, words()).prop_map(|(path, format, flags)| AccessLog::File { path, format, flags }),
        opaque().prop_map(AccessLog::Opaque),
    ];
    vec(log, 0..2)
}

fn range() -> impl Strategy<Value = IpNet> {
    (ip(), 0u8..=32).prop_map(|(ip, length)| IpNet::new(ip, length).expect("a length of either"))
}

fn chain_match() -> impl Strategy<Value = FilterChainMatch> {
    let transport = prop_oneof![Just(String::new()), Just("tls".into()), Just("raw_buffer".into())];
    (of(any::<u16>()), vec(range(), 0..2), vec(range(), 0..2), words(), transport, words()).prop_map(
        |(port, prefixes, sources, server_names, transport_protocol, alpn)| FilterChainMatch {
            destination_port: port,
            prefix_ranges: prefixes,
            source_prefix_ranges: sources,
            server_names,
            transport_protocol,
            application_protocols: alpn,
        },
    )
}

fn downstream_tls() -> impl Strategy<Value = DownstreamTls> {
    let certificates = prop_oneof![words(), Just(vec!["file-cert:/a/chain~/a/key".to_owned()])];
    let root = prop_oneof![word(), Just("file-root:/a/root".to_owned())];
    let names = (certificates, of(root), of(Just("file-crl:/a/crl".to_owned())), any::<bool>(), words());
    let rest = (tls_version(), tls_version(), words(), words(), sans(), words(), words());
    (names, rest).prop_map(
        |((certificates, validation, crl, require, alpn), (min, max, ciphers, curves, sans, hashes, spki))| {
            DownstreamTls {
                certificates,
                validation,
                crl,
                require_client_certificate: require,
                alpn,
                min_version: min,
                max_version: max,
                cipher_suites: ciphers,
                curves,
                match_sans: sans,
                certificate_hashes: hashes,
                certificate_spki: spki,
            }
        },
    )
}

fn tcp() -> BoxedStrategy<TcpProxy> {
    let cluster = (word(), any::<u32>()).prop_map(|(name, weight)| TcpCluster { name, weight });
    let whole = word().prop_map(|name| vec![TcpCluster { name, weight: 100 }]);
    let clusters = prop_oneof![vec(cluster, 1..3), whole];
    let times = (of(duration()), of(duration()));
    let tunnel = ("[a-z]{1,9}:[1-9][0-9]{1,3}", any::<bool>()).prop_map(|(authority, post)| Tunnel { authority, post });
    (word(), clusters, times, any::<u32>(), (any::<bool>(), of(tunnel)), access_logs(), of(origin()))
        .prop_map(
            |(stat_prefix, clusters, (idle_timeout, max_duration), attempts, (hash, tunnel), access_log, origin)| {
                TcpProxy {
                    stat_prefix,
                    clusters,
                    idle_timeout,
                    max_duration,
                    max_connect_attempts: attempts,
                    hash_source_ip: hash,
                    tunnel,
                    access_log,
                    origin,
                }
            },
        )
        .boxed()
}

fn network_filter() -> impl Strategy<Value = NetworkFilter> {
    prop_oneof![
        manager().prop_map(|m| NetworkFilter::Http(Box::new(m))),
        tcp().prop_map(NetworkFilter::Tcp),
        Just(NetworkFilter::SniCluster),
        (dns_cache(), any::<u16>()).prop_map(|(cache, port)| NetworkFilter::SniDynamicForwardProxy { cache, port }),
        opaque().prop_map(NetworkFilter::Opaque),
    ]
}

fn chain() -> BoxedStrategy<FilterChain> {
    // A transport that is not understood stands in the place of TLS.
    let transport = prop_oneof![
        Just((None, None)),
        downstream_tls().prop_map(|tls| (Some(tls), None)),
        opaque().prop_map(|opaque| (None, Some(opaque))),
    ];
    (word(), chain_match(), transport, vec(network_filter(), 0..3), of(origin()))
        .prop_map(|(name, matches, (tls, opaque_transport), filters, origin)| FilterChain {
            name,
            matches,
            tls,
            opaque_transport,
            filters,
            origin,
        })
        .boxed()
}

pub(crate) fn listener() -> BoxedStrategy<Listener> {
    let direction = prop_oneof![Just(Direction::Unspecified), Just(Direction::Inbound), Just(Direction::Outbound),];
    let filter = prop_oneof![
        Just(ListenerFilter::OriginalDst),
        Just(ListenerFilter::ProxyProtocol),
        Just(ListenerFilter::TlsInspector),
        vec(any::<u16>(), 0..4).prop_map(|disabled_ports| ListenerFilter::HttpInspector { disabled_ports }),
        opaque().prop_map(ListenerFilter::Opaque),
    ];
    let binding = (word(), socket(), vec(socket(), 0..3), any::<bool>(), direction);
    let filters = (vec(filter, 0..3), of(duration()), any::<bool>(), any::<bool>());
    let chains = (vec(chain(), 0..2), of(chain()), vec(origin(), 0..3), access_logs());
    (binding, filters, chains)
        .prop_map(
            |(
                (name, address, additional_addresses, bind_to_port, direction),
                (listener_filters, timeout, continue_on_timeout, use_original_dst),
                (filter_chains, default, origins, access_log),
            )| Listener {
                name,
                address,
                additional_addresses,
                bind_to_port,
                direction,
                listener_filters,
                listener_filters_timeout: timeout,
                continue_on_timeout,
                use_original_dst,
                filter_chains,
                default_filter_chain: default.map(Box::new),
                origins,
                access_log,
            },
        )
        .boxed()
}
