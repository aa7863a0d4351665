//! AM-S1 and AM-S2: how many control planes a cluster has, and whether they outlive a node or a zone.

use super::installation::ControlPlane;
use crate::analyze::world::about;
use crate::diagnostic::{Diagnostic, codes};
use std::collections::BTreeMap;

pub(super) fn find(planes: &[ControlPlane<'_>], found: &mut Vec<Diagnostic>) {
    // One that is scaled to nothing runs nowhere.
    let running: Vec<_> = planes.iter().filter(|plane| plane.replicas != 0).collect();
    several(&running, found);
    for plane in running {
        redundant(plane, found);
    }
}

/// AM-S1. What tells of one Deployment in two ways (an IstioOperator, and what it made) is one.
fn several(planes: &[&ControlPlane<'_>], found: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<(&str, &str), (&str, &str)> = BTreeMap::new();
    for plane in planes {
        let own = (plane.namespace.as_str(), plane.name.as_str());
        let one = *first.entry((&plane.cluster, &plane.revision)).or_insert(own);
        if one != own {
            let message = format!(
                "{}/{} is one more control plane of the revision {}, beside {}/{}",
                own.0, own.1, plane.revision, one.0, one.1
            );
            found.push(about(codes::FEW_CONTROL_PLANES, plane.object, plane.field, message));
        }
    }
}

/// AM-S2.
fn redundant(plane: &ControlPlane<'_>, found: &mut Vec<Diagnostic>) {
    let name = format!("{}/{}", plane.namespace, plane.name);
    if plane.replicas < 2 {
        let message = format!("the control plane {name} may be one replica alone");
        found.push(about(codes::REDUNDANT_CONTROL_PLANE, plane.object, plane.counted_by, message));
    } else if let Some(why) = plane.scheduling.shares_zone(plane.replicas, &plane.labels) {
        let message = format!("all {} replicas of the control plane {name} may be in one zone: {why}", plane.replicas);
        found.push(about(codes::REDUNDANT_CONTROL_PLANE, plane.object, plane.scheduled_by, message));
    }
}
