//! How clients reach destinations: what DestinationRules and services say of connections, balancing, ejection and TLS.
//! No answer shows it, so that clusters of one name are compared field by field.

use super::SettingChange;
use super::clients::Client;
use super::words::{short, span};
use crate::config::{Cluster, Discovery, LbPolicy, ProxyConfig, UpstreamTls};
use crate::translate::names::{parse_outbound, parse_passed};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Settings {
    pub changes: Vec<SettingChange>,
    known: HashMap<(String, &'static str, String, String), usize>,
}

type Words = Vec<(&'static str, String)>;

impl Settings {
    pub(super) fn compare(&mut self, client: &Client, before: &ProxyConfig, after: &ProxyConfig) {
        for (name, one) in before.clusters.iter() {
            let Some(other) = after.clusters.get(name) else { continue };
            let Some((port, subset, host)) = parse_outbound(name).or_else(|| parse_passed(name)) else { continue };
            let plain = |cluster: &Cluster| Cluster { origins: Vec::new(), ..cluster.clone() };
            if plain(one) == plain(other) {
                continue;
            }
            let destination = format!("{port} {subset}").trim_end().to_owned();
            for ((setting, was), (_, is)) in words(one).into_iter().zip(words(other)) {
                if was != is {
                    self.note(client, host, &destination, setting, (was, is));
                }
            }
        }
    }

    fn note(
        &mut self,
        client: &Client,
        host: &str,
        destination: &str,
        setting: &'static str,
        (was, is): (String, String),
    ) {
        let key = (host.to_owned(), setting, was.clone(), is.clone());
        let index = *self.known.entry(key).or_insert_with(|| {
            self.changes.push(SettingChange {
                host: host.to_owned(),
                name: short(host),
                destination: BTreeSet::new(),
                clients: BTreeSet::new(),
                setting: setting.to_owned(),
                before: was,
                after: is,
            });
            self.changes.len() - 1
        });
        self.changes[index].destination.insert(destination.to_owned());
        self.changes[index].clients.extend(client.members.iter().cloned());
    }
}

/// The same fields in the same order of every cluster.
fn words(cluster: &Cluster) -> Words {
    let time = |value: Option<Duration>, default: &str| value.map_or_else(|| default.to_owned(), span);
    let number = |value: Option<u32>| value.map_or_else(|| "default".to_owned(), |value| value.to_string());
    let limits = &cluster.limits;
    let ejection = cluster.outlier.as_ref().map_or_else(|| "off".to_owned(), debug);
    let budget = limits.retry_budget.as_ref().map_or_else(|| "none".to_owned(), debug);
    let sockets: Vec<_> = cluster
        .transport_socket_matches
        .iter()
        .map(|socket| format!("{} {}", socket.name, socket.tls.as_ref().map_or_else(|| "plaintext".to_owned(), tls)))
        .collect();
    vec![
        ("found by", discovery(&cluster.discovery)),
        ("load balancing", balancing(&cluster.lb)),
        ("weights of localities", if cluster.locality_weighted { "on" } else { "off" }.to_owned()),
        ("panic threshold", number(cluster.panic_threshold)),
        ("slow start", cluster.slow_start.as_ref().map_or_else(|| "off".to_owned(), |slow| span(slow.window))),
        ("connect timeout", time(cluster.connect_timeout, "5s")),
        ("connections", number(limits.max_connections)),
        ("pending requests", number(limits.max_pending_requests)),
        ("requests at once", number(limits.max_requests)),
        ("retries at once", number(limits.max_retries)),
        ("retry budget", budget),
        ("outlier detection", ejection),
        ("protocol", format!("{:?}", cluster.protocol)),
        ("streams of a connection", number(cluster.max_concurrent_streams)),
        ("requests of a connection", number(cluster.max_requests_per_connection)),
        ("idle timeout", time(cluster.idle_timeout, "1h")),
        ("age of connections", time(cluster.max_connection_duration, "any")),
        ("HTTP/2 keepalive", cluster.http2_keepalive.map_or_else(|| "off".to_owned(), |k| debug(&k))),
        ("TCP keepalive", cluster.tcp_keepalive.map_or_else(|| "off".to_owned(), |k| debug(&k))),
        ("TLS", cluster.tls.as_ref().map_or_else(|| "plaintext".to_owned(), tls)),
        ("TLS by endpoint", sockets.join("; ")),
        ("PROXY protocol", cluster.proxy_protocol.map_or_else(|| "off".to_owned(), |version| version.to_string())),
        ("DNS", debug(&cluster.dns)),
    ]
}

fn discovery(discovery: &Discovery) -> String {
    match discovery {
        Discovery::Eds(_) => "endpoints of the mesh".to_owned(),
        Discovery::Static(_) => "fixed addresses".to_owned(),
        Discovery::StrictDns(_) => "DNS, all addresses".to_owned(),
        Discovery::LogicalDns(_) => "DNS, one address".to_owned(),
        Discovery::OriginalDst { .. } => "the address that is dialled".to_owned(),
        Discovery::DynamicDns(_) => "DNS of the name that is asked for".to_owned(),
        Discovery::Opaque(what) => what.clone(),
    }
}

fn balancing(policy: &LbPolicy) -> String {
    match policy {
        LbPolicy::RoundRobin => "round robin".to_owned(),
        LbPolicy::LeastRequest { choices } => match choices {
            Some(choices) => format!("least request of {choices}"),
            None => "least request".to_owned(),
        },
        LbPolicy::Random => "random".to_owned(),
        LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => debug(policy),
        LbPolicy::ClusterProvided => "none".to_owned(),
    }
}

fn tls(tls: &UpstreamTls) -> String {
    let mutual = if tls.certificate.is_some() { "mutual " } else { "" };
    let sni = if tls.sni.is_empty() { String::new() } else { format!(" to {}", tls.sni) };
    let unseen = if tls.insecure { ", any certificate" } else { "" };
    let names = if tls.match_sans.is_empty() { String::new() } else { format!(", of {}", tls.match_sans.join(" ")) };
    let files =
        [&tls.certificate, &tls.validation, &tls.crl].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    format!("{mutual}TLS{sni}{names}{unseen} ({files}; {:?} to {:?})", tls.min_version, tls.max_version)
}

/// Fields that say something.
fn debug(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}").replace("Some(", "").replace(')', "");
    let (name, fields) = text.split_once(" { ").unwrap_or((&text, ""));
    if fields.is_empty() {
        return name.to_owned();
    }
    let told = fields
        .trim_end_matches(" }")
        .split(", ")
        .filter(|field| !field.ends_with(": None") && !field.ends_with(": false") && !field.ends_with(": []"));
    told.collect::<Vec<_>>().join(", ")
}
