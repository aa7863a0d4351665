//! What a client speaks, told by its first bytes. `serve` asks after each read.

/// What to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// Cleartext with prior knowledge (h2c), gRPC too.
    Http2,
    /// Anything else: bytes are sent back.
    Echo,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
const METHODS: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];
/// The longest request line of an unusual method that is waited for.
const LINE_LIMIT: usize = 4096;

/// None: the bytes so far may still become HTTP.
pub(super) fn detect(bytes: &[u8]) -> Option<Protocol> {
    if bytes.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    if PREFACE.starts_with(bytes) {
        return None;
    }
    let Some(space) = bytes.iter().position(|b| *b == b' ') else {
        let may_be_method = bytes.iter().all(|b| b.is_ascii_uppercase() || *b == b'-' || *b == b'_');
        return if may_be_method && bytes.len() <= 32 { None } else { Some(Protocol::Echo) };
    };
    let (method, rest) = (&bytes[..space], &bytes[space + 1..]);
    if METHODS.contains(&method) {
        return match rest.first() {
            None => None,
            Some(_) if method == b"CONNECT" => Some(Protocol::Http1),
            Some(b'/' | b'*' | b'h' | b'H') => Some(Protocol::Http1),
            Some(_) => Some(Protocol::Echo),
        };
    }
    if method.is_empty() || !method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-' || *b == b'_') {
        return Some(Protocol::Echo);
    }
    match rest.iter().position(|b| *b == b'\n') {
        Some(end) if rest[..end].windows(8).any(|w| w == b" HTTP/1.") => Some(Protocol::Http1),
        Some(_) => Some(Protocol::Echo),
        None if bytes.len() > LINE_LIMIT => Some(Protocol::Echo),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_other_bytes() {
        let cases: [(&[u8], Option<Protocol>); 17] = [
            (b"GET / HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"GET http://a/ HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"OPTIONS * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PURGE /x HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PURGE /x", None),
            (b"GE", None),
            (b"GET ", None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Some(Protocol::Http2)),
            (b"PRI * HT", None),
            (b"hello", Some(Protocol::Echo)),
            (b"h", Some(Protocol::Echo)),
            (b"GET key\r\n", Some(Protocol::Echo)),
            (b"PING\r\n", Some(Protocol::Echo)),
            (b"HELLO world\n", Some(Protocol::Echo)),
            (b"\x16\x03\x01", Some(Protocol::Echo)),
            (b" / HTTP/1.1\r\n", Some(Protocol::Echo)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn endless_capitals_are_not_waited_for() {
        assert_eq!(detect(&[b'A'; 64]), Some(Protocol::Echo));
        let mut long = b"PURGE /".to_vec();
        long.resize(LINE_LIMIT + 1, b'x');
        assert_eq!(detect(&long), Some(Protocol::Echo));
    }
}
