//! `amime config clusters`: istioctl's columns, and with `--verbose` the objects behind each.

use super::table::Table;
use super::view::Seen;
use amime_model::config::{Cluster, Discovery};
use amime_xds::intern::Decoded;
use serde_json::Value;

/// Which clusters are shown.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Clusters")]
pub(crate) struct Filter {
    /// Only services whose name has this in it
    #[arg(long, value_name = "HOST")]
    pub(crate) fqdn: Option<String>,

    /// Only this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    /// Only this subset
    #[arg(long, value_name = "SUBSET")]
    pub(crate) subset: Option<String>,

    /// Only this direction
    #[arg(long, value_name = "DIRECTION", value_parser = ["inbound", "outbound"])]
    pub(crate) direction: Option<String>,
}

/// What Istio's name of a cluster says: `outbound|80|v1|reviews.default.svc.cluster.local`.
struct Name<'a> {
    direction: &'a str,
    port: &'a str,
    subset: &'a str,
    host: &'a str,
}

impl<'a> Name<'a> {
    /// All of any other name is the host.
    fn of(name: &'a str) -> Self {
        let parts: Vec<_> = name.splitn(4, '|').collect();
        match parts.as_slice() {
            [direction, port, subset, host] => Self { direction, port, subset, host },
            _ => Self { direction: "-", port: "-", subset: "-", host: name },
        }
    }
}

pub(crate) fn wanted(seen: &Seen<'_>, filter: &Filter) -> bool {
    let name = Name::of(seen.dumped.name);
    filter.fqdn.as_deref().is_none_or(|fqdn| name.host.contains(fqdn))
        && filter.port.is_none_or(|port| name.port == port.to_string())
        && filter.subset.as_deref().is_none_or(|subset| name.subset == subset)
        && filter.direction.as_deref().is_none_or(|direction| name.direction.starts_with(direction))
}

pub(crate) fn cluster<'a>(seen: &'a Seen<'_>) -> Option<&'a Cluster> {
    match &seen.decoded {
        Some(Decoded::Cluster(cluster)) => Some(cluster),
        _ => None,
    }
}

pub(crate) fn table(seen: &[&Seen<'_>], verbose: bool) -> Table {
    let more: &[&str] = if verbose { &["ORIGIN"] } else { &[] };
    let head = ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"];
    let mut table = Table::new(head.into_iter().chain(more.iter().copied()));
    let mut sorted: Vec<_> = seen.iter().map(|seen| (Name::of(seen.dumped.name), *seen)).collect();
    sorted.sort_by_key(|(name, _)| (name.host, name.subset, name.port.parse::<u16>().ok(), name.direction));
    for (name, seen) in sorted {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        // An inbound cluster's name has no host, but it may say whose port it is.
        let service = cluster(seen).and_then(|c| c.service.as_ref()).map_or("", |s| s.host.as_str());
        let host = if name.host.is_empty() { service } else { name.host };
        let mut row = vec![dash(host), dash(name.port), dash(name.subset), dash(name.direction)];
        match cluster(seen) {
            Some(cluster) => {
                let rule = cluster.origins.iter().find(|o| o.kind == "DestinationRule");
                row.extend([type_of(cluster), super::routes::rule(rule)]);
                if verbose {
                    row.push(cluster.origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
                }
            }
            None => {
                let kind = seen.dumped.value.get("type").and_then(Value::as_str).unwrap_or("-");
                row.extend([kind.to_owned(), seen.excuse()]);
            }
        }
        table.push(row);
    }
    table
}

fn type_of(cluster: &Cluster) -> String {
    match &cluster.discovery {
        Discovery::Eds(_) => "EDS".to_owned(),
        Discovery::Static(_) => "STATIC".to_owned(),
        Discovery::StrictDns(_) => "STRICT_DNS".to_owned(),
        Discovery::LogicalDns(_) => "LOGICAL_DNS".to_owned(),
        Discovery::OriginalDst { .. } => "ORIGINAL_DST".to_owned(),
        Discovery::DynamicDns(_) => "DYNAMIC_DNS".to_owned(),
        Discovery::Opaque(name) => name.clone(),
    }
}
