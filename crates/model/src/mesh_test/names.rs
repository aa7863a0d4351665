//! How a test names a destination: a host by as many of its labels as are needed, a port, a subset.

use crate::explain::Destination;

/// `reviews`, `reviews.shop:9080`: whether that host and port are meant.
pub(super) fn is_host(written: &str, host: &str, port: u32) -> bool {
    let split = written.rsplit_once(':').and_then(|(name, digits)| Some((name, digits.parse::<u32>().ok()?)));
    let (name, wanted) = split.map_or((written, None), |(name, port)| (name, Some(port)));
    let rest = host.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) && wanted.is_none_or(|wanted| wanted == port)
}

/// A key of `weights` or `mirrors`: a subset, a host, or both with a space between them.
pub(super) fn is_share(written: &str, host: &str, port: u32, subset: Option<&str>) -> bool {
    match written.split_once(' ') {
        Some((name, version)) => is_host(name, host, port) && subset == Some(version.trim()),
        None => subset == Some(written) || is_host(written, host, port),
    }
}

/// `reviews.shop.svc.cluster.local:9080 v1 (503 UH)`.
pub(super) fn named(to: &Destination) -> String {
    let failing = to.state.flag().map(|flag| format!(" (503 {flag})")).unwrap_or_default();
    format!("{}{failing}", to.name())
}
