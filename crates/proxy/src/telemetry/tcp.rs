//! How a TCP connection is counted: when it has reached its upstream, as its bytes move, and when it ends. The TCP
//! proxy calls it.

use super::RequestRecord;
use super::access_log::Entry;
use super::counters::{Flow, Key, Kind, NO_STATUS};
use super::http::nobodys;
use super::labels::{Service, Workload};
use crate::balance::Host;
use crate::balance::host::pipe;
use crate::cluster::ClusterLocal;
use crate::flags::Flags;
use crate::proxy_worker::ProxyWorker;
use crate::runtime::ListenerRuntime;
use amime_model::config::Direction;
use std::rc::Rc;

/// A connection while it is counted.
pub(crate) struct Counted {
    proxy: Rc<ProxyWorker>,
    key: Key,
    /// From when the upstream was reached.
    flow: Option<Rc<Flow>>,
}

impl Counted {
    pub(crate) fn new(proxy: &Rc<ProxyWorker>, listener: &ListenerRuntime) -> Self {
        let destination = listener.config.direction == Direction::Inbound;
        let kind = Kind { destination, grpc: false };
        let key = Key { peer: 0, service: 0, flags: Flags::NONE, status: 0, grpc_status: NO_STATUS, kind };
        Self { proxy: Rc::clone(proxy), key, flow: None }
    }

    pub(crate) fn chosen(&mut self, cluster: &ClusterLocal) {
        let counters = &self.proxy.counters;
        self.key.service = counters.service(&cluster.number, || match &cluster.config.service {
            Some(service) => Service::of_cluster(service),
            None => Service { name: nobodys(&cluster.shared.name).to_owned(), ..Service::default() },
        });
    }

    /// The upstream was reached, or no more is tried (None).
    pub(crate) fn connected(&mut self, host: Option<&Host>) -> Rc<Flow> {
        if let (false, Some(host)) = (self.key.kind.destination, host)
            && let Some(endpoint) = &host.endpoint
        {
            let who = || Workload::of_endpoint(&endpoint.workload);
            self.key.peer = self.proxy.counters.peer(&host.number, who);
        }
        let flow = self.proxy.counters.open(self.key, self.proxy.shared.settings.metrics);
        self.flow = Some(Rc::clone(&flow));
        flow
    }

    /// The connection has ended.
    pub(crate) fn end(mut self, flags: Flags) -> Rc<Flow> {
        let flow = match self.flow.take() {
            Some(flow) => flow,
            None => {
                self.key.flags = flags;
                self.connected(None)
            }
        };
        if self.proxy.shared.settings.metrics {
            self.proxy.counters.close(&flow, flags);
        }
        flow
    }
}

/// A connection as a log tells of it.
pub(crate) fn entry<'a>(record: &'a RequestRecord, server_name: Option<&'a str>, chain: &'a str) -> Entry<'a> {
    let endpoint = record.upstream.as_ref().and_then(|upstream| upstream.endpoint.as_ref());
    Entry {
        started: record.started,
        duration: record.duration,
        request_duration: None,
        response_duration: None,
        protocol: None,
        status: record.status,
        grpc_status: None,
        flags: record.flags,
        details: record.details,
        transport_failure: record.transport_failure,
        received: record.bytes_received,
        sent: record.bytes_sent,
        request_head: 0,
        response_head: 0,
        attempts: record.attempts,
        upstream: record.upstream.as_ref().map(|upstream| upstream.address),
        upstream_local: record.upstream_local,
        upstream_pipe: endpoint.and_then(|endpoint| pipe(endpoint)).unwrap_or(""),
        upstream_name: endpoint.map_or("", |endpoint| &endpoint.hostname),
        cluster: record.cluster.as_deref().unwrap_or(""),
        downstream: record.downstream,
        server_name: server_name.unwrap_or(""),
        route: "",
        chain,
        kept: None,
    }
}
