//! Each practice on manifests of a few lines, and on near misses that it must be quiet about.

use crate::analyze::tests::{HTTP, all_found, object, pod, service, virtual_service};
use crate::resource::MeshConfig;

/// The object and field of each finding of one code.
fn told(code: &str, text: &str) -> Vec<String> {
    told_in(code, text, &MeshConfig::default())
}

fn told_in(code: &str, text: &str, mesh: &MeshConfig) -> Vec<String> {
    let line = |line: String| line.strip_prefix(&format!("{code} ")).map(str::to_owned);
    all_found(text, mesh).into_iter().filter_map(line).collect()
}

fn none() -> Vec<String> {
    Vec::new()
}

fn namespace(labels: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{labels}}}}}\n")
}

const INJECTED: &str = "istio-injection: enabled";

fn workload(kind: &str, labels: &str, containers: &str) -> String {
    let pods = format!("{{metadata: {{labels: {{app: a, {labels}}}}}, spec: {{containers: [{containers}]}}}}");
    match kind {
        "CronJob" => object(
            "batch/v1",
            kind,
            "w",
            &format!("spec: {{schedule: '@daily', jobTemplate: {{spec: {{template: {pods}}}}}}}"),
        ),
        "Job" => object("batch/v1", kind, "w", &format!("spec: {{template: {pods}}}")),
        _ => object(
            "apps/v1",
            kind,
            "w",
            &format!("spec: {{replicas: 2, selector: {{matchLabels: {{app: a}}}}, template: {pods}}}"),
        ),
    }
}

#[test]
fn sidecars_of_monitoring_pods_are_told() {
    let prometheus = "{name: p, image: 'quay.io:443/prometheus/prometheus:v3.1.0@sha256:1'}";
    let reloader = "{name: config-reloader, image: example.org/reload}";
    let here = |kind: &str, path: &str| vec![format!("{kind} shop/w {path}")];
    let path = "spec.template.spec.containers[0].image";
    for (kind, containers) in [
        ("Deployment", prometheus.to_owned()),
        ("StatefulSet", format!("{reloader}, {prometheus}")),
        ("DaemonSet", "{name: node-exporter, image: i}".to_owned()),
        ("DaemonSet", "{name: agent, image: gcr.io/datadoghq/agent}".to_owned()),
        ("DaemonSet", "{name: fluent-bit, image: fluent/fluent-bit:3}".to_owned()),
        ("Deployment", "{name: otc-container, image: o/opentelemetry-collector-contrib}".to_owned()),
    ] {
        let text = namespace(INJECTED) + &workload(kind, "", &containers);
        assert_eq!(told("AM-S3", &text), here(kind, path), "{containers}");
    }
    let asked = workload("Deployment", "sidecar.istio.io/inject: 'true'", prometheus);
    assert_eq!(told("AM-S3", &asked), here("Deployment", path));
    let by_revision = namespace("istio.io/rev: canary") + &workload("Deployment", "", prometheus);
    assert_eq!(told("AM-S3", &by_revision), here("Deployment", path));
    for quiet in [
        workload("Deployment", "", prometheus),
        namespace("istio-injection: disabled") + &workload("Deployment", "sidecar.istio.io/inject: 'true'", prometheus),
        namespace(INJECTED) + &workload("Deployment", "sidecar.istio.io/inject: 'false'", prometheus),
        namespace(INJECTED) + &workload("Deployment", "", &format!("{prometheus}, {{name: web, image: shop/web}}")),
        namespace(INJECTED) + &workload("Deployment", "", "{name: web, image: shop/prometheus-demo}"),
        namespace(INJECTED) + &workload("Deployment", "", reloader),
    ] {
        assert_eq!(told("AM-S3", &quiet), none(), "{quiet}");
    }
}

const QUIT: &str = "curl -fsI -X POST http://localhost:15020/quitquitquit";

fn script(script: &str) -> String {
    let script = serde_json::Value::from(script.replace("QUIT", QUIT));
    format!("{{name: main, image: i, command: [/bin/sh, -c], args: [{script}]}}")
}

