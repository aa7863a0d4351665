//! MeshConfig from its own file and from a ConfigMap.

use super::*;
use crate::resource::mesh_config::OutboundMode;

fn found(loaded: &LoadedMeshConfig) -> Vec<String> {
    let line = |diagnostic: &Diagnostic| {
        let place =
            diagnostic.place.as_ref().map_or("?".to_owned(), |place| format!("{}:{}", place.line, place.column));
        format!("{:?} {place} {} {}", diagnostic.severity, diagnostic.field, diagnostic.message)
    };
    loaded.diagnostics.iter().map(line).collect()
}

#[test]
fn defaults_stay_where_nothing_is_said() {
    let loaded = load_mesh_config("m.yaml", "outboundTrafficPolicy:\n  mode: REGISTRY_ONLY\nrootNamespace:\n");
    assert_eq!(loaded.config.outbound_traffic_policy.mode, OutboundMode::RegistryOnly);
    assert_eq!(loaded.config.root_namespace, "istio-system");
    assert_eq!(loaded.config.default_service_export_to, ["*"]);
    assert_eq!(found(&loaded), [""; 0]);
    assert_eq!(load_mesh_config("m.yaml", "").config, MeshConfig::default());
    assert_eq!(MeshConfig::default().outbound_traffic_policy.mode, OutboundMode::AllowAny);
    let merged = load_mesh_config("m.yaml", "defaultConfig: {statusPort: 1}").config.default_config;
    assert_eq!((merged.status_port, merged.proxy_admin_port), (1, 15000));
}

#[test]
fn misspelt_fields_and_fields_without_effect_are_named() {
    let loaded = load_mesh_config("m.yaml", "rootNamspace: x\nenablePrometheusMerge: false\naccessLogFile: 5\n");
    assert_eq!(
        found(&loaded),
        [
            "Error 1:1 rootNamspace unknown field `rootNamspace`",
            "Info 2:1 enablePrometheusMerge `enablePrometheusMerge` has no effect: nothing reads it yet",
            "Error 3:16 accessLogFile the number 5 is not text",
        ]
    );
    assert!(loaded.has_errors());
}

#[test]
fn within_a_config_map() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  meshNetworks: ''\n  mesh: |-\n    \
                rootNamespace: example\n    outboundTrafficPolicy:\n      mdoe: ALLOW_ANY\n";
    let loaded = load_mesh_config("m.yaml", text);
    assert_eq!(loaded.config.root_namespace, "example");
    assert_eq!(found(&loaded), ["Error 9:7 outboundTrafficPolicy.mdoe unknown field `mdoe`"]);
    let spaced = load_mesh_config("m.yaml", "kind: ConfigMap\ndata:\n  mesh: |\n\n    # c\n\n    x: 1\n");
    assert_eq!(found(&spaced), ["Error 7:5 x unknown field `x`"]);
    let quoted = load_mesh_config("m.yaml", "kind: ConfigMap\ndata: {mesh: \"trustDomian: x\"}\n");
    assert_eq!(found(&quoted), ["Error 2:14 trustDomian unknown field `trustDomian`"]);
    assert_eq!(
        found(&load_mesh_config("m.yaml", "kind: ConfigMap\n")),
        ["Error 1:1 data.mesh this ConfigMap holds no MeshConfig"]
    );
}
