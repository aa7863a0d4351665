//! A running `amime control`, at free ports, and proxies of it: real clients that accept everything.

use super::process::Process;
use super::{Answer, PATIENCE, try_get};
use amime_model::config::ProxyConfig;
use amime_xds::client::{Client, ClientOptions};
use amime_xds::transport::{Backoff, run};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::sync::watch;

const PORTS: [&str; 4] = ["grpc-port", "tls-port", "http-port", "monitoring-port"];

/// A service at this address (`None`: headless) and port whose one endpoint is an origin.
pub fn service(name: &str, protocol: &str, (cluster_ip, port): (&str, u16), origin: SocketAddr) -> String {
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{clusterIP: {cluster_ip}, ports: [{{name: {protocol}, port: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: {protocol}, port: {}}}]
endpoints: [{{addresses: [{}], conditions: {{ready: true}}}}]
",
        origin.port(),
        origin.ip()
    )
}

pub struct Control {
    process: Process,
}

impl Control {
    /// With these arguments, at any free ports, whatever becomes of it.
    pub fn spawn<A: AsRef<Path>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::with(args, [])
    }

    /// With these arguments and ports; at any free ones for the rest.
    pub fn with<'a, A: AsRef<Path>>(
        args: impl IntoIterator<Item = A>,
        ports: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amime"));
        command.arg("control").args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let mut all: BTreeMap<&str, &str> = PORTS.iter().map(|port| (*port, "0")).collect();
        all.extend(ports);
        for (port, number) in all {
            command.arg(format!("--{port}={number}"));
        }
        command.stdin(Stdio::piped());
        Self { process: Process::spawn(command) }
    }

    /// The same, ready.
    pub fn start<A: AsRef<Path>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut control = Self::spawn(args);
        control.wait_ready();
        control
    }

    pub fn wait_ready(&mut self) {
        let http = self.address("http").port();
        let ready = || try_get(http, "x", "/ready", &[]).is_some_and(|answer| answer.status == 200);
        self.process.wait_for("ready", ready);
    }

    /// The address that was printed for a port: `grpc`, `http`, `monitoring`.
    pub fn address(&self, port: &str) -> SocketAddr {
        let start = format!("{port} ");
        self.process.wait_output(0, &start);
        let output = self.process.output();
        let line = output.lines().find(|line| line.starts_with(&start)).expect("a line that begins so");
        line[start.len()..].split(' ').next().expect("a word").parse().expect("an address")
    }

    /// Ends it without a word to anybody.
    pub fn kill(mut self) {
        self.process.signal("KILL");
        self.process.wait_exit();
    }

    /// GET from the monitoring port.
    pub fn page(&self, path: &str) -> Answer {
        super::get(self.address("monitoring").port(), "localhost", path, &[])
    }

    /// Connects a proxy, and returns what it runs.
    pub fn proxy(&self, node: amime_xds::Node) -> watch::Receiver<Arc<ProxyConfig>> {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address("grpc")));
        let channel = endpoint.expect("a URI").connect_lazy();
        let client = Client::new(node, Arc::default(), ClientOptions::default());
        let (running, configs) = watch::channel(Arc::default());
        tokio::spawn(run(channel, client, Backoff::default(), move |update| {
            running.send_replace(update.config);
            std::future::ready(Ok(()))
        }));
        configs
    }
}

impl std::ops::Deref for Control {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Control {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A service with one pod.
pub const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, clusterIP: 10.0.0.10, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web, version: v1}}
spec: {containers: [{name: app, image: x}]}
status: {phase: Running, podIP: 10.1.1.1, conditions: [{type: Ready, status: \"True\"}]}
";

/// The file of `folder`.
pub const MESH: &str = "mesh.yaml";

/// A folder with one file.
pub fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(MESH), text).expect("written");
    folder
}

/// A sidecar, as its Envoy or Istio's agent says who it is.
pub fn sidecar(pod: &str, namespace: &str, ip: &str) -> amime_xds::Node {
    amime_xds::Node {
        id: format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: serde_json::json!({"NAMESPACE": namespace, "INSTANCE_IPS": ip}),
        ..amime_xds::Node::default()
    }
}

/// Waits until the configuration is as asked, and returns it.
pub async fn until(
    configs: &mut watch::Receiver<Arc<ProxyConfig>>,
    ok: impl Fn(&ProxyConfig) -> bool,
) -> Arc<ProxyConfig> {
    let found = tokio::time::timeout(PATIENCE, configs.wait_for(|config| ok(config))).await;
    found.expect("in time").expect("a client").clone()
}

/// A command that was printed, as a process: a proxy that runs until the end of the test.
pub fn run_printed(line: &str) -> Process {
    let (_, command) = line.split_once(": amime ").expect("NAME ADDRESS: amime …");
    let mut process = Command::new(env!("CARGO_BIN_EXE_amime"));
    process.args(command.split(' ')).stdin(Stdio::null());
    Process::spawn(process)
}