#[test]
fn jobs_whose_sidecar_never_ends_are_told() {
    let injected = namespace(INJECTED);
    let job = |containers: &str| injected.clone() + &workload("Job", "", containers);
    let here = ["Job shop/w spec.template.spec.containers[0].command"];
    for containers in [
        "{name: main, image: migrate}".to_owned(),
        script("migrate && QUIT"),
        script("set -e; migrate; QUIT"),
        script("migrate; curl -fsI http://localhost:15020/quitquitquit"),
        "{name: main, image: i, command: [bash, /scripts/run.sh]}".to_owned(),
    ] {
        assert_eq!(told("AM-S4", &job(&containers)), here, "{containers}");
    }
    let nightly = injected.clone() + &workload("CronJob", "", "{name: main, image: i}");
    assert_eq!(told("AM-S4", &nightly), ["CronJob shop/w spec.jobTemplate.spec.template.spec.containers[0].command"]);
    let asked = workload("Job", "sidecar.istio.io/inject: 'true'", "{name: main, image: i}");
    assert_eq!(told("AM-S4", &asked), here);
    let second = format!("{{name: other, image: i}}, {}", script("migrate && QUIT"));
    assert_eq!(told("AM-S4", &job(&second)), ["Job shop/w spec.template.spec.containers[1].command"]);
}

#[test]
fn jobs_that_complete_are_left_alone() {
    let injected = namespace(INJECTED);
    let main = "{name: main, image: i}";
    let native = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}\n\
                  spec: {selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod}}, spec: {containers: \
                  [{name: discovery, env: [{name: ENABLE_NATIVE_SIDECARS, value: 'VALUE'}]}]}}}\n";
    let mounted = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: shop}\ndata: {run.sh: 'a; curl -XPOST h/quitquitquit'}\n";
    for quiet in [
        injected.clone() + &workload("Job", "", &script("migrate; code=$?; QUIT; exit $code")),
        injected.clone() + &workload("Job", "", &script("trap 'QUIT' EXIT\nset -e\nmigrate && more")),
        injected.clone() + &workload("Job", "", &format!("{main}, {}", script("wait-for-main; QUIT"))),
        injected.clone()
            + &workload("Job", "", "{name: main, command: [scuttle, run], env: [{name: ISTIO_QUIT_API, value: x}]}"),
        injected.clone() + &workload("Job", "", "{name: main, command: [python, -c, 'post(\"/quitquitquit\")']}"),
        injected.clone() + mounted + &workload("Job", "", "{name: main, command: [sh, /scripts/run.sh]}"),
        injected.clone() + &workload("Job", "sidecar.istio.io/inject: 'false'", main),
        injected.clone() + &workload("Deployment", "", main),
        injected.clone() + &native.replace("VALUE", "true") + &workload("Job", "", main),
        injected.clone()
            + &workload("Job", "", main).replace(
                "metadata: {labels",
                "metadata: {annotations: {sidecar.istio.io/nativeSidecar: 'true'}, labels",
            ),
        injected.clone()
            + &workload("Job", "", main).replace(
                "spec: {containers",
                "spec: {initContainers: [{name: istio-proxy, image: p, restartPolicy: Always}], containers",
            ),
        workload("Job", "", main),
        namespace("istio.io/dataplane-mode: ambient") + &workload("Job", "", main),
    ] {
        assert_eq!(told("AM-S4", &quiet), none(), "{quiet}");
    }
    let by_hand = injected + &native.replace("VALUE", "false") + &workload("Job", "", main);
    assert_eq!(told("AM-S4", &by_hand), ["Job shop/w spec.template.spec.containers[0].command"]);
}

fn gateway(name: &str, selector: &str) -> String {
    let servers = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]";
    object(
        "networking.istio.io/v1",
        "Gateway",
        name,
        &format!("spec: {{selector: {{{selector}}}, servers: {servers}}}"),
    )
}

fn at(name: &str, gateway: &str, host: &str, service: &str) -> String {
    let rest =
        format!("gateways: [{gateway}], exportTo: [.], http: [{{route: [{{destination: {{host: {service}}}}}]}}]");
    virtual_service(name, &format!("{{hosts: [{host}], {rest}}}"))
}

