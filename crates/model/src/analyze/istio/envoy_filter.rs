//! Patches of EnvoyFilters that are ignored (IST0152 to IST0154) or depend on an order that is not defined (IST0151,
//! IST0155).

use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Kind;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EnvoyFilter {
    config_patches: Vec<ConfigPatch>,
    priority: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigPatch {
    apply_to: String,
    #[serde(rename = "match")]
    matches: Match,
    patch: Option<Patch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Match {
    listener: Listener,
    proxy: Proxy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listener {
    filter_chain: FilterChain,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FilterChain {
    filter: Named,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Proxy {
    proxy_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Patch {
    operation: String,
    value: Option<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

impl ConfigPatch {
    /// The filter that the patch is about.
    fn filter(&self) -> &str {
        match self.patch.as_ref().and_then(|patch| patch.value.as_ref()) {
            Some(value) if !value.name.is_empty() => &value.name,
            Some(_) => &self.matches.listener.filter_chain.filter.name,
            None => "",
        }
    }

    /// The code of what is wrong. `versioned`: filters that an earlier patch has for one version of proxies.
    fn problem(&self, operation: &str, priority: i32, versioned: &BTreeSet<String>) -> Option<&'static str> {
        let routes = matches!(self.apply_to.as_str(), "ROUTE_CONFIGURATION" | "HTTP_ROUTE");
        let relative = || match versioned.contains(self.filter()) {
            _ if priority != 0 => None,
            true => Some(codes::RELATIVE_PATCH_OF_VERSION),
            false => Some(codes::RELATIVE_PATCH),
        };
        match operation {
            "ADD" if routes => Some(codes::ADD_PATCH),
            "REMOVE" if routes => Some(codes::REMOVE_PATCH),
            "REPLACE" if !matches!(self.apply_to.as_str(), "NETWORK_FILTER" | "HTTP_FILTER" | "VIRTUAL_HOST") => {
                Some(codes::REPLACE_PATCH)
            }
            "REMOVE" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER" => relative(),
            _ => None,
        }
    }
}

pub(super) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut versioned: BTreeSet<String> = BTreeSet::new();
    for object in world.of(Kind::EnvoyFilter) {
        let filter: EnvoyFilter = object.read(&["spec"]);
        for (index, patch) in filter.config_patches.iter().enumerate() {
            let Some(operation) = patch.patch.as_ref().map(|patch| patch.operation.as_str()) else { break };
            if let Some(code) = patch.problem(operation, filter.priority, &versioned) {
                let message = match code {
                    codes::RELATIVE_PATCH => {
                        format!("{operation} without a priority: what it refers to may not be there yet")
                    }
                    codes::RELATIVE_PATCH_OF_VERSION => {
                        format!(
                            "{operation} without a priority, of a filter that is patched for one version of proxies"
                        )
                    }
                    _ => format!("{operation} does nothing for {}", patch.apply_to),
                };
                let field = format!("spec.configPatches[{index}].patch.operation");
                found.push(about(code, object, &field, message));
            }
            if !patch.matches.proxy.proxy_version.is_empty() {
                versioned.insert(patch.filter().to_owned());
            }
        }
    }
}
