//! `amime control` as a process of its own: its ports, the proxies that it asks for, its end.

use super::envoy::Who;
use super::output::Output;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A running control plane; it ends with the test.
pub struct Control {
    child: Child,
    output: Arc<Output>,
    args: Vec<String>,
    pub grpc: SocketAddr,
    pub monitoring: SocketAddr,
}

impl Control {
    /// With these arguments, at free ports; ready when it returns.
    pub fn start<A: AsRef<Path>>(args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
        Self::run(args, 0)
    }

    fn run(args: Vec<String>, grpc: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amime"));
        command.arg("control").args(&args);
        command.args(["--http-port", "0", "--monitoring-port", "0", "--tls-port", "0"]);
        command.args(["--grpc-port", &grpc.to_string()]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("amime");
        let output = Output::of(&mut child);
        let address = |name: &str| output.wait_line(name).trim().parse().expect("an address");
        let (grpc, monitoring) = (address("grpc "), address("monitoring "));
        output.wait_line("ready");
        Self { child, output, args, grpc, monitoring }
    }

    /// Ends it by this signal, and starts it again at the same port.
    pub fn restart(mut self, signal: Signal) -> Self {
        super::output::signal(&self.child, signal);
        self.child.wait().expect("a child");
        Self::run(self.args.clone(), self.grpc.port())
    }

    pub fn output(&self) -> &Output {
        &self.output
    }

    pub fn signal(&self, signal: Signal) {
        super::output::signal(&self.child, signal);
    }

    /// The proxies that it asked for, by its lines `sidecar NAMESPACE/POD …: amime proxy …` and `gateway …`.
    pub fn wanted(&self) -> Vec<Who> {
        self.output.text().lines().filter_map(wanted).collect()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wanted(line: &str) -> Option<Who> {
    let kind = match line.split(' ').next()? {
        "sidecar" => "sidecar",
        "gateway" => "router",
        _ => return None,
    };
    let words: Vec<&str> = line.split("amime proxy ").nth(1)?.split(' ').collect();
    let all = |flag: &str| {
        let flag = flag.to_owned();
        words.windows(2).filter(move |pair| pair[0] == flag).map(|pair| pair[1].to_owned())
    };
    let label = |pair: String| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut metadata = BTreeMap::new();
    if words.contains(&"proxy-protocol") {
        metadata.insert("INTERCEPTION_MODE", "PROXY_PROTOCOL".to_owned());
    }
    Some(Who {
        kind,
        ip: all("--ip").next()?,
        pod: all("--pod-name").next()?,
        namespace: all("--namespace").next()?,
        labels: all("--label").filter_map(label).collect(),
        metadata,
    })
}
