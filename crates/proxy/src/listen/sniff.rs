//! What a client speaks, by its first bytes: TLS with its server name and ALPN, HTTP/1, HTTP/2 in plaintext, or
//! something else. Nothing is consumed.

use crate::http::connection::is_preface;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sniffed {
    Tls {
        server_name: Option<String>,
        alpn: Vec<String>,
    },
    Http1,
    Http2,
    /// None of what was looked for.
    Unknown,
    /// Not enough bytes to tell.
    More,
}

/// How much of a request line or ClientHello is waited for.
const LINE_MAX: usize = 8 * 1024;
const HELLO_MAX: usize = 16 * 1024;

pub(super) fn look(bytes: &[u8], tls: bool, http: bool) -> Sniffed {
    if bytes.is_empty() {
        return Sniffed::More;
    }
    if tls && bytes[0] == 0x16 {
        return client_hello(bytes);
    }
    if http { http_version(bytes) } else { Sniffed::Unknown }
}

fn http_version(bytes: &[u8]) -> Sniffed {
    match is_preface(bytes) {
        Some(true) => return Sniffed::Http2,
        None => return Sniffed::More,
        Some(false) => {}
    }
    // One empty line may come first.
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let method = bytes.iter().take_while(|b| is_token(**b)).count();
    if method == 0 || method > 32 {
        return if bytes == b"\r" || bytes.is_empty() { Sniffed::More } else { Sniffed::Unknown };
    }
    match bytes.get(method) {
        None => return Sniffed::More,
        Some(b' ') => {}
        Some(_) => return Sniffed::Unknown,
    }
    match memchr::memchr(b'\n', bytes) {
        Some(end) => {
            let line = bytes[..end].trim_ascii_end();
            if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") { Sniffed::Http1 } else { Sniffed::Unknown }
        }
        None if bytes.iter().any(|b| *b < b' ' && *b != b'\r') => Sniffed::Unknown,
        // A request line that long is HTTP's matter to refuse.
        None if bytes.len() > LINE_MAX => Sniffed::Http1,
        None => Sniffed::More,
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Server name and ALPN of a ClientHello (RFC 8446, 4.1.2). What cannot be read is TLS without them.
fn client_hello(bytes: &[u8]) -> Sniffed {
    let nothing = Sniffed::Tls { server_name: None, alpn: Vec::new() };
    // A handshake may be spread over several records.
    let mut hello = Vec::new();
    let mut rest = bytes;
    let wanted = loop {
        match rest {
            [0x16, 3, _, high, low, after @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                hello.extend_from_slice(&after[..length.min(after.len())]);
                rest = after.get(length..).unwrap_or(&[]);
            }
            [] => {}
            [0x16] | [0x16, 3] | [0x16, 3, _] | [0x16, 3, _, _] => rest = &[],
            // No TLS record, whatever the first byte.
            _ if hello.is_empty() => return Sniffed::Unknown,
            _ => return nothing,
        }
        match hello.as_slice() {
            [1, a, b, c, ..] => {
                let wanted = 4 + usize::from(*a) * 65_536 + usize::from(*b) * 256 + usize::from(*c);
                if hello.len() >= wanted {
                    break wanted;
                }
                if wanted > HELLO_MAX {
                    return nothing;
                }
            }
            [1] | [1, _] | [1, _, _] | [] => {}
            _ => return Sniffed::Unknown,
        }
        if rest.is_empty() {
            return if bytes.len() > HELLO_MAX { nothing } else { Sniffed::More };
        }
    };
    extensions(&hello[4..wanted]).map_or(nothing, |(server_name, alpn)| Sniffed::Tls { server_name, alpn })
}

/// Reads on where a length says so.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<usize> {
        self.take(1).map(|b| usize::from(b[0]))
    }

    fn short(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
    }
}

fn extensions(body: &[u8]) -> Option<(Option<String>, Vec<String>)> {
    let mut body = Cursor(body);
    body.take(2 + 32)?;
    let session = body.byte()?;
    body.take(session)?;
    let ciphers = body.short()?;
    body.take(ciphers)?;
    let compressions = body.byte()?;
    body.take(compressions)?;
    let (mut server_name, mut alpn) = (None, Vec::new());
    if body.0.is_empty() {
        return Some((server_name, alpn));
    }
    let length = body.short()?;
    let mut all = Cursor(body.take(length)?);
    while !all.0.is_empty() {
        let kind = all.short()?;
        let length = all.short()?;
        let mut extension = Cursor(all.take(length)?);
        match kind {
            0 => {
                extension.short()?;
                if extension.byte()? == 0 {
                    let length = extension.short()?;
                    server_name = Some(extension.take(length)?.iter().map(name_byte).collect());
                }
            }
            16 => {
                extension.short()?;
                while !extension.0.is_empty() {
                    let length = extension.byte()?;
                    alpn.push(std::str::from_utf8(extension.take(length)?).ok()?.to_owned());
                }
            }
            _ => {}
        }
    }
    Some((server_name, alpn))
}

/// A byte of a server name in lower case. What no name has is `_`, as in Envoy: names are written into logs.
fn name_byte(byte: &u8) -> char {
    match byte.to_ascii_lowercase() {
        good @ (b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'*' | b'-') => char::from(good),
        _ => '_',
    }
}

#[cfg(test)]
#[path = "sniff_tests.rs"]
mod tests;