#[test]
fn a_gateway_of_several_applications_is_told() {
    let services = service("web", HTTP) + &service("blog", HTTP);
    let ingress = gateway("edge", "istio: ingressgateway");
    let here = ["Gateway shop/edge spec.selector"];
    let two = at("a", "edge", "a.example", "web") + &at("b", "edge", "b.example", "blog");
    assert_eq!(told("AM-T4", &(services.clone() + &ingress + &two)), here);
    let any = at("a", "edge", "'*'", "web") + &at("b", "edge", "'*'", "blog");
    assert_eq!(told("AM-T4", &(services.clone() + &ingress + &any)), here);
    // Two Gateways of the same pods are one gateway.
    let split = at("a", "edge", "a.example", "web") + &at("b", "other", "b.example", "blog");
    let other = gateway("other", "istio: ingressgateway");
    assert_eq!(told("AM-T4", &(services.clone() + &ingress + &other + &split)), here);
    let by_app = gateway("other", "app: in");
    let pods = pod("in").replace("app: in", "app: in, istio: ingressgateway");
    assert_eq!(told("AM-T4", &(services.clone() + &ingress + &by_app + &split + &pods)), here);
    let external = object(
        "networking.istio.io/v1",
        "ServiceEntry",
        "out",
        "spec: {hosts: [out.example], exportTo: [.], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
    );
    let paths = virtual_service(
        "a",
        "{hosts: [a.example], gateways: [edge], exportTo: [.], http: [{match: [{uri: {prefix: /blog}}], route: [{destination: \
         {host: blog}}]}, {route: [{destination: {host: web}}]}]}",
    );
    for quiet in [
        ingress.clone() + &at("a", "edge", "a.example", "web") + &at("b", "edge", "www.example", "web"),
        ingress.clone() + &paths,
        ingress.clone() + &paths + &at("c", "edge", "a.example", "blog"),
        ingress.clone() + &at("a", "edge", "'*'", "web") + &at("b", "edge", "'*'", "web"),
        ingress.clone() + &by_app + &split,
        ingress.clone()
            + &external
            + &at("a", "edge", "a.example", "web")
            + &at("b", "edge", "b.example", "out.example"),
        gateway("edge", "istio: egressgateway") + &two,
        ingress.clone() + &at("a", "edge", "a.example", "web") + &at("b", "mesh", "b.example", "blog"),
    ] {
        assert_eq!(told("AM-T4", &(services.clone() + &quiet)), none(), "{quiet}");
    }
}

fn to(text: String, namespace: &str) -> String {
    text.replace("namespace: shop", &format!("namespace: {namespace}"))
}

fn sidecar(egress: &str) -> String {
    to(object("networking.istio.io/v1", "Sidecar", "s", &format!("spec: {{egress: [{{hosts: [{egress}]}}]}}")), "ops")
}

const RULES: &str = "http: [{route: [{destination: {host: web.shop.svc.cluster.local}}]}]";

#[test]
fn what_is_exported_to_all_is_told() {
    let kinds = |export: &str| {
        let istio = |kind: &str, name: &str, spec: &str| {
            object("networking.istio.io/v1", kind, name, &format!("spec: {{{spec}{export}}}"))
        };
        service("web", HTTP)
            + &istio("VirtualService", "v", &format!("hosts: [web], {RULES}"))
            + &istio("DestinationRule", "d", "host: web")
            + &istio(
                "ServiceEntry",
                "e",
                "hosts: [out.example], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]",
            )
    };
    let all = [
        "DestinationRule shop/d spec.exportTo",
        "ServiceEntry shop/e spec.exportTo",
        "VirtualService shop/v spec.exportTo",
    ];
    assert_eq!(told("AM-T7", &kinds("")), all);
    assert_eq!(told("AM-T7", &kinds(", exportTo: ['*']")), all);
    assert_eq!(told("AM-T7", &kinds(", exportTo: [.]")), none());
    assert_eq!(told("AM-T7", &kinds(", exportTo: [., ops]")), none());
    assert_eq!(told("AM-T7", &(kinds("") + &sidecar("'*/*', './*'"))), all);
    assert_eq!(told("AM-T7", &(kinds("") + &sidecar("'shop/*'").replace("namespace: ops", "namespace: shop"))), all);
    assert_eq!(told("AM-T7", &(kinds("") + &sidecar("'shop/*'"))), none());
    assert_eq!(told("AM-T7", &(kinds("") + &sidecar("shop/web.shop.svc.cluster.local"))), [all[1]]);
    let private = || vec![".".to_owned()];
    let mesh = MeshConfig {
        default_virtual_service_export_to: private(),
        default_destination_rule_export_to: private(),
        ..MeshConfig::default()
    };
    assert_eq!(told_in("AM-T7", &kinds(""), &mesh), [all[1]]);
}

