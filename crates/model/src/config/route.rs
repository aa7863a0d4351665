//! Route configurations: virtual hosts, routes, and what a route does.

use super::{Opaque, Origin, PerMillion, StringMatch};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteConfig {
    /// `80`, `reviews.default.svc.cluster.local:9080`, `http.8080`, `inbound|9080||`.
    pub name: String,
    /// Shared by the configurations of many ports and proxies, as far as they are the same.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    /// Virtual hosts are asked for as resources of their own (VHDS), so that there are none here. Such a one is only
    /// ever on the wire: what a proxy runs is whole.
    pub vhds: bool,
    /// A route that names an unknown cluster makes the whole be refused.
    pub validate_clusters: bool,
    pub ignore_port_in_host: bool,
    pub max_direct_response_body_bytes: Option<u32>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
}

impl RouteConfig {
    /// The clusters that its routes name, mirrors too; with repetitions.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.virtual_hosts.iter().flat_map(|host| host.clusters())
    }
}

impl VirtualHost {
    /// The clusters that its routes name, mirrors too; with repetitions.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let forwards = self.routes.iter().filter_map(|route| match &route.action {
            RouteAction::Forward(forward) => Some(&**forward),
            RouteAction::Redirect(_) | RouteAction::Respond(_) | RouteAction::Opaque(_) => None,
        });
        forwards.flat_map(|forward| {
            let weighted = forward.clusters.iter().map(|c| c.name.as_str());
            weighted.chain(forward.mirrors.iter().map(|m| m.cluster.as_str()))
        })
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct VirtualHost {
    /// `reviews.default.svc.cluster.local:80`, `allow_any`, `block_all`.
    pub name: String,
    /// Exact (`a.b`, `a.b:80`), suffix (`*.b`), prefix (`a.*`), or `*`; the most specific wins, in that order.
    pub domains: Vec<String>,
    /// The first that matches wins.
    pub routes: Vec<Route>,
    pub require_tls: RequireTls,
    pub include_request_attempt_count: bool,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub origin: Option<Origin>,
}

/// `All`: plaintext requests are redirected to https (Gateway's httpsRedirect).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RequireTls {
    #[default]
    None,
    ExternalOnly,
    All,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// As the user named the rule; may be empty.
    pub name: String,
    pub matches: RouteMatch,
    pub action: RouteAction,
    pub fault: Option<Fault>,
    pub cors: Option<Cors>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    /// The rule that decided.
    pub origin: Option<Origin>,
    pub stat_prefix: String,
    /// Of `decorator.operation`, for traces; may be empty.
    pub operation: String,
    /// Per-filter configuration that is not understood, by filter name.
    pub opaque_filters: Vec<Opaque>,
}

impl Route {
    /// One without a name that edits nothing and that no rule of a user stands behind.
    pub fn new(matches: RouteMatch, action: RouteAction) -> Self {
        Self {
            name: String::new(),
            matches,
            action,
            fault: None,
            cors: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            origin: None,
            stat_prefix: String::new(),
            operation: String::new(),
            opaque_filters: Vec::new(),
        }
    }
}

/// All that is set must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteMatch {
    pub path: PathMatch,
    /// Of the path match only.
    pub ignore_case: bool,
    /// `:method`, `:scheme` and `:authority` too.
    pub headers: Vec<HeaderMatch>,
    pub query: Vec<QueryMatch>,
    /// Taken by this share of the requests only.
    pub fraction: Option<PerMillion>,
    pub grpc_only: bool,
}

