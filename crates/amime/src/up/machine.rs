//! What this machine allows: files, a /16 of the loopback network, ports. `run` asks before and while it opens
//! sockets; the address plan itself looks nothing up.

use anyhow::Context;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first two octets of the networks that meshes choose from: 64 of them, far from 127.0.0.0/16.
const NETWORKS: std::ops::Range<u8> = 64..128;
/// The port of a network's lock, at its host `.0.1`.
const LOCK_PORT: u16 = 15099;

/// A /16 of 127/8 that no other mesh of this machine uses, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Network {
    octets: [u8; 2],
    /// Two meshes could else share addresses and never know.
    _lock: Socket,
}

impl Network {
    /// The first that is free.
    pub(crate) fn lock() -> anyhow::Result<Self> {
        let mut last = None;
        for second in NETWORKS {
            match lock(SocketAddr::from((Ipv4Addr::new(127, second, 0, 1), LOCK_PORT))) {
                Ok(lock) => return Ok(Self { octets: [127, second], _lock: lock }),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
        Err(error).context("no network of 127.64.0.0/16 to 127.127.0.0/16 can be locked: is 127.0.0.0/8 on lo?")
    }

    pub(crate) fn octets(&self) -> [u8; 2] {
        self.octets
    }

    /// Whether pods can listen at this port. A program that listens on all addresses has it everywhere.
    pub(crate) fn can_bind(&self, port: u16) -> bool {
        let [a, b] = self.octets;
        try_listen(SocketAddr::from((Ipv4Addr::new(a, b, 0, 2), port))).is_ok()
    }
}

/// Binds without SO_REUSEPORT and SO_REUSEADDR, so that nobody else can.
fn lock(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Raises the soft limit of open files to the hard one and returns it.
pub(crate) fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused the old limit stays, and is what counts.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Where gateways answer: 127.0.0.1, and ::1 where the machine has it.
pub(crate) fn gateway_addresses() -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if try_listen(SocketAddr::new(v6, 0)).is_ok() {
        addresses.push(v6);
    }
    addresses
}

/// Whether a listener can be opened there: whether nobody else listens, that is. Closed connections of a program
/// that has ended are no hindrance.
pub(crate) fn try_listen(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_meshes_get_two_networks() {
        let (one, two) = (Network::lock().expect("free"), Network::lock().expect("free"));
        assert_ne!(one.octets(), two.octets());
    }

    #[test]
    fn a_port_that_is_listened_at_everywhere_cannot_be_bound() {
        let network = Network::lock().expect("free");
        let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert!(!network.can_bind(port));
        drop(listener);
        assert!(network.can_bind(port));
    }

    #[test]
    fn the_file_limit_is_the_hard_one() {
        let limit = raise_file_limit();
        assert!(limit >= 1024, "{limit}");
    }
}
