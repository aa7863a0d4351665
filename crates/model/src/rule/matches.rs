//! The match of a rule, as far as it is left to the request.

use crate::config::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, StringMatch, ValueMatch};
use crate::resource::virtual_service::{HttpMatch, StringMatch as Written};

/// The prefix of header names that stand for claims of a JWT.
const CLAIMS: &str = "@request.auth.claims";

pub fn of(m: &HttpMatch) -> RouteMatch {
    let mut headers: Vec<HeaderMatch> = m.headers.iter().map(|(name, value)| header(name, value)).collect();
    for (name, value) in m.without_headers.iter().filter(|(name, _)| !is_claim(name)) {
        let header = header(name, value);
        // A header that is not there is one without that value; of a mere presence it is said anyway.
        let absent_is_empty = header.matches != ValueMatch::Present;
        headers.push(HeaderMatch { invert: true, absent_is_empty, ..header });
    }
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    let pseudo = [(":method", &m.method), (":authority", &m.authority), (":scheme", &m.scheme)];
    headers.extend(pseudo.into_iter().filter_map(|(name, value)| Some(header(name, value.as_ref()?))));
    RouteMatch {
        path: m.uri.as_ref().map(path).unwrap_or_default(),
        ignore_case: m.ignore_uri_case,
        headers,
        query: m.query_params.iter().map(|(name, v)| QueryMatch { name: name.clone(), matches: value(v) }).collect(),
        fraction: None,
        grpc_only: false,
    }
}

fn path(uri: &Written) -> PathMatch {
    match (&uri.exact, &uri.prefix, &uri.regex) {
        (Some(exact), ..) => PathMatch::Exact(exact.clone()),
        (_, Some(prefix), _) => PathMatch::Prefix(prefix.clone()),
        (.., Some(regex)) => PathMatch::Regex(regex.clone()),
        _ => PathMatch::default(),
    }
}

/// Claims are not looked at before the work on identity: no request has them, so what asks for one never matches.
fn is_claim(name: &str) -> bool {
    name.starts_with(CLAIMS)
}

fn header(name: &str, written: &Written) -> HeaderMatch {
    HeaderMatch { name: name.to_ascii_lowercase(), matches: value(written), invert: false, absent_is_empty: false }
}

/// Nothing set, or the regex `*`, asks for presence alone.
fn value(written: &Written) -> ValueMatch {
    let value = match (&written.exact, &written.prefix, &written.regex) {
        (Some(exact), ..) => StringMatch::Exact(exact.clone()),
        (_, Some(prefix), _) => StringMatch::Prefix(prefix.clone()),
        (.., Some(regex)) if regex != "*" => StringMatch::Regex(regex.clone()),
        _ => return ValueMatch::Present,
    };
    ValueMatch::String { value, ignore_case: false }
}
