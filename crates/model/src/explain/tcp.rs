//! The verdict of a TCP proxy.

use super::verdict::{Action, Destination, ObjectName, Verdict};
use crate::config::{ProxyConfig, TcpProxy};
use crate::translate::names;

pub(super) fn verdict(config: &ProxyConfig, proxy: &TcpProxy) -> Verdict {
    let only = |name: &str| proxy.clusters.iter().all(|c| c.name == name);
    if only(names::PASSTHROUGH_CLUSTER) {
        return Verdict { action: Action::Passthrough, ..Verdict::default() };
    }
    if only(names::BLACK_HOLE_CLUSTER) {
        return Verdict::refused("the outbound traffic policy lets nothing through that the mesh does not know");
    }
    let destinations = proxy.clusters.iter().filter(|c| c.weight > 0);
    Verdict {
        action: Action::Forward,
        object: proxy.origin.as_ref().filter(|o| o.kind == "VirtualService").map(ObjectName::of),
        destinations: destinations.map(|c| Destination::of(config, &c.name, c.weight)).collect(),
        ..Verdict::default()
    }
}
