//! `amime config endpoints`: from a proxy's `/clusters` with their health there, else as they were sent.

use super::table::Table;
use super::view::Seen;
use amime_model::config::{ClusterEndpoints, Discovery, EndpointAddress, Health};
use amime_xds::intern::Decoded;
use serde_json::Value;

/// Which endpoints are shown.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Endpoints")]
pub(crate) struct Filter {
    /// Only this address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,

    /// Only this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    /// Only this cluster (outbound|80||reviews.default.svc.cluster.local)
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,

    /// Only with this status
    #[arg(long, value_name = "STATUS", ignore_case = true,
        value_parser = ["HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED", "UNKNOWN"])]
    pub(crate) status: Option<String>,
}

/// One endpoint of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    address: String,
    port: Option<u16>,
    cluster: String,
    status: &'static str,
    /// Whether outlier detection has put it out; None where nobody knows.
    ejected: Option<bool>,
    weight: u64,
    locality: String,
    /// 0 is tried first.
    priority: u64,
    workload: String,
}

impl Row {
    pub(crate) fn wanted(&self, filter: &Filter) -> bool {
        filter.address.as_ref().is_none_or(|a| self.address.eq_ignore_ascii_case(a))
            && filter.port.is_none_or(|port| self.port == Some(port))
            && filter.cluster.as_ref().is_none_or(|c| self.cluster.eq_ignore_ascii_case(c))
            && filter.status.as_ref().is_none_or(|s| self.status.eq_ignore_ascii_case(s))
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    fn endpoint(&self) -> String {
        match self.port {
            Some(port) if self.address.contains(':') => format!("[{}]:{port}", self.address),
            Some(port) => format!("{}:{port}", self.address),
            None => self.address.clone(),
        }
    }
}

/// As they were sent: clusters' own and those by EDS.
pub(crate) fn of_dump(clusters: &[Seen<'_>], assignments: &[Seen<'_>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut own = Vec::new();
    for seen in clusters {
        if let Some(cluster) = super::clusters::cluster(seen)
            && let Discovery::Static(endpoints) | Discovery::StrictDns(endpoints) | Discovery::LogicalDns(endpoints) =
                &cluster.discovery
        {
            own.extend([cluster.name.as_str(), endpoints.cluster.as_str()]);
            add(&cluster.name, endpoints, &mut rows);
        }
    }
    for seen in assignments {
        if let Some(Decoded::Endpoints(endpoints)) = &seen.decoded
            && !(seen.dumped.fixed && own.contains(&endpoints.cluster.as_str()))
        {
            add(&endpoints.cluster, endpoints, &mut rows);
        }
    }
    rows
}

fn add(cluster: &str, endpoints: &ClusterEndpoints, rows: &mut Vec<Row>) {
    for place in &endpoints.localities {
        let locality = [&place.locality.region, &place.locality.zone, &place.locality.sub_zone];
        let locality = locality.into_iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join("/");
        for endpoint in &place.endpoints {
            let (address, port) = match &endpoint.address {
                EndpointAddress::Socket(address) => (address.ip().to_string(), Some(address.port())),
                EndpointAddress::Name { host, port } => (host.clone(), Some(*port)),
                EndpointAddress::Pipe(path) => (format!("unix://{path}"), None),
                EndpointAddress::Internal { listener, endpoint_id } => {
                    (format!("envoy://{listener}/{endpoint_id}"), None)
                }
            };
            let workload = &endpoint.workload;
            rows.push(Row {
                address,
                port,
                cluster: cluster.to_owned(),
                status: status(endpoint.health),
                ejected: None,
                weight: endpoint.weight.into(),
                locality: locality.clone(),
                priority: place.priority.into(),
                workload: match workload.workload.as_str() {
                    "" => String::new(),
                    name => format!("{name}.{}", workload.namespace),
                },
            });
        }
    }
}

/// What nobody has said otherwise of is healthy.
fn status(health: Health) -> &'static str {
    match health {
        Health::Unknown | Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
        Health::Draining => "DRAINING",
        Health::Timeout => "TIMEOUT",
        Health::Degraded => "DEGRADED",
    }
}

/// As a proxy sees them (`/clusters?format=json`, envoy.admin.v3.Clusters).
pub(crate) fn of_admin(clusters: &Value) -> Vec<Row> {
    let list = |value: &'_ Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for cluster in list(clusters, "cluster_statuses") {
        let name = cluster["name"].as_str().unwrap_or_default();
        for host in list(&cluster, "host_statuses") {
            let (address, port) = host_address(&host["address"]);
            let health = &host["health_status"];
            let word = health["eds_health_status"].as_str().unwrap_or("HEALTHY");
            let checks = ["failed_active_health_check", "failed_active_degraded_check"];
            let failed = checks.iter().any(|check| health[check] == true);
            let known = ["UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED", "UNKNOWN"];
            let status = match known.iter().find(|status| **status == word) {
                Some(status) => status,
                None if failed => "UNHEALTHY",
                None => "HEALTHY",
            };
            let place = &host["locality"];
            let parts = ["region", "zone", "sub_zone"].map(|part| place[part].as_str().unwrap_or_default());
            rows.push(Row {
                address,
                port,
                cluster: name.to_owned(),
                status,
                ejected: Some(health["failed_outlier_check"] == true),
                weight: host["weight"].as_u64().unwrap_or(1),
                locality: parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/"),
                priority: host["priority"].as_u64().unwrap_or_default(),
                workload: String::new(),
            });
        }
    }
    rows
}

fn host_address(address: &Value) -> (String, Option<u16>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(socket) = address.get("socket_address") {
        let port = socket["port_value"].as_u64().and_then(|port| u16::try_from(port).ok());
        return (text(&socket["address"]), Some(port.unwrap_or_default()));
    }
    if let Some(pipe) = address.get("pipe") {
        return (format!("unix://{}", text(&pipe["path"])), None);
    }
    match address.get("envoy_internal_address") {
        Some(internal) => {
            (format!("envoy://{}/{}", text(&internal["server_listener_name"]), text(&internal["endpoint_id"])), None)
        }
        None => ("unknown".to_owned(), None),
    }
}

pub(crate) fn table(mut rows: Vec<Row>, verbose: bool) -> Table {
    let more: &[&str] = if verbose { &["WEIGHT", "LOCALITY", "PRIORITY", "WORKLOAD"] } else { &[] };
    let mut table =
        Table::new(["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"].into_iter().chain(more.iter().copied()));
    rows.sort();
    for row in rows {
        let outlier = match row.ejected {
            Some(true) => "FAILED",
            Some(false) => "OK",
            None => "-",
        };
        let mut cells = vec![row.endpoint(), row.status.to_owned(), outlier.to_owned(), row.cluster];
        if verbose {
            cells.extend([row.weight.to_string(), row.locality, row.priority.to_string(), row.workload]);
        }
        table.push(cells);
    }
    table
}
