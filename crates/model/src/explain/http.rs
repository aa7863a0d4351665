//! The verdict of a connection manager: the decision of `route`, with the headers that would be sent.

use super::question::{Question, Scheme, Target};
use super::verdict::{Action, Destination, Edited, MirrorTo, ObjectName, Retries, Sent, State, Verdict};
use super::walk::{Step, Tables, Told};
use crate::config::{Forward, HttpConnectionManager, Origin, ProxyConfig, RouteSource};
use crate::route::decide::{RouteFilters, decide};
use crate::route::edits::Edits;
use crate::route::normalize::{Normalized, PathRules};
use crate::route::template::Command;
use crate::route::{Draws, Forwarding, Outcome, RequestView, Selection};
use crate::translate::names;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeSet;
use std::time::Duration;

/// Draws that fall into no share but a whole one: what only happens to some requests is not what happens to this.
const WHOLE_SHARES_ONLY: u32 = 999_999;

pub(super) fn verdict(
    config: &ProxyConfig,
    manager: &HttpConnectionManager,
    question: &Question,
    target: &Target,
    tables: &mut Tables,
    told: &mut Told<'_>,
) -> Verdict {
    let routes = match &manager.routes {
        RouteSource::Inline(routes) => Some(routes.clone()),
        RouteSource::Rds(name) => config.routes.get(name.as_str()).cloned(),
    };
    let Some(routes) = routes else { return not_found() };
    let table = match tables.compiled(&routes) {
        Ok(table) => table,
        Err(error) => return Verdict { why: error.to_string(), ..not_found() },
    };
    let path = match PathRules::of(manager).apply(&target.path) {
        Normalized::Path(path) => path,
        Normalized::Redirect(to) => return answered(307, Some(to)),
        Normalized::Refused => return answered(400, None),
    };
    let headers = headers_of(question);
    let view = RequestView {
        method: question.method.as_deref().unwrap_or("GET"),
        scheme: if target.scheme == Scheme::Https { "https" } else { "http" },
        authority: question.authority.as_deref().unwrap_or(&target.authority),
        path: &path,
        headers: &headers,
    };
    let whole = WHOLE_SHARES_ONLY;
    let draws = Draws { fraction: whole, weight: 0, delay: whole, abort: whole, mirror: whole };
    let decision = decide(&table, &view, RouteFilters::of(&manager.http_filters), &draws);
    told(Step::Routes { table: &table, request: &view, selection: decision.selection.as_ref() });
    let object = decision
        .selection
        .as_ref()
        .and_then(|s| Some(ObjectName { rule_name: s.route.name.clone(), ..rule(s.route.origin.as_ref())? }));
    match (decision.outcome, decision.selection) {
        (Outcome::Respond(respond), _) => Verdict {
            action: Action::Respond,
            status: Some(respond.status),
            flag: respond.flag.map(str::to_string),
            location: respond.location,
            object,
            ..Verdict::default()
        },
        (Outcome::Forward(forwarding), Some(selection)) => {
            Verdict { object, ..forwarded(config, &selection, &forwarding, &view, &question.answer) }
        }
        // The matcher forwards by a route alone.
        (Outcome::Forward(_), None) => not_found(),
    }
}

/// By the connection manager itself, before any route is looked for.
fn answered(status: u16, location: Option<String>) -> Verdict {
    Verdict { action: Action::Respond, status: Some(status), location, ..Verdict::default() }
}

fn not_found() -> Verdict {
    Verdict { action: Action::Respond, status: Some(404), flag: Some("NR".to_string()), ..Verdict::default() }
}

/// Only VirtualServices have rules; a service without one decides nothing.
fn rule(origin: Option<&Origin>) -> Option<ObjectName> {
    origin.filter(|o| o.kind == "VirtualService").map(ObjectName::of)
}

fn headers_of(question: &Question) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in &question.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        for value in values.values() {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    headers
}

