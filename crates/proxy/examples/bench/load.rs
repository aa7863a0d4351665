//! The load, the origin, and the reading of a process's own account.

use std::io::{Error, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const REQUEST: &[u8] =
    b"GET /items/42?full=1 HTTP/1.1\r\nhost: shop.example.com\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"item\":42,\"name\":\"a shoe\"}";

/// What one round gave. CPU in µs a request, memory in MB.
pub(crate) struct Result {
    pub(crate) rate: f64,
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) memory: f64,
}

impl Result {
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Answers every request with the same small JSON, a thread a connection.
pub(crate) fn serve(address: &str) -> std::io::Result<()> {
    for stream in TcpListener::bind(address)?.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            let mut filled = 0;
            loop {
                match stream.read(&mut buffer[filled..]) {
                    Ok(0) | Err(_) => return,
                    Ok(read) => filled += read,
                }
                while let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
                    if stream.write_all(RESPONSE).is_err() {
                        return;
                    }
                    buffer.copy_within(end + 4..filled, 0);
                    filled -= end + 4;
                }
            }
        });
    }
    Ok(())
}

pub(crate) fn wait_for(address: SocketAddr) -> std::io::Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Sends `total` requests over some connections, a thread each; returns how long it took.
pub(crate) fn run(address: SocketAddr, connections: usize, total: u64) -> std::io::Result<Duration> {
    let left = Arc::new(AtomicU64::new(total));
    let start = Instant::now();
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let left = left.clone();
            std::thread::spawn(move || connection(address, &left))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| Error::other("a load thread panicked"))??;
    }
    Ok(start.elapsed())
}

fn connection(address: SocketAddr, left: &AtomicU64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut buffer = [0; 4096];
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        stream.write_all(REQUEST)?;
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\"a shoe\"}") {
            match stream.read(&mut buffer[filled..])? {
                0 => return Err(Error::other("the proxy closed a connection")),
                read => filled += read,
            }
        }
        if !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(Error::other(String::from_utf8_lossy(&buffer[..filled]).into_owned()));
        }
    }
    Ok(())
}

/// One round, with what the proxy's process used for it.
pub(crate) fn measured(pid: u32, address: SocketAddr, connections: usize, total: u64) -> std::io::Result<Result> {
    let before = cpu_ticks(pid)?;
    let took = run(address, connections, total)?;
    let after = cpu_ticks(pid)?;
    // USER_HZ is 100 on Linux.
    let micros = |ticks: u64| ticks as f64 * 10_000.0 / total as f64;
    Ok(Result {
        rate: total as f64 / took.as_secs_f64(),
        user: micros(after.0 - before.0),
        system: micros(after.1 - before.1),
        memory: memory(pid)?,
    })
}

/// User and system time of a process and of its children that are gone, in ticks.
fn cpu_ticks(pid: u32) -> std::io::Result<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse().ok()).unwrap_or(0);
    Ok((ticks(11), ticks(12)))
}

fn memory(pid: u32) -> std::io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0)
}
