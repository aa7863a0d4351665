//! The same questions, asked of a configuration alone: one that a proxy was given, as its config dump has it.
//!
//! What the mesh's DNS says is not in a dump; the addresses are those that stand among a virtual host's names.

use super::question::{Question, QuestionError, Scheme, Target};
use super::trace::{self, Known, Trace};
use super::verdict::Verdict;
use super::walk::{Connection, Tables, listener_for, walk};
use crate::config::{FilterChain, NetworkFilter, ProxyConfig, RouteConfig, VirtualHost};
use crate::translate::{NodeKind, names};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Answers questions about the configuration of one proxy.
pub struct DumpExplainer<'c> {
    config: &'c ProxyConfig,
    kind: NodeKind,
}

/// Of nobody (RFC 5737, TEST-NET-1): stands for the address that an unknown name would have.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl<'c> DumpExplainer<'c> {
    /// A proxy that takes what its application sends out is a sidecar; others are gateways.
    pub fn new(config: &'c ProxyConfig) -> Self {
        let sidecar = config.listeners.contains_key(names::VIRTUAL_OUTBOUND);
        Self { config, kind: if sidecar { NodeKind::Sidecar } else { NodeKind::Gateway } }
    }

    pub fn explain(&self, question: &Question) -> Result<Verdict, QuestionError> {
        let (connection, target) = self.asked(question)?;
        Ok(walk(self.config, &connection, question, &target, &mut Tables::default(), &mut |_| {}))
    }

    pub fn trace(&self, question: &Question) -> Result<Trace, QuestionError> {
        let (connection, target) = self.asked(question)?;
        let known =
            Known { config: self.config, snapshot: None, exclusions: &[], scope: None, pod: None, has_workloads: true };
        Ok(trace::of_proxy(&known, &connection, &target, question, Vec::new(), &mut Tables::default()))
    }

    pub fn routes(&self, question: &Question) -> Result<Option<VirtualHost>, QuestionError> {
        let (connection, target) = self.asked(question)?;
        Ok(super::routes_of(self.config, &connection, question, &target, &mut Tables::default()))
    }

    fn asked(&self, question: &Question) -> Result<(Connection, Target), QuestionError> {
        let target = question.target()?;
        let address = question.address()?.or_else(|| self.address_of(&target)).unwrap_or(NOBODY);
        let destination = SocketAddr::new(address, self.port(&target, address));
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Ok((Connection { kind: self.kind, destination, source, has_all_secrets: false }, target))
    }

    /// A gateway's listeners have the ports of its pods (8080), which are not those that clients dial (80): what a URL
    /// has without saying so, and no listener has, is the only port of that kind.
    fn port(&self, target: &Target, address: IpAddr) -> u16 {
        let (tls, usual) = match (target.scheme, target.port) {
            (Scheme::Http, 80) => (false, 8080),
            (Scheme::Https, 443) => (true, 8443),
            _ => return target.port,
        };
        let dialled = SocketAddr::new(address, target.port);
        if self.kind == NodeKind::Sidecar || listener_for(self.config, self.kind, dialled).is_some() {
            return target.port;
        }
        let is_alike = |listener: &&crate::config::Listener| {
            let is_tls = |chain: &FilterChain| chain.tls.is_some() || !chain.matches.server_names.is_empty();
            let is_http = |chain: &FilterChain| matches!(chain.filters.last(), Some(NetworkFilter::Http(_)));
            listener.filter_chains.iter().any(|chain| is_tls(chain) == tls && (tls || is_http(chain)))
        };
        let alike = self.config.listeners.values().map(|listener| &**listener).filter(is_alike);
        // Where it is opened elsewhere, its name has the port that is written.
        let written = |listener: &crate::config::Listener| listener.name.rsplit_once('_')?.1.parse().ok();
        let ports: BTreeSet<u16> = alike.map(|listener| written(listener).unwrap_or(listener.address.port())).collect();
        match ports.len() {
            1 => ports.first().copied().unwrap_or(target.port),
            _ if ports.contains(&usual) => usual,
            _ => target.port,
        }
    }

    /// Istio writes a service's addresses among the names of its virtual host.
    fn address_of(&self, target: &Target) -> Option<IpAddr> {
        if let Ok(address) = target.host.parse() {
            return Some(address);
        }
        let of_port = |routes: &&RouteConfig| routes.name == target.port.to_string();
        let hosts = self.config.routes.values().map(|routes| &**routes).filter(of_port).flat_map(|r| &r.virtual_hosts);
        let named = hosts.filter(|host| host.domains.iter().any(|d| d.eq_ignore_ascii_case(&target.host)));
        named.flat_map(|host| &host.domains).find_map(|domain| domain.parse().ok())
    }
}
