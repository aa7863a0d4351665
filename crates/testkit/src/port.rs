//! Ports that are written into files before anybody listens at them: taken from the system, and kept from others
//! for as long as the value lives.

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// A port at which a server of this test can listen and nobody else does. A socket that is bound with SO_REUSEADDR
/// and SO_REUSEPORT and does not listen keeps it: servers bind theirs beside it, and it gets no connection.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _kept: Socket,
}

impl Port {
    pub fn take() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("an option");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).expect("a free port");
        let number = socket.local_addr().expect("bound").as_socket().expect("an address").port();
        Self { number, _kept: socket }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}
