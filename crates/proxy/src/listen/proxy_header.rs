//! The PROXY protocol's header, versions 1 and 2, as it is read from a client.

use ppp::{HeaderResult, PartialResult, v1, v2};
use std::net::{SocketAddr, SocketAddrV6};

/// What bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Addresses {
        source: SocketAddr,
        destination: SocketAddr,
        length: usize,
    },
    /// The sender speaks for itself (LOCAL, UNKNOWN).
    Local {
        length: usize,
    },
    /// Not whole yet.
    More,
    Invalid,
}

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_SIGNATURE: &[u8] = b"PROXY ";
/// The longest header of version 1.
const V1_MAX: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Header {
    let begins = |signature: &[u8]| {
        let n = bytes.len().min(signature.len());
        bytes[..n] == signature[..n]
    };
    if !begins(V2_SIGNATURE) && !begins(V1_SIGNATURE) {
        return Header::Invalid;
    }
    if bytes.len() < V1_SIGNATURE.len() {
        return Header::More;
    }
    if begins(V1_SIGNATURE) {
        // A line, of which the parser wants the whole.
        let line = &bytes[..bytes.len().min(V1_MAX)];
        if !line.windows(2).any(|pair| pair == b"\r\n") {
            return if line.len() < V1_MAX { Header::More } else { Header::Invalid };
        }
    }
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => version1(&header),
        HeaderResult::V2(Ok(header)) => version2(&header),
        HeaderResult::V2(result) if result.is_incomplete() => Header::More,
        _ => Header::Invalid,
    }
}

fn version1(header: &v1::Header<'_>) -> Header {
    let length = header.header.len();
    match header.addresses {
        v1::Addresses::Tcp4(a) => Header::Addresses {
            source: (a.source_address, a.source_port).into(),
            destination: (a.destination_address, a.destination_port).into(),
            length,
        },
        v1::Addresses::Tcp6(a) => Header::Addresses {
            source: SocketAddrV6::new(a.source_address, a.source_port, 0, 0).into(),
            destination: SocketAddrV6::new(a.destination_address, a.destination_port, 0, 0).into(),
            length,
        },
        v1::Addresses::Unknown => Header::Local { length },
    }
}

fn version2(header: &v2::Header<'_>) -> Header {
    let length = header.len();
    if header.command == v2::Command::Local {
        return Header::Local { length };
    }
    match header.addresses {
        v2::Addresses::IPv4(a) => Header::Addresses {
            source: (a.source_address, a.source_port).into(),
            destination: (a.destination_address, a.destination_port).into(),
            length,
        },
        v2::Addresses::IPv6(a) => Header::Addresses {
            source: SocketAddrV6::new(a.source_address, a.source_port, 0, 0).into(),
            destination: SocketAddrV6::new(a.destination_address, a.destination_port, 0, 0).into(),
            length,
        },
        v2::Addresses::Unspecified => Header::Local { length },
        v2::Addresses::Unix(_) => Header::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(source: &str, destination: &str) -> Vec<u8> {
        let addresses: (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, addresses)
            .write_payload(v2::TypeLengthValue::new(0xE0, b"x"))
            .unwrap()
            .build()
            .unwrap()
    }

    #[test]
    fn headers_whole_and_cut() {
        let v4 = v2("10.0.0.1:1000", "10.96.0.1:9080");
        let v6 = v2("[fd00::1]:1000", "[fd00::2]:80");
        let local = v2::Builder::new(v2::Version::Two | v2::Command::Local, 0).build().unwrap();
        for (header, destination) in [
            (&v4[..], Some("10.96.0.1:9080")),
            (&v6[..], Some("[fd00::2]:80")),
            (b"PROXY TCP4 10.0.0.1 10.96.0.1 1000 9080\r\n", Some("10.96.0.1:9080")),
            (b"PROXY TCP6 fd00::1 fd00::2 1000 80\r\n", Some("[fd00::2]:80")),
            (b"PROXY UNKNOWN\r\n", None),
            (&local[..], None),
        ] {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Header::More, "{header:?} cut at {cut}");
            }
            let bytes = [header, b"GET / HTTP/1.1\r\n"].concat();
            match (parse(&bytes), destination) {
                (Header::Addresses { destination, length, .. }, Some(expected)) => {
                    assert_eq!((destination, length), (expected.parse().unwrap(), header.len()));
                }
                (Header::Local { length }, None) => assert_eq!(length, header.len()),
                other => panic!("{header:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_header() {
        let longest = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01", longest.as_bytes()] {
            assert_eq!(parse(bytes), Header::Invalid, "{bytes:?}");
        }
    }
}
