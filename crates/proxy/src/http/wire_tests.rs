//! Requests of HTTP/1 byte by byte: what passes, and what is refused why.

use super::*;

/// Feeds a stream in pieces of a size, as a connection would; how many bytes passed, and the refusal.
fn feed(stream: &[u8], piece: usize, limits: WireLimits) -> (usize, Option<Refusal>) {
    let mut wire = Wire::new(limits);
    let (mut kept, mut passed) = (Vec::new(), 0);
    for chunk in stream.chunks(piece) {
        kept.extend_from_slice(chunk);
        while !kept.is_empty() {
            match wire.scan(&kept) {
                Scan::Pass(n) => {
                    assert!(n > 0);
                    kept.drain(..n);
                    passed += n;
                }
                Scan::More => break,
                Scan::Refuse(refusal) => return (passed, Some(refusal)),
            }
        }
    }
    (passed, None)
}

/// The outcome, which must not depend on how the stream is cut.
fn outcome(stream: &str, limits: WireLimits) -> (usize, Option<Refusal>) {
    let whole = feed(stream.as_bytes(), stream.len().max(1), limits);
    for piece in [1, 2, 3, 7] {
        let cut = feed(stream.as_bytes(), piece, limits);
        assert_eq!(cut.1, whole.1, "{stream:?} in pieces of {piece}");
    }
    whole
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn good_requests_pass_whole() {
    for stream in [
        GET.to_owned(),
        GET.repeat(3),
        format!("\r\n{GET}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{GET}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{GET}"),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nt: 1\r\n\r\n{GET}"
        ),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:0>40}\r\nx\r\n0\r\n\r\n", 1),
    ] {
        assert_eq!(outcome(&stream, WireLimits::default()), (stream.len(), None), "{stream:?}");
    }
}

#[test]
fn ambiguous_and_broken_requests_are_refused() {
    let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    for (stream, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n".to_owned(), 400),
        ("GET /\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(), 426),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        // Refused though no line ends: more bytes would not mend them.
        ("GET / HTTP/1.1\rHost: a\r\r".to_owned(), 400),
        ("\x16\x03\x01\x02".to_owned(), 400),
        (head("Content-Length: 1\r\nTransfer-Encoding: chunked"), 400),
        (head("Content-Length: 1\r\nContent-Length: 1"), 400),
        (head("Content-Length: +1"), 400),
        (head("Content-Length:"), 400),
        (head("Content-Length: 1, 1"), 400),
        (head("Content-Length: 99999999999999999999"), 400),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400),
        (head("Transfer-Encoding: gzip, chunked"), 501),
        (head("Transfer-Encoding: identity"), 501),
        (head("A: b\r\n c"), 400),
        (head("no colon"), 400),
        (head("Transfer-Encoding: chunked") + "\r\n", 400),
        (head("Transfer-Encoding: chunked") + "x\r\n", 400),
        (head("Transfer-Encoding: chunked") + "1\nx\r\n", 400),
        (head("Transfer-Encoding: chunked") + "1;\nx\r\n", 400),
        (head("Transfer-Encoding: chunked") + "1\r\nxy", 400),
        (head("Transfer-Encoding: chunked") + "1\r\nx\n", 400),
        (head("Transfer-Encoding: chunked") + "11111111111111111\r\n", 400),
        (head("Transfer-Encoding: chunked") + "0\r\na: b\n\r\n", 400),
        (format!("{GET}GET / HTTP/1.1\r\n\r\n"), 400),
    ] {
        let refusal = outcome(&stream, WireLimits::default()).1;
        assert_eq!(refusal.map(Refusal::status), Some(status), "{stream:?}: {refusal:?}");
    }
}

#[test]
fn a_bad_head_never_passes_in_part() {
    let stream = format!("{GET}GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(feed(stream.as_bytes(), 1, WireLimits::default()).0, GET.len());
}

#[test]
fn limits() {
    let limits = WireLimits { head: 1000, headers: 3, http10: true };
    let refused = |stream: String| outcome(&stream, limits).1.map(Refusal::status);
    assert_eq!(refused(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(2000))), Some(414));
    assert_eq!(refused(format!("GET /{}", "x".repeat(2000))), Some(414));
    assert_eq!(refused(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2000))), Some(431));
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\nA: b\r\n\r\n".into()), Some(431));
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\n\r\n".into()), None);
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\n\r\n".into()), None);
    assert_eq!(refused("GET / HTTP/1.0\r\n\r\n".into()), Some(400));
}

#[test]
fn an_upgrade_without_a_body_is_told() {
    let mut wire = Wire::new(WireLimits::default());
    wire.scan(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
    assert!(wire.wants_upgrade);
    wire.scan(GET.as_bytes());
    assert!(!wire.wants_upgrade);
}