#[test]
fn what_is_used_from_another_namespace_may_be_exported() {
    let rule = service("web", HTTP) + &object("networking.istio.io/v1", "DestinationRule", "d", "spec: {host: web}");
    let here = ["DestinationRule shop/d spec.exportTo"];
    let route =
        to(virtual_service("v", &format!("{{hosts: [web.ops.svc.cluster.local], exportTo: [.], {RULES}}}")), "ops");
    let elsewhere =
        virtual_service("v", &format!("{{hosts: [a.example], gateways: [edge/main], exportTo: [., edge], {RULES}}}"));
    assert_eq!(told("AM-T7", &rule), here);
    assert_eq!(told("AM-T7", &(rule.clone() + &route)), none());
    assert_eq!(told("AM-T7", &(rule.clone() + &elsewhere)), none());
    let in_root = to(rule.clone(), "istio-system");
    assert_eq!(told("AM-T7", &in_root), none());

    // A VirtualService: by its gateway, the gateway's pods, or one that delegates to it.
    let vs = |gateways: &str| {
        service("web", HTTP) + &virtual_service("v", &format!("{{hosts: [a.example], {gateways}{RULES}}}"))
    };
    let here = ["VirtualService shop/v spec.exportTo"];
    assert_eq!(told("AM-T7", &vs("gateways: [edge/main], ")), none());
    let own = vs("gateways: [main], ") + &gateway("main", "app: in");
    assert_eq!(told("AM-T7", &own), here);
    assert_eq!(told("AM-T7", &(own.clone() + &pod("in"))), here);
    assert_eq!(told("AM-T7", &(own + &to(pod("in"), "edge"))), none());
    let delegate = service("web", HTTP) + &virtual_service("v", &format!("{{{RULES}}}"));
    let root = virtual_service("r", "{hosts: [web], exportTo: [.], http: [{delegate: {name: v, namespace: shop}}]}");
    assert_eq!(told("AM-T7", &(delegate.clone() + &root)), here);
    assert_eq!(told("AM-T7", &(delegate + &to(root, "ops").replace("namespace: ops}}", "namespace: shop}}"))), none());
}

fn deployment(namespace: &str, name: &str, labels: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}, {labels}}}}}\n    spec: {{{spec}}}\n"
    )
}

/// A control plane that nothing is to be said about.
fn istiod(namespace: &str, name: &str, revision: &str) -> String {
    let spread = format!(
        "containers: [{{name: discovery, image: istio/pilot:1.27.0}}], topologySpreadConstraints: [{{maxSkew: 1, topologyKey: \
         topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: {name}}}}}}}]"
    );
    deployment(namespace, name, &format!("istio.io/rev: {revision}"), &spread)
}

#[test]
fn control_planes_of_one_revision_are_told() {
    let one = istiod("istio-system", "istiod", "default");
    let told_of = |more: &str| told("AM-S1", &(one.clone() + more));
    assert_eq!(told_of(&istiod("istio-system", "istiod-b", "default")), ["Deployment istio-system/istiod-b "]);
    assert_eq!(told_of(&operator("namespace: mesh")), ["IstioOperator istio-system/mesh spec.components.pilot"]);
    // Another revision, what made it, and what is scaled to nothing.
    assert_eq!(told_of(&istiod("istio-system", "istiod-b", "canary")), none());
    assert_eq!(told_of(&operator("")), none());
    let off = istiod("istio-system", "istiod-b", "default").replace("replicas: 2", "replicas: 0");
    assert_eq!(told_of(&off), none());
}

#[test]
fn control_planes_that_a_node_or_a_zone_can_take_away_are_told() {
    let good = istiod("istio-system", "istiod", "default");
    let replicas = ["Deployment istio-system/istiod spec.replicas"];
    let zones = ["Deployment istio-system/istiod spec.template.spec.topologySpreadConstraints"];
    assert_eq!(told("AM-S2", &good), none());
    assert_eq!(told("AM-S2", &good.replace("replicas: 2", "replicas: 1")), replicas);
    assert_eq!(told("AM-S2", &good.replace("  replicas: 2\n", "")), replicas);
    assert_eq!(told("AM-S2", &good.replace("topology.kubernetes.io/zone", "kubernetes.io/hostname")), zones);
    assert_eq!(told("AM-S2", &good.replace("DoNotSchedule", "ScheduleAnyway")), zones);
    assert_eq!(told("AM-S2", &good.replace("maxSkew: 1", "maxSkew: 2")), zones);
    let scaler = |least: &str| {
        format!(
            "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: istiod, namespace: istio-system}}\n\
             spec: {{scaleTargetRef: {{kind: Deployment, name: istiod}}, {least}}}\n"
        )
    };
    assert_eq!(told("AM-S2", &(good.clone() + &scaler("maxReplicas: 5"))), replicas);
    assert_eq!(told("AM-S2", &(good + &scaler("minReplicas: 3"))), none());
    assert_eq!(told("AM-S2", &operator("")), ["IstioOperator istio-system/mesh spec.values.pilot.autoscaleMin"]);
    assert_eq!(told("AM-S2", &operator("profile: remote")), none());
    let set = "components: {pilot: {k8s: {hpaSpec: {minReplicas: 2}, affinity: {podAntiAffinity: \
               {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: topology.kubernetes.io/zone, labelSelector: \
               {matchLabels: {app: istiod}}}]}}}}}";
    assert_eq!(told("AM-S2", &operator(set)), none());
}

