//! Who is in nobody's routes, and why: VirtualServices that others keep out, rules for other ports and clients. What
//! can be asked of translation is asked of it (`Exclusion`, `mismatch`).

use super::super::Target;
use super::super::walk::Connection;
use super::{By, Known, Lost};
use crate::config::{Origin, VirtualHost};
use crate::host::{is_wildcard, overlaps, resolve_short};
use crate::route::table::without_port;
use crate::snapshot::{Health, ResolvedVirtualService, Snapshot, origin_of, selects};
use crate::translate::{Exclusion, NodeKind, mismatch};
use std::collections::BTreeSet;

/// The names under which VirtualServices may have the request's host.
fn names(known: &Known<'_>, target: &Target, host: Option<&VirtualHost>) -> BTreeSet<String> {
    let mut names = BTreeSet::from([target.host.to_ascii_lowercase()]);
    names.extend(
        host.map(|host| without_port(&host.name).to_string()).filter(|name| name.contains('.') && !is_wildcard(name)),
    );
    names.extend(known.pod.map(|pod| resolve_short(&target.host, &pod.namespace)));
    names
}

/// `mesh`, or the Gateways that choose the proxy.
fn doors(known: &Known<'_>, connection: &Connection, snapshot: &Snapshot) -> Vec<String> {
    if connection.kind == NodeKind::Sidecar {
        return vec!["mesh".to_string()];
    }
    let chosen = |labels| snapshot.gateways().iter().filter(move |g| selects(&g.spec.selector, labels));
    let name = |g: &crate::snapshot::GatewayObject| format!("{}/{}", g.id.namespace, g.id.name);
    known.pod.map(|pod| chosen(&pod.labels).map(name).collect()).unwrap_or_default()
}

pub(super) fn virtual_services(
    known: &Known<'_>,
    connection: &Connection,
    target: &Target,
    host: Option<&VirtualHost>,
) -> Vec<Lost> {
    let (Some(snapshot), Some(scope)) = (known.snapshot, known.scope) else { return Vec::new() };
    let names = names(known, target, host);
    let doors = doors(known, connection, snapshot);
    let winners: BTreeSet<(&str, &str)> = host
        .into_iter()
        .flat_map(|host| host.routes.iter().filter_map(|route| route.origin.as_ref()).chain(&host.origin))
        .filter(|origin| origin.kind == "VirtualService")
        .map(|origin| (origin.namespace.as_str(), origin.name.as_str()))
        .collect();
    let mut lost = Vec::new();
    for vs in snapshot.virtual_services() {
        let Some(own) = vs.hosts.iter().find(|own| names.iter().any(|name| overlaps(&own.to_ascii_lowercase(), name)))
        else {
            continue;
        };
        if winners.contains(&(&*vs.id.namespace, &*vs.id.name)) {
            continue;
        }
        let namespace = &scope.shared.namespace;
        let why = if !vs.gateways.iter().any(|door| doors.contains(door)) {
            format!("it is bound to {}, not to {}", vs.gateways.join(", "), doors.join(", "))
        } else if !vs.export_to.includes(namespace) {
            format!("its exportTo leaves out namespace {namespace}")
        } else if vs.http.is_empty() {
            "it has no http rules".to_string()
        } else {
            against(snapshot, known, vs, own, host).unwrap_or_else(|| match connection.kind {
                NodeKind::Gateway => format!("no server of {} has a host of its", doors.join(", ")),
                NodeKind::Sidecar => "none of its rules is for this port and client".to_string(),
            })
        };
        lost.push(Lost { by: By::of(Some(snapshot), &origin_of(&vs.id, "")), why });
    }
    lost
}

/// Who has the host that it could have had; None where nobody has.
fn against(
    snapshot: &Snapshot,
    known: &Known<'_>,
    vs: &ResolvedVirtualService,
    own: &str,
    host: Option<&VirtualHost>,
) -> Option<String> {
    let is_own = |e: &&Exclusion| e.origin.name == *vs.id.name && e.origin.namespace == *vs.id.namespace;
    let winner = host.and_then(|host| host.origin.as_ref());
    let named = |origin: &Origin| By::of(Some(snapshot), origin).to_string();
    Some(match (known.exclusions.iter().filter(|e| e.origin.kind == "VirtualService").find(is_own), winner) {
        (Some(exclusion), _) => {
            let winner = exclusion.winner.as_ref().map(|winner| format!(": {}", named(winner))).unwrap_or_default();
            format!("older rule wins for host {own}{winner}")
        }
        (None, Some(winner)) if winner.kind == "VirtualService" && is_wildcard(own) => {
            format!("{own} is less specific: {}", named(winner))
        }
        (None, Some(winner)) if winner.kind == "VirtualService" => {
            format!("older rule wins for host {own}: {}", named(winner))
        }
        _ => return None,
    })
}

/// Rules of the virtual host's VirtualServices that are not among its routes.
pub(super) fn rules(known: &Known<'_>, connection: &Connection, host: &VirtualHost) -> Vec<Lost> {
    let (Some(snapshot), Some(scope)) = (known.snapshot, known.scope) else { return Vec::new() };
    let there: BTreeSet<&Origin> = host.routes.iter().filter_map(|route| route.origin.as_ref()).collect();
    let objects: BTreeSet<(&str, &str)> =
        (there.iter().copied().chain(&host.origin).filter(|origin| origin.kind == "VirtualService"))
            .map(|o| (o.namespace.as_str(), o.name.as_str()))
            .collect();
    let doors = doors(known, connection, snapshot);
    let mut lost = Vec::new();
    for vs in snapshot.virtual_services() {
        if !objects.contains(&(&*vs.id.namespace, &*vs.id.name)) {
            continue;
        }
        let Some(door) = doors.iter().find(|door| vs.gateways.contains(door)) else { continue };
        for rule in vs.http.iter().filter(|rule| !there.contains(&rule.origin) && rule.health == Health::Sound) {
            let port = u32::from(connection.destination.port());
            let why = |m| mismatch(m, port, door, &scope.shared).map(|found| found.to_string());
            let reasons: Vec<_> = rule.route.matches.iter().filter_map(why).collect();
            let why = match reasons.is_empty() {
                true => "a rule above takes everything".to_string(),
                false => reasons.join("; "),
            };
            lost.push(Lost { by: By::of(Some(snapshot), &rule.origin), why });
        }
    }
    lost
}
