//! Any configuration that has a form on the wire.
//!
//! What has none is left out, with the reason at its place: such values never come out of a translation.

mod http;
mod network;

#[allow(unused_imports, reason = "each test file uses some of them")]
pub(crate) use http::{routes, virtual_host};
pub(crate) use network::listener;

use amime_model::config::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(crate) fn word() -> impl Strategy<Value = String> + Clone {
    "[a-z][a-z0-9_.|-]{0,11}"
}

pub(crate) fn text() -> impl Strategy<Value = String> + Clone {
    // Also what is not ASCII, quotes and escapes.
    prop_oneof![word(), "\\PC{1,12}", Just("%REQ(:path)% \\1 \"".to_owned())]
}

pub(crate) fn words() -> impl Strategy<Value = Vec<String>> {
    vec(word(), 0..3)
}

/// Kept within protobuf's range.
pub(crate) fn duration() -> impl Strategy<Value = Duration> + Clone {
    (0u64..100_000, 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n))
}

pub(crate) fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
}

pub(crate) fn socket() -> impl Strategy<Value = SocketAddr> {
    // The flow and scope of an IPv6 socket address have no form on the wire.
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

pub(crate) fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((word(), text()), 0..3)
}

/// Of a map: each key once, in order.
pub(crate) fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map(word(), text(), 0..4).prop_map(|m: BTreeMap<_, _>| m.into_iter().collect())
}

pub(crate) fn share() -> impl Strategy<Value = PerMillion> {
    (0u32..=1_000_000).prop_map(PerMillion)
}

pub(crate) fn origin() -> impl Strategy<Value = Origin> {
    let kind = prop_oneof![
        Just("VirtualService".to_owned()),
        Just("DestinationRule".to_owned()),
        Just("Service".to_owned()),
        Just("HTTPRoute".to_owned()),
    ];
    // Names of Kubernetes hold no slash.
    let name = "[a-z][a-z0-9.-]{0,9}";
    let path = prop_oneof![Just(String::new()), Just("spec.http[1].route[0]".to_owned())];
    (kind, name, name, path).prop_map(|(kind, namespace, name, path)| Origin { kind, namespace, name, path })
}

pub(crate) fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        text().prop_map(StringMatch::Exact),
        text().prop_map(StringMatch::Prefix),
        text().prop_map(StringMatch::Suffix),
        text().prop_map(StringMatch::Contains),
        text().prop_map(StringMatch::Regex),
    ]
}

pub(crate) fn opaque() -> impl Strategy<Value = Opaque> {
    (word(), vec(any::<u8>(), 0..8)).prop_map(|(name, bytes)| Opaque {
        name,
        type_url: "type.googleapis.com/some.vendor.Filter".into(),
        bytes,
    })
}

pub(crate) fn edits() -> impl Strategy<Value = HeaderEdits> {
    (words(), pairs(), pairs()).prop_map(|(remove, set, add)| HeaderEdits { remove, set, add })
}

pub(crate) fn tls_version() -> impl Strategy<Value = TlsVersion> {
    prop_oneof![
        Just(TlsVersion::Auto),
        Just(TlsVersion::V1_0),
        Just(TlsVersion::V1_1),
        Just(TlsVersion::V1_2),
        Just(TlsVersion::V1_3),
    ]
}

/// URIs, addresses and names.
pub(crate) fn sans() -> impl Strategy<Value = Vec<String>> {
    let san = prop_oneof![word(), Just("spiffe://cluster.local/ns/a/sa/b".to_owned()), Just("10.0.0.1".to_owned())];
    vec(san, 0..3)
}

pub(crate) fn secret() -> impl Strategy<Value = Secret> {
    let pem = || vec(any::<u8>(), 0..16);
    prop_oneof![
        (word(), pem(), pem()).prop_map(|(name, chain, key)| Secret::Certificate { name, chain, key }),
        (word(), pem(), pem()).prop_map(|(name, roots, crl)| Secret::Validation { name, roots, crl }),
    ]
}

