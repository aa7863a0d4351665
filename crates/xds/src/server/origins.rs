//! Which of the user's objects a refused resource was made of.

use crate::{ResourceType, decode};
use amime_model::config::{NetworkFilter, Origin, VirtualHost};

/// More are no help.
const MOST: usize = 8;

/// The objects of a resource that `message` speaks of: those it names, else those of the virtual hosts that it names,
/// else all.
pub(super) fn blamed(kind: ResourceType, body: &[u8], message: &str) -> Vec<String> {
    // What was encoded here can be read here; where it cannot, there is nobody to name.
    let found = match kind {
        ResourceType::Cluster => decode::cluster(body).map(|c| c.origins.iter().map(unnamed).collect()),
        ResourceType::Listener => decode::listener(body).map(|l| {
            let chains = l.filter_chains.iter().chain(l.default_filter_chain.as_deref());
            let of_chains = chains.flat_map(|c| {
                let of_filters = c.filters.iter().filter_map(|f| match f {
                    NetworkFilter::Tcp(tcp) => tcp.origin.as_ref(),
                    _ => None,
                });
                c.origin.iter().chain(of_filters)
            });
            l.origins.iter().chain(of_chains).map(unnamed).collect()
        }),
        ResourceType::Route => decode::route(body).map(|r| r.virtual_hosts.iter().flat_map(|h| of_host(h)).collect()),
        ResourceType::VirtualHost => decode::virtual_host(body).map(|h| of_host(&h).collect()),
        ResourceType::Endpoints | ResourceType::Secret => Ok(Vec::new()),
    };
    let mut found: Vec<Named> = found.unwrap_or_default();
    let named = |one: &Named| message.contains(&one.object);
    let of_named_host = |one: &Named| one.host.as_ref().is_some_and(|host| message.contains(&**host));
    if found.iter().any(named) {
        found.retain(named);
    } else if found.iter().any(of_named_host) {
        found.retain(of_named_host);
    }
    let mut objects: Vec<_> = found.into_iter().map(|one| one.object).collect();
    objects.sort_unstable();
    objects.dedup();
    objects.truncate(MOST);
    objects
}

/// `VirtualService shop/reviews`, and the virtual host that it is in.
struct Named {
    object: String,
    host: Option<String>,
}

fn unnamed(origin: &Origin) -> Named {
    Named { object: object(origin), host: None }
}

fn of_host(host: &VirtualHost) -> impl Iterator<Item = Named> {
    let origins = host.origin.iter().chain(host.routes.iter().filter_map(|route| route.origin.as_ref()));
    origins.map(|origin| Named { object: object(origin), host: Some(host.name.clone()) })
}

fn object(origin: &Origin) -> String {
    format!("{} {}/{}", origin.kind, origin.namespace, origin.name)
}
