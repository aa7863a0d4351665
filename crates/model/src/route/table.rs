//! A route configuration, compiled: the virtual host by authority, then the first route that matches.

use super::cors::CompiledCors;
use super::edits::Edits;
use super::matcher::{Matcher, Miss};
use super::regex::{Regex, RegexError, check_substitution};
use super::request::RequestView;
use crate::config::{Origin, PathRewrite, RedirectPath, Route, RouteAction, RouteConfig, VirtualHost};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled route configuration. Immutable, shared by all workers.
#[derive(Debug)]
pub struct RouteTable {
    config: Arc<RouteConfig>,
    hosts: Vec<Arc<CompiledVirtualHost>>,
    domains: Arc<Domains>,
    pub(super) request_edits: Edits,
    pub(super) response_edits: Edits,
}

#[derive(Debug)]
pub struct CompiledVirtualHost {
    routes: Vec<CompiledRoute>,
    pub(super) request_edits: Edits,
    pub(super) response_edits: Edits,
}

#[derive(Debug)]
pub struct CompiledRoute {
    matcher: Matcher,
    pub(super) cors: Option<CompiledCors>,
    /// Of a rewrite or redirect.
    pub(super) rewrite: Option<Regex>,
    pub(super) request_edits: Edits,
    pub(super) response_edits: Edits,
    /// Of each weighted cluster: request, response.
    pub(super) cluster_edits: Vec<(Edits, Edits)>,
    /// The sum of the clusters' weights; at least 1.
    pub(super) total_weight: u32,
}

/// Why a part of a route configuration cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct CompileError {
    /// `route configuration 80, virtual host reviews.default…:80, VirtualService default/reviews http[1]`.
    pub place: String,
    pub reason: String,
}

/// The reason alone, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileProblem(pub String);

impl From<RegexError> for CompileProblem {
    fn from(error: RegexError) -> Self {
        Self(error.to_string())
    }
}

/// Whether a route can be compiled by itself, so that a broken rule is found before it takes a whole table with it.
pub fn check_route(route: &Route) -> Result<(), CompileProblem> {
    CompiledRoute::compile(route).map(drop)
}

/// The route that takes a request.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'t> {
    pub table: &'t RouteTable,
    pub host: &'t VirtualHost,
    pub route: &'t Route,
    /// Places of `host` in the configuration and of `route` in the host.
    pub host_index: usize,
    pub route_index: usize,
    pub(super) compiled_host: &'t CompiledVirtualHost,
    pub(super) compiled: &'t CompiledRoute,
}

/// The index of virtual hosts by domain; indices into `hosts`.
#[derive(Debug, Default)]
struct Domains {
    exact: HashMap<String, usize>,
    /// By the length of the fixed part, longest first.
    suffixes: Vec<(usize, HashMap<String, usize>)>,
    prefixes: Vec<(usize, HashMap<String, usize>)>,
    any: Option<usize>,
}

impl RouteTable {
    /// Compiles all of it, or says which rule cannot be.
    pub fn compile(config: Arc<RouteConfig>) -> Result<Self, CompileError> {
        Self::compile_after(config, None)
    }

    /// As [`RouteTable::compile`]; what was compiled of the same virtual hosts (the very same `Arc`s) for `previous`
    /// is taken over.
    pub fn compile_after(config: Arc<RouteConfig>, previous: Option<&Self>) -> Result<Self, CompileError> {
        let known: HashMap<usize, &Arc<CompiledVirtualHost>> = previous.map(Self::by_address).unwrap_or_default();
        let compiled = |host: &Arc<VirtualHost>| match known.get(&Arc::as_ptr(host).addr()) {
            Some(known) => Ok(Arc::clone(known)),
            None => CompiledVirtualHost::compile(host).map(Arc::new).map_err(|e| e.in_config(&config)),
        };
        let hosts = config.virtual_hosts.iter().map(compiled).collect::<Result<_, _>>()?;
        let domains = match previous.filter(|previous| previous.has_domains_of(&config)) {
            Some(previous) => Arc::clone(&previous.domains),
            None => Arc::new(Domains::of(&config)?),
        };
        let fail = |CompileProblem(reason): CompileProblem| CompileError {
            place: format!("route configuration {}", config.name),
            reason,
        };
        let request_edits = Edits::compile(&config.request_headers).map_err(fail)?;
        let response_edits = Edits::compile(&config.response_headers).map_err(fail)?;
        Ok(Self { hosts, domains, request_edits, response_edits, config })
    }