fn forwarded(
    config: &ProxyConfig,
    selection: &Selection<'_>,
    forwarding: &Forwarding<'_>,
    view: &RequestView<'_>,
    answer: &[String],
) -> Verdict {
    let forward = forwarding.route;
    if forward.clusters.iter().all(|c| c.name == names::PASSTHROUGH_CLUSTER) {
        return Verdict { action: Action::Passthrough, ..Verdict::default() };
    }
    let single = forward.clusters.len() == 1;
    let shares = forward.clusters.iter().enumerate().filter(|(_, c)| c.weight > 0 || single);
    let destinations: Vec<Destination> = shares
        .map(|(index, cluster)| {
            let mut destination = Destination::of(config, &cluster.name, cluster.weight);
            if !single {
                let differs = |edited: &Edited| !edited.is_empty();
                destination.request = Some(request_edits(selection, Some(index), view)).filter(differs);
                destination.response = Some(response_edits(selection, Some(index), forwarding, answer)).filter(differs);
            }
            destination
        })
        .collect();
    // Where no destination is ready, each answers for its share; the first tells the flag.
    let ready = destinations.iter().any(|d| d.state == State::Ready);
    let flag = destinations.first().and_then(|d| d.state.flag()).filter(|_| !ready);
    let index = single.then_some(0);
    let authority = if single { forwarding.authority } else { forward.host_rewrite.as_deref() };
    let response = response_edits(selection, index, forwarding, answer);
    Verdict {
        action: Action::Forward,
        status: flag.map(|_| 503),
        flag: flag.map(str::to_string),
        destinations,
        request: Some(Sent {
            method: view.method.to_string(),
            path: forwarding.path.clone().unwrap_or_else(|| view.path.to_string()),
            authority: authority.unwrap_or(view.authority).to_string(),
            edited: request_edits(selection, index, view),
        }),
        response: (!response.is_empty()).then_some(response),
        timeout_ms: Some(forward.timeout.map_or(15_000, millis)),
        retries: Some(retries(forward)),
        mirrors: mirrors(config, forward),
        ..Verdict::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn retries(forward: &Forward) -> Retries {
    let Some(policy) = &forward.retry else { return Retries::default() };
    Retries { attempts: policy.attempts, on: policy.on.clone(), per_try_timeout_ms: policy.per_try_timeout.map(millis) }
}

fn mirrors(config: &ProxyConfig, forward: &Forward) -> Vec<MirrorTo> {
    let mirror = |mirror: &crate::config::Mirror| {
        let to = Destination::of(config, &mirror.cluster, 100);
        MirrorTo { host: to.host, port: to.port, subset: to.subset, percent: mirror.share.percent(), state: to.state }
    };
    forward.mirrors.iter().map(mirror).collect()
}

fn request_edits(selection: &Selection<'_>, cluster: Option<usize>, view: &RequestView<'_>) -> Edited {
    let mut after = view.headers.clone();
    // Without a cluster: an index that none has.
    apply(selection.request_edits(cluster.unwrap_or(usize::MAX)), &mut after);
    difference(view.headers, &after)
}

/// Of a response 200 with `x-user: up` and `x-drop: up`, and those of `answer`.
fn response_edits(
    selection: &Selection<'_>,
    cluster: Option<usize>,
    forwarding: &Forwarding<'_>,
    answer: &[String],
) -> Edited {
    let mut before = HeaderMap::new();
    let asked = answer.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    for name in ["x-user", "x-drop"].map(HeaderName::from_static).into_iter().chain(asked) {
        before.insert(name, HeaderValue::from_static("up"));
    }
    let mut after = before.clone();
    for (name, value) in &forwarding.cors {
        after.insert(name.clone(), value.clone());
    }
    apply(selection.response_edits(cluster), &mut after);
    difference(&before, &after)
}

fn apply<'e>(edits: impl Iterator<Item = &'e Edits>, headers: &mut HeaderMap) {
    let value_of = |command: &Command, headers: &HeaderMap| match command.name.as_str() {
        "PROTOCOL" => Some("HTTP/1.1".to_string()),
        "REQ" | "RESP" => {
            let value = headers.get(command.argument.as_deref()?.to_ascii_lowercase())?;
            value.to_str().ok().map(str::to_string)
        }
        // The rest is known only when the request is sent.
        _ => None,
    };
    for edit in edits {
        edit.apply(headers, &value_of);
    }
}

fn difference(before: &HeaderMap, after: &HeaderMap) -> Edited {
    let values = |headers: &HeaderMap, name: &HeaderName| -> Vec<String> {
        headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect()
    };
    let names: BTreeSet<&str> = after.keys().map(HeaderName::as_str).collect();
    let mut edited = Edited::default();
    for name in names {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let now = values(after, &name);
        if now != values(before, &name) {
            edited.set_headers.insert(name.to_string(), now);
        }
    }
    let gone: BTreeSet<_> = before.keys().filter(|name| !after.contains_key(*name)).map(ToString::to_string).collect();
    edited.removed_headers = gone.into_iter().collect();
    edited
}
