//! HTTP connection managers and routes.

use super::network::access_logs;
use super::*;
use std::sync::Arc;

fn http_filter() -> impl Strategy<Value = HttpFilter> {
    prop_oneof![
        Just(HttpFilter::Fault),
        Just(HttpFilter::Cors),
        Just(HttpFilter::Router),
        dns_cache().prop_map(HttpFilter::DynamicForwardProxy),
        (opaque(), any::<bool>()).prop_map(|(filter, disabled)| HttpFilter::Opaque { filter, disabled }),
    ]
}

pub(crate) fn manager() -> BoxedStrategy<HttpConnectionManager> {
    let codec = prop_oneof![Just(CodecType::Auto), Just(CodecType::Http1), Just(CodecType::Http2)];
    let source = prop_oneof![
        3 => word().prop_map(RouteSource::Rds),
        1 => routes().prop_map(|r| RouteSource::Inline(Arc::new(r))),
    ];
    let server = prop_oneof![
        Just(ServerHeader::Overwrite),
        Just(ServerHeader::AppendIfAbsent),
        Just(ServerHeader::PassThrough),
    ];
    let slashes = prop_oneof![
        Just(EscapedSlashes::Keep),
        Just(EscapedSlashes::Reject),
        Just(EscapedSlashes::UnescapeAndRedirect),
        Just(EscapedSlashes::UnescapeAndForward),
    ];
    let d = || of(duration());
    let n = || of(any::<u32>());
    let b = any::<bool>;
    let basics = (word(), codec, source, vec(http_filter(), 0..4), text(), server);
    let path = (b(), any::<u32>(), b(), b(), slashes);
    let times = (d(), d(), d(), d());
    let limits = (n(), n(), n(), n());
    let rest = (words(), b(), b(), b(), b(), b(), access_logs());
    (basics, path, times, limits, rest)
        .prop_map(
            |(
                (stat_prefix, codec, routes, http_filters, server_name, server_header),
                (use_remote_address, xff_num_trusted_hops, normalize_path, merge_slashes, slashes),
                (request_timeout, request_headers_timeout, stream_idle_timeout, idle_timeout),
                (max_request_headers_kb, max_headers_count, max_requests, max_concurrent_streams),
                (upgrades, generate, preserve, strip, http_10, proxy_100_continue, access_log),
            )| HttpConnectionManager {
                stat_prefix,
                codec,
                routes,
                http_filters,
                server_name,
                server_header,
                use_remote_address,
                xff_num_trusted_hops,
                normalize_path,
                merge_slashes,
                escaped_slashes: slashes,
                request_timeout,
                request_headers_timeout,
                stream_idle_timeout,
                idle_timeout,
                max_request_headers_kb,
                max_headers_count,
                max_requests_per_connection: max_requests,
                max_concurrent_streams,
                upgrades,
                generate_request_id: generate,
                preserve_external_request_id: preserve,
                strip_any_host_port: strip,
                accept_http_10: http_10,
                proxy_100_continue,
                access_log,
            },
        )
        .boxed()
}

fn value_match() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        Just(ValueMatch::Present),
        (string_match(), any::<bool>()).prop_map(|(value, ignore_case)| ValueMatch::String { value, ignore_case }),
    ]
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let path = prop_oneof![
        text().prop_map(PathMatch::Prefix),
        text().prop_map(PathMatch::Exact),
        text().prop_map(PathMatch::SegmentPrefix),
        text().prop_map(PathMatch::Regex),
        Just(PathMatch::Connect),
    ];
    let header = (word(), value_match(), any::<bool>(), any::<bool>())
        .prop_map(|(name, matches, invert, absent_is_empty)| HeaderMatch { name, matches, invert, absent_is_empty });
    let query = (text(), value_match()).prop_map(|(name, matches)| QueryMatch { name, matches });
    (path, any::<bool>(), vec(header, 0..3), vec(query, 0..2), of(share()), any::<bool>()).prop_map(
        |(path, ignore_case, headers, query, fraction, grpc_only)| RouteMatch {
            path,
            ignore_case,
            headers,
            query,
            fraction,
            grpc_only,
        },
    )
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    let back = (of(duration()), of(duration()));
    let hosts = (any::<bool>(), any::<u32>(), of(0u32..1 << 31));
    (words(), any::<u32>(), of(duration()), vec(any::<u16>(), 0..3), hosts, back).prop_map(
        |(on, attempts, per_try_timeout, codes, (previous, most, priorities), (base, max))| RetryPolicy {
            on,
            attempts,
            per_try_timeout,
            retriable_status_codes: codes,
            previous_hosts: previous,
            previous_hosts_max_attempts: most,
            previous_priorities: priorities,
            backoff_base: base,
            backoff_max: max,
        },
    )
}

fn hash() -> impl Strategy<Value = HashPolicy> {
    let kind = prop_oneof![
        word().prop_map(HashKind::Header),
        (word(), word(), of(duration()), pairs())
            .prop_map(|(name, path, ttl, attributes)| { HashKind::Cookie { name, path, ttl, attributes } }),
        Just(HashKind::SourceIp),
        word().prop_map(HashKind::Query),
    ];
    (kind, any::<bool>()).prop_map(|(kind, terminal)| HashPolicy { kind, terminal })
}

fn weighted() -> impl Strategy<Value = WeightedCluster> {
    (word(), any::<u32>(), edits(), edits(), of(word())).prop_map(
        |(name, weight, request_headers, response_headers, host_rewrite)| WeightedCluster {
            name,
            weight,
            request_headers,
            response_headers,
            host_rewrite,
        },
    )
}