fn operator(spec: &str) -> String {
    format!(
        "---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {{name: mesh, namespace: istio-system}}\n\
         spec: {{{spec}}}\n"
    )
}

const ROUTER: &str = "containers: [{name: istio-proxy, image: auto}]";

#[test]
fn ingress_gateways_beside_the_control_plane_are_told() {
    let gateway = |namespace: &str, labels: &str| deployment(namespace, "edge", labels, ROUTER);
    let beside = |namespace: &str| vec![format!("Deployment {namespace}/edge metadata.namespace")];
    assert_eq!(told("AM-T1", &gateway("istio-system", "a: b")), beside("istio-system"));
    assert_eq!(told("AM-T1", &gateway("istio-ingress", "a: b")), none());
    assert_eq!(told("AM-T1", &gateway("istio-system", "istio: egressgateway")), none());
    // The control plane is where it is.
    let elsewhere = istiod("mesh", "istiod", "default");
    assert_eq!(told("AM-T1", &(gateway("mesh", "a: b") + &elsewhere)), beside("mesh"));
    assert_eq!(told("AM-T1", &(gateway("istio-system", "a: b") + &elsewhere)), none());
    let listed = |more: &str| {
        operator(&format!("components: {{ingressGateways: [{{name: edge, enabled: true{more}}}]}}, profile: minimal"))
    };
    assert_eq!(told("AM-T1", &listed("")), ["IstioOperator istio-system/mesh spec.components.ingressGateways[0]"]);
    assert_eq!(told("AM-T1", &listed(", namespace: edge")), none());
    assert_eq!(told("AM-T1", &operator("")), ["IstioOperator istio-system/mesh spec.profile"]);
    assert_eq!(told("AM-T1", &operator("profile: minimal")), none());
}

fn fronted(kind: &str) -> String {
    deployment("edge", "edge", "istio: ingressgateway", ROUTER)
        + &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: edge, namespace: edge}}\nspec: {{type: {kind}, selector: {{app: \
             edge}}, ports: [{{port: 80}}]}}\n"
        )
}

fn ingress(target: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: alb, namespace: edge, annotations: \
         {{alb.ingress.kubernetes.io/target-type: {target}}}}}\nspec: {{defaultBackend: {{service: {{name: edge, port: {{number: 80}}}}}}}}\n"
    )
}

#[test]
fn the_type_of_a_gateways_service_is_judged() {
    let here = ["Service edge/edge spec.type"];
    assert_eq!(told("AM-T2", &fronted("LoadBalancer")), here);
    assert_eq!(told("AM-T2", &(fronted("NodePort") + &fronted("ClusterIP").replace("edge", "other"))), none());
    assert_eq!(told("AM-T3", &fronted("ClusterIP")), here);
    assert_eq!(told("AM-T3", &(fronted("ClusterIP") + &ingress("ip"))), none());
    assert_eq!(told("AM-T3", &(fronted("ClusterIP") + &ingress("instance"))), here);
    assert_eq!(told("AM-T3", &(fronted("NodePort") + &ingress("ip"))), here);
    assert_eq!(told("AM-T3", &(fronted("NodePort") + &ingress("instance"))), none());
    assert_eq!(told("AM-T3", &fronted("ClusterIP").replace("ingressgateway", "egressgateway")), none());
    // Of an application.
    let plain = fronted("LoadBalancer").replace("istio: ingressgateway", "a: b").replace("istio-proxy", "web");
    assert_eq!(told("AM-T2", &plain), none());
    // Of an IstioOperator: by default, as set, as its values say.
    let listed = "spec.components.ingressGateways[0]";
    let gateway = |more: &str| {
        operator(&format!("components: {{ingressGateways: [{{name: istio-ingressgateway, namespace: edge{more}}}]}}"))
    };
    assert_eq!(told("AM-T2", &gateway("")), [format!("IstioOperator istio-system/mesh {listed}")]);
    let set = |kind: &str| gateway(&format!(", k8s: {{service: {{type: {kind}}}}}"));
    assert_eq!(told("AM-T2", &set("NodePort")), none());
    assert_eq!(
        told("AM-T3", &set("ClusterIP")),
        [format!("IstioOperator istio-system/mesh {listed}.k8s.service.type")]
    );
    assert_eq!(told("AM-T2", &operator("values: {gateways: {istio-ingressgateway: {type: NodePort}}}")), none());
}
