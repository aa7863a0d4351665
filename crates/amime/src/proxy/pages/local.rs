//! Who may do what ends or changes the proxy: programs of its own machine alone, and no web page that a browser there
//! has open. `agent` and `admin` ask before they do it.

use crate::serve::{Answer, Peer, problem};
use http::header::{HOST, ORIGIN};
use http::{HeaderValue, Request, StatusCode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is passed through to the pod from outside comes from these addresses.
const FROM_OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];

/// The refusal, where there is one.
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Answer> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let local = peer.is_some_and(|ip| ip.is_loopback() && !FROM_OUTSIDE.contains(&ip));
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let why = if !local {
        "only requests from localhost are allowed"
    } else if request.headers().contains_key(ORIGIN) {
        "requests of web pages (with an Origin header) are not allowed"
    } else if !host.is_some_and(is_local_name) {
        "only requests to localhost are allowed: the Host header must be localhost, 127.x.x.x or [::1]"
    } else {
        return None;
    };
    Some(problem(StatusCode::FORBIDDEN, why))
}

/// `localhost`, `127.x.x.x` or `[::1]`, with a port or without.
fn is_local_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn refused(peer: &str, host: &str, origin: bool) -> bool {
        let mut request = Request::builder().header(HOST, host);
        if origin {
            request = request.header(ORIGIN, "http://example.com");
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        refuse(&request).is_some()
    }

    #[test]
    fn only_programs_of_this_machine() {
        for (peer, host) in
            [("127.0.0.1:1", "localhost:15020"), ("[::1]:1", "[::1]:15020"), ("[::ffff:127.0.0.1]:1", "127.0.0.1")]
        {
            assert!(!refused(peer, host, false), "{peer} {host}");
        }
        assert!(refused("10.0.0.7:1", "localhost", false));
        assert!(refused("127.0.0.6:1", "localhost", false), "passed through from outside");
        assert!(refused("127.0.0.1:1", "localhost", true));
        assert!(refused("127.0.0.1:1", "example.com:15020", false));
    }
}
