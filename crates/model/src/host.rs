//! Host names as Istio's API means them: case, wildcards, which of two is more specific, and short names.
//!
//! `snapshot` resolves and indexes by these rules, `translate` selects by them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The suffix of every service name of a cluster.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// `*`, `*.example.com`: the first character decides.
pub fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Do the two overlap: could one host name be meant by both?
pub fn overlaps(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(x), Some(y)) => x.ends_with(y) || y.ends_with(x),
        (Some(x), None) => b.ends_with(x),
        (None, Some(y)) => a.ends_with(y),
        (None, None) => a == b,
    }
}

/// Is every host name that `a` means also meant by `b`?
pub fn subset_of(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(x), Some(y)) => a.len() >= b.len() && x.ends_with(y),
        (Some(_), None) => false,
        (None, Some(y)) => a.ends_with(y),
        (None, None) => a == b,
    }
}

/// More specific first: exact before wildcard, longer before shorter, then by name.
pub fn specificity(a: &str, b: &str) -> Ordering {
    is_wildcard(a).cmp(&is_wildcard(b)).then_with(|| b.len().cmp(&a.len())).then_with(|| a.cmp(b))
}

/// The hosts meant by both lists, in the order of the first: of two that overlap, the narrower.
pub fn intersection(a: &[String], b: &[String]) -> Vec<String> {
    let mut result: Vec<String> = Vec::new();
    for x in a {
        for y in b {
            let narrower = if subset_of(x, y) {
                x
            } else if subset_of(y, x) {
                y
            } else {
                continue;
            };
            if !result.contains(narrower) {
                result.push(narrower.clone());
            }
        }
    }
    result
}

/// The most specific of `hosts` that means `needle`: itself, else the longest wildcard that covers it.
pub fn most_specific<'a>(needle: &str, hosts: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bare = needle.strip_prefix('*').unwrap_or(needle);
    let mut best: Option<&'a str> = None;
    for host in hosts {
        if host == needle {
            return Some(host);
        }
        let Some(suffix) = host.strip_prefix('*') else { continue };
        if bare.ends_with(suffix) && best.is_none_or(|b| specificity(host, b).is_lt()) {
            best = Some(host);
        }
    }
    best
}

/// Values by host, in the order in which they were added, found by what a host name means.
#[derive(Debug, Clone, PartialEq)]
pub struct HostIndex<V> {
    exact: BTreeMap<String, V>,
    wildcards: BTreeMap<String, V>,
}

impl<V> Default for HostIndex<V> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), wildcards: BTreeMap::new() }
    }
}

impl<V: Default> HostIndex<V> {
    /// The value of exactly this host, made where there is none.
    pub fn entry(&mut self, host: &str) -> &mut V {
        let map = if is_wildcard(host) { &mut self.wildcards } else { &mut self.exact };
        map.entry(host.to_string()).or_default()
    }
}

impl<V> HostIndex<V> {
    pub fn get(&self, host: &str) -> Option<&V> {
        if is_wildcard(host) { self.wildcards.get(host) } else { self.exact.get(host) }
    }

    /// The value of the most specific host that means `needle`.
    pub fn most_specific(&self, needle: &str) -> Option<&V> {
        self.get(needle).or_else(|| {
            let host = most_specific(needle, self.wildcards.keys().map(String::as_str))?;
            self.wildcards.get(host)
        })
    }

    /// The values of all hosts that may mean the same as `host`.
    pub fn overlapping<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a V> {
        let exact = if is_wildcard(host) { None } else { self.exact.get(host) };
        let many = is_wildcard(host).then(|| self.exact.iter().filter(move |(h, _)| overlaps(h, host)));
        let wildcards = self.wildcards.iter().filter(move |(h, _)| overlaps(h, host));
        exact.into_iter().chain(many.into_iter().flatten().chain(wildcards).map(|(_, value)| value))
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.exact.values().chain(self.wildcards.values())
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.exact.values_mut().chain(self.wildcards.values_mut())
    }
}

/// A name without a dot is a service of the object's own namespace; all others stand as written.
pub fn resolve_short(host: &str, namespace: &str) -> String {
    if host.is_empty() || host == "*" || host.contains('.') || host.parse::<IpAddr>().is_ok() {
        return host.to_string();
    }
    service_host(host, namespace)
}

/// `name.namespace.svc.cluster.local`.
pub fn service_host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}")
}

/// The name of a Gateway as a VirtualService writes it, as `namespace/name`. `mesh` stays.
pub fn resolve_gateway(name: &str, namespace: &str) -> String {
    if name == "mesh" {
        return name.to_string();
    }
    match name.split_once('/') {
        Some((".", rest)) => format!("{namespace}/{rest}"),
        Some(_) => name.to_string(),
        None => match name.split_once('.') {
            None => format!("{namespace}/{name}"),
            // The old form: gateway.namespace.svc.cluster.local.
            Some((gateway, rest)) => {
                let ns = rest.split('.').next().unwrap_or(rest);
                format!("{ns}/{gateway}")
            }
        },
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
