//! ProxyConfig: the typed configuration that a proxy runs on, a canonical subset of Envoy's v3 shape.
//!
//! `translate` makes it, `xds` encodes and decodes it, `proxy` runs it and `explain` reads it.
//! All types are plain data: equal configuration compares equal, and nothing here is compiled
//! (`route::RouteTable` is what a matcher runs on). Durations are `std::time::Duration`.

mod cluster;
mod endpoint;
mod http;
mod listener;
mod named;
mod route;
mod secret;

pub use cluster::*;
pub use endpoint::*;
pub use http::*;
pub use listener::*;
pub use named::Named;
pub use route::*;
pub use secret::*;

/// Everything one proxy was told, by resource name. Names are `Arc<str>` because the sidecars of one
/// process share them, as they share the resources.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProxyConfig {
    pub listeners: Named<Listener>,
    pub routes: Named<RouteConfig>,
    pub clusters: Named<Cluster>,
    /// By cluster name (an EDS resource has its cluster's name).
    pub endpoints: Named<ClusterEndpoints>,
    pub secrets: Named<Secret>,
}

impl ProxyConfig {
    /// The very same resources, which says that both are equal at little cost. Equal ones may be kept twice.
    pub fn is_same(&self, other: &Self) -> bool {
        fn all<T>(one: &Named<T>, other: &Named<T>) -> bool {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|((n, a), (m, b))| n == m && std::sync::Arc::ptr_eq(a, b))
        }
        all(&self.listeners, &other.listeners)
            && all(&self.routes, &other.routes)
            && all(&self.clusters, &other.clusters)
            && all(&self.endpoints, &other.endpoints)
            && all(&self.secrets, &other.secrets)
    }
}

/// The object, and the place in it, that a compiled thing came from. On the wire it is
/// `filter_metadata["istio"].config` (`/apis/networking.istio.io/v1/namespaces/NS/virtual-service/NAME`, as
/// Istio writes it) and `filter_metadata["amime"].path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// `VirtualService`, `Service`, …
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// The field, as `spec.http[1].route[0]`; empty for the object as a whole.
    pub path: String,
}

impl std::fmt::Display for Origin {
    /// `VirtualService shop/reviews http[1].route[0]`: the form of log lines and explanations.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        match self.path.strip_prefix("spec.").unwrap_or(&self.path) {
            "" => Ok(()),
            path => write!(f, " {path}"),
        }
    }
}

/// An extension that this build does not understand, kept byte for byte. The proxy refuses traffic
/// where such a filter could be security.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Opaque {
    /// The name under which the filter or socket was configured.
    pub name: String,
    pub type_url: String,
    pub bytes: Vec<u8>,
}

/// How a string is matched. A regex matches whole strings, in RE2's syntax (see `route::regex`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringMatch {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(String),
}

/// A share in parts of a million, as Envoy's FractionalPercent of denominator MILLION.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PerMillion(pub u32);

impl PerMillion {
    pub const ALL: Self = Self(1_000_000);

    /// From a percentage (0.0 to 100.0, clamped), as Istio writes them.
    pub fn from_percent(percent: f64) -> Self {
        Self((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}
