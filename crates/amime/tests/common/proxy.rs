//! A running `amime proxy`, its pages at free ports.

use super::process::Process;
use super::{Answer, PATIENCE, exchange};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

pub struct Proxy {
    pub process: Process,
}

impl Proxy {
    /// `kind` is sidecar or gateway; `environment` is all that the process gets.
    pub fn spawn<A: AsRef<Path>>(kind: &str, args: impl IntoIterator<Item = A>, environment: &[(&str, &str)]) -> Self {
        Self { process: Process::spawn(Self::command(kind, args, environment)) }
    }

    /// The command of `spawn`.
    pub fn command<A: AsRef<Path>>(
        kind: &str,
        args: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amime"));
        command.env_clear().envs(environment.iter().copied());
        command.args(["proxy", kind]).args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        for port in ["--admin-port", "--agent-port", "--health-port", "--stats-port"] {
            command.args([port, "0"]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Waits until it has said that it is ready.
    pub fn wait_ready(&self) {
        self.process.wait_line("ready");
    }

    /// Where a page (`admin`, `agent`, `health`, `stats`) is, at 127.0.0.1.
    pub fn address(&self, page: &str) -> SocketAddr {
        let start = format!("{page} 127.0.0.1:");
        let line = self.process.wait_output(0, &start);
        line.split(' ').nth(1).expect("an address").parse().expect("an address")
    }

    /// Whether it is the proxy of a pod of that workload, as it says itself.
    pub fn is_of(&self, workload: &str) -> bool {
        self.get("admin", "/server_info").json()["node"]["metadata"]["WORKLOAD_NAME"] == workload
    }

    pub fn get(&self, page: &str, path: &str) -> Answer {
        self.send("GET", page, path)
    }

    pub fn send(&self, method: &str, page: &str, path: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        exchange(self.address(page), request.as_bytes()).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// Waits until the health page says that, and returns what it says.
    pub fn wait_health(&self, status: u16, text: &str) -> String {
        let start = std::time::Instant::now();
        loop {
            let answer = self.get("health", "/healthz/ready");
            if answer.status == status && answer.body.contains(text) {
                return answer.body;
            }
            assert!(start.elapsed() < PATIENCE, "never {status} {text:?}, but {answer:?}\n{}", self.process.output());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
