//! First bytes of each protocol, in any pieces.

use super::*;

/// A ClientHello with a server name and ALPN.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let short = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut extensions = Vec::new();
    let mut sni = vec![0];
    sni.extend(short(name.len()));
    sni.extend(name.as_bytes());
    extensions.extend([0, 0]);
    extensions.extend(short(sni.len() + 2));
    extensions.extend(short(sni.len()));
    extensions.extend(sni);
    let protocols: Vec<u8> =
        alpn.iter().flat_map(|p| [&[u8::try_from(p.len()).unwrap()], p.as_bytes()].concat()).collect();
    extensions.extend([0, 16]);
    extensions.extend(short(protocols.len() + 2));
    extensions.extend(short(protocols.len()));
    extensions.extend(protocols);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(short(extensions.len()));
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(short(body.len()));
    handshake.extend(body);
    handshake
}

fn records(handshake: &[u8], piece: usize) -> Vec<u8> {
    handshake
        .chunks(piece)
        .flat_map(|chunk| [&[0x16, 3, 1][..], &u16::try_from(chunk.len()).unwrap().to_be_bytes(), chunk].concat())
        .collect()
}

#[test]
fn a_hello_in_any_pieces() {
    let hello = hello("Shop.Example", &["h2", "http/1.1"]);
    for piece in [1, 3, 20, 4096] {
        let bytes = records(&hello, piece);
        for cut in 1..bytes.len() {
            assert_eq!(look(&bytes[..cut], true, true), Sniffed::More, "records of {piece}, cut at {cut}");
        }
        let expected =
            Sniffed::Tls { server_name: Some("shop.example".into()), alpn: vec!["h2".into(), "http/1.1".into()] };
        assert_eq!(look(&bytes, true, false), expected);
    }
    assert_eq!(look(&[0x16, 1, 2], true, false), Sniffed::Unknown);
}

#[test]
fn a_name_forges_no_line_of_a_log() {
    for (name, expected) in [("*.A-b_c.example", "*.a-b_c.example"), ("a\" \n[x]\u{e4}", "a____x___")] {
        let Sniffed::Tls { server_name, .. } = look(&records(&hello(name, &[]), 4096), true, false) else {
            panic!("no TLS");
        };
        assert_eq!(server_name.as_deref(), Some(expected));
    }
}

#[test]
fn plain_protocols() {
    for (bytes, expected) in [
        (&b""[..], Sniffed::More),
        (b"GET / HTTP/1.1\r\n", Sniffed::Http1),
        (b"\r\nGET / HTTP/1.1\r\n", Sniffed::Http1),
        (b"M-SEARCH * HTTP/1.0\n", Sniffed::Http1),
        (b"GE", Sniffed::More),
        (b"GET /long", Sniffed::More),
        (b"GET / SPDY\r\n", Sniffed::Unknown),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n....", Sniffed::Http2),
        (b"PRI * HTTP/2", Sniffed::More),
        (b"P", Sniffed::More),
        (b"\x00\x01", Sniffed::Unknown),
        (b"*1\r\n$4\r\nPING", Sniffed::Unknown),
        (b"EHLO\r\n", Sniffed::Unknown),
        (b"\x16\x03\x01", Sniffed::Unknown),
    ] {
        assert_eq!(look(bytes, false, true), expected, "{bytes:?}");
    }
    assert_eq!(look(b"GET / HTTP/1.1\r\n", true, false), Sniffed::Unknown);
}