    fn by_address(&self) -> HashMap<usize, &Arc<CompiledVirtualHost>> {
        let addresses = self.config.virtual_hosts.iter().map(|host| Arc::as_ptr(host).addr());
        addresses.zip(&self.hosts).collect()
    }

    /// The virtual hosts of `config` have the same domains, in the same order.
    fn has_domains_of(&self, config: &RouteConfig) -> bool {
        let (own, other) = (&self.config.virtual_hosts, &config.virtual_hosts);
        let same = |(one, other): (&Arc<VirtualHost>, &Arc<VirtualHost>)| {
            Arc::ptr_eq(one, other) || one.domains == other.domains
        };
        own.len() == other.len() && own.iter().zip(other).all(same)
    }

    pub fn config(&self) -> &Arc<RouteConfig> {
        &self.config
    }

    /// The virtual host that answers for an authority.
    pub fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        self.host_index(authority).map(|index| &*self.config.virtual_hosts[index])
    }

    fn host_index(&self, authority: &str) -> Option<usize> {
        let authority = if self.config.ignore_port_in_host { without_port(authority) } else { authority };
        self.domains.find(&lower(authority))
    }

    /// The first route that takes the request. `fraction_draw` is uniform over u32.
    pub fn select(&self, request: &RequestView<'_>, fraction_draw: u32) -> Option<Selection<'_>> {
        let index = self.host_index(request.authority)?;
        let compiled_host = &self.hosts[index];
        let host = &self.config.virtual_hosts[index];
        let at = compiled_host.routes.iter().position(|r| r.matcher.check(request, fraction_draw).is_ok())?;
        Some(Selection {
            table: self,
            host,
            route: &host.routes[at],
            host_index: index,
            route_index: at,
            compiled_host,
            compiled: &compiled_host.routes[at],
        })
    }

    /// Every route of the request's virtual host up to the one that takes it, each with what the request
    /// lacks; the last one, where a route takes it, has None.
    pub fn candidates<'t>(
        &'t self,
        request: &RequestView<'_>,
        fraction_draw: u32,
    ) -> Vec<(&'t Route, Option<Miss<'t>>)> {
        let Some(index) = self.host_index(request.authority) else { return Vec::new() };
        let mut seen = Vec::new();
        for (route, compiled) in self.config.virtual_hosts[index].routes.iter().zip(&self.hosts[index].routes) {
            let miss = compiled.matcher.check(request, fraction_draw).err();
            seen.push((route, miss));
            if miss.is_none() {
                break;
            }
        }
        seen
    }
}

/// A part of a virtual host that cannot be compiled.
struct HostProblem {
    host: String,
    /// The rule, as messages name it.
    rule: Option<String>,
    problem: CompileProblem,
}

impl HostProblem {
    fn in_config(self, config: &RouteConfig) -> CompileError {
        let rule = self.rule.map(|rule| format!(", {rule}")).unwrap_or_default();
        let place = format!("route configuration {}, virtual host {}{rule}", config.name, self.host);
        CompileError { place, reason: self.problem.0 }
    }
}

impl CompiledVirtualHost {
    fn compile(host: &VirtualHost) -> Result<Self, HostProblem> {
        let fail = |origin: &Option<Origin>, problem: CompileProblem| HostProblem {
            host: host.name.clone(),
            rule: origin.as_ref().map(ToString::to_string),
            problem,
        };
        let one = |route: &Route| CompiledRoute::compile(route).map_err(|problem| fail(&route.origin, problem));
        Ok(Self {
            routes: host.routes.iter().map(one).collect::<Result<_, _>>()?,
            request_edits: Edits::compile(&host.request_headers).map_err(|p| fail(&host.origin, p))?,
            response_edits: Edits::compile(&host.response_headers).map_err(|p| fail(&host.origin, p))?,
        })
    }
}

