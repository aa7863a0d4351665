//! Paths that are rewritten on the way upstream, and the `location` of redirects. Rules as Envoy's router has them.

use super::regex::Regex;
use super::request::{RequestView, split_path};
use super::table::{Selection, without_port};
use crate::config::{PathRewrite, Redirect, RedirectPath};

/// The path to send upstream; None where it stays.
pub(super) fn path(selection: &Selection<'_>, rewrite: &PathRewrite, request: &RequestView<'_>) -> Option<String> {
    match rewrite {
        PathRewrite::None => None,
        PathRewrite::Prefix(to) => Some(replace_prefix(selection, request, to)),
        PathRewrite::Full(to) => Some(with_rest(to, request)),
        PathRewrite::Regex { substitution, .. } => {
            selection.compiled.rewrite.as_ref().map(|regex| replace_regex(regex, request, substitution))
        }
    }
}

fn replace_prefix(selection: &Selection<'_>, request: &RequestView<'_>, to: &str) -> String {
    let (path, rest) = split_path(request.path);
    let kept = path.get(selection.compiled.matched_length(path)..).unwrap_or("");
    [to, kept, rest].concat()
}

fn replace_regex(regex: &Regex, request: &RequestView<'_>, substitution: &str) -> String {
    let (path, rest) = split_path(request.path);
    let mut out = regex.replace_all(path, substitution);
    out.push_str(rest);
    out
}

fn with_rest(path: &str, request: &RequestView<'_>) -> String {
    [path, split_path(request.path).1].concat()
}

/// The `location` of a redirect.
pub(super) fn location(selection: &Selection<'_>, redirect: &Redirect, request: &RequestView<'_>) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let host = match &redirect.authority {
        Some(authority) => authority.as_str(),
        None => kept_host(request, scheme, redirect.port.is_some()),
    };
    let port = redirect.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = match &redirect.path {
        RedirectPath::Keep => request.path.to_owned(),
        RedirectPath::Full(to) if to.contains('?') => to.clone(),
        RedirectPath::Full(to) => with_rest(to, request),
        RedirectPath::Prefix(to) => replace_prefix(selection, request, to),
        RedirectPath::Regex { substitution, .. } => match &selection.compiled.rewrite {
            Some(regex) => replace_regex(regex, request, substitution),
            None => request.path.to_owned(),
        },
    };
    let own_query = matches!(&redirect.path, RedirectPath::Full(to) if to.contains('?'));
    let path = if redirect.strip_query && !own_query { path.split('?').next().unwrap_or("") } else { &path };
    format!("{scheme}://{host}{port}{path}")
}

/// The request's host; its port goes where the redirect sets one, or where it was the default of a scheme
/// that changes.
fn kept_host<'a>(request: &RequestView<'a>, new_scheme: &str, new_port: bool) -> &'a str {
    let host = without_port(request.authority);
    let port = &request.authority[host.len()..];
    let default = new_scheme != request.scheme
        && (request.scheme == "https" && port == ":443" || request.scheme == "http" && port == ":80");
    if new_port || default { host } else { request.authority }
}

/// Where plaintext is sent by a virtual host that wants TLS.
pub(super) fn https_location(request: &RequestView<'_>) -> String {
    format!("https://{}{}", request.authority, request.path)
}
