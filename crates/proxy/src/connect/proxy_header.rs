//! The PROXY protocol's header, versions 1 and 2, as it is written to endpoints. `dial` calls it.

use ppp::v2;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The ends of a client's connection: who it is, and whom it dialled.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// None: nobody's connection is behind this one, which then speaks for itself.
pub(super) fn header(version: u8, of: Option<Ends>, own: Ends) -> io::Result<Vec<u8>> {
    let (source, destination) = one_family(of.unwrap_or(own));
    if version == 1 {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        return Ok(format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes());
    }
    match of {
        Some(_) => {
            let command = v2::Version::Two | v2::Command::Proxy;
            v2::Builder::with_addresses(command, v2::Protocol::Stream, (source, destination)).build()
        }
        None => v2::Builder::new(v2::Version::Two | v2::Command::Local, 0).build(),
    }
}

/// A header has no place for two families.
fn one_family((source, destination): Ends) -> Ends {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_and_families() {
        let of = |source: &str, destination: &str| Some((source.parse().unwrap(), destination.parse().unwrap()));
        let own = ("10.0.0.1:5".parse().unwrap(), "10.0.0.2:6".parse().unwrap());
        let text = |of| String::from_utf8(header(1, of, own).unwrap()).unwrap();
        assert_eq!(text(of("1.2.3.4:11", "5.6.7.8:22")), "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n");
        assert_eq!(text(of("[::1]:11", "[::2]:22")), "PROXY TCP6 ::1 ::2 11 22\r\n");
        assert_eq!(text(of("[::ffff:1.2.3.4]:11", "5.6.7.8:22")), "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n");
        assert_eq!(text(of("1.2.3.4:11", "[::2]:22")), "PROXY TCP6 ::ffff:1.2.3.4 ::2 11 22\r\n");
        assert_eq!(text(None), "PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n");
        let binary = header(2, of("1.2.3.4:11", "5.6.7.8:22"), own).unwrap();
        assert_eq!(binary, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x0b\0\x16");
        assert_eq!(header(2, None, own).unwrap(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