impl CompiledRoute {
    fn compile(route: &Route) -> Result<Self, CompileProblem> {
        let mut cluster_edits = Vec::new();
        let mut total_weight = 1u32;
        let mut rewrite = None;
        match &route.action {
            RouteAction::Forward(forward) => {
                if forward.clusters.is_empty() {
                    return Err(CompileProblem("the route names no cluster".into()));
                }
                let sum: u64 = forward.clusters.iter().map(|c| u64::from(c.weight)).sum();
                total_weight = u32::try_from(sum)
                    .map_err(|_| CompileProblem("the weights add up to more than 4294967295".into()))?
                    .max(1);
                for cluster in &forward.clusters {
                    cluster_edits
                        .push((Edits::compile(&cluster.request_headers)?, Edits::compile(&cluster.response_headers)?));
                }
                if let PathRewrite::Regex { regex, substitution } = &forward.rewrite {
                    rewrite = Some(substitution_regex(regex, substitution)?);
                }
            }
            RouteAction::Redirect(redirect) => {
                if let RedirectPath::Regex { regex, substitution } = &redirect.path {
                    rewrite = Some(substitution_regex(regex, substitution)?);
                }
            }
            RouteAction::Respond(_) | RouteAction::Opaque(_) => {}
        }
        Ok(Self {
            matcher: Matcher::compile(&route.matches)?,
            cors: route.cors.as_ref().map(CompiledCors::compile).transpose()?,
            rewrite,
            request_edits: Edits::compile(&route.request_headers)?,
            response_edits: Edits::compile(&route.response_headers)?,
            cluster_edits,
            total_weight,
        })
    }

    pub(super) fn matched_length(&self, path: &str) -> usize {
        self.matcher.matched_length(path)
    }
}

fn substitution_regex(regex: &str, substitution: &str) -> Result<Regex, CompileProblem> {
    let compiled = Regex::for_substitution(regex)?;
    check_substitution(&compiled, substitution)?;
    Ok(compiled)
}

impl Domains {
    fn of(config: &RouteConfig) -> Result<Self, CompileError> {
        let mut domains = Self::default();
        for (index, host) in config.virtual_hosts.iter().enumerate() {
            for domain in &host.domains {
                domains.insert(domain, index).map_err(|problem| {
                    HostProblem {
                        host: host.name.clone(),
                        rule: host.origin.as_ref().map(ToString::to_string),
                        problem,
                    }
                    .in_config(config)
                })?;
            }
        }
        Ok(domains)
    }

    /// Refuses a domain that a virtual host of the configuration already has, as Envoy does.
    fn insert(&mut self, domain: &str, host: usize) -> Result<(), CompileProblem> {
        let domain = lower(domain);
        let taken = if domain == "*" {
            self.any.replace(host)
        } else if let Some(suffix) = domain.strip_prefix('*') {
            by_length(&mut self.suffixes, suffix).insert(suffix.to_owned(), host)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            by_length(&mut self.prefixes, prefix).insert(prefix.to_owned(), host)
        } else {
            self.exact.insert(domain.clone().into_owned(), host)
        };
        match taken {
            Some(_) => Err(CompileProblem(format!("the domain {domain} is there twice"))),
            None => Ok(()),
        }
    }

    /// Exact, then the longest suffix, then the longest prefix, then `*`. A wildcard stands for at least
    /// one character.
    fn find(&self, authority: &str) -> Option<usize> {
        if let Some(host) = self.exact.get(authority) {
            return Some(*host);
        }
        let longer = |length: &usize| authority.len() > *length;
        let suffix = |length: usize| authority.get(authority.len() - length..);
        let prefix = |length: usize| authority.get(..length);
        self.suffixes
            .iter()
            .filter(|(length, _)| longer(length))
            .find_map(|(length, hosts)| hosts.get(suffix(*length)?))
            .or_else(|| {
                self.prefixes
                    .iter()
                    .filter(|(length, _)| longer(length))
                    .find_map(|(length, hosts)| hosts.get(prefix(*length)?))
            })
            .copied()
            .or(self.any)
    }
}

/// The map for fixed parts of this length; the lengths stay in descending order.
fn by_length<'m>(maps: &'m mut Vec<(usize, HashMap<String, usize>)>, fixed: &str) -> &'m mut HashMap<String, usize> {
    let at = match maps.binary_search_by(|(length, _)| fixed.len().cmp(length)) {
        Ok(at) => at,
        Err(at) => {
            maps.insert(at, (fixed.len(), HashMap::new()));
            at
        }
    };
    &mut maps[at].1
}

/// Borrowed where it is lower case already, which it nearly always is.
fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// `a:80` is `a`, `[::1]:80` is `[::1]`, `::1` stays.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (host.ends_with(']') || !host.contains(':')) =>
        {
            host
        }
        _ => authority,
    }
}
