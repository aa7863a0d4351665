//! Names and values of headers, string matches, regexes. `http_route` calls it.

use super::report::Report;
use crate::resource::virtual_service::{HeaderOperations, Headers, RegexRewrite, StringMatch};
use crate::route::{regex, template::Template};
use crate::yaml::Path;

/// What Istio takes for a regex's length at most.
const REGEX_LENGTH: usize = 1024;

/// Headers by which requests can be matched though they are none.
const PSEUDO: &[&str] = &[":method", ":scheme", ":authority", ":path", ":status"];

pub(super) fn is_header_name(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// A claim of a validated JWT, in the place of a header: `@request.auth.claims.GROUP` or `…[GROUP]`.
pub(super) fn is_jwt_claim(name: &str) -> bool {
    const PREFIX: &str = "@request.auth.claims";
    let starts = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    let Some(rest) = name.get(PREFIX.len()..).filter(|_| starts) else { return false };
    (rest.starts_with('.') && rest.len() > 1) || (rest.starts_with('[') && rest.ends_with(']') && rest.len() > 2)
}

/// The name of a header that requests are matched by.
pub(super) fn match_name(report: &mut Report<'_>, map: &Path<'_>, name: &str) {
    if !is_jwt_claim(name) && !PSEUDO.contains(&name) && !is_header_name(name) {
        report.key_error(map, name, format!("\"{name}\" is no name of a header"));
    }
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// Header changes of requests and responses.
pub(super) fn changes(report: &mut Report<'_>, at: &Path<'_>, headers: &Headers) {
    let at = at.key("headers");
    if let Some(request) = &headers.request {
        operations(report, &at.key("request"), request, true);
    }
    if let Some(response) = &headers.response {
        operations(report, &at.key("response"), response, false);
    }
}

fn operations(report: &mut Report<'_>, at: &Path<'_>, operations: &HeaderOperations, may_set_authority: bool) {
    for (kind, map) in [("set", &operations.set), ("add", &operations.add)] {
        let at = at.key(kind);
        for (name, value) in map {
            if let Err(message) = change_name(name, may_set_authority) {
                report.key_error(&at, name, message);
            }
            report.result(&at.key(name), header_value(value));
        }
    }
    let at = at.key("remove");
    for (index, name) in operations.remove.iter().enumerate() {
        report.result(&at.index(index), change_name(name, false));
    }
}

fn change_name(name: &str, may_be_authority: bool) -> Result<(), String> {
    if is_authority(name) {
        let message = || format!("`{name}` can be set in requests, and nothing else be done with it");
        return if may_be_authority { Ok(()) } else { Err(message()) };
    }
    match name {
        _ if name.starts_with(':') => Err(format!("`{name}`: headers that start with : cannot be changed")),
        _ if is_header_name(name) => Ok(()),
        _ => Err(format!("\"{name}\" is no name of a header")),
    }
}

/// With `%COMMAND%`s as Envoy knows them. Bytes beyond ASCII are sent as they are.
fn header_value(value: &str) -> Result<(), String> {
    Template::parse(value).map_err(|problem| problem.0)?;
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err("a header's value has no control characters".to_owned());
    }
    Ok(())
}

/// The authority can be set in one place only.
pub(super) fn authority_once(report: &mut Report<'_>, at: &Path<'_>, rewritten: bool, headers: Option<&Headers>) {
    let Some(request) = headers.and_then(|headers| headers.request.as_ref()) else { return };
    let (at, mut set) = (at.key("headers"), rewritten);
    let at = at.key("request");
    for (kind, map) in [("set", &request.set), ("add", &request.add)] {
        for name in map.keys().filter(|name| is_authority(name)) {
            if set {
                report.error(&at.key(kind).key(name), "the authority is set in another place already");
            }
            set = true;
        }
    }
}

/// A match on a string. `empty_prefix`: paths alone may be matched by an empty prefix.
pub(super) fn string_match(report: &mut Report<'_>, at: &Path<'_>, matched: &StringMatch, empty_prefix: bool) {
    one_way(report, at, matched);
    if !empty_prefix && matched.prefix.as_deref() == Some("") {
        report.error(&at.key("prefix"), "an empty prefix matches everything; leave the match out");
    }
    if let Some(source) = &matched.regex {
        pattern(report, &at.key("regex"), source);
    }
}

/// Only one of the ways of matching can be set.
pub(super) fn one_way(report: &mut Report<'_>, at: &Path<'_>, matched: &StringMatch) {
    report.at_most_one(
        at,
        &[("exact", matched.exact.is_some()), ("prefix", matched.prefix.is_some()), ("regex", matched.regex.is_some())],
    );
}

/// A regex in RE2's syntax.
pub(super) fn pattern(report: &mut Report<'_>, at: &Path<'_>, source: &str) {
    if let Some(message) = too_long_or_empty(source) {
        report.error(at, message);
    } else if let Err(error) = regex::Regex::new(source) {
        report.error(at, error.to_string());
    }
}

fn too_long_or_empty(source: &str) -> Option<&'static str> {
    match source.len() {
        0 => Some("the regex is empty"),
        1..=REGEX_LENGTH => None,
        _ => Some("the regex is longer than 1024 characters"),
    }
}

/// A rewrite of paths by a regex.
pub(super) fn regex_rewrite(report: &mut Report<'_>, at: &Path<'_>, rewrite: &RegexRewrite) {
    if rewrite.pattern.is_empty() || rewrite.rewrite.is_empty() {
        return report.error(at, "uriRegexRewrite needs both `match` and `rewrite`");
    }
    if let Some(message) = too_long_or_empty(&rewrite.pattern) {
        return report.error(&at.key("match"), message);
    }
    match regex::Regex::for_substitution(&rewrite.pattern) {
        Err(error) => report.error(&at.key("match"), error.to_string()),
        Ok(compiled) => {
            if let Err(error) = regex::check_substitution(&compiled, &rewrite.rewrite) {
                report.error(&at.key("rewrite"), error.to_string());
            }
        }
    }
}
