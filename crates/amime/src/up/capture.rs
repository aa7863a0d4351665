//! Into the mesh without root: a connection to a pod's own outbound listener, opened by a PROXY v2 header that
//! names where the application wanted to go. The stand-ins and the printed proxy of `--replace` connect by it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// Istio's outbound capture port.
pub(crate) const OUTBOUND_PORT: u16 = 15001;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// One end of the mesh: a pod whose application asks for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The pod's address: its sidecar listens there, and it is the source that the mesh sees.
    pub(crate) pod_ip: IpAddr,
    /// The address that the connection to the sidecar really comes from.
    pub(crate) app_ip: IpAddr,
}

impl Origin {
    /// Connects to `destination` (a service's virtual address, or any other) as this pod's application would.
    pub(crate) async fn connect(self, destination: SocketAddr) -> io::Result<TcpStream> {
        let socket = if self.app_ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(self.app_ip, 0))?;
        let mut stream = socket.connect(SocketAddr::new(self.pod_ip, OUTBOUND_PORT)).await?;
        stream.set_nodelay(true)?;
        let source = SocketAddr::new(self.pod_ip, stream.local_addr()?.port());
        stream.write_all(&proxy_header(source, destination)).await?;
        Ok(stream)
    }

    /// Connects to an endpoint as an application without a sidecar would: from the pod's own address, where that
    /// leads there.
    pub(crate) async fn connect_directly(self, endpoint: SocketAddr) -> io::Result<TcpStream> {
        let socket = if endpoint.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if endpoint.ip().is_loopback() && endpoint.is_ipv4() == self.pod_ip.is_ipv4() {
            socket.bind(SocketAddr::new(self.pod_ip, 0))?;
        }
        let stream = socket.connect(endpoint).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The PROXY protocol's version 2 header. Where the families differ both are written as IPv6.
pub(crate) fn proxy_header(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(52);
    header.extend(SIGNATURE);
    header.push(VERSION_2_PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.push(TCP_OVER_IPV4);
            header.extend(12_u16.to_be_bytes());
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.push(TCP_OVER_IPV6);
            header.extend(36_u16.to_be_bytes());
            header.extend(as_v6(from));
            header.extend(as_v6(to));
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

fn as_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_back_by_an_independent_parser() {
        for (from, to) in [("127.64.1.2:4000", "10.96.0.1:80"), ("[::1]:4000", "[fd00::1]:80")] {
            let (from, to): (SocketAddr, SocketAddr) =
                (from.parse().expect("an address"), to.parse().expect("an address"));
            let bytes = proxy_header(from, to);
            let header = ppp::v2::Header::try_from(bytes.as_slice()).expect("a header");
            assert_eq!(header.addresses, (from, to).into());
            assert_eq!(header.len(), bytes.len());
        }
    }

    #[test]
    fn mixed_families_become_ipv6() {
        let bytes =
            proxy_header("127.64.1.2:4000".parse().expect("an address"), "[fd00::1]:80".parse().expect("an address"));
        let header = ppp::v2::Header::try_from(bytes.as_slice()).expect("a header");
        let from: SocketAddr = "[::ffff:127.64.1.2]:4000".parse().expect("an address");
        let to: SocketAddr = "[fd00::1]:80".parse().expect("an address");
        assert_eq!(header.addresses, (from, to).into());
    }
}
