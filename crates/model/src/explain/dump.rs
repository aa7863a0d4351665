//! The same questions, asked of a configuration alone: one that a proxy was given, as its config dump has it.
//!
//! What the mesh's DNS says is not in a dump; the addresses are those that stand among a virtual host's names.

use super::question::{Question, QuestionError, Target};
use super::trace::{self, Known, Trace};
use super::verdict::Verdict;
use super::walk::{Connection, walk};
use crate::config::{ProxyConfig, RouteConfig, VirtualHost};
use crate::translate::{NodeKind, names};
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
        Ok(walk(self.config, &connection, question, &target, &mut |_| {}))
    }

    pub fn trace(&self, question: &Question) -> Result<Trace, QuestionError> {
        let (connection, target) = self.asked(question)?;
        let known =
            Known { config: self.config, snapshot: None, exclusions: &[], scope: None, pod: None, has_workloads: true };
        Ok(trace::of_proxy(&known, &connection, &target, question, Vec::new()))
    }

    pub fn routes(&self, question: &Question) -> Result<Option<VirtualHost>, QuestionError> {
        let (connection, target) = self.asked(question)?;
        Ok(super::routes_of(self.config, &connection, question, &target))
    }

    fn asked(&self, question: &Question) -> Result<(Connection, Target), QuestionError> {
        let target = question.target()?;
        let address = question.address()?.or_else(|| self.address_of(&target)).unwrap_or(NOBODY);
        let destination = SocketAddr::new(address, target.port);
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Ok((Connection { kind: self.kind, destination, source, has_all_secrets: false }, target))
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
