//! All that one client can reach: which of the routes of its proxy lead to a destination, with a request for each. Where
//! the walk does not confirm a request, and it is not proved that there is none, that is said too.
//!
//! `mesh_test` asks it for invariants. The routes are those of the configuration that the proxy would run on, and every
//! request that is named has been explained.

use super::question::{OneOrMany, Question, QuestionError, Sender};
use super::verdict::{Action, Destination, Verdict};
use super::{Asked, Explainer, entry};
use crate::config::{
    Abort, FilterChain, Listener, NetworkFilter, Origin, ProxyConfig, Route, RouteAction, RouteConfig, RouteMatch,
    RouteSource,
};
use crate::route::RouteTable;
use crate::route::witness::{Found, Witness, find};
use crate::snapshot::Pod;
use crate::translate::{Interception, Node, NodeKind, Scope, SharedScope, names};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked of.
pub struct Wanted<'w> {
    pub is_it: &'w dyn Fn(&Destination) -> bool,
    /// Requests that these take do not count.
    pub but: &'w [RouteMatch],
    /// Addresses of the destination, with ports, that an application may dial itself; none where that does not count.
    pub addresses: &'w [(IpAddr, u16)],
}

/// A way to a destination.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// This request comes there.
    Open { question: Box<Question>, passed_through: bool },
    /// Nobody knows whether a request comes there by this rule.
    Unknown { rule: Option<Origin> },
}

