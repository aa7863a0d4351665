//! What a mesh of many pods costs in one `amime up`: time until it is ready, CPU, memory, open files, and how soon a
//! saved edit has reached the gateway. `make bench` runs it; it prints, and judges nothing.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PODS_OF_A_SERVICE: usize = 10;
const EDITS: usize = 9;

struct Mesh {
    child: Child,
    gateway: u16,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    println!("amime up, {PODS_OF_A_SERVICE} pods a service, every pod with a sidecar that knows every service");
    println!(
        "{:>8}{:>10}{:>10}{:>12}{:>10}{:>10}{:>22}{:>14}",
        "pods", "services", "ready s", "CPU s", "memory MB", "files", "edit ms (med, max)", "CPU s an edit"
    );
    for services in [1, 10, 100] {
        if let Err(error) = measure(services) {
            println!("{services} services: {error}");
        }
    }
}

fn measure(services: usize) -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("workloads.yaml"), workloads(services))?;
    save(folder.path(), 0)?;
    let start = Instant::now();
    let mesh = up(folder.path())?;
    wait(|| answer(mesh.gateway).contains("edit: 0"))?;
    let ready = start.elapsed();
    let pid = mesh.child.id();
    let (cpu, memory, files) = (cpu_seconds(pid)?, memory(pid)?, std::fs::read_dir(format!("/proc/{pid}/fd"))?.count());
    let mut took = Vec::new();
    for edit in 1..=EDITS {
        save(folder.path(), edit)?;
        let saved = Instant::now();
        wait(|| answer(mesh.gateway).contains(&format!("edit: {edit}")))?;
        took.push(saved.elapsed().as_millis());
    }
    // What the sidecars do with the last edit belongs to it too.
    std::thread::sleep(Duration::from_secs(2));
    let an_edit = (cpu_seconds(pid)? - cpu) / EDITS as f64;
    took.sort_unstable();
    println!(
        "{:>8}{:>10}{:>10.1}{:>12.1}{:>10.0}{:>10}{:>22}{:>14.2}",
        services * PODS_OF_A_SERVICE,
        services,
        ready.as_secs_f64(),
        cpu,
        memory,
        files,
        format!("{}, {}", took[took.len() / 2], took[took.len() - 1]),
        an_edit
    );
    Ok(())
}

fn up(folder: &Path) -> std::io::Result<Mesh> {
    let (offset, health) = (free_port()? - 80, free_port()?);
    let child = Command::new(env!("CARGO_BIN_EXE_amime"))
        .args(["up", "--quiet", "--gateway-port-offset", &offset.to_string(), "--health-port", &health.to_string()])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mesh = Mesh { child, gateway: offset + 80 };
    wait(|| get(health, "/healthz/ready", "localhost").starts_with("HTTP/1.1 200"))?;
    Ok(mesh)
}

fn answer(port: u16) -> String {
    get(port, "/", "mesh.example.com")
}

/// The whole response, or nothing.
fn get(port: u16, path: &str, host: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let sent = write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        // A response that breaks off is not the one that is waited for.
        if sent.is_ok() && stream.read_to_string(&mut text).is_err() {
            text.clear();
        }
    }
    text
}

fn wait(holds: impl Fn() -> bool) -> std::io::Result<()> {
    let end = Instant::now() + Duration::from_secs(120);
    while !holds() {
        if Instant::now() > end {
            return Err(std::io::Error::other("not within two minutes"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn workloads(services: usize) -> String {
    let mut text = String::new();
    for index in 0..services {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{index}}}\nspec:\n  selector: {{app: s{index}}}\n  \
             ports: [{{name: http, port: 80, targetPort: 8080}}]\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: s{index}}}\nspec:\n  replicas: {PODS_OF_A_SERVICE}\n  \
             selector: {{matchLabels: {{app: s{index}}}}}\n  template:\n    metadata: {{labels: {{app: s{index}}}}}\n    \
             spec: {{containers: [{{name: c, image: i, ports: [{{containerPort: 8080}}]}}]}}\n---\n"
        );
    }
    text
}

/// One rule at the gateway and one for every sidecar, that differ from edit to edit.
fn save(folder: &Path, edit: usize) -> std::io::Result<()> {
    let rule = |hosts: &str, name: &str, gateways: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  \
             hosts: [{hosts}]\n  gateways: [{gateways}]\n  http:\n  - route: [{{destination: {{host: s0, port: {{number: 80}}}}}}]\n    \
             headers: {{response: {{set: {{edit: \"{edit}\"}}}}}}\n---\n"
        )
    };
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gw}\nspec:\n  \
                   selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    \
                   hosts: [mesh.example.com]\n---\n";
    let text = format!("{gateway}{}{}", rule("mesh.example.com", "edge", "gw"), rule("s0", "inner", "mesh"));
    std::fs::write(folder.join(".rules.new"), text)?;
    std::fs::rename(folder.join(".rules.new"), folder.join("rules.yaml"))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// User and system time; USER_HZ is 100 on Linux.
fn cpu_seconds(pid: u32) -> std::io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

fn memory(pid: u32) -> std::io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0)
}
