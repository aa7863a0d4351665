//! How a request is counted and logged when it has ended. `Exchange` calls it.

use super::Ends;
use super::access_log::Entry;
use super::counters::{Key, Kind, NO_STATUS, Request};
use super::labels::{Number, Service, Workload};
use crate::balance::host::pipe;
use crate::http::exchange::Exchange;
use amime_model::config::Direction;
use std::borrow::Cow;
use std::cell::Cell;
use std::time::{Instant, SystemTime};

/// A service that only a request names, kept by its connection for the next one.
#[derive(Debug, Default)]
pub(crate) struct NamedService {
    service: Service,
    number: Cell<Number>,
}

/// Counts a request.
pub(crate) fn count(exchange: &Exchange) {
    let destination = exchange.conn.listener.config.direction == Direction::Inbound;
    let key = Key {
        peer: if destination { peer(exchange).unwrap_or(0) } else { upstream(exchange) },
        service: service(exchange, destination),
        flags: exchange.flags.get(),
        status: exchange.status.get(),
        grpc_status: exchange
            .grpc_status
            .get()
            .map_or(NO_STATUS, |status| u8::try_from(status).unwrap_or(NO_STATUS).min(NO_STATUS - 1)),
        kind: Kind { destination, grpc: exchange.grpc.get() },
    };
    exchange.conn.proxy.counters.request(&Request {
        key,
        milliseconds: u64::try_from(exchange.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        request_bytes: u64::from(exchange.request_head.get()) + exchange.received.get(),
        response_bytes: u64::from(exchange.response_head.get()) + exchange.sent.get(),
        request_messages: exchange.request_messages.count(),
        response_messages: exchange.response_messages.count(),
    });
}

/// The other end, where it said who it is.
fn peer(exchange: &Exchange) -> Option<u32> {
    let peer = exchange.peer.borrow();
    let peer = peer.as_ref()?;
    Some(exchange.conn.proxy.counters.stranger(&peer.number, || peer.workload.clone()))
}

/// The workload that a request was sent to.
fn upstream(exchange: &Exchange) -> u32 {
    if let Some(number) = peer(exchange) {
        return number;
    }
    let host = exchange.host.borrow();
    let Some((host, endpoint)) = host.as_ref().and_then(|host| Some((host, host.endpoint.as_ref()?))) else {
        return 0;
    };
    exchange.conn.proxy.counters.peer(&host.number, || Workload::of_endpoint(&endpoint.workload))
}

/// The service: what the cluster says; else, on a sidecar's way out, the host that was asked for.
fn service(exchange: &Exchange, destination: bool) -> u32 {
    let counters = &exchange.conn.proxy.counters;
    let cluster = exchange.cluster.borrow();
    if let Some(cluster) = &*cluster
        && let Some(service) = &cluster.config.service
    {
        return counters.service(&cluster.number, || Service::of_cluster(service));
    }
    let name = cluster.as_ref().map_or("", |cluster| nobodys(&cluster.shared.name));
    let edge = destination || exchange.conn.hcm.config.use_remote_address;
    let told = exchange.told.borrow();
    let host = told.authority.as_ref().filter(|_| !edge).and_then(|authority| authority.to_str().ok()).unwrap_or("");
    if host.is_empty() && name.is_empty() {
        return 0;
    }
    let name = if name.is_empty() { host } else { name };
    let mut named = exchange.conn.named.borrow_mut();
    if named.service.host != host || named.service.name != name {
        let service = Service { host: host.to_owned(), name: name.to_owned(), namespace: String::new() };
        *named = NamedService { service, number: Cell::default() };
    }
    counters.service(&named.number, || named.service.clone())
}

/// Clusters of nobody in particular are named as services are; others not.
pub(super) fn nobodys(cluster: &str) -> &str {
    match cluster {
        "BlackHoleCluster" | "PassthroughCluster" | "InboundPassthroughCluster" => cluster,
        _ => "",
    }
}

/// Logs a request.
pub(crate) fn log(exchange: &Exchange) {
    let conn = &exchange.conn;
    let Some(logs) = &conn.hcm.logs else { return };
    let (told, host, cluster) = (exchange.told.borrow(), exchange.host.borrow(), exchange.cluster.borrow());
    let route = told.rule.as_ref().and_then(|rule| {
        let host = rule.config.virtual_hosts.get(rule.virtual_host)?;
        Some(host.routes.get(rule.route)?.name.as_str())
    });
    let duration = exchange.started.elapsed();
    let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(exchange.started));
    let endpoint = host.as_ref().and_then(|host| host.endpoint.as_ref());
    let kept = exchange.kept.borrow();
    // As Envoy tells it: `upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_…}`.
    let (failure, details) = (exchange.transport_failure.get(), exchange.details.get());
    let details = match details.strip_suffix('}') {
        Some(open) if !failure.is_empty() => Cow::Owned(format!("{open}|{failure}}}")),
        _ => Cow::Borrowed(details),
    };
    let entry = Entry {
        started: SystemTime::now() - duration,
        duration,
        request_duration: since(exchange.request_done_at.get()),
        response_duration: since(exchange.answered_at.get()),
        protocol: Some(exchange.protocol),
        status: exchange.status.get(),
        grpc_status: exchange.grpc_status.get(),
        flags: exchange.flags.get(),
        details: &details,
        transport_failure: failure,
        received: exchange.received.get(),
        sent: exchange.sent.get(),
        request_head: exchange.request_head.get(),
        response_head: exchange.response_head.get(),
        attempts: exchange.attempts.get(),
        upstream: host.as_ref().map(|host| host.address),
        upstream_local: exchange.upstream_local.get(),
        upstream_pipe: endpoint.and_then(|endpoint| pipe(endpoint)).unwrap_or(""),
        upstream_name: endpoint.map_or("", |endpoint| &endpoint.hostname),
        cluster: cluster.as_ref().map_or("", |cluster| &cluster.shared.name),
        downstream: Ends { remote: exchange.remote.get(), ..conn.ends },
        server_name: conn.server_name.as_deref().unwrap_or(""),
        route: route.unwrap_or(""),
        chain: &conn.chain.chain.name,
        kept: Some(&kept),
    };
    logs.write(&entry, &conn.proxy.lines);
}
