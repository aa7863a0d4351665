//! HTTP/2 in front of HTTP/1.1: what would be another message, or another header, once it is written as text.

use super::common::*;
use super::recorder::Recorder;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const CONTINUATION: u8 = 0x9;
/// Of DATA and HEADERS; an ACK of SETTINGS and PING.
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block of literals without indexing (RFC 7541, 6.2.2), for it carries any bytes.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in headers {
        out.push(0);
        for text in [name, value] {
            let bytes = text.as_bytes();
            match bytes.len().checked_sub(127) {
                None => out.push(u8::try_from(bytes.len()).unwrap()),
                Some(mut rest) => {
                    out.push(127);
                    while rest >= 128 {
                        out.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    out.push(u8::try_from(rest).unwrap());
                }
            }
            out.extend(bytes);
        }
    }
    out
}

/// One frame; None at the end.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Arrived behind as this, and answered.
    Passed(&'static str),
    /// Answered by the proxy, or the stream was reset, or the connection ended; nothing arrives behind.
    Refused,
}
use Outcome::*;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "h.test"), (":path", "/ok")];
const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":authority", "h.test"), (":path", "/ok")];

/// A case's headers and, where it has one, body and trailers.
struct Case {
    name: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<&'static str>,
    trailers: Option<(&'static str, &'static str)>,
    outcome: Outcome,
}

fn get(name: &'static str, extra: &[(&'static str, &'static str)], outcome: Outcome) -> Case {
    Case { name, headers: [&GET[..], extra].concat(), body: None, trailers: None, outcome }
}

fn post(name: &'static str, extra: &[(&'static str, &'static str)], outcome: Outcome) -> Case {
    Case { name, headers: [&POST[..], extra].concat(), body: Some("hello"), trailers: None, outcome }
}

fn with(name: &'static str, pseudo: &'static str, value: &'static str, outcome: Outcome) -> Case {
    let headers = GET.map(|(known, was)| if known == pseudo { (known, value) } else { (known, was) });
    Case { name, headers: headers.to_vec(), body: None, trailers: None, outcome }
}

fn without(name: &'static str, pseudo: &'static str, extra: &[(&'static str, &'static str)], outcome: Outcome) -> Case {
    let headers = GET.into_iter().filter(|(known, _)| *known != pseudo);
    Case { name, headers: headers.chain(extra.iter().copied()).collect(), body: None, trailers: None, outcome }
}

async fn run(cases: Vec<Case>) {
    let recorder = Recorder::start().await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[recorder.address])], |hcm| {
        hcm.use_remote_address = true;
    });
    let running = Running::start(config).await;
    let mut wrong = Vec::new();
    for case in cases {
        let answered = ask(running.address, &case).await;
        let seen = recorder.take();
        let right = match case.outcome {
            Passed(message) => answered && seen == [message],
            Refused => seen.is_empty(),
        };
        if !right {
            wrong.push(format!("{}: answered {answered}, behind: {seen:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether the stream was answered to its end; false where it was reset or the connection ended.
async fn ask(address: SocketAddr, case: &Case) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
    let ends = case.body.is_none() && case.trailers.is_none();
    bytes.extend(frame(HEADERS, END_HEADERS | last(ends), 1, &block(&case.headers)));
    if let Some(body) = case.body {
        bytes.extend(frame(DATA, last(case.trailers.is_none()), 1, body.as_bytes()));
    }
    if let Some(trailer) = case.trailers {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[trailer])));
    }
    stream.write_all(&bytes).await.unwrap();
    let answer = async {
        while let Some((kind, flags, id, _)) = read_frame(&mut stream).await {
            match kind {
                GOAWAY => return false,
                RST_STREAM if id == 1 => return false,
                DATA | HEADERS if id == 1 && flags & END_STREAM != 0 => return true,
                _ => {}
            }
        }
        false
    };
    tokio::time::timeout(amime_testkit::client::PATIENCE, answer).await.expect("an end in time")
}

