//! Configuration as text that people can read and compare: what differs from the usual, one thing a line.

use amime_model::config::*;
use amime_model::translate::Translation;
use std::fmt::{Debug, Write};
use std::time::Duration;

pub(crate) fn write(out: &mut String, translation: &Translation) {
    let config = &translation.config;
    config.listeners.values().for_each(|l| listener(out, l));
    config.routes.values().for_each(|r| routes(out, r, ""));
    config.clusters.values().for_each(|c| cluster(out, c));
    for endpoints in config.endpoints.values() {
        line(out, &format!("endpoints {}: {}", endpoints.cluster, addresses(endpoints)));
    }
    config.secrets.values().for_each(|s| line(out, &format!("secret {s:?}")));
    for exclusion in &translation.exclusions {
        line(out, &format!("left out: {}: {}", exclusion.origin, exclusion.reason));
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{}", text.trim_end()).expect("text");
}

fn listener(out: &mut String, l: &Listener) {
    let mut text = format!("listener {} {}", l.name, l.address);
    l.additional_addresses.iter().for_each(|a| write!(text, " {a}").expect("text"));
    text.push_str(if l.bind_to_port { " bound" } else { "" });
    text.push_str(if l.use_original_dst { " by original destination" } else { "" });
    l.listener_filters.iter().for_each(|f| write!(text, " {f:?}").expect("text"));
    if let Some(timeout) = l.listener_filters_timeout {
        write!(text, " wait {timeout:?}").expect("text");
    }
    line(out, &text);
    l.filter_chains.iter().for_each(|c| chain(out, "chain", c));
    l.default_filter_chain.iter().for_each(|c| chain(out, "else", c));
}

fn chain(out: &mut String, word: &str, c: &FilterChain) {
    let m = &c.matches;
    let mut text = format!("  {word}");
    let mut say = |key: &str, value: String| {
        if !value.is_empty() {
            write!(text, " {key} {value}").expect("text");
        }
    };
    say("port", m.destination_port.map(|p| p.to_string()).unwrap_or_default());
    say("to", m.prefix_ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    say("sni", m.server_names.join(","));
    say("transport", m.transport_protocol.clone());
    say("alpn", m.application_protocols.join(","));
    if let Some(tls) = &c.tls {
        let client = if tls.require_client_certificate { " client" } else { "" };
        say("tls", format!("{}{client}", tls.certificates.join(",")));
    }
    for filter in &c.filters {
        match filter {
            NetworkFilter::Http(manager) => {
                let RouteSource::Rds(name) = &manager.routes else {
                    line(out, &format!("{text}: http {}", manager.stat_prefix));
                    if let RouteSource::Inline(config) = &manager.routes {
                        routes(out, config, "    ");
                    }
                    return;
                };
                let dynamic = manager.http_filters.iter().any(|f| matches!(f, HttpFilter::DynamicForwardProxy(_)));
                let names = if dynamic { " with names looked up" } else { "" };
                write!(text, ": http routes {name}{names}").expect("text");
            }
            NetworkFilter::Tcp(proxy) => {
                let clusters: Vec<_> = proxy.clusters.iter().map(|c| format!("{}={}", c.name, c.weight)).collect();
                write!(text, ": tcp {}{}", clusters.join(" "), by(proxy.origin.as_ref())).expect("text");
            }
            other => write!(text, ": {other:?}").expect("text"),
        }
    }
    line(out, &text);
}

fn by(origin: Option<&Origin>) -> String {
    origin.map(|o| format!(" by {o}")).unwrap_or_default()
}

fn routes(out: &mut String, config: &RouteConfig, indent: &str) {
    let checked = if config.validate_clusters { " with their clusters" } else { "" };
    line(out, &format!("{indent}routes {}{checked}", config.name));
    for host in &config.virtual_hosts {
        let tls = if host.require_tls == RequireTls::All { " https only" } else { "" };
        line(out, &format!("{indent}  host {} [{}]{tls}", host.name, host.domains.join(" ")));
        host.routes.iter().for_each(|r| route(out, r, indent));
    }
}

fn route(out: &mut String, r: &Route, indent: &str) {
    let mut text = format!("{indent}    {:?}", r.matches.path);
    if r.matches.ignore_case {
        text.push_str(" in any case");
    }
    for header in &r.matches.headers {
        let not = if header.invert { "not " } else { "" };
        write!(text, " {not}{} {:?}", header.name, header.matches).expect("text");
    }
    for query in &r.matches.query {
        write!(text, " ?{} {:?}", query.name, query.matches).expect("text");
    }
    write!(text, " -> {}", action(&r.action)).expect("text");
    edits(&mut text, "request", &r.request_headers);
    edits(&mut text, "response", &r.response_headers);
    if let Some(fault) = &r.fault {
        write!(text, " {fault:?}").expect("text");
    }
    if let Some(cors) = &r.cors {
        write!(text, " {cors:?}").expect("text");
    }
    text.push_str(&by(r.origin.as_ref()));
    if !r.name.is_empty() {
        write!(text, " called {}", r.name).expect("text");
    }
    line(out, &text);
}

fn action(action: &RouteAction) -> String {
    let RouteAction::Forward(forward) = action else { return format!("{action:?}") };
    let clusters: Vec<_> = forward
        .clusters
        .iter()
        .map(|c| {
            let mut text = format!("{}={}", c.name, c.weight);
            edits(&mut text, "request", &c.request_headers);
            edits(&mut text, "response", &c.response_headers);
            text
        })
        .collect();
    let mut text = clusters.join(" ");
    if forward.rewrite != PathRewrite::None {
        write!(text, " {:?}", forward.rewrite).expect("text");
    }
    if let Some(host) = &forward.host_rewrite {
        write!(text, " as {host}").expect("text");
    }
    if forward.timeout != Some(Duration::ZERO) {
        write!(text, " timeout {:?}", forward.timeout).expect("text");
    }
    match &forward.retry {
        Some(retry) => write!(text, " retry {} on {}", retry.attempts, retry.on.join(",")).expect("text"),
        None => text.push_str(" no retry"),
    }
    for hash in &forward.hash {
        write!(text, " hash {:?}", hash.kind).expect("text");
    }
    for mirror in &forward.mirrors {
        write!(text, " mirror {} {}%", mirror.cluster, mirror.share.percent()).expect("text");
    }
    text
}

fn edits(text: &mut String, side: &str, edits: &HeaderEdits) {
    let HeaderEdits { remove, set, add } = edits;
    for name in remove {
        write!(text, " {side} -{name}").expect("text");
    }
    for (name, value) in set {
        write!(text, " {side} {name}={value:?}").expect("text");
    }
    for (name, value) in add {
        write!(text, " {side} {name}+{value:?}").expect("text");
    }
}

fn cluster(out: &mut String, c: &Cluster) {
    let discovery = match &c.discovery {
        Discovery::Eds(_) => "eds".to_string(),
        Discovery::Static(e) => format!("static {}", addresses(e)),
        Discovery::StrictDns(e) => format!("dns {}", addresses(e)),
        Discovery::LogicalDns(e) => format!("first of dns {}", addresses(e)),
        Discovery::OriginalDst { .. } => "as dialled".to_string(),
        Discovery::DynamicDns(cache) => format!("as named ({})", cache.name),
        Discovery::Opaque(what) => what.clone(),
    };
    let mut text = format!("cluster {} {discovery} {:?} {:?}", c.name, c.lb, c.protocol);
    let unlimited = Some(u32::MAX);
    let limits = [
        ("connections", c.limits.max_connections),
        ("pending", c.limits.max_pending_requests),
        ("requests", c.limits.max_requests),
        ("retries", c.limits.max_retries),
    ];
    for (name, limit) in limits {
        if limit != unlimited {
            write!(text, " {name} {limit:?}").expect("text");
        }
    }
    if c.connect_timeout != Some(Duration::from_secs(10)) {
        some(&mut text, "connect", &c.connect_timeout);
    }
    some(&mut text, "budget", &c.limits.retry_budget);
    some(&mut text, "outlier", &c.outlier);
    if c.locality_weighted {
        text.push_str(" localities-by-weight");
    }
    some(&mut text, "panic", &c.panic_threshold);
    some(&mut text, "warm", &c.slow_start);
    some(&mut text, "idle", &c.idle_timeout);
    some(&mut text, "lives", &c.max_connection_duration);
    some(&mut text, "streams", &c.max_concurrent_streams);
    some(&mut text, "per-connection", &c.max_requests_per_connection);
    some(&mut text, "keepalive", &c.tcp_keepalive);
    some(&mut text, "tls", &c.tls);
    some(&mut text, "proxy-protocol", &c.proxy_protocol);
    some(&mut text, "from", &c.bind_source);
    line(out, &text);
}

fn some<T: Debug>(text: &mut String, name: &str, value: &Option<T>) {
    if let Some(value) = value {
        write!(text, " {name} {value:?}").expect("text");
    }
}

/// One locality after the other; before those that are somewhere their place, priority and weight.
fn addresses(endpoints: &ClusterEndpoints) -> String {
    let several = endpoints.localities.iter().any(|l| l.locality != Locality::default() || l.priority > 0);
    let of_locality = |l: &LocalityEndpoints| {
        let all: Vec<_> = l.endpoints.iter().map(address).collect();
        if !several {
            return all.join(", ");
        }
        let Locality { region, zone, sub_zone } = &l.locality;
        let weight = l.weight.map_or(String::new(), |weight| format!("*{weight}"));
        format!("{region}/{zone}/{sub_zone} {}{weight}: {}", l.priority, all.join(", "))
    };
    let separator = if several { "; " } else { ", " };
    endpoints.localities.iter().map(of_locality).collect::<Vec<_>>().join(separator)
}

fn address(e: &Endpoint) -> String {
    let address = match &e.address {
        EndpointAddress::Socket(address) => address.to_string(),
        EndpointAddress::Name { host, port } => format!("{host}:{port}"),
        EndpointAddress::Pipe(path) => path.clone(),
        EndpointAddress::Internal { listener, .. } => listener.clone(),
    };
    let weight = if e.weight == 1 { String::new() } else { format!("*{}", e.weight) };
    let health = if e.health.takes_requests() { "" } else { " unhealthy" };
    let workload = if e.workload.workload.is_empty() { String::new() } else { format!(" ({})", e.workload.workload) };
    format!("{address}{weight}{health}{workload}")
}
