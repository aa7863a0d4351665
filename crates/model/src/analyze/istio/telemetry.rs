//! Telemetry that does nothing (IST0157) or uses what is going away (IST0002).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Kind;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Telemetry {
    access_logging: Vec<Logging>,
    tracing: Vec<Logging>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Logging {
    providers: Vec<Provider>,
    disabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Provider {
    name: String,
}

pub(super) fn providers(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    if !world.mesh.default_providers.access_logging.is_empty() {
        return;
    }
    for object in world.of(Kind::Telemetry) {
        let telemetry: Telemetry = object.read(&["spec"]);
        for (index, logging) in telemetry.access_logging.iter().enumerate() {
            if logging.providers.is_empty() && logging.disabled != Some(true) {
                let message = "access logging without a provider, where the mesh has no default one, is ignored";
                found.push(about(codes::NO_PROVIDER, object, &format!("spec.accessLogging[{index}]"), message));
            }
        }
    }
}

pub(super) fn deprecated(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let lightstep: BTreeSet<&str> = world
        .mesh
        .extension_providers
        .iter()
        .filter(|provider| provider.get("lightstep").is_some())
        .filter_map(|provider| provider.get("name")?.as_str())
        .collect();
    for object in world.of(Kind::Telemetry) {
        let telemetry: Telemetry = object.read(&["spec"]);
        for (index, tracing) in telemetry.tracing.iter().enumerate() {
            for provider in tracing.providers.iter().filter(|provider| lightstep.contains(provider.name.as_str())) {
                let message =
                    format!("provider {} is of Lightstep, which is deprecated: use OpenTelemetry", provider.name);
                found.push(about(codes::DEPRECATED, object, &format!("spec.tracing[{index}]"), message));
            }
        }
    }
}
