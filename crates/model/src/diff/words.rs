//! Outcomes in words: where requests end, and what else is done with them.

use super::outcome::{Met, Outcome, Unsent};
use crate::config::{
    Abort, Cors, DownstreamTls, Fault, Forward, HeaderEdits, PathMatch, PathRewrite, Redirect, RedirectPath, Route,
    RouteAction, RouteMatch, StringMatch, ValueMatch,
};
use crate::explain::{Action, Destination, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// Words for what differs: an aspect's name (empty for where the request goes), and what it is on each side.
type Aspects = BTreeMap<&'static str, String>;

/// What differs between two outcomes, in words: of each side what the other has otherwise.
pub(super) fn words(before: &Outcome, after: &Outcome, host: &str) -> (String, String) {
    let (one, other) = (aspects(before, host), aspects(after, host));
    let same_end = one.get("") == other.get("");
    let mut names: Vec<_> =
        one.keys().chain(other.keys()).copied().filter(|name| one.get(name) != other.get(name)).collect();
    names.sort_unstable();
    names.dedup();
    // Where a side has nothing of its kind, its end says it all.
    let comparable = one.contains_key("timeout") && other.contains_key("timeout");
    if !same_end && !comparable {
        names = vec![""];
    }
    if names.is_empty() {
        return ("as it was".to_owned(), "with other settings of the rule".to_owned());
    }
    let side = |aspects: &Aspects| {
        let told = |name: &&str| match (*name, aspects.get(name).map_or("none", String::as_str)) {
            ("", end) => end.to_owned(),
            (name, value) => format!("{name} {value}"),
        };
        names.iter().map(told).collect::<Vec<_>>().join(", ")
    };
    (side(&one), side(&other))
}

/// How many of a hundred requests go elsewhere; None where it is not only a matter of shares.
pub(super) fn moved(before: &Outcome, after: &Outcome) -> Option<f64> {
    let (Outcome::Met(one), Outcome::Met(other)) = (before, after) else { return None };
    let (one, other) = (&one.verdict, &other.verdict);
    if one.action != Action::Forward || other.action != Action::Forward || one.destinations == other.destinations {
        return None;
    }
    let shares = |verdict: &Verdict| {
        let all: f64 = verdict.destinations.iter().map(|d| f64::from(d.weight)).sum();
        verdict
            .destinations
            .iter()
            .map(|d| (d.name(), f64::from(d.weight) * 100.0 / all.max(1.0)))
            .collect::<BTreeMap<_, _>>()
    };
    let (one, other) = (shares(one), shares(other));
    let gained = other.iter().map(|(name, share)| (share - one.get(name).copied().unwrap_or(0.0)).max(0.0));
    let gained: f64 = gained.sum();
    Some((gained * 100.0).round() / 100.0)
}

fn aspects(outcome: &Outcome, host: &str) -> Aspects {
    let mut aspects = Aspects::new();
    let met = match outcome {
        Outcome::Met(met) => met,
        Outcome::Unsent(unsent) => {
            let text = match unsent {
                Unsent::UnknownName => "the name is not known",
                Unsent::NoGateway => "there is no gateway",
                Unsent::NoSender => "there is no such gateway",
            };
            aspects.insert("", text.to_owned());
            return aspects;
        }
    };
    aspects.insert("", end(met, host));
    if let Some(tls) = &met.tls {
        aspects.insert("TLS", tls_words(tls));
    }
    if let Some(route) = &met.effect {
        route_aspects(route, &mut aspects);
        // The very same rule may do another thing to another path.
        if let Some(sent) = &met.verdict.request
            && route_rewrites(route)
        {
            aspects.insert("path sent", sent.path.clone());
        }
    }
    if let Some(tcp) = &met.tcp {
        aspects.insert("idle timeout", tcp.idle_timeout.map_or_else(|| "1h".to_owned(), span));
    }
    aspects
}

fn route_rewrites(route: &Route) -> bool {
    matches!(&route.action, RouteAction::Forward(forward) if matches!(forward.rewrite, PathRewrite::Prefix(_)))
}

/// Where it ends.
fn end(met: &Met, host: &str) -> String {
    let verdict = &met.verdict;
    let flag = verdict.flag.as_ref().map(|flag| format!(" ({flag})")).unwrap_or_default();
    let status = verdict.status.map(|status| format!("{status}{flag}"));
    match verdict.action {
        Action::Passthrough => "passed on, unknown to the mesh".to_owned(),
        Action::Refuse => "refused".to_owned(),
        Action::Respond => match met.effect.as_ref().map(|route| &route.action) {
            Some(RouteAction::Redirect(redirect)) => format!("redirect {}", redirect_words(redirect)),
            _ => match (&status, &verdict.location) {
                (Some(status), Some(to)) => format!("{status} to {}", to.split(['?', '#']).next().unwrap_or(to)),
                (Some(status), None) => status.clone(),
                (None, _) => "answered by the proxy".to_owned(),
            },
        },
        Action::Forward => {
            let ends = shares(&verdict.destinations, host);
            match status {
                Some(status) => status,
                None => ends,
            }
        }
    }
}

/// `v1 90 %, v3 10 %`: where the service is the one that was asked for, its subsets alone.
fn shares(destinations: &[Destination], host: &str) -> String {
    let all: u64 = destinations.iter().map(|d| u64::from(d.weight)).sum();
    let one = |destination: &Destination| {
        let name = match &destination.subset {
            Some(subset) if destination.host == host => subset.clone(),
            Some(subset) => format!("{}:{} {subset}", short(&destination.host), destination.port),
            None => format!("{}:{}", short(&destination.host), destination.port),
        };
        let passed = if destination.passed { " unopened" } else { "" };
        let fails = destination.state.flag().filter(|_| destinations.len() > 1).map(|flag| format!(" (503 {flag})"));
        let share = match destinations.len() {
            1 => String::new(),
            _ => format!(" {} %", crate::explain::percent(destination.weight, all)),
        };
        let own = destination.request.is_some() || destination.response.is_some();
        let edits = if own { " with edited headers" } else { "" };
        format!("{name}{passed}{share}{}{edits}", fails.unwrap_or_default())
    };
    destinations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `shop/reviews` of a Kubernetes Service's host.
pub(super) fn short(host: &str) -> String {
    let name = host.strip_suffix(".svc.cluster.local").and_then(|name| name.split_once('.'));
    match name {
        Some((name, namespace)) if !namespace.contains('.') => format!("{namespace}/{name}"),
        _ => host.to_owned(),
    }
}

fn redirect_words(redirect: &Redirect) -> String {
    let scheme = redirect.scheme.as_ref().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let port = redirect.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = match &redirect.path {
        RedirectPath::Keep => "",
        RedirectPath::Full(path) | RedirectPath::Prefix(path) => path,
        RedirectPath::Regex { substitution, .. } => substitution,
    };
    let authority = redirect.authority.as_deref().unwrap_or_default();
    let query = if redirect.strip_query { " without its query" } else { "" };
    format!("{} to {scheme}{authority}{port}{path}{query}", redirect.status)
}

fn tls_words(tls: &DownstreamTls) -> String {
    let mutual = if tls.require_client_certificate { "mutual, " } else { "" };
    let versions = match (tls.min_version, tls.max_version) {
        (crate::config::TlsVersion::Auto, crate::config::TlsVersion::Auto) => String::new(),
        (low, high) => format!(", {low:?} to {high:?}"),
    };
    format!("({mutual}{}{versions})", tls.certificates.join(" "))
}

fn route_aspects(route: &Route, aspects: &mut Aspects) {
    let mut add = |name: &'static str, value: String| drop(aspects.insert(name, value));
    if let Some(fault) = &route.fault {
        add("fault", fault_words(fault));
    }
    if let Some(cors) = &route.cors {
        add("CORS", cors_words(cors));
    }
    if !route.request_headers.is_empty() {
        add("request headers", edit_words(&route.request_headers));
    }
    if !route.response_headers.is_empty() {
        add("response headers", edit_words(&route.response_headers));
    }
    if !route.opaque_filters.is_empty() {
        add("filters", route.opaque_filters.iter().map(|filter| filter.name.as_str()).collect::<Vec<_>>().join(" "));
    }
    if let RouteAction::Forward(forward) = &route.action {
        forward_aspects(forward, &mut add);
    }
}

fn forward_aspects(forward: &Forward, add: &mut impl FnMut(&'static str, String)) {
    add("timeout", forward.timeout.map_or_else(|| "15s".to_owned(), span));
    match &forward.rewrite {
        PathRewrite::None => {}
        PathRewrite::Prefix(path) => add("path prefix", format!("becomes {path}")),
        PathRewrite::Full(path) => add("path", format!("becomes {path}")),
        PathRewrite::Regex { regex, substitution } => add("path", format!("{regex} becomes {substitution}")),
    }
    if let Some(host) = &forward.host_rewrite {
        add("host sent", host.clone());
    }
    if let Some(retry) = &forward.retry {
        let each = retry.per_try_timeout.map(|each| format!(", each {}", span(each))).unwrap_or_default();
        let statuses: Vec<_> = retry.retriable_status_codes.iter().map(ToString::to_string).collect();
        let on = retry.on.iter().chain(&statuses).cloned().collect::<Vec<_>>().join(",");
        add("retries", format!("{} on {on}{each}", retry.attempts));
    }
    if !forward.mirrors.is_empty() {
        let one = |mirror: &crate::config::Mirror| {
            let (port, subset, host) =
                crate::translate::names::parse_outbound(&mirror.cluster).unwrap_or((0, "", &mirror.cluster));
            let subset = if subset.is_empty() { String::new() } else { format!(" {subset}") };
            format!("{}:{port}{subset} {} %", short(host), mirror.share.percent())
        };
        add("mirror", forward.mirrors.iter().map(one).collect::<Vec<_>>().join(", "));
    }
    if !forward.hash.is_empty() {
        let kinds = forward.hash.iter().map(|hash| match &hash.kind {
            crate::config::HashKind::Header(name) => format!("header {name}"),
            crate::config::HashKind::Cookie { name, .. } => format!("cookie {name}"),
            crate::config::HashKind::SourceIp => "the client's address".to_owned(),
            crate::config::HashKind::Query(name) => format!("parameter {name}"),
        });
        add("hash on", kinds.collect::<Vec<_>>().join(", "));
    }
    if let Some(idle) = forward.idle_timeout {
        add("idle timeout", span(idle));
    }
}

fn fault_words(fault: &Fault) -> String {
    let delay = fault.delay.map(|(share, delay)| format!("{} % wait {}", share.percent(), span(delay)));
    let abort = fault.abort.map(|(share, abort)| {
        let with = match abort {
            Abort::Http(status) => status.to_string(),
            Abort::Grpc(status) => format!("gRPC status {status}"),
        };
        format!("{} % get {with}", share.percent())
    });
    delay.into_iter().chain(abort).collect::<Vec<_>>().join(", ")
}

fn cors_words(cors: &Cors) -> String {
    let origins: Vec<_> = cors
        .allow_origins
        .iter()
        .map(|origin| ValueMatch::String { value: origin.clone(), ignore_case: false }.to_string())
        .collect();
    let mut parts = vec![format!("of {}", origins.join(" "))];
    for (name, texts) in
        [("methods", &cors.allow_methods), ("headers", &cors.allow_headers), ("exposed", &cors.expose_headers)]
    {
        if !texts.is_empty() {
            parts.push(format!("{name} {}", texts.join(" ")));
        }
    }
    parts.extend(cors.max_age.map(|age| format!("for {}", span(age))));
    parts.extend(
        cors.allow_credentials
            .map(|allowed| if allowed { "with credentials" } else { "without credentials" }.to_owned()),
    );
    parts.join(", ")
}

fn edit_words(edits: &HeaderEdits) -> String {
    let set = edits.set.iter().map(|(name, value)| format!("{name}={value}"));
    let add = edits.add.iter().map(|(name, value)| format!("+{name}={value}"));
    let remove = edits.remove.iter().map(|name| format!("-{name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(" ")
}

/// A duration as Istio's users write it.
pub(super) fn span(duration: Duration) -> String {
    if duration.is_zero() { "0s".to_owned() } else { format!("{duration:?}") }
}

/// What the narrower of two rules asks for; None: everything.
pub(super) fn condition(one: Option<&RouteMatch>, other: Option<&RouteMatch>) -> Option<String> {
    let narrow = |rule: &&RouteMatch| {
        let path = match &rule.path {
            PathMatch::Prefix(path) => usize::from(path != "/") * (1 + path.len()),
            PathMatch::Exact(path) | PathMatch::SegmentPrefix(path) | PathMatch::Regex(path) => 1000 + path.len(),
            PathMatch::Connect => 1,
        };
        (rule.headers.len() + rule.query.len() + usize::from(path > 0), path)
    };
    let rule = [one, other].into_iter().flatten().max_by_key(narrow)?;
    let mut parts = Vec::new();
    match &rule.path {
        PathMatch::Prefix(path) if path == "/" => {}
        PathMatch::Prefix(path) => parts.push(format!("path {path}*")),
        PathMatch::SegmentPrefix(path) => parts.push(format!("path {path} and below")),
        PathMatch::Exact(path) => parts.push(format!("path {path}")),
        PathMatch::Regex(regex) => parts.push(format!("path ~{regex}")),
        PathMatch::Connect => parts.push("method CONNECT".to_owned()),
    }
    for header in &rule.headers {
        let name = header.name.strip_prefix(':').map_or_else(|| format!("header {}", header.name), str::to_owned);
        let value = value_words(&header.matches);
        parts.push(if header.invert { format!("not {name}{value}") } else { format!("{name}{value}") });
    }
    parts.extend(rule.query.iter().map(|query| format!("parameter {}{}", query.name, value_words(&query.matches))));
    if rule.grpc_only {
        parts.push("gRPC".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn value_words(matches: &ValueMatch) -> String {
    match matches {
        ValueMatch::Present => String::new(),
        ValueMatch::String { value, .. } => match value {
            StringMatch::Exact(text) => format!("={text}"),
            StringMatch::Prefix(text) => format!("={text}*"),
            StringMatch::Suffix(text) => format!("=*{text}"),
            StringMatch::Contains(text) => format!("=*{text}*"),
            StringMatch::Regex(text) => format!("~{text}"),
        },
    }
}