fn workload() -> impl Strategy<Value = WorkloadIdentity> {
    // They are joined by semicolons on the wire; names of Kubernetes hold none.
    let part = || prop_oneof![Just(String::new()), word()];
    (part(), part(), part(), part(), part(), part()).prop_map(
        |(workload, namespace, canonical_service, canonical_revision, cluster, network)| WorkloadIdentity {
            workload,
            namespace,
            canonical_service,
            canonical_revision,
            cluster,
            network,
        },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = prop_oneof![
        socket().prop_map(EndpointAddress::Socket),
        (word(), any::<u16>()).prop_map(|(host, port)| EndpointAddress::Name { host, port }),
        word().prop_map(EndpointAddress::Pipe),
        (word(), word()).prop_map(|(listener, endpoint_id)| EndpointAddress::Internal { listener, endpoint_id }),
    ];
    let health = prop_oneof![
        Just(Health::Unknown),
        Just(Health::Healthy),
        Just(Health::Unhealthy),
        Just(Health::Draining),
        Just(Health::Timeout),
        Just(Health::Degraded),
    ];
    (address, any::<u32>(), health, word(), workload(), labels()).prop_map(
        |(address, weight, health, hostname, workload, transport_labels)| Endpoint {
            address,
            weight,
            health,
            hostname,
            workload,
            transport_labels,
        },
    )
}

pub(crate) fn endpoints() -> BoxedStrategy<ClusterEndpoints> {
    let part = || prop_oneof![Just(String::new()), word()];
    let locality = (part(), part(), part()).prop_map(|(region, zone, sub_zone)| Locality { region, zone, sub_zone });
    let group = (locality, 0u32..4, of(any::<u32>()), vec(endpoint(), 0..3)).prop_map(
        |(locality, priority, weight, endpoints)| LocalityEndpoints { locality, priority, weight, endpoints },
    );
    (word(), vec(group, 0..3), of(any::<u32>()))
        .prop_map(|(cluster, localities, overprovisioning_factor)| ClusterEndpoints {
            cluster,
            localities,
            overprovisioning_factor,
        })
        .boxed()
}

fn upstream_tls() -> BoxedStrategy<UpstreamTls> {
    let names = (
        prop_oneof![Just(String::new()), word()],
        words(),
        of(prop_oneof![word(), Just("file-cert:/a/chain~/a/key".to_owned())]),
        of(prop_oneof![word(), Just("file-root:/a/root".to_owned())]),
        of(Just("file-crl:/a/crl".to_owned())),
    );
    let rest = (sans(), any::<bool>(), tls_version(), tls_version());
    (names, rest)
        .prop_map(|((sni, alpn, certificate, validation, crl), (match_sans, insecure, min_version, max_version))| {
            UpstreamTls {
                sni,
                // One for all contexts of a cluster; see `cluster`.
                auto_sni: false,
                alpn,
                certificate,
                validation,
                crl,
                match_sans,
                auto_san_validation: false,
                insecure,
                min_version,
                max_version,
            }
        })
        .boxed()
}

fn transport_match() -> impl Strategy<Value = TransportSocketMatch> {
    let transport = prop_oneof![
        Just((None, None)),
        upstream_tls().prop_map(|tls| (Some(tls), None)),
        opaque().prop_map(|opaque| (None, Some(opaque))),
    ];
    (word(), labels(), transport).prop_map(|(name, labels, (tls, opaque))| TransportSocketMatch {
        name,
        labels,
        tls,
        opaque,
    })
}

fn outlier() -> impl Strategy<Value = OutlierDetection> {
    let n = || of(any::<u32>());
    let d = || of(duration());
    let statuses = proptest::collection::vec(100u16..600, 0..3);
    ((n(), n(), n(), n(), any::<bool>(), n()), (n(), n(), n(), d(), d(), d(), n(), statuses)).prop_map(
        |((a, b, c, e, split, f), (g, h, i, interval, base, max, percent, error_statuses))| OutlierDetection {
            consecutive_5xx: a,
            enforcing_consecutive_5xx: b,
            consecutive_gateway_failure: c,
            enforcing_consecutive_gateway_failure: e,
            split_external_local_origin: split,
            consecutive_local_origin_failure: f,
            enforcing_consecutive_local_origin_failure: g,
            enforcing_local_origin_success_rate: h,
            enforcing_success_rate: i,
            interval,
            base_ejection: base,
            max_ejection: max,
            max_ejection_percent: percent,
            error_statuses,
        },
    )
}

fn limits() -> impl Strategy<Value = CircuitBreakers> {
    let n = || of(any::<u32>());
    let budget = (0u32..100, any::<u32>(), of(duration())).prop_map(|(percent, min_concurrency, interval)| {
        RetryBudget { percent: percent.into(), min_concurrency, interval }
    });
    (n(), n(), n(), n(), of(budget)).prop_map(
        |(max_connections, max_pending_requests, max_requests, max_retries, retry_budget)| CircuitBreakers {
            max_connections,
            max_pending_requests,
            max_requests,
            max_retries,
            retry_budget,
        },
    )
}

/// A policy and, where it has one, its slow start.
fn balance() -> impl Strategy<Value = (LbPolicy, Option<SlowStart>)> {
    let slow_start = || {
        of((duration(), 0u32..10, 0u32..100).prop_map(|(window, aggression, percent)| SlowStart {
            window,
            aggression: aggression.into(),
            min_weight_percent: percent.into(),
        }))
    };
    let n = || of(any::<u64>());
    prop_oneof![
        slow_start().prop_map(|s| (LbPolicy::RoundRobin, s)),
        (of(any::<u32>()), slow_start()).prop_map(|(choices, s)| (LbPolicy::LeastRequest { choices }, s)),
        Just((LbPolicy::Random, None)),
        (n(), n()).prop_map(|(min_size, max_size)| { (LbPolicy::RingHash { min_size, max_size }, None) }),
        n().prop_map(|table_size| (LbPolicy::Maglev { table_size }, None)),
        Just((LbPolicy::ClusterProvided, None)),
    ]
}

pub(crate) fn dns_cache() -> impl Strategy<Value = DnsCache> {
    let family = prop_oneof![Just(DnsFamily::Auto), Just(DnsFamily::V4Preferred), Just(DnsFamily::All)];
    (word(), family, any::<Option<u32>>(), of(duration())).prop_map(|(name, family, max_hosts, refresh)| DnsCache {
        name,
        family,
        max_hosts,
        refresh,
    })
}

pub(crate) fn cluster() -> BoxedStrategy<Cluster> {
    let discovery = prop_oneof![
        word().prop_map(Discovery::Eds),
        Just(Discovery::Eds(String::new())),
        endpoints().prop_map(Discovery::Static),
        endpoints().prop_map(Discovery::StrictDns),
        endpoints().prop_map(Discovery::LogicalDns),
        (any::<bool>(), any::<Option<u16>>()).prop_map(|(header, port)| Discovery::OriginalDst { header, port }),
        dns_cache().prop_map(Discovery::DynamicDns),
        word().prop_map(Discovery::Opaque),
    ];
    let http2 = || {
        let ping = (duration(), duration()).prop_map(|(interval, timeout)| Http2Keepalive { interval, timeout });
        (of(any::<u32>()), of(ping))
    };
    let protocol = prop_oneof![
        // Only HTTP/2 has streams.
        Just((UpstreamProtocol::Http1, (None, None))),
        http2().prop_map(|n| (UpstreamProtocol::Http2, n)),
        http2().prop_map(|n| (UpstreamProtocol::UseDownstream, n)),
        http2().prop_map(|n| (UpstreamProtocol::Alpn, n)),
    ];
    let family = prop_oneof![
        Just(DnsFamily::Auto),
        Just(DnsFamily::V4Only),
        Just(DnsFamily::V6Only),
        Just(DnsFamily::V4Preferred),
        Just(DnsFamily::All),
    ];
    let dns = (of(duration()), any::<bool>(), family, of(duration()))
        .prop_map(|(refresh, respect_ttl, family, jitter)| DnsOptions { refresh, respect_ttl, family, jitter });
    let keepalive = (of(any::<u32>()), of(any::<u32>()), of(any::<u32>()))
        .prop_map(|(probes, time, interval)| TcpKeepalive { probes, time, interval });
    // A transport that is not understood stands in the place of TLS.
    let transport = prop_oneof![
        Just((None, None)),
        upstream_tls().prop_map(|tls| (Some(tls), None)),
        opaque().prop_map(|opaque| (None, Some(opaque))),
    ];
    let service = (word(), word(), word(), any::<bool>())
        .prop_map(|(host, name, namespace, external)| ClusterService { host, name, namespace, external });
    let basics = (word(), discovery, of(duration()), balance(), any::<bool>(), of(0u32..=100));
    let limits = (limits(), of(outlier()), protocol, of(any::<u32>()));
    let times = (of(duration()), of(duration()), of(keepalive));
    let sockets = (transport, vec(transport_match(), 0..3), of(1u8..=2), of(ip()), any::<bool>(), any::<bool>());
    let rest = (dns, any::<bool>(), vec(origin(), 0..3), of(service));
    (basics, limits, times, sockets, rest)
        .prop_map(
            |(
                (name, discovery, connect_timeout, (lb, slow_start), locality_weighted, panic),
                (limits, outlier, (protocol, (streams, ping)), max_requests_per_connection),
                (idle_timeout, max_connection_duration, tcp_keepalive),
                ((tls, opaque), matches, proxy_protocol, bind_source, auto_sni, auto_san),
                (dns, drain, origins, service),
            )| {
                let original = matches!(discovery, Discovery::OriginalDst { .. } | Discovery::DynamicDns(_));
                let mut cluster = Cluster {
                    // The client's address decides there.
                    lb: if original { LbPolicy::ClusterProvided } else { lb },
                    slow_start: slow_start.filter(|_| !original),
                    connect_timeout,
                    locality_weighted,
                    panic_threshold: panic,
                    limits,
                    outlier,
                    protocol,
                    max_concurrent_streams: streams,
                    http2_keepalive: ping,
                    max_requests_per_connection,
                    idle_timeout,
                    max_connection_duration,
                    tcp_keepalive,
                    tls,
                    transport_socket_matches: matches,
                    opaque_transport: opaque,
                    proxy_protocol,
                    bind_source,
                    dns,
                    drain_on_host_removal: drain,
                    origins,
                    service,
                    ..Cluster::new(name, discovery)
                };
                let matches = cluster.transport_socket_matches.iter_mut();
                for tls in cluster.tls.iter_mut().chain(matches.filter_map(|m| m.tls.as_mut())) {
                    tls.auto_sni = auto_sni;
                    tls.auto_san_validation = auto_san;
                }
                cluster
            },
        )
        .boxed()
}
