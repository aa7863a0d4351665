//! The mesh of the bench, as files: services, their EndpointSlices, a pod for each sidecar; and changes of it.

use std::fmt::{self, Write};
use std::fs;
use std::path::Path;

/// Services and sidecars are spread over so many.
const NAMESPACES: usize = 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Mesh {
    pub(crate) services: usize,
    /// Of each service.
    pub(crate) endpoints: usize,
    pub(crate) sidecars: usize,
    /// Each namespace has a Sidecar that lets through its own services alone.
    pub(crate) scoped: bool,
    /// The sidecars ask for virtual hosts as resources of their own, as Amime's do; else for whole routes, as Envoys.
    pub(crate) vhds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another address in one EndpointSlice.
    Endpoint,
    /// A header in one rule of a VirtualService.
    Route,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoint => "one endpoint changed",
            Self::Route => "one route rule changed",
        })
    }
}

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, endpoints, sidecars, scoped, vhds } = self;
        let what = if *scoped { "scoped by Sidecar resources" } else { "that subscribe to all of it" };
        let routes = if *vhds { "routes by VHDS" } else { "routes whole" };
        write!(f, "{services} services x {endpoints} endpoints, {sidecars} sidecars {what}, {routes}")
    }
}

impl Change {
    /// What is nowhere in the mesh before that round's change.
    pub(crate) fn marker(self, round: usize) -> String {
        match self {
            Self::Endpoint => format!("10.200.{}.7", round + 1),
            Self::Route => format!("marker-{round}-of-the-bench"),
        }
    }
}

pub(crate) fn namespace(n: usize) -> String {
    format!("ns{}", n % NAMESPACES)
}

/// Of one of the sidecars.
pub(crate) fn pod_name(n: usize) -> String {
    format!("pod-{n}")
}

pub(crate) fn pod_address(n: usize) -> String {
    format!("10.{}.{}.{}", 64 + n / 62_500, n / 250 % 250, n % 250 + 1)
}

impl Mesh {
    /// The sidecars' pods are the first of each service's endpoints, then the second.
    fn address(&self, service: usize, endpoint: usize) -> String {
        pod_address(endpoint * self.services + service)
    }

    pub(crate) fn write(&self, folder: &Path) {
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
        let mut services = String::new();
        for n in 0..self.services {
            let _ = write!(
                services,
                "apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: {ns}}}
spec: {{clusterIP: 10.96.{}.{}, selector: {{app: s{n}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
",
                n / 250,
                n % 250 + 1,
                ns = namespace(n),
            );
        }
        write("services.yaml", &services);
        for ns in 0..NAMESPACES.min(self.services) {
            let of_namespace = (1..self.services).filter(|n| n % NAMESPACES == ns);
            let text: String = of_namespace.map(|n| self.slice(n, &self.address(n, 0))).collect();
            write(&format!("endpoints-{ns}.yaml"), &text);
        }
        let mut pods = String::new();
        for n in 0..self.sidecars {
            let _ = write!(
                pods,
                "apiVersion: v1
kind: Pod
metadata: {{name: {}, namespace: {}, labels: {{app: s{}, version: v1}}}}
spec: {{serviceAccountName: default, containers: [{{name: app, image: app, ports: [{{containerPort: 8080}}]}}]}}
status: {{podIP: {}, conditions: [{{type: Ready, status: 'True'}}]}}
---
",
                pod_name(n),
                namespace(n),
                n % self.services,
                pod_address(n),
            );
        }
        write("pods.yaml", &pods);
        if self.scoped {
            let sidecar = |n: usize| {
                format!(
                    "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: {}}}
spec: {{egress: [{{hosts: [./*, ns0/s0.ns0.svc.cluster.local]}}]}}
---
",
                    namespace(n)
                )
            };
            write("sidecars.yaml", &(0..NAMESPACES).map(sidecar).collect::<String>());
        }
        self.change(folder, Change::Endpoint, &self.address(0, 0));
        self.change(folder, Change::Route, "as-it-was");
    }

    fn slice(&self, service: usize, first: &str) -> String {
        let mut text = format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{service}, namespace: {ns}, labels: {{kubernetes.io/service-name: s{service}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
- {{addresses: [{first}], conditions: {{ready: true}}}}
",
            ns = namespace(service)
        );
        for endpoint in 1..self.endpoints {
            let address = self.address(service, endpoint);
            let _ = writeln!(text, "- {{addresses: [{address}], conditions: {{ready: true}}}}");
        }
        text.push_str("---\n");
        text
    }

    /// Puts a new version of one file in its place.
    pub(crate) fn change(&self, folder: &Path, change: Change, marker: &str) {
        let (name, text) = match change {
            Change::Endpoint => ("endpoint.yaml", self.slice(0, marker)),
            Change::Route => (
                "route.yaml",
                format!(
                    "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s0, namespace: ns0}}
spec:
  hosts: [s0]
  http:
  - match: [{{headers: {{x-rule: {{exact: {marker}}}}}}}]
    route: [{{destination: {{host: s0}}}}]
  - route: [{{destination: {{host: s0}}}}]
"
                ),
            ),
        };
        let new = folder.join(format!(".{name}"));
        fs::write(&new, text).expect("a file");
        fs::rename(new, folder.join(name)).expect("a file");
    }
}
