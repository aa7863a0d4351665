//! Metrics of a proxy: what its workers have counted, put together and named when somebody asks.

use super::counters::{Counters, HttpCounts, Key, NO_STATUS, TcpCounts};
use super::exposition::{Exposition, Labels};
use super::labels::{Service, Workload};
use super::totals::ClusterTotals;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one worker gives of its counters.
#[derive(Default)]
pub(crate) struct Portion {
    http: Vec<(Ends, HttpCounts)>,
    tcp: Vec<(Ends, TcpCounts)>,
    /// By cluster name.
    pub(crate) clusters: Vec<(Arc<str>, ClusterTotals)>,
}

struct Ends {
    key: Key,
    peer: Arc<Workload>,
    service: Arc<Service>,
}

impl Portion {
    pub(crate) fn of(counters: &Counters) -> Self {
        counters.read(|tables| {
            let ends = |key: &Key| {
                let (peer, service) = tables.ends_of(key);
                Ends { key: *key, peer, service }
            };
            Self {
                http: tables.http().iter().map(|(key, counts)| (ends(key), counts.clone())).collect(),
                tcp: tables.tcp().iter().map(|(key, counts)| (ends(key), counts.clone())).collect(),
                clusters: Vec::new(),
            }
        })
    }
}

/// All workers' counts by their labels.
#[derive(Default)]
pub(crate) struct Gathered {
    http: BTreeMap<String, HttpCounts>,
    grpc: BTreeMap<String, (u64, u64)>,
    tcp: BTreeMap<String, TcpCounts>,
    pub(crate) clusters: BTreeMap<Arc<str>, ClusterTotals>,
}

impl Gathered {
    pub(crate) fn add(&mut self, own: &Workload, portion: Portion) {
        for (ends, counts) in portion.http {
            let is_grpc = ends.key.kind.grpc;
            let labels = labels(own, &ends, true);
            if is_grpc {
                let messages = self.grpc.entry(labels.clone()).or_default();
                messages.0 += counts.request_messages;
                messages.1 += counts.response_messages;
            }
            let sum = self.http.entry(labels).or_default();
            sum.requests += counts.requests;
            sum.milliseconds.add(&counts.milliseconds);
            sum.request_bytes.add(&counts.request_bytes);
            sum.response_bytes.add(&counts.response_bytes);
        }
        for (ends, counts) in portion.tcp {
            let sum = self.tcp.entry(labels(own, &ends, false)).or_default();
            sum.opened += counts.opened;
            sum.closed += counts.closed;
            sum.received += counts.received;
            sum.sent += counts.sent;
        }
        for (name, totals) in portion.clusters {
            self.clusters.entry(name).or_default().add(&totals);
        }
    }

    /// Istio's standard metrics.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let http = || self.http.iter().map(|(labels, counts)| (labels.as_str(), counts));
        text.counters("istio_requests_total", http().map(|(labels, counts)| (labels, counts.requests)));
        text.histograms("istio_request_duration_milliseconds", http().map(|(l, counts)| (l, &counts.milliseconds)));
        text.histograms("istio_request_bytes", http().map(|(l, counts)| (l, &counts.request_bytes)));
        text.histograms("istio_response_bytes", http().map(|(l, counts)| (l, &counts.response_bytes)));
        let grpc = || self.grpc.iter().map(|(labels, counts)| (labels.as_str(), counts));
        text.counters("istio_request_messages_total", grpc().map(|(labels, counts)| (labels, counts.0)));
        text.counters("istio_response_messages_total", grpc().map(|(labels, counts)| (labels, counts.1)));
        let tcp = || self.tcp.iter().map(|(labels, counts)| (labels.as_str(), counts));
        text.counters("istio_tcp_connections_opened_total", tcp().map(|(labels, counts)| (labels, counts.opened)));
        text.counters("istio_tcp_connections_closed_total", tcp().map(|(labels, counts)| (labels, counts.closed)));
        text.counters("istio_tcp_received_bytes_total", tcp().map(|(labels, counts)| (labels, counts.received)));
        text.counters("istio_tcp_sent_bytes_total", tcp().map(|(labels, counts)| (labels, counts.sent)));
    }
}

/// Istio's labels, in the order in which Istio's proxies print them.
fn labels(own: &Workload, ends: &Ends, http: bool) -> String {
    let Ends { key, peer, service } = ends;
    let destination = key.kind.destination;
    let (from, to) = if destination { (&**peer, own) } else { (own, &**peer) };
    let known = |text: &str, else_: &str| if text.is_empty() { else_.to_owned() } else { text.to_owned() };
    let unknown = |text: &str| known(text, "unknown");
    // Where no cluster tells the service, the proxy in front of it is asked.
    let fallback = if destination { own.canonical_service.as_str() } else { "" };
    let mut labels = Labels::default()
        .with("reporter", if destination { "destination" } else { "source" })
        .with("source_workload", &unknown(&from.workload))
        .with("source_canonical_service", &unknown(&from.canonical_service))
        .with("source_canonical_revision", &known(&from.canonical_revision, "latest"))
        .with("source_workload_namespace", &unknown(&from.namespace))
        .with("source_principal", &unknown(&from.principal))
        .with("source_app", &unknown(&from.app))
        .with("source_version", &unknown(&from.version))
        .with("source_cluster", &unknown(&from.cluster))
        .with("destination_workload", &unknown(&to.workload))
        .with("destination_workload_namespace", &unknown(&to.namespace))
        .with("destination_principal", &unknown(&to.principal))
        .with("destination_app", &unknown(&to.app))
        .with("destination_version", &unknown(&to.version))
        .with("destination_service", &unknown(&known(&service.host, fallback)))
        .with("destination_canonical_service", &unknown(&to.canonical_service))
        .with("destination_canonical_revision", &known(&to.canonical_revision, "latest"))
        .with("destination_service_name", &unknown(&known(&service.name, fallback)))
        .with("destination_service_namespace", &unknown(&known(&service.namespace, &to.namespace)))
        .with("destination_cluster", &unknown(&to.cluster));
    labels = if http {
        let grpc = if key.grpc_status == NO_STATUS { String::new() } else { key.grpc_status.to_string() };
        labels
            .with("request_protocol", if key.kind.grpc { "grpc" } else { "http" })
            .with("response_code", &key.status.to_string())
            .with("grpc_response_status", if key.kind.grpc { &grpc } else { "" })
    } else {
        labels.with("request_protocol", "tcp")
    };
    // Only the server's side sees whether the client showed a certificate.
    labels
        .with("response_flags", &key.flags.to_string())
        .with("connection_security_policy", if destination { "none" } else { "unknown" })
        .into_text()
}
