//! A running `amime up` for process-level tests, with ports of its own (`control` is another command's), and a small
//! HTTP client.
//!
//! Ports: a test claims a number by binding a socket, so that tests of several checkouts can run side by side.

// Each test binary uses a part of it, and none of it leaves the binary.
#![allow(dead_code, unreachable_pub)]

pub mod config;
pub mod control;
pub mod process;
pub mod proxy;

use process::Process;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a loaded machine; nothing waits this long where all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that are 13 apart keep 80, 443, 8080 and the health port (each plus its number) of all claims apart.
const FIRST: u16 = 10_300;
const STEP: u16 = 13;
const CLAIMS: u16 = 48;

/// A gateway port offset, and a health port, that no other test uses while this lives.
pub struct Claim {
    pub offset: u16,
    pub health: u16,
    _socket: TcpListener,
}

impl Claim {
    pub fn take() -> Self {
        let start = Instant::now();
        loop {
            for n in 0..CLAIMS {
                let offset = FIRST + n * STEP;
                if let Ok(socket) = TcpListener::bind(("127.0.0.1", offset)) {
                    return Self { offset, health: offset + 3, _socket: socket };
                }
            }
            assert!(start.elapsed() < PATIENCE, "no ports are free");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub struct Mesh {
    process: Process,
    pub claim: Claim,
}

/// Starts that take other arguments than a test's usual ones.
pub struct Start {
    pub claim: Claim,
    args: Vec<String>,
    runner: Vec<String>,
    input: bool,
    offset: bool,
    unread: bool,
}

impl Start {
    pub fn new() -> Self {
        Self { claim: Claim::take(), args: Vec::new(), runner: Vec::new(), input: false, offset: true, unread: false }
    }

    pub fn arg(mut self, arg: impl AsRef<Path>) -> Self {
        self.args.push(arg.as_ref().to_string_lossy().into_owned());
        self
    }

    pub fn args<A: AsRef<Path>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, |start, arg| start.arg(arg))
    }

    /// A program that runs `amime` (`setpriv --reuid=65534 …`).
    pub fn under(mut self, runner: &[&str]) -> Self {
        self.runner = runner.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Nobody reads what it prints.
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Gateway ports as `up` opens them by itself.
    pub fn without_offset(mut self) -> Self {
        self.offset = false;
        self
    }

    /// Its standard input is `Mesh::input`, not empty.
    pub fn with_input(mut self) -> Self {
        self.input = true;
        self
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_amime");
        let mut command = match self.runner.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.arg("up").args(&self.args);
        if self.offset {
            command.args(["--gateway-port-offset", &self.claim.offset.to_string()]);
        }
        command.args(["--health-port", &self.claim.health.to_string()]);
        command.stdin(if self.input { Stdio::piped() } else { Stdio::null() });
        command
    }

    /// Starts it and does not wait.
    pub fn spawn(self) -> Mesh {
        let process = if self.unread { Process::unread(self.command()) } else { Process::spawn(self.command()) };
        Mesh { process, claim: self.claim }
    }

    /// Starts it and waits until it is ready.
    pub fn ready(self) -> Mesh {
        let mut mesh = self.spawn();
        mesh.wait_ready();
        mesh
    }

    /// Runs it to its end: exit code and output.
    pub fn run(self) -> (i32, String) {
        let mut mesh = self.spawn();
        let code = mesh.wait_exit();
        (code, mesh.output())
    }
}

impl Mesh {
    /// Runs the files until the end of the test.
    pub fn up<A: AsRef<Path>>(paths: impl IntoIterator<Item = A>) -> Self {
        Start::new().args(paths).ready()
    }

    pub fn wait_ready(&mut self) {
        let health = self.claim.health;
        self.process.wait_for("ready", || {
            try_get(health, "health", "/healthz/ready", &[]).is_some_and(|answer| answer.status == 200)
        });
    }

    /// The port at which a gateway port is opened.
    pub fn port(&self, written: u16) -> u16 {
        written + self.claim.offset
    }

    /// GET through the gateway's port 80.
    pub fn get(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(self.port(80), host, path, headers)
    }
}

impl std::ops::Deref for Mesh {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Mesh {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The workload that answered.
    pub fn workload(&self) -> String {
        self.json()["workload"].as_str().unwrap_or_default().to_owned()
    }

    /// The workload that answered the last call of the chain.
    pub fn called(&self) -> Value {
        let mut value = &self.json()["called"];
        while value.get("called").is_some() {
            value = &value["called"];
        }
        value.clone()
    }
}

pub fn get(port: u16, host: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    try_get(port, host, path, headers).unwrap_or_else(|| panic!("no answer from port {port} for {host}{path}"))
}

pub fn try_get(port: u16, host: &str, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    try_send(port, "GET", host, path, headers)
}

pub fn try_send(port: u16, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    exchange(("127.0.0.1", port), request.as_bytes())
}

/// Sends bytes, reads to the end, and reads that as one HTTP/1.1 answer.
pub fn exchange(address: impl std::net::ToSocketAddrs, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = bytes.split_off(end + 4);
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        body = dechunk(&body)?;
    }
    Some(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// An address of this machine that is not a loopback one; no packet is sent.
pub fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

pub fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

/// An example that a test may change.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(example(name)).expect("a folder") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    folder
}

/// A file of Istio's samples; None, with a line that says so, where this machine does not have them.
pub fn samples() -> Option<PathBuf> {
    let shared = std::env::var_os("AMIME_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let samples = shared.join("fixtures/samples");
    if samples.is_dir() {
        return Some(samples);
    }
    eprintln!("skipped: {} is not there", samples.display());
    None
}

/// Runs `check` again until it returns something, for what takes effect some time after a save.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
