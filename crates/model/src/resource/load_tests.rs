//! Documents become objects, or are named as what they are.

use super::*;

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.objects.iter().map(|object| object.id.to_string()).collect()
}

fn found(loaded: &Loaded) -> Vec<String> {
    let line = |found: Diagnostic| {
        let place = found.place.as_ref().map_or("?".to_owned(), |place| format!("{}:{}", place.line, place.column));
        format!("{:?} {place} {}: {}", found.severity, found.field, found.message)
    };
    loaded.all_diagnostics().into_iter().map(line).collect()
}

#[test]
fn many_documents_of_many_kinds() {
    let text = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, namespace: ignored}
---
# nothing here
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: a, namespace: shop, creationTimestamp: '2020-01-01T00:00:00Z', labels: {x: z}}
spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {replicas: 2, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, ports: [{containerPort: 9080}]}]}}}
";
    let loaded = load("f.yaml", text);
    assert_eq!(found(&loaded), [""; 0]);
    assert_eq!(names(&loaded), ["Namespace shop", "VirtualService shop/a", "Deployment default/a"]);
    let service = &loaded.objects[1];
    assert_eq!(service.meta.creation_timestamp.unwrap().seconds, 1_577_836_800);
    assert_eq!(service.meta.labels["x"], "z");
    assert_eq!(service.place("spec.http[0].route[0].destination.host").unwrap().to_string(), "f.yaml:10:57");
    let Spec::Deployment(deployment) = &loaded.objects[2].spec else { panic!() };
    assert_eq!(deployment.replicas, Some(2));
    assert_eq!(deployment.template.spec.containers[0].ports[0].container_port, 9080);
}

#[test]
fn lists_and_their_paths() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
- apiVersion: networking.istio.io/v1
  kind: VirtualServiceList
  items:
  - metadata: {name: b}
    spec:
      hosts: [b]
      hosts: [c]
      http: [{timeuot: 1s, route: [{destination: {host: b}}]}]
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: c}
  data: {k: v, k: w}
";
    let loaded = load("f.yaml", text);
    assert_eq!(names(&loaded), ["Service default/a", "VirtualService default/b", "ConfigMap default/c"]);
    assert_eq!(
        found(&loaded),
        [
            "Error 13:7 spec.hosts: `hosts` is given twice, first in line 12",
            "Error 14:15 spec.http[0].timeuot: unknown field `timeuot`",
            "Error 18:16 data.k: `k` is given twice, first in line 18",
        ]
    );
    let broken = &loaded.objects[1];
    assert!(broken.errors.iter().any(|error| error.field == "spec.http[0].timeuot"), "{:?}", broken.errors);
    assert_eq!(broken.errors[0].resource.as_ref(), Some(&broken.id));
}

#[test]
fn json_files() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\": {\"ports\": \
                [{\"port\": 80}]}\n}\n";
    let loaded = load("f.json", text);
    assert_eq!(names(&loaded), ["Service default/a"]);
    assert_eq!(found(&loaded), [""; 0]);
}

#[test]
fn what_is_no_object() {
    let text = "\
replicas: 3
---
kind: Service
metadata: {name: a}
---
apiVersion: v1
metadata: {name: a}
---
just text
---
apiVersion: v1
kind: Service
metadata: {labels: {a: b}}
---
apiVersion: v1
kind: Pod
metadata: {generateName: a-}
---
apiVersion: v1
kind: Service
";
    let loaded = load("f.yaml", text);
    assert_eq!(names(&loaded), [""; 0]);
    assert_eq!(
        found(&loaded),
        [
            "Info 1:1 : this is no Kubernetes object, and left alone",
            "Error 3:1 : `apiVersion` is missing",
            "Error 6:1 : `kind` is missing",
            "Error 9:1 : this is no Kubernetes object",
            "Error 13:11 : this Service has no name",
            "Error 17:11 : this Pod has a generateName instead of a name",
            "Error 19:1 : this Service has no name",
        ]
    );
}

