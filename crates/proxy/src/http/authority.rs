//! Which authority a request is for. `prepare` asks.

use super::connection::ConnState;
use super::prepare::Rejected;
use http::Version;
use http::header::{self, HeaderValue};
use http::request::Parts;

/// The authority, taken out of where the version keeps it. In an absolute-form target it wins over Host (RFC 9112, 3.2.2).
pub(super) fn of(conn: &ConnState, parts: &mut Parts) -> Result<HeaderValue, Rejected> {
    let host = parts.headers.remove(header::HOST);
    let authority = match parts.uri.authority() {
        Some(authority) => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| Rejected::Malformed("bad_authority"))?
        }
        // HTTP/1.0 may do without.
        None => host.unwrap_or_else(|| HeaderValue::from_static("")),
    };
    let bytes = authority.as_bytes();
    // An empty Host is allowed by the grammar, but there is nothing it could be routed by.
    if bytes.is_empty() && parts.version != Version::HTTP_10 {
        return Err(Rejected::Malformed("missing_host_header"));
    }
    if !is_authority(bytes) {
        return Err(Rejected::Malformed("bad_authority"));
    }
    if conn.hcm.config.strip_any_host_port
        && let Ok(text) = authority.to_str()
    {
        let stripped = amime_model::route::table::without_port(text);
        if stripped.len() < text.len() {
            return HeaderValue::from_str(stripped).map_err(|_| Rejected::Malformed("bad_authority"));
        }
    }
    Ok(authority)
}

/// A host and perhaps a port (RFC 9110, 4.2 and 7.2), without a user.
fn is_authority(bytes: &[u8]) -> bool {
    let good = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(b);
    let (host_is_good, port) = match bytes.strip_prefix(b"[") {
        Some(rest) => match memchr::memchr(b']', rest) {
            Some(end) => (rest[..end].iter().all(|b| *b == b':' || good(b)), &rest[end + 1..]),
            None => return false,
        },
        None => {
            let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
            (bytes[..end].iter().all(good), &bytes[end..])
        }
    };
    let port_is_good = match port.split_first() {
        None => true,
        Some((b':', digits)) => {
            let number = digits.iter().try_fold(0_u32, |number, digit| match digit {
                b'0'..=b'9' => Some(number * 10 + u32::from(digit - b'0')).filter(|number| *number <= 65_535),
                _ => None,
            });
            number.is_some()
        }
        Some(_) => false,
    };
    host_is_good && port_is_good
}