impl Explainer<'_> {
    /// The ways up to the first that is open, from a client, who is named as in `Question::from`; `internet` is everybody at every gateway that is
    /// open to the outside.
    ///
    /// # Errors
    /// Where there is no such client.
    pub fn ways(&mut self, from: &str, wanted: &Wanted<'_>) -> Result<Vec<Way>, QuestionError> {
        let mut ways = Vec::new();
        for (proxy, kind) in self.proxies_of(from)? {
            let config = self.config_of(&proxy)?;
            let clusters = clusters(&config, wanted);
            for listener in config.listeners.values() {
                // What comes in is not the client's.
                if kind == NodeKind::Sidecar && listener.name == names::VIRTUAL_INBOUND {
                    continue;
                }
                for chain in &listener.filter_chains {
                    let looked_at = Looked { config: &config, listener, chain, clusters: &clusters, wanted };
                    ways.extend(self.ways_by(&proxy, kind, &looked_at));
                    if matches!(ways.last(), Some(Way::Open { .. })) {
                        return Ok(ways);
                    }
                }
            }
            if kind == NodeKind::Sidecar {
                ways.extend(self.by_address(&proxy, wanted));
            }
        }
        Ok(ways)
    }

    /// What decides all that a client's sidecar sends out; None for those outside. Clients of equal ones reach the same.
    ///
    /// # Errors
    /// Where there is no such client.
    pub(crate) fn shared_scope(&self, from: &str) -> Result<Option<SharedScope>, QuestionError> {
        let question = Question { from: Some(from.to_owned()), ..Question::default() };
        let pod = match question.sender()? {
            Sender::Pod(kind, namespace, name) => self.pod(kind, namespace, name)?.clone(),
            Sender::Anyone(namespace) => Arc::new(Pod::anyone_in(namespace)),
            Sender::Gateway | Sender::Internet => return Ok(None),
        };
        let node = Node::of_pod(&pod, NodeKind::Sidecar, Interception::Redirect, pod.placement().is_some());
        Ok(Some(Scope::of(self.snapshot, &node).shared))
    }

    /// A question of each proxy that the client's requests come to, without a URL of its own.
    fn proxies_of(&self, from: &str) -> Result<Vec<(Question, NodeKind)>, QuestionError> {
        let asked = |question: Question| Question { url: "http://anything.invalid/".to_owned(), ..question };
        if from != "internet" {
            let question = Question { from: Some(from.to_owned()), ..Question::default() };
            return Ok(vec![(asked(question), NodeKind::Sidecar)]);
        }
        let pods = entry::open_gateways(self.snapshot, self.ingresses);
        let at = |pod: &Pod| Some(format!("{}/{}", pod.namespace, pod.name));
        Ok(pods
            .into_iter()
            .map(|pod| (asked(Question { at: at(pod), ..Question::default() }), NodeKind::Gateway))
            .collect())
    }

    fn config_of(&mut self, proxy: &Question) -> Result<ProxyConfig, QuestionError> {
        // Of whom an address is dialled does not matter here.
        let question = Question { address: Some(NOBODY.to_owned()), ..proxy.clone() };
        match self.asked(&question)? {
            Asked::Proxy(asked) => Ok(asked.translation.config.clone()),
            Asked::Nowhere { .. } => Err(QuestionError::NoGateway),
        }
    }

    fn ways_by(&mut self, proxy: &Question, kind: NodeKind, looked: &Looked<'_>) -> Vec<Way> {
        match looked.chain.filters.last() {
            Some(NetworkFilter::Http(manager)) => {
                let routes = match &manager.routes {
                    RouteSource::Inline(routes) => Some(routes.clone()),
                    RouteSource::Rds(name) => looked.config.routes.get(name.as_str()).cloned(),
                };
                routes.map(|routes| self.http(proxy, kind, looked, &routes)).unwrap_or_default()
            }
            Some(NetworkFilter::Tcp(tcp)) => {
                let leads = tcp.clusters.iter().any(|c| c.weight > 0 && looked.clusters.contains(&*c.name));
                if leads { vec![self.tcp(proxy, looked, tcp.origin.as_ref())] } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    fn http(&mut self, proxy: &Question, kind: NodeKind, looked: &Looked<'_>, routes: &Arc<RouteConfig>) -> Vec<Way> {
        let mut ways = Vec::new();
        let mut table = None;
        for (host_index, host) in routes.virtual_hosts.iter().enumerate() {
            for (index, route) in host.routes.iter().enumerate().filter(|(_, route)| looked.leads(route)) {
                let unknown = || Way::Unknown { rule: route.origin.clone().or_else(|| host.origin.clone()) };
                // Most routes lead elsewhere: a table is made where one is wanted.
                let table = table.get_or_insert_with(|| RouteTable::compile(Arc::clone(routes)).ok());
                let scheme = if looked.chain.tls.is_some() { "https" } else { "http" };
                let found = match table {
                    Some(table) => find(table, host_index, index, scheme, looked.wanted.but),
                    None => Found::Unknown,
                };
                ways.extend(match found {
                    Found::Covered => None,
                    Found::Unknown => Some(unknown()),
                    Found::Taken(witness) => {
                        let mut questions = looked.questions(proxy, kind, &witness, scheme).into_iter();
                        let open = questions.find_map(|question| self.confirmed(question, looked.wanted));
                        if let Some(open) = open {
                            return vec![open];
                        }
                        Some(unknown())
                    }
                });
            }
        }
        ways
    }

    fn tcp(&mut self, proxy: &Question, looked: &Looked<'_>, rule: Option<&Origin>) -> Way {
        let port = looked.port();
        let names = &looked.chain.matches.server_names;
        let question = match names.first() {
            Some(name) => {
                let name = name.strip_prefix("*.").map_or_else(|| name.clone(), |rest| format!("anything.{rest}"));
                Question { url: format!("https://{name}:{port}/"), ..looked.addressed(proxy) }
            }
            None => Question { url: format!("tcp://anything.invalid:{port}"), ..looked.addressed(proxy) },
        };
        let unknown = || Way::Unknown { rule: rule.cloned() };
        self.confirmed(question, looked.wanted).unwrap_or_else(unknown)
    }

    /// An application may dial an address that no listener has.
    fn by_address(&mut self, proxy: &Question, wanted: &Wanted<'_>) -> Option<Way> {
        wanted.addresses.iter().find_map(|(ip, port)| {
            let url = format!("tcp://{}:{port}", std::net::SocketAddr::new(*ip, *port).ip());
            let question = Question { url, address: Some(ip.to_string()), ..proxy.clone() };
            let verdict = self.explain(&question).ok()?;
            (verdict.action == Action::Passthrough)
                .then(|| Way::Open { question: Box::new(question), passed_through: true })
        })
    }

    /// None: it does not come there.
    fn confirmed(&mut self, question: Question, wanted: &Wanted<'_>) -> Option<Way> {
        let verdict: Verdict = self.explain(&question).ok()?;
        let mirrored = verdict.mirrors.iter().map(|to| Destination {
            host: to.host.clone(),
            port: to.port,
            subset: to.subset.clone(),
            weight: 100,
            state: to.state,
            passed: false,
            request: None,
            response: None,
        });
        let reaches =
            verdict.destinations.iter().any(wanted.is_it) || mirrored.into_iter().any(|to| (wanted.is_it)(&to));
        reaches.then(|| Way::Open { question: Box::new(question), passed_through: false })
    }
}

/// Of nobody (RFC 5737, TEST-NET-1).
const NOBODY: &str = "192.0.2.1";

/// The clusters that are the destination.
fn clusters(config: &ProxyConfig, wanted: &Wanted<'_>) -> BTreeSet<String> {
    let is_it = |name: &&str| (wanted.is_it)(&Destination::of(config, name, 1));
    config.clusters.values().map(|cluster| &*cluster.name).filter(is_it).map(str::to_owned).collect()
}

/// One filter chain, with what is looked for.
struct Looked<'l> {
    config: &'l ProxyConfig,
    listener: &'l Listener,
    chain: &'l FilterChain,
    clusters: &'l BTreeSet<String>,
    wanted: &'l Wanted<'l>,
}

impl Looked<'_> {
    /// Whether some of the route's requests, or copies of them, go there.
    fn leads(&self, route: &Route) -> bool {
        let always_fails =
            route.fault.as_ref().and_then(|fault| fault.abort).is_some_and(|(share, abort)| {
                share.percent() >= 100.0 && matches!(abort, Abort::Http(_) | Abort::Grpc(_))
            });
        let RouteAction::Forward(forward) = &route.action else { return false };
        let single = forward.clusters.len() == 1;
        let shares = forward.clusters.iter().filter(|c| c.weight > 0 || single).map(|c| &*c.name);
        let mirrors = forward.mirrors.iter().map(|mirror| &*mirror.cluster);
        !always_fails && shares.chain(mirrors).any(|cluster| self.clusters.contains(cluster))
    }

    /// As it is written in URLs.
    fn port(&self) -> u16 {
        let written = self.listener.name.rsplit_once('_').and_then(|(_, port)| port.parse().ok());
        self.chain.matches.destination_port.or(written).unwrap_or(self.listener.address.port())
    }

    /// From the client, to the chain's own address where it has one.
    fn addressed(&self, proxy: &Question) -> Question {
        let of_chain = self.chain.matches.prefix_ranges.iter().map(ipnet::IpNet::addr).find(|ip| !ip.is_unspecified());
        let of_listener = Some(self.listener.address.ip()).filter(|ip| !ip.is_unspecified());
        let address = of_chain.or(of_listener).map_or_else(|| NOBODY.to_owned(), |ip| ip.to_string());
        Question { address: proxy.from.as_ref().map(|_| address), ..proxy.clone() }
    }

    /// The same request, the one first that says least.
    fn questions(&self, proxy: &Question, kind: NodeKind, witness: &Witness, scheme: &str) -> [Question; 3] {
        let port = self.port();
        // The name in TLS decides the chain, the authority then the virtual host.
        let of_chain = self.chain.matches.server_names.first();
        let bare = crate::route::table::without_port(&witness.authority).to_owned();
        let sni = match of_chain {
            Some(name) if kind == NodeKind::Gateway && scheme == "https" => match name.strip_prefix('*') {
                Some(suffix) if bare.ends_with(suffix) => bare,
                Some(suffix) => format!("anything{suffix}"),
                None => name.clone(),
            },
            _ => bare,
        };
        let usual = if scheme == "https" { 443 } else { 80 };
        let shown = if port == usual { String::new() } else { format!(":{port}") };
        let url = format!("{scheme}://{sni}{shown}{}", witness.path_and_query());
        let headers = witness.headers.iter().map(|(name, value)| (name.clone(), OneOrMany::One(value.clone())));
        let plain = Question {
            url,
            method: Some(witness.method.clone()).filter(|method| method != "GET"),
            headers: headers.collect(),
            ..proxy.clone()
        };
        let addressed = Question { address: self.addressed(proxy).address, ..plain.clone() };
        let whole = Question { authority: Some(witness.authority.clone()), ..addressed.clone() };
        [plain, addressed, whole]
    }
}
