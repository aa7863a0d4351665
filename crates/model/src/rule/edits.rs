//! Header changes of rules and destinations.

use crate::config::HeaderEdits;
use crate::resource::virtual_service::{HeaderOperations, Headers};
use std::collections::BTreeMap;

/// Request and response edits, and the authority where the request's `host` is set.
#[derive(Debug, Default)]
pub struct Operations {
    pub request: HeaderEdits,
    pub response: HeaderEdits,
    pub authority: Option<String>,
}

pub fn of(headers: Option<&Headers>) -> Operations {
    let Some(headers) = headers else { return Operations::default() };
    let request = headers.request.as_ref();
    let host_in = |map: &BTreeMap<String, String>| {
        map.iter().filter(|(name, _)| is_host(name)).map(|(_, value)| value.clone()).rfind(|v| !v.is_empty())
    };
    Operations {
        request: request.map(edits).unwrap_or_default(),
        response: headers.response.as_ref().map(edits).unwrap_or_default(),
        authority: request.and_then(|r| host_in(&r.set).or_else(|| host_in(&r.add))),
    }
}

/// The edits of `b` after those of `a`.
pub fn join(mut a: HeaderEdits, b: HeaderEdits) -> HeaderEdits {
    a.remove.extend(b.remove);
    a.set.extend(b.set);
    a.add.extend(b.add);
    a
}

fn edits(operations: &HeaderOperations) -> HeaderEdits {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter()
            .filter(|(name, _)| !is_internal(name))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect()
    };
    HeaderEdits {
        remove: operations.remove.iter().filter(|n| !is_internal(n)).map(|n| n.to_ascii_lowercase()).collect(),
        set: pairs(&operations.set),
        add: pairs(&operations.add),
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// What is no header on the wire cannot be edited as one.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}
