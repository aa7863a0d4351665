//! Routing by a claim of a token at a gateway whose pods no RequestAuthentication validates tokens for (IST0149).

use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::virtual_service::HttpMatch;
use crate::resource::{Kind, RequestAuthentication, Spec, VirtualService};

/// The header that stands for a claim: `@request.auth.claims.group`, also with brackets.
const CLAIM: &str = "@request.auth.claims";

pub(in crate::analyze::istio) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for (object, vs) in world.virtual_services() {
        let Some((field, claim)) = claim_of(vs) else { continue };
        for gateway in vs.gateways.iter().filter(|gateway| *gateway != "mesh") {
            let (namespace, name) = gateway.split_once('/').unwrap_or((&object.id.namespace, gateway));
            let Some(Spec::Gateway(spec)) = world.find(Kind::Gateway, namespace, name).map(|found| &found.spec) else {
                continue;
            };
            for pod in world.pods.matching(&spec.selector).filter(|pod| !is_authenticated(world, pod)) {
                let message =
                    format!("{claim} is never set at {} of gateway {gateway}: no RequestAuthentication", pod.name());
                found.push(about(codes::CLAIM_WITHOUT_AUTHENTICATION, object, &field, message));
            }
        }
    }
}

/// The first match by a claim.
fn claim_of(vs: &VirtualService) -> Option<(String, String)> {
    let is_claim =
        |key: &&String| key.strip_prefix(CLAIM).is_some_and(|rest| rest.len() > 1 && rest.starts_with(['.', '[']));
    let of = |m: &HttpMatch| m.headers.keys().chain(m.without_headers.keys()).find(is_claim).cloned();
    vs.http.iter().enumerate().find_map(|(i, rule)| {
        let found = rule.matches.iter().enumerate().find_map(|(j, m)| of(m).map(|claim| (j, claim)));
        found.map(|(j, claim)| (format!("spec.http[{i}].match[{j}]"), claim))
    })
}

fn is_authenticated(world: &World<'_>, pod: &PodView<'_>) -> bool {
    let chooses = |it: &RequestAuthentication| it.selector.as_ref().is_none_or(|s| s.matches(pod.labels));
    let root = world.mesh.root_namespace.as_str();
    world.request_authentications().any(|(object, it)| {
        (&*object.id.namespace == root || object.id.namespace == pod.object.id.namespace) && chooses(it)
    })
}
