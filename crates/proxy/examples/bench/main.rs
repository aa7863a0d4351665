//! Requests a second and CPU µs a request through a gateway listener, beside HAProxy and Envoy where they are
//! installed (on PATH, or named by $HAPROXY and $ENVOY). `make bench` runs it.
//!
//! Each proxy is a process of its own, on one core, between the same load (HTTP/1.1 keep-alive GETs) and the same
//! origin on the other core. CPU time is the kernel's own account of the proxy's process.

#[path = "../../tests/common/mod.rs"]
mod common;
mod load;
mod ours;
mod rivals;

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

const CONNECTIONS: usize = 64;
const REQUESTS: u64 = 200_000;
const ROUNDS: usize = 3;

/// A proxy to be measured.
struct Contender {
    name: String,
    child: Child,
    address: SocketAddr,
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may have ended by itself, which the numbers then show.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("origin") => return load::serve(&arguments[1]),
        Some("proxy") => return ours::run(&arguments[1], &arguments[2], &arguments[3]),
        // `cargo bench` and the like pass flags of their own.
        _ => {}
    }
    let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut server =
        on_core(1, &std::env::current_exe()?.display().to_string()).args(["origin", &origin.to_string()]).spawn()?;
    load::wait_for(origin)?;
    let mut contenders = Vec::new();
    for telemetry in ours::Telemetry::ALL {
        contenders.push(ours(origin, telemetry)?);
    }
    contenders.extend(rivals::haproxy(origin)?);
    contenders.extend(rivals::envoy(origin)?);
    println!("{REQUESTS} GETs over {CONNECTIONS} keep-alive connections, one core a proxy, median of {ROUNDS} rounds");
    println!("{:<28}{:>12}{:>12}{:>10}{:>10}{:>12}", "", "requests/s", "CPU µs/req", "user", "system", "memory MB");
    let mut results: Vec<Vec<load::Result>> = contenders.iter().map(|_| Vec::new()).collect();
    for contender in &contenders {
        load::run(contender.address, CONNECTIONS, REQUESTS / 10)?;
    }
    // In turn, so that a change of the machine's speed meets all of them.
    for _ in 0..ROUNDS {
        for (contender, results) in contenders.iter().zip(&mut results) {
            results.push(load::measured(contender.child.id(), contender.address, CONNECTIONS, REQUESTS)?);
        }
    }
    for (contender, results) in contenders.iter().zip(&mut results) {
        results.sort_by(|a, b| a.cpu().total_cmp(&b.cpu()));
        let median = &results[results.len() / 2];
        println!(
            "{:<28}{:>12.0}{:>12.1}{:>10.1}{:>10.1}{:>12.0}",
            contender.name,
            median.rate,
            median.cpu(),
            median.user,
            median.system,
            median.memory
        );
    }
    drop(contenders);
    server.kill()?;
    server.wait()?;
    Ok(())
}

fn ours(origin: SocketAddr, telemetry: ours::Telemetry) -> std::io::Result<Contender> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let child = on_core(0, &std::env::current_exe()?.display().to_string())
        .args(["proxy", &address.to_string(), &origin.to_string(), telemetry.name()])
        .spawn()?;
    load::wait_for(address)?;
    Ok(Contender { name: telemetry.name().into(), child, address })
}

/// A command that runs on one core alone.
fn on_core(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]).stdin(Stdio::null());
    command
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
