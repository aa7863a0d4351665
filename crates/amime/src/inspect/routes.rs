//! `amime config routes`: istioctl's columns, and with `--verbose` whole matches, where requests go, and the
//! field that each route came from.

use super::table::Table;
use super::view::Seen;
use amime_model::config::{
    Forward, HeaderMatch, Origin, PathMatch, Redirect, RouteAction, RouteConfig, RouteMatch, StringMatch, ValueMatch,
};
use amime_xds::intern::Decoded;
use std::collections::HashSet;

/// Which route configurations are shown.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Routes")]
pub(crate) struct Filter {
    /// Only the route configuration of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

pub(crate) fn wanted(seen: &Seen<'_>, filter: &Filter) -> bool {
    filter.name.as_deref().is_none_or(|name| seen.dumped.name == name)
}

fn routes<'a>(seen: &'a Seen<'_>) -> Option<&'a RouteConfig> {
    match &seen.decoded {
        Some(Decoded::Route(routes)) => Some(routes),
        _ => None,
    }
}

pub(crate) fn table(seen: &[&Seen<'_>], verbose: bool) -> Table {
    let more: &[&str] = if verbose { &["DESTINATION", "ORIGIN"] } else { &[] };
    let head = ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"];
    let mut table = Table::new(head.into_iter().chain(more.iter().copied()));
    let mut sorted: Vec<_> = seen.iter().filter_map(|seen| routes(seen)).collect();
    // Ports in their order, then names.
    sorted.sort_by_key(|r| (r.name.parse::<u16>().map_or(u32::MAX, u32::from), r.name.clone()));
    for routes in sorted {
        // Their order means nothing; the one that takes what no other does is read last.
        let mut hosts: Vec<_> = routes.virtual_hosts.iter().collect();
        hosts.sort_by_key(|host| (host.domains == ["*"], &host.name));
        for host in hosts {
            let cells = || [routes.name.clone(), host.name.clone(), describe_domains(&host.domains)];
            if host.routes.is_empty() {
                table.push(cells().into_iter().chain(["/*".into(), "404".into()]));
            }
            for route in &host.routes {
                if !verbose && is_passthrough(&route.action) {
                    continue;
                }
                let matches = if verbose { describe_match(&route.matches) } else { path_of(&route.matches) };
                let mut row: Vec<_> = cells().into_iter().chain([matches, rule(route.origin.as_ref())]).collect();
                if verbose {
                    let origin = route.origin.as_ref().map(ToString::to_string).unwrap_or_default();
                    row.extend([describe_action(&route.action), origin]);
                }
                table.push(row);
            }
        }
    }
    for seen in seen.iter().filter(|seen| seen.decoded.is_none()) {
        table.push([seen.dumped.name.to_owned(), "-".into(), "-".into(), "-".into(), seen.excuse()]);
    }
    table
}

fn is_passthrough(action: &RouteAction) -> bool {
    matches!(action, RouteAction::Forward(forward) if forward.clusters.iter().all(|c| c.name == "PassthroughCluster"))
}

/// `reviews.shop`: the object that rules are written in; nothing for services.
pub(crate) fn rule(origin: Option<&Origin>) -> String {
    match origin {
        Some(origin) if !matches!(origin.kind.as_str(), "Service" | "Pod" | "") => {
            format!("{}.{}", origin.name, origin.namespace)
        }
        _ => String::new(),
    }
}

/// Those without ports, shortest forms first written, and how many more there are.
fn describe_domains(domains: &[String]) -> String {
    const MOST: usize = 2;
    if let [one] = domains {
        return one.clone();
    }
    let all: HashSet<&str> = domains.iter().map(String::as_str).collect();
    let without_port = |domain: &&String| match domain.strip_prefix('[') {
        Some(rest) => rest.ends_with(']'),
        None => !domain.contains(':'),
    };
    // `a.b.svc.cluster.local` says nothing that `a.b` does not.
    let longer = |domain: &&String| {
        let shorter = |end| domain.strip_suffix(end).is_some_and(|short| all.contains(short));
        shorter(".svc.cluster.local") || shorter(".svc") || shorter(".")
    };
    let shown: Vec<_> = domains.iter().filter(without_port).filter(|d| !longer(d)).map(String::as_str).collect();
    match shown.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{} + {more} more...", shown[..MOST].join(", ")),
        _ => shown.join(", "),
    }
}

/// The path alone, as istioctl writes it.
pub(super) fn path_of(matches: &RouteMatch) -> String {
    match &matches.path {
        PathMatch::Prefix(prefix) => format!("{prefix}*"),
        PathMatch::SegmentPrefix(prefix) => format!("PathPrefix:{prefix}"),
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Regex(regex) => format!("regex {regex}"),
        PathMatch::Connect => "CONNECT".to_owned(),
    }
}

/// All that a request has to be.
pub(crate) fn describe_match(matches: &RouteMatch) -> String {
    let mut parts = vec![path_of(matches)];
    if matches.ignore_case {
        parts.push("(any case)".to_owned());
    }
    parts.extend(matches.headers.iter().map(describe_header));
    parts.extend(matches.query.iter().map(|query| match &query.matches {
        ValueMatch::Present => format!("?{}", query.name),
        value => format!("?{}{}", query.name, describe_value(value, false)),
    }));
    if let Some(share) = matches.fraction {
        parts.push(format!("{}% of requests", share.percent()));
    }
    if matches.grpc_only {
        parts.push("gRPC".to_owned());
    }
    parts.join(" ")
}

fn describe_header(header: &HeaderMatch) -> String {
    match (&header.matches, header.invert) {
        (ValueMatch::Present, false) => header.name.clone(),
        (ValueMatch::Present, true) => format!("no {}", header.name),
        (value, invert) => format!("{}{}", header.name, describe_value(value, invert)),
    }
}

fn describe_value(value: &ValueMatch, invert: bool) -> String {
    let ValueMatch::String { value, ignore_case } = value else { return String::new() };
    let not = if invert { "!" } else { "" };
    let case = if *ignore_case { "i" } else { "" };
    match value {
        StringMatch::Exact(v) => format!("{not}={case}{v}"),
        StringMatch::Prefix(v) => format!("{not}={case}{v}*"),
        StringMatch::Suffix(v) => format!("{not}={case}*{v}"),
        StringMatch::Contains(v) => format!("{not}={case}*{v}*"),
        StringMatch::Regex(v) => format!("{not}~{case}{v}"),
    }
}

pub(crate) fn describe_action(action: &RouteAction) -> String {
    match action {
        RouteAction::Forward(forward) => describe_forward(forward),
        RouteAction::Redirect(redirect) => describe_redirect(redirect),
        RouteAction::Respond(respond) => format!("answers {}", respond.status),
        RouteAction::Opaque(what) => format!("(not understood: {what})"),
    }
}

fn describe_forward(forward: &Forward) -> String {
    if let [one] = forward.clusters.as_slice() {
        return one.name.clone();
    }
    let all: u64 = forward.clusters.iter().map(|c| u64::from(c.weight)).sum();
    let share = |weight: u32| f64::from(weight) * 100.0 / (all.max(1) as f64);
    let parts = forward.clusters.iter().map(|c| format!("{} {:.0}%", c.name, share(c.weight)));
    parts.collect::<Vec<_>>().join(", ")
}

fn describe_redirect(redirect: &Redirect) -> String {
    use amime_model::config::RedirectPath;
    let scheme = redirect.scheme.as_ref().map(|s| format!("{s}://")).unwrap_or_default();
    let authority = redirect.authority.clone().unwrap_or_default();
    let port = redirect.port.map(|p| format!(":{p}")).unwrap_or_default();
    let path = match &redirect.path {
        RedirectPath::Keep => "",
        RedirectPath::Full(path) | RedirectPath::Prefix(path) => path,
        RedirectPath::Regex { substitution, .. } => substitution,
    };
    format!("redirects {} {scheme}{authority}{port}{path}", redirect.status).trim_end().to_owned()
}
