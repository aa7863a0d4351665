//! A real Envoy validates what is translated: each proxy of a mesh as a static configuration.
//!
//! Skipped, saying so, where there is no Envoy; the meshes of ../shared only where it is there.

use amime_model::config::{Discovery, ProxyConfig};
use amime_model::resource::{MeshConfig, ResourceSet, load, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use amime_model::translate::{Interception, Node, NodeKind, Scope, translate};
use amime_model::workload::{AddressPlan, expand};
use amime_xds::encode;
use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;
use envoy_types::pb::envoy::config::cluster::v3::{self as cluster, cluster::ClusterDiscoveryType};
use envoy_types::pb::envoy::config::core::v3::Node as EnvoyNode;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{self as listener, filter::ConfigType};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::google::protobuf::Any;
use hcm::http_connection_manager::RouteSpecifier;
use prost::Message;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every so many meshes: each takes Envoy some 0.2 s a proxy.
const STEP: usize = 60;

fn meshes() -> Option<PathBuf> {
    let shared = match std::env::var_os("AMIME_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    Some(shared.join("fixtures/truth")).filter(|folder| folder.is_dir())
}

/// Validates configurations, each once.
struct Validator {
    envoy: PathBuf,
    room: tempfile::TempDir,
    seen: HashSet<Vec<u8>>,
    refused: Vec<String>,
}

impl Validator {
    /// None, saying so, where there is no Envoy.
    fn new() -> Option<Self> {
        let envoy = amime_testkit::envoy::binary()?;
        let room = tempfile::tempdir().expect("a folder");
        Some(Self { envoy, room, seen: HashSet::new(), refused: Vec::new() })
    }

    fn validate(&mut self, what: &str, config: &ProxyConfig) {
        let bytes = statically(config).encode_to_vec();
        if !self.seen.insert(bytes.clone()) {
            return;
        }
        let file = self.room.path().join("bootstrap.pb");
        std::fs::write(&file, bytes).expect("a file");
        let mut command = Command::new(&self.envoy);
        let run = command.args(["--mode", "validate", "-l", "error", "-c"]).arg(&file).output().expect("Envoy");
        if !run.status.success() {
            let said = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
            let last = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
            self.refused.push(format!("{what}: {last}"));
        }
    }

    fn finish(self) {
        println!("{} configurations", self.seen.len());
        assert!(self.refused.is_empty(), "{} refused:\n{}", self.refused.len(), self.refused.join("\n"));
    }
}

/// As `amime up` has it: made-up pods, PROXY headers, gateways on the loopback.
#[test]
fn envoy_takes_the_examples() {
    let Some(mut validator) = Validator::new() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut examples: Vec<_> = std::fs::read_dir(&folder).expect("examples").map(|e| e.expect("one").path()).collect();
    examples.sort();
    for example in examples.iter().filter(|path| path.is_dir()) {
        let files = std::fs::read_dir(example).expect("files").map(|e| e.expect("a file").path());
        let yaml = files.filter(|f| f.extension().is_some_and(|e| e == "yaml"));
        let loaded: Vec<_> =
            yaml.map(|f| load(&f.to_string_lossy(), &std::fs::read_to_string(&f).expect("text"))).collect();
        let (resources, _) = ResourceSet::of_files(&loaded);
        let expanded = expand(&resources, &mut AddressPlan::default()).resources;
        let built = Snapshot::build(&expanded, &MeshConfig::default(), &Held::default());
        for pod in built.snapshot.pods() {
            let gateway = pod.placement().is_some_and(|p| !p.bind.is_empty());
            let kind = if gateway { NodeKind::Gateway } else { NodeKind::Sidecar };
            let node = Node::of_pod(pod, kind, Interception::ProxyProtocol, true);
            let config = translate(&built.snapshot, &Scope::of(&built.snapshot, &node)).config;
            validator.validate(&format!("{} {}/{}", example.display(), pod.namespace, pod.name), &config);
        }
    }
    validator.finish();
}

#[test]
fn envoy_takes_what_is_translated() {
    let Some(mut validator) = Validator::new() else { return };
    let Some(folder) = meshes() else {
        println!("skipped: there is no ../shared/fixtures/truth");
        return;
    };
    let step = std::env::var("AMIME_STEP").ok().and_then(|s| s.parse().ok()).unwrap_or(STEP);
    let inventory = std::fs::read_to_string(folder.join("inventory.yaml")).expect("the inventory");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .filter_map(|e| e.ok()?.file_name().into_string().ok()?.strip_suffix(".jsonl").map(str::to_string))
        .collect();
    names.sort();
    for name in names.iter().step_by(step) {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("a mesh");
        let files = [load("inventory.yaml", &inventory), load("mesh.yaml", &text)];
        let (resources, _) = ResourceSet::of_files(&files);
        let mesh = std::fs::read_to_string(folder.join(format!("{name}.meshconfig.yaml")))
            .map_or_else(|_| MeshConfig::default(), |text| load_mesh_config("mesh", &text).config);
        let built = Snapshot::build(&resources, &mesh, &Held::default());
        for pod in built.snapshot.pods() {
            let gateway = pod.labels.contains_key("istio");
            let kind = if gateway { NodeKind::Gateway } else { NodeKind::Sidecar };
            let node = Node::of_pod(pod, kind, Interception::Redirect, false);
            let config = translate(&built.snapshot, &Scope::of(&built.snapshot, &node)).config;
            validator.validate(&format!("{name} {}/{}", pod.namespace, pod.name), &config);
        }
    }
    validator.finish();
}

fn any<M: prost::Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// The whole configuration as a bootstrap: routes and endpoints in place of their names.
fn statically(config: &ProxyConfig) -> bootstrap::Bootstrap {
    let clusters = config.clusters.values().map(|c| {
        let mut pb = cluster::Cluster::decode(encode::cluster(c)).expect("a cluster");
        if let (Discovery::Eds(_), Some(endpoints)) = (&c.discovery, config.endpoints.get(c.name.as_str())) {
            let assignment = ClusterLoadAssignment::decode(encode::endpoints(endpoints)).expect("endpoints");
            pb.eds_cluster_config = None;
            pb.cluster_discovery_type =
                Some(ClusterDiscoveryType::Type(cluster::cluster::DiscoveryType::Static as i32));
            pb.load_assignment = Some(ClusterLoadAssignment { cluster_name: c.name.clone(), ..assignment });
        }
        pb
    });
    let listeners = config.listeners.values().map(|l| {
        let mut pb = listener::Listener::decode(encode::listener(l)).expect("a listener");
        for chain in pb.filter_chains.iter_mut().chain(&mut pb.default_filter_chain) {
            for filter in &mut chain.filters {
                inline_routes(config, filter);
            }
        }
        pb
    });
    let secrets = config.secrets.values().map(|s| Secret::decode(encode::secret(s)).expect("a secret"));
    let resources = bootstrap::bootstrap::StaticResources {
        clusters: clusters.collect(),
        listeners: listeners.collect(),
        secrets: secrets.collect(),
    };
    let node = EnvoyNode { id: "sidecar".into(), cluster: "test".into(), ..EnvoyNode::default() };
    bootstrap::Bootstrap { static_resources: Some(resources), node: Some(node), ..bootstrap::Bootstrap::default() }
}

fn inline_routes(config: &ProxyConfig, filter: &mut listener::Filter) {
    let Some(ConfigType::TypedConfig(typed)) = &mut filter.config_type else { return };
    if !typed.type_url.ends_with("HttpConnectionManager") {
        return;
    }
    let mut manager = hcm::HttpConnectionManager::decode(typed.value.as_slice()).expect("a manager");
    if let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier {
        let routes = config.routes.get(rds.route_config_name.as_str()).expect("the routes that a listener names");
        let routes = RouteConfiguration::decode(encode::route(routes)).expect("routes");
        manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes));
        *typed = any(&manager);
    }
}
