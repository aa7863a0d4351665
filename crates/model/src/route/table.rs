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
    hosts: Vec<CompiledVirtualHost>,
    domains: Domains,
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
        let mut domains = Domains::default();
        let mut hosts = Vec::with_capacity(config.virtual_hosts.len());
        for (index, host) in config.virtual_hosts.iter().enumerate() {
            let fail = |origin: &Option<Origin>, CompileProblem(reason): CompileProblem| {
                let rule = origin.as_ref().map(|origin| format!(", {origin}")).unwrap_or_default();
                let place = format!("route configuration {}, virtual host {}{rule}", config.name, host.name);
                CompileError { place, reason }
            };
            for domain in &host.domains {
                domains.insert(domain, index).map_err(|problem| fail(&host.origin, problem))?;
            }
            let mut routes = Vec::with_capacity(host.routes.len());
            for route in &host.routes {
                routes.push(CompiledRoute::compile(route).map_err(|problem| fail(&route.origin, problem))?);
            }
            hosts.push(CompiledVirtualHost {
                routes,
                request_edits: Edits::compile(&host.request_headers).map_err(|p| fail(&host.origin, p))?,
                response_edits: Edits::compile(&host.response_headers).map_err(|p| fail(&host.origin, p))?,
            });
        }
        let fail = |CompileProblem(reason): CompileProblem| CompileError {
            place: format!("route configuration {}", config.name),
            reason,
        };
        let request_edits = Edits::compile(&config.request_headers).map_err(fail)?;
        let response_edits = Edits::compile(&config.response_headers).map_err(fail)?;
        Ok(Self { hosts, domains, request_edits, response_edits, config })
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