/// Matched against the path without its query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathMatch {
    Prefix(String),
    Exact(String),
    /// `/a` matches `/a` and `/a/b`, not `/ab`.
    SegmentPrefix(String),
    Regex(String),
    /// CONNECT requests.
    Connect,
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Lower case. Several values of one header are joined by `,` before matching, as Envoy does.
    pub name: String,
    pub matches: ValueMatch,
    /// Matches where the rest does not. An absent header never matches a value, inverted or not,
    /// unless `absent_is_empty`; a presence match is simply negated.
    pub invert: bool,
    pub absent_is_empty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryMatch {
    /// Case-sensitive; the first value of that name counts.
    pub name: String,
    pub matches: ValueMatch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    Present,
    String { value: StringMatch, ignore_case: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub enum RouteAction {
    Forward(Box<Forward>),
    Redirect(Redirect),
    Respond(DirectResponse),
    /// Something that is not understood; requests get 500.
    Opaque(String),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forward {
    /// Never empty. One alone has weight 100 or whatever was written.
    pub clusters: Vec<WeightedCluster>,
    pub rewrite: PathRewrite,
    /// Sets the authority sent upstream.
    pub host_rewrite: Option<String>,
    /// DNS clusters: the authority becomes the endpoint's host name.
    pub auto_host_rewrite: bool,
    /// Until the whole response has arrived; zero: none. None is Envoy's default of 15 s (Istio always sets it).
    pub timeout: Option<Duration>,
    /// The upper bound that `grpc-timeout` may set; zero: no bound. None: `grpc-timeout` is not looked at.
    pub grpc_timeout_max: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub retry: Option<RetryPolicy>,
    pub hash: Vec<HashPolicy>,
    pub mirrors: Vec<Mirror>,
    /// What a missing cluster answers: 503 unless set.
    pub cluster_not_found_status: Option<u16>,
    pub max_grpc_timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightedCluster {
    /// As in `outbound|80|v1|reviews.default.svc.cluster.local`.
    pub name: String,
    pub weight: u32,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub host_rewrite: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PathRewrite {
    #[default]
    None,
    /// Replaces what the prefix or exact match matched (case as matched).
    Prefix(String),
    /// Replaces every match of the regex in the path (not the query), RE2's `\1` in the substitution.
    Regex { regex: String, substitution: String },
    /// The whole path, query kept.
    Full(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redirect {
    /// 301, 302, 303, 307, 308.
    pub status: u16,
    pub scheme: Option<String>,
    pub authority: Option<String>,
    pub port: Option<u16>,
    pub path: RedirectPath,
    pub strip_query: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RedirectPath {
    #[default]
    Keep,
    Full(String),
    Prefix(String),
    Regex {
        regex: String,
        substitution: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryPolicy {
    /// Envoy's words: `connect-failure`, `refused-stream`, `unavailable`, `cancelled`, `retriable-status-codes`, `5xx` …
    pub on: Vec<String>,
    /// Beside the first try.
    pub attempts: u32,
    pub per_try_timeout: Option<Duration>,
    pub retriable_status_codes: Vec<u16>,
    /// Do not choose hosts that this request has tried.
    pub previous_hosts: bool,
    pub previous_hosts_max_attempts: u32,
    /// `previous_priorities` predicate: other localities are tried on a retry (update frequency).
    pub previous_priorities: Option<u32>,
    pub backoff_base: Option<Duration>,
    pub backoff_max: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    pub kind: HashKind,
    /// Stop at this policy where it gave a hash.
    pub terminal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKind {
    Header(String),
    Cookie { name: String, path: String, ttl: Option<Duration>, attributes: Vec<(String, String)> },
    SourceIp,
    Query(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub cluster: String,
    pub share: PerMillion,
}

/// In the order: remove, then set (replace), then add (append). A value is a format: `%PROTOCOL%`, `%%` …
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HeaderEdits {
    pub remove: Vec<String>,
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
}

impl HeaderEdits {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    pub delay: Option<(PerMillion, Duration)>,
    pub abort: Option<(PerMillion, Abort)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    Http(u16),
    /// A gRPC status number: HTTP 200 with `grpc-status`.
    Grpc(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    pub allow_origins: Vec<StringMatch>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub max_age: Option<Duration>,
    pub allow_credentials: Option<bool>,
    /// Send preflights that match no origin on (None and Some(true)), or answer them.
    pub forward_not_matching_preflights: Option<bool>,
}