fn forward() -> BoxedStrategy<Forward> {
    let whole = word().prop_map(|name| vec![WeightedCluster { name, weight: 100, ..Default::default() }]);
    let clusters = prop_oneof![whole, vec(weighted(), 1..3)];
    let rewrite = prop_oneof![
        Just(PathRewrite::None),
        text().prop_map(PathRewrite::Prefix),
        (text(), text()).prop_map(|(regex, substitution)| PathRewrite::Regex { regex, substitution }),
        text().prop_map(PathRewrite::Full),
    ];
    // One or the other.
    let host = prop_oneof![Just((None, false)), Just((None, true)), text().prop_map(|host| (Some(host), false)),];
    let mirror = (word(), share()).prop_map(|(cluster, share)| Mirror { cluster, share });
    // 503 is what is meant where nothing is said.
    let not_found = prop_oneof![Just(None), Just(Some(404)), Just(Some(500))];
    let d = || of(duration());
    let times = (d(), d(), d(), d());
    let rest = (of(retry()), vec(hash(), 0..3), vec(mirror, 0..2), not_found);
    (clusters, rewrite, host, times, rest)
        .prop_map(
            |(
                clusters,
                rewrite,
                (host_rewrite, auto_host_rewrite),
                (timeout, grpc_timeout_max, idle_timeout, max_grpc_timeout),
                (retry, hash, mirrors, cluster_not_found_status),
            )| Forward {
                clusters,
                rewrite,
                host_rewrite,
                auto_host_rewrite,
                timeout,
                grpc_timeout_max,
                idle_timeout,
                retry,
                hash,
                mirrors,
                cluster_not_found_status,
                max_grpc_timeout,
            },
        )
        .boxed()
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let status = prop_oneof![Just(301u16), Just(302), Just(303), Just(307), Just(308)];
    let path = prop_oneof![
        Just(RedirectPath::Keep),
        text().prop_map(RedirectPath::Full),
        text().prop_map(RedirectPath::Prefix),
        (text(), text()).prop_map(|(regex, substitution)| RedirectPath::Regex { regex, substitution }),
    ];
    (status, of(word()), of(text()), of(1u16..), path, any::<bool>()).prop_map(
        |(status, scheme, authority, port, path, strip_query)| Redirect {
            status,
            scheme,
            authority,
            port,
            path,
            strip_query,
        },
    )
}

fn action() -> BoxedStrategy<RouteAction> {
    prop_oneof![
        4 => forward().prop_map(|f| RouteAction::Forward(Box::new(f))),
        1 => redirect().prop_map(RouteAction::Redirect),
        1 => (any::<u16>(), vec(any::<u8>(), 0..16))
            .prop_map(|(status, body)| RouteAction::Respond(DirectResponse { status, body })),
        1 => text().prop_map(RouteAction::Opaque),
    ]
    .boxed()
}

fn fault() -> impl Strategy<Value = Fault> {
    let abort = prop_oneof![any::<u16>().prop_map(Abort::Http), any::<u32>().prop_map(Abort::Grpc)];
    (of((share(), duration())), of((share(), abort))).prop_map(|(delay, abort)| Fault { delay, abort })
}

fn cors() -> impl Strategy<Value = Cors> {
    // Envoy has the age in whole seconds.
    let age = (0u64..1_000_000).prop_map(Duration::from_secs);
    let b = || of(any::<bool>());
    (vec(string_match(), 0..3), words(), words(), words(), of(age), b(), b()).prop_map(
        |(origins, methods, headers, expose, max_age, credentials, preflights)| Cors {
            allow_origins: origins,
            allow_methods: methods,
            allow_headers: headers,
            expose_headers: expose,
            max_age,
            allow_credentials: credentials,
            forward_not_matching_preflights: preflights,
        },
    )
}

fn route() -> BoxedStrategy<Route> {
    // A map on the wire: each filter once, in order of its name.
    let opaque = vec(opaque(), 0..3).prop_map(|filters| {
        let by_name: BTreeMap<_, _> = filters.into_iter().map(|f| (f.name.clone(), f)).collect();
        by_name.into_values().collect::<Vec<_>>()
    });
    let name = || prop_oneof![Just(String::new()), word()];
    let rest = (of(origin()), name(), name(), opaque);
    (name(), route_match(), action(), of(fault()), of(cors()), edits(), edits(), rest)
        .prop_map(
            |(
                name,
                matches,
                action,
                fault,
                cors,
                request_headers,
                response_headers,
                (origin, stat_prefix, operation, opaque_filters),
            )| Route {
                name,
                matches,
                action,
                fault,
                cors,
                request_headers,
                response_headers,
                origin,
                stat_prefix,
                operation,
                opaque_filters,
            },
        )
        .boxed()
}

pub(crate) fn virtual_host() -> BoxedStrategy<VirtualHost> {
    let tls = prop_oneof![Just(RequireTls::None), Just(RequireTls::ExternalOnly), Just(RequireTls::All)];
    (word(), words(), vec(route(), 0..3), tls, any::<bool>(), edits(), edits(), of(origin()))
        .prop_map(|(name, domains, routes, require_tls, count, request, response, origin)| VirtualHost {
            name,
            domains,
            routes,
            require_tls,
            include_request_attempt_count: count,
            request_headers: request,
            response_headers: response,
            origin,
        })
        .boxed()
}

pub(crate) fn routes() -> BoxedStrategy<RouteConfig> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), of(any::<u32>()));
    (word(), vec(virtual_host(), 0..3), flags, edits(), edits())
        .prop_map(|(name, virtual_hosts, (vhds, validate, ignore_port, max), request, response)| RouteConfig {
            name,
            virtual_hosts: virtual_hosts.into_iter().map(Into::into).collect(),
            vhds,
            validate_clusters: validate,
            ignore_port_in_host: ignore_port,
            max_direct_response_body_bytes: max,
            request_headers: request,
            response_headers: response,
        })
        .boxed()
}
