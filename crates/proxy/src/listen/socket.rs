//! Opening listening sockets, before any worker is told: what cannot be opened is a reason to refuse the
//! configuration.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

const BACKLOG: i32 = 4096;

/// One socket for each of `count` workers.
///
/// A proxy on one worker does not share its port. Where several share it, the port is tried without
/// SO_REUSEPORT first, so that one which another program has (with that option too) is an error and not shared
/// by chance.
pub(crate) fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    if count > 1 {
        // Nothing listens on it, so letting it go resets nobody.
        drop(bind(address, false)?);
    }
    let mut sockets = Vec::with_capacity(count);
    let mut bound = address;
    for _ in 0..count {
        let socket = bind(bound, count > 1)?;
        // Port 0 is chosen once.
        if let Some(local) = socket.local_addr()?.as_socket() {
            bound = local;
        }
        sockets.push(socket);
    }
    // Only when all are bound, so that none takes connections that nobody will accept.
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections in TIME_WAIT of an earlier run do not keep the port.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
