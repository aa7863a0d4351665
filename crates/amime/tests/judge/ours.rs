//! `amime proxy gateway` as a process of its own.

use super::envoy::Who;
use super::output::Output;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A running `amime proxy`; it ends with the test.
pub struct Ours {
    child: Child,
    output: Arc<Output>,
}

impl Ours {
    /// Starts it; it need not be ready when this returns.
    pub fn start(who: &Who, control: &[SocketAddr]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amime"));
        let kind = if who.kind == "router" { "gateway" } else { "sidecar" };
        command.args(["proxy", kind, "--concurrency", "2", "--log-level", "warn"]);
        for address in control {
            command.args(["--control", &address.to_string()]);
        }
        command.args(["--pod-name", &who.pod, "--namespace", &who.namespace, "--ip", &who.ip]);
        for (key, value) in &who.labels {
            command.args(["--label", &format!("{key}={value}")]);
        }
        for (key, value) in &who.metadata {
            command.args(["--metadata", &format!("{key}={value}")]);
        }
        command.args(["--admin-port", "0", "--agent-port", "0", "--health-port", "0", "--stats-port", "0"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("amime");
        let output = Output::of(&mut child);
        Self { child, output }
    }

    pub fn output(&self) -> &Output {
        &self.output
    }

    pub fn child(&self) -> &Child {
        &self.child
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
