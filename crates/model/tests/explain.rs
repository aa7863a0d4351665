//! Paths take the one form in which the proxy looks at them before any rule does.

use amime_model::explain::{Action, Explainer, Question, Verdict, with_pods};
use amime_model::resource::{MeshConfig, ResourceSet, load, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: web}]}
status: {phase: Running, podIP: 10.1.0.1, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /admin}}]
    directResponse: {status: 403}
  - route: [{destination: {host: web}}]
";

fn explain(mesh: &MeshConfig, path: &str) -> Verdict {
    let (resources, _) = ResourceSet::of_files([&load("mesh.yaml", MESH)]);
    let snapshot = Snapshot::build(&with_pods(&resources), mesh, &Held::default()).snapshot;
    let question =
        Question { from: Some("shop/web-1".to_string()), url: format!("http://web.shop{path}"), ..Question::default() };
    Explainer::new(&snapshot).explain(&question).expect("a verdict")
}

#[test]
fn dot_segments_hide_no_path() {
    let verdict = explain(&MeshConfig::default(), "/static/../admin");
    assert_eq!((verdict.action, verdict.status), (Action::Respond, Some(403)));
}

#[test]
fn slashes_are_merged_where_the_mesh_says_so() {
    let plain = explain(&MeshConfig::default(), "//admin");
    assert_eq!(plain.action, Action::Forward);
    let mesh = load_mesh_config("mesh-config.yaml", "pathNormalization: {normalization: MERGE_SLASHES}").config;
    assert_eq!(explain(&mesh, "//admin").status, Some(403));
}
