//! What the control plane costs: a child process that serves ADS over TCP, pinned to one core, and simulated
//! sidecars in this one, each with a connection of its own, that count and acknowledge and decode nothing.
//!
//!     cargo run --release -p amime-control --example scale [-- SERVICES ENDPOINTS SIDECARS [scoped] [vhds]]
//!
//! Without arguments all that docs/costs.md tells: 1,000 sidecars that subscribe to 1,000 services of 10 endpoints,
//! the same with routes by VHDS, 5,000 that Sidecar resources scope to 50 services each, and how cost grows with services, endpoints and sidecars.

mod clients;
mod cost;
mod manifests;
mod server;
mod wire;

use clients::{Clients, Seen};
use cost::{Cost, on_core};
use manifests::{Change, Mesh};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The argument by which the child knows what it is.
const SERVE: &str = "serve";
/// Changes of one kind.
const ROUNDS: usize = 5;
/// No step takes longer, or the bench fails.
const LIMIT: Duration = Duration::from_secs(180);

/// The control plane as a process of its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &std::path::Path) -> Self {
        let me = std::env::current_exe().expect("a path");
        let mut child =
            Command::new(me).arg(SERVE).arg(folder).stdout(Stdio::piped()).spawn().expect("a control plane");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the address");
        Self { address: line.trim().parse().expect("an address"), child }
    }

    fn cost(&self) -> Cost {
        Cost::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One mesh from the first connection to the last change. `rounds` of each change.
async fn measure(mesh: Mesh, rounds: usize) {
    println!("{mesh}");
    let folder = tempfile::tempdir().expect("a folder");
    mesh.write(folder.path());
    let server = Server::start(folder.path());
    let idle = server.cost();
    println!("  {:<34} {:>30} CPU {:>6.3} s  {idle}", "first snapshot", "", idle.cpu.as_secs_f64());
    let began = std::time::Instant::now();
    let clients = Clients::connect(server.address, &mesh);
    tokio::time::timeout(LIMIT, clients.served()).await.expect("all served in time");
    let took = began.elapsed();
    clients.settled().await;
    let served = server.cost();
    let cpu = served.cpu.saturating_sub(idle.cpu).as_secs_f64();
    let sent = clients.take_received();
    println!(
        "  {:<34} {:>28.2} s CPU {cpu:>6.2} s  {served}, {sent} MB sent",
        "all connected and served",
        took.as_secs_f64()
    );
    for change in [Change::Endpoint, Change::Route] {
        let mut all = Vec::new();
        let before = server.cost();
        let mut sent = 0;
        for round in 0..rounds {
            let marker = change.marker(round);
            clients.look_for(&marker);
            let began = std::time::Instant::now();
            mesh.change(folder.path(), change, &marker);
            let seen = tokio::time::timeout(LIMIT, clients.saw(began)).await.expect("all saw it in time");
            all.push(seen);
            clients.settled().await;
            sent += clients.take_received();
        }
        let after = server.cost();
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / rounds.max(1) as f64;
        let seen = Seen::median(&all);
        println!("  {:<34} {seen} CPU {cpu:>6.3} s  {after}, {} MB sent", change.to_string(), sent / rounds.max(1));
    }
}

async fn all() {
    let base = Mesh { services: 1000, endpoints: 10, sidecars: 1000, scoped: false, vhds: false };
    measure(base, ROUNDS).await;
    measure(Mesh { vhds: true, ..base }, ROUNDS).await;
    measure(Mesh { vhds: true, services: base.services * 2, ..base }, ROUNDS).await;
    measure(Mesh { sidecars: 5000, scoped: true, ..base }, ROUNDS).await;
    println!("\nGrowth: each doubled.");
    let base = Mesh { services: 500, sidecars: 500, ..base };
    for mesh in [
        base,
        Mesh { services: base.services * 2, ..base },
        Mesh { endpoints: base.endpoints * 2, ..base },
        Mesh { sidecars: base.sidecars * 2, ..base },
    ] {
        measure(mesh, ROUNDS).await;
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, folder] = arguments.as_slice()
        && first == SERVE
    {
        on_core(0);
        return server::serve(folder.into());
    }
    on_core(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let clients = tokio::task::LocalSet::new();
    clients.block_on(&runtime, async {
        match numbers.as_slice() {
            [services, endpoints, sidecars] => {
                let (services, endpoints, sidecars) = (*services, *endpoints, *sidecars);
                let asked = |word: &str| arguments.iter().any(|argument| argument == word);
                let (scoped, vhds) = (asked("scoped"), asked("vhds"));
                measure(Mesh { services, endpoints, sidecars, scoped, vhds }, ROUNDS).await;
            }
            _ => all().await,
        }
    });
}