#[test]
fn kinds_that_are_not_read() {
    let kinds = |api_version: &str, kind: &str| {
        let loaded = load("f.yaml", &format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n"));
        assert_eq!((loaded.objects.len(), loaded.unknown.len()), (0, 1));
        loaded.unknown[0].suggestion.clone()
    };
    assert_eq!(kinds("networking.istio.io/v2", "Gateway").as_deref(), Some("apiVersion: networking.istio.io/v1"));
    assert_eq!(kinds("v1", "Deployment").as_deref(), Some("apiVersion: apps/v1"));
    assert_eq!(kinds("apps/v1", "Deploymnet").as_deref(), Some("kind: Deployment"));
    assert_eq!(kinds("gateway.networking.k8s.io/v1", "Gateway"), None);
    assert_eq!(kinds("serving.knative.dev/v1", "Service"), None);
    assert_eq!(kinds("telemetry.istio.io/v1", "Telemetry"), None);
}

#[test]
fn unreadable_documents_are_counted() {
    let loaded = load("f.yaml", "a: [\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n");
    assert_eq!((names(&loaded).len(), loaded.unparsable), (1, 1));
    let loaded = load_bytes("f.yaml", b"apiVersion: v1\nkind: \xff\n");
    assert_eq!(loaded.unparsable, 1);
    assert_eq!(found(&loaded), ["Error 2:7 : the file is not UTF-8 text"]);
    assert_eq!(
        load_bytes("f.yaml", b"\xff\xfea\0").diagnostics[0].message,
        "the file is UTF-16; YAML for Kubernetes is UTF-8"
    );
    assert_eq!(load_bytes("f.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}".as_bytes()).objects.len(), 1);
}

#[test]
fn unknown_fields_at_the_root() {
    let text = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a}\nspec: {egress: [{hosts: [./*]}]}\nhosts: [a]\nspce: {}\n";
    assert_eq!(
        found(&load("f.yaml", text)),
        ["Error 5:1 hosts: unknown field `hosts`", "Error 6:1 spce: unknown field `spce`"]
    );
}

#[test]
fn what_may_be_an_object_that_was_there_before_counts_as_unparsable() {
    let of = |version: &str, kind: &str, metadata: &str| {
        load("f.yaml", &format!("{version}\n{kind}\nmetadata: {metadata}\n")).unparsable
    };
    let (istio, vs) = ("apiVersion: networking.istio.io/v1", "kind: VirtualService");
    assert_eq!(of(istio, vs, "{name: a}"), 0);
    assert_eq!(of(istio, "kind: VirtualServce", "{name: a}"), 1);
    assert_eq!(of("apiVersion: networking.istio.io/v7", vs, "{name: a}"), 1);
    assert_eq!(of("apiVersion: networkin.istio.io/v1", vs, "{name: a}"), 1);
    assert_eq!(of(istio, vs, "{nam: a}"), 1);
    assert_eq!(of(istio, "spec: {}", "{name: a}"), 1, "no kind");
    assert_eq!(
        of("apiVersion: telemetry.istio.io/v1", "kind: Telemetry", "{name: a}"),
        0,
        "not read, and not misspelt"
    );
    assert_eq!(of("apiVersion: serving.knative.dev/v1", "kind: Service", "{name: a}"), 0);
    assert_eq!(of("apiVersion: gateway.networking.k8s.io/v1", "kind: Gateway", "{name: a}"), 0);
    assert_eq!(of("note: 1", "", "{name: a}"), 0);
}

#[test]
fn lists_nest_only_so_deep_through_aliases() {
    let list = |levels: u32| {
        let mut text = "a0: &a0 {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n".to_owned();
        for level in 1..=levels {
            let below = level - 1;
            text.push_str(&format!("a{level}: &a{level} {{apiVersion: v1, kind: List, items: [*a{below}]}}\n"));
        }
        load("f.yaml", &format!("{text}apiVersion: v1\nkind: List\nitems: [*a{levels}]\n"))
    };
    assert_eq!(names(&list(50)), ["Namespace a"]);
    let deep = list(110);
    assert_eq!((names(&deep).len(), deep.unparsable), (0, 1));
    assert!(found(&deep)[0].contains("too deep"), "{:?}", found(&deep));
}