#[tokio::test]
async fn a_connection_that_comes_while_the_proxy_drains_has_its_first_request_answered() {
    let origin = amime_testkit::origin::Origin::text("hello").await;
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[origin.address])])).await;
    running.proxy.begin_drain(amime_proxy::Side::All, amime_testkit::client::PATIENCE).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&[PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let talk = async {
        // By the second answer it would have been told to go.
        for _ in 0..2 {
            stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
            loop {
                let (kind, flags, ..) = read_frame(&mut stream).await.expect("a frame");
                assert_ne!(kind, GOAWAY);
                if (kind, flags) == (PING, END_STREAM) {
                    break;
                }
            }
        }
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GET));
        stream.write_all(&request).await.unwrap();
        let (mut answered, mut told) = (false, false);
        while !(answered && told) {
            let (kind, flags, id, _) = read_frame(&mut stream).await.expect("a frame");
            answered |= id == 1 && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
            told |= kind == GOAWAY;
        }
    };
    tokio::time::timeout(amime_testkit::client::PATIENCE, talk).await.expect("in time");
}

#[tokio::test]
async fn well_formed_requests_pass_as_they_are() {
    run(vec![
        get("plain", &[], Passed("GET /ok body=0")),
        post("a length", &[("content-length", "5")], Passed("POST /ok body=5")),
        post("no length", &[], Passed("POST /ok body=5")),
        Case { trailers: Some(("x-t", "1")), ..post("a trailer", &[], Passed("POST /ok body=5")) },
        get("cookies apart", &[("cookie", "a=1"), ("cookie", "b=2")], Passed("GET /ok body=0")),
        get("te: trailers", &[("te", "trailers")], Passed("GET /ok body=0")),
        without("a host in the authority's place", ":authority", &[("host", "h.test")], Passed("GET /ok body=0")),
    ])
    .await;
}

#[tokio::test]
async fn what_would_be_other_text_in_http1_is_refused() {
    run(vec![
        post("transfer-encoding", &[("transfer-encoding", "chunked")], Refused),
        get("connection", &[("connection", "close")], Refused),
        get("keep-alive", &[("keep-alive", "1")], Refused),
        get("upgrade", &[("upgrade", "h2c")], Refused),
        get("te other than trailers", &[("te", "gzip")], Refused),
        get("upper case", &[("X-A", "b")], Refused),
        get("CRLF in a value", &[("x-a", "b\r\nx-injected: 1")], Refused),
        get("LF in a value", &[("x-a", "b\nc")], Refused),
        get("CR in a value", &[("x-a", "b\rc")], Refused),
        get("NUL in a value", &[("x-a", "b\0c")], Refused),
        get("CRLF in a name", &[("x-a: 1\r\nx-b", "c")], Refused),
        get("a colon in a name", &[("x:a", "b")], Refused),
        get("a space in a name", &[("x a", "b")], Refused),
        get("an empty name", &[("", "b")], Refused),
        with("CRLF in the path", ":path", "/ok HTTP/1.1\r\nx-injected: 1", Refused),
        with("a space in the path", ":path", "/ok smuggled", Refused),
        with("no slash", ":path", "ok", Refused),
        with("an empty path", ":path", "", Refused),
        with("CRLF in the method", ":method", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", Refused),
        with("a space in the method", ":method", "GET /smuggled", Refused),
        with("CRLF in the authority", ":authority", "h.test\r\nx-injected: 1", Refused),
        with("a path in the authority", ":authority", "h.test/x", Refused),
        with("a user in the authority", ":authority", "u@h.test", Refused),
        with("CRLF in the scheme", ":scheme", "http\r\nx: y", Refused),
        without("no authority and no host", ":authority", &[], Refused),
        without("no method", ":method", &[], Refused),
        without("no path", ":path", &[], Refused),
        without("a pseudo header after others", ":path", &[("x-a", "b"), (":path", "/ok")], Refused),
        get("two paths", &[(":path", "/x")], Refused),
        get("an unknown pseudo header", &[(":foo", "b")], Refused),
    ])
    .await;
}

#[tokio::test]
async fn a_body_is_as_long_as_its_length_says() {
    run(vec![
        post("too short a length", &[("content-length", "3")], Refused),
        post("too long a length", &[("content-length", "9")], Refused),
        post("a sign", &[("content-length", "+5")], Refused),
        post("two lengths", &[("content-length", "5"), ("content-length", "6")], Refused),
        get("a length without a body", &[("content-length", "5")], Refused),
        Case { trailers: Some((":path", "/smuggled")), ..post("a pseudo header in trailers", &[], Refused) },
    ])
    .await;
}
