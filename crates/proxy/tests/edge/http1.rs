//! HTTP/1.1: framing, lines, request lines, hosts, sizes, hop-by-hop headers.

use super::common::*;
use super::recorder::Recorder;
use amime_testkit::client::Raw;
use tokio::io::AsyncWriteExt;

/// What becomes of a case.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Answered by the proxy with this status, and closed; nothing whole arrives behind.
    Refused(u16),
    /// This is what arrives behind, message by message, and each is answered 200.
    Passed(&'static [&'static str]),
    /// As `Passed`; what follows on the connection is then refused with this status.
    ThenRefused(&'static [&'static str], u16),
}
use Outcome::*;

const GET: Outcome = Passed(&["GET /ok body=0"]);
const POST: Outcome = Passed(&["POST /ok body=5"]);
const BAD: Outcome = Refused(400);

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h.test\r\n\r\n";

fn request(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    latin1(&format!("{line}\r\n{headers}\r\n{body}"))
}

fn get(headers: &[&str]) -> Vec<u8> {
    request("GET /ok HTTP/1.1", &[&["Host: h.test"], headers].concat(), "")
}

fn post(headers: &[&str], body: &str) -> Vec<u8> {
    request("POST /ok HTTP/1.1", &[&["Host: h.test"], headers].concat(), body)
}

fn chunked(body: &str) -> Vec<u8> {
    post(&["Transfer-Encoding: chunked"], body)
}

/// A character up to U+00FF is that byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// Each case on a connection of its own, through one proxy.
async fn run(cases: Vec<(&str, Vec<u8>, Outcome)>) {
    let recorder = Recorder::start().await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[recorder.address])], |hcm| {
        hcm.use_remote_address = true;
        hcm.accept_http_10 = true;
    });
    let running = Running::start(config).await;
    let mut wrong = Vec::new();
    for (name, bytes, outcome) in cases {
        let mut client = Raw::connect(running.address).await;
        // The proxy may answer and close before it has read all of a long one.
        let _ = client.stream.write_all(&bytes).await;
        let (passed, refused) = match outcome {
            Passed(passed) => (passed, None),
            Refused(status) => (&[][..], Some(status)),
            ThenRefused(passed, status) => (passed, Some(status)),
        };
        let mut statuses = Vec::new();
        for message in passed {
            statuses.extend(client.answer(message.starts_with("HEAD ")).await.map(|answer| answer.status));
        }
        if refused.is_some()
            && let Some(answer) = client.answer(false).await
        {
            statuses.push(answer.status);
            if answer.header("connection") != Some("close") {
                wrong.push(format!("{name}: the connection goes on"));
            }
        }
        // Nothing comes after what was asked for: a message too many would be answered as well.
        let _ = client.stream.shutdown().await;
        let rest = client.until_closed().await;
        let expected: Vec<u16> = passed.iter().map(|_| 200).chain(refused).collect();
        let seen = recorder.take();
        if statuses != expected || seen != passed || !rest.is_empty() {
            wrong.push(format!("{name}: {statuses:?}, behind: {seen:?}, rest {:?}", String::from_utf8_lossy(&rest)));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn well_formed_requests_pass_as_they_are() {
    run(vec![
        (
            "a query",
            request("GET /ok?a=b&c=%20 HTTP/1.1", &["Host: h.test"], ""),
            Passed(&["GET /ok?a=b&c=%20 body=0"]),
        ),
        ("a length", post(&["Content-Length: 5"], "hello"), POST),
        ("chunks", chunked("5\r\nhello\r\n0\r\n\r\n"), POST),
        ("a trailer", post(&["Transfer-Encoding: chunked", "Trailer: x-t"], "5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"), POST),
        ("an extension", chunked("5;ext=1\r\nhello\r\n0\r\n\r\n"), POST),
        ("a quoted extension", chunked("5;a=\"x\\\"y\"\r\nhello\r\n0\r\n\r\n"), POST),
        ("zeros as the last chunk", chunked("5\r\nhello\r\n000\r\n\r\n"), POST),
        ("a coding in mixed case", post(&["Transfer-Encoding: Chunked"], "5\r\nhello\r\n0\r\n\r\n"), POST),
        ("two in one write", [get(&[]), get(&[])].concat(), Passed(&["GET /ok body=0", "GET /ok body=0"])),
        ("no space after the colon", get(&["x-a:b"]), GET),
        ("an empty value", get(&["x-a:"]), GET),
        ("high bytes in a value", get(&["x-a: \u{e7}\u{b6}"]), GET),
        ("an absolute target", request("GET http://h.test/ok HTTP/1.1", &["Host: h.test"], ""), GET),
        (
            "a body of GET",
            request("GET /ok HTTP/1.1", &["Host: h.test", "Content-Length: 2"], "hi"),
            Passed(&["GET /ok body=2"]),
        ),
        ("an unknown method", request("FROB /ok HTTP/1.1", &["Host: h.test"], ""), Passed(&["FROB /ok body=0"])),
        ("HTTP/1.0", request("GET /ok HTTP/1.0", &["Host: h.test", "Connection: keep-alive"], ""), GET),
    ])
    .await;
}

#[tokio::test]
async fn two_readings_of_where_a_message_ends_are_refused() {
    let length = format!("Content-Length: {}", SMUGGLED.len());
    let mut cases = vec![
        ("length, then chunked", post(&["Content-Length: 6", "Transfer-Encoding: chunked"], "0\r\n\r\nG"), BAD),
        (
            "chunked, then length",
            post(&["Transfer-Encoding: chunked", "Content-Length: 4"], &format!("0\r\n\r\n{SMUGGLED}")),
            BAD,
        ),
        ("two lengths", post(&["Content-Length: 0", &length], SMUGGLED), BAD),
        ("a list of lengths", post(&[&format!("Content-Length: 0, {}", SMUGGLED.len())], SMUGGLED), BAD),
        ("a space before the colon of a length", post(&["Content-Length : 5"], "hello"), BAD),
        (
            "a space before the colon of a coding",
            post(&["Transfer-Encoding : chunked", "Content-Length: 5"], "0\r\n\r\n"),
            BAD,
        ),
        ("a coding in a folded line", post(&["X-A: b\r\n Transfer-Encoding: chunked", &length], SMUGGLED), BAD),
        ("a folded coding", post(&["Transfer-Encoding:\r\n chunked", "Content-Length: 4"], "0\r\n\r\n"), Refused(501)),
        (
            "a coding under HTTP/1.0",
            request("POST /ok HTTP/1.0", &["Host: h.test", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
            BAD,
        ),
        (
            "more than the length",
            post(&["Content-Length: 5"], "helloxx\r\n\r\n"),
            ThenRefused(&["POST /ok body=5"], 400),
        ),
    ];
    for value in ["+5", "-5", "0x5", "5;", "5.0", "", "5e0", "99999999999999999999", "5 5"] {
        cases.push(("a length that is no number", post(&[&format!("Content-Length: {value}")], "hello"), BAD));
    }
    for coding in [
        "xchunked",
        "chunked, identity",
        "chunked, chunked",
        "chunked;x",
        "\u{b}chunked",
        "\"chunked\"",
        "gzip, chunked",
        "gzip",
        "identity",
        ",chunked",
        "chun\tked",
    ] {
        let with_length = post(&[&format!("Transfer-Encoding: {coding}"), "Content-Length: 4"], "0\r\n\r\n");
        cases.push((coding, with_length, Refused(501)));
    }
    run(cases).await;
}

#[tokio::test]
async fn codings_other_than_chunked_are_not_implemented() {
    run(["xchunked", "chunked, identity", "chunked, chunked", "gzip", "identity", "gzip, chunked"]
        .map(|coding| ("a coding", post(&[&format!("Transfer-Encoding: {coding}")], "0\r\n\r\n"), Refused(501)))
        .to_vec())
    .await;
}

#[tokio::test]
async fn malformed_chunks_end_the_message() {
    run([
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "0_5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-a: b\rc\r\n\r\n",
    ]
    .map(|body| (body, chunked(body), BAD))
    .to_vec())
    .await;
}

#[tokio::test]
async fn malformed_lines_are_refused() {
    let mut cases = vec![
        ("LF line ends", b"GET /ok HTTP/1.1\nHost: h.test\n\n".to_vec(), BAD),
        ("an LF alone", b"GET /ok HTTP/1.1\r\nHost: h.test\nx-a: b\r\n\r\n".to_vec(), BAD),
        ("a first header that is folded", b"GET /ok HTTP/1.1\r\n Host: h.test\r\n\r\n".to_vec(), BAD),
        ("TLS", [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0; 64]].concat(), BAD),
    ];
    for header in [
        "x-a: b\rc",
        "x-a: b\0c",
        "x\0a: b",
        "x-a: b\u{1}c",
        "x-a: b\u{7f}c",
        "x\u{e7}: b",
        "x-a : b",
        "x a: b",
        " x-a: b",
        "x-a: b\r\n\tc",
        "x-a",
        ": b",
        "x/a: b",
        "x(a): b",
    ] {
        cases.push((header, get(&[header]), BAD));
    }
    for line in [
        "GET  /ok HTTP/1.1",
        "GET\t/ok\tHTTP/1.1",
        "GET /ok HTTP/1.2",
        "GET /ok HTTP/2.0",
        "GET /ok HTTP/11",
        "GET /ok http/1.1",
        "GET HTTP/1.1",
        "GET ok HTTP/1.1",
        "GET /o k HTTP/1.1",
        "GET /o\0k HTTP/1.1",
        "GET /o\u{1}k HTTP/1.1",
        "GE/T /ok HTTP/1.1",
        " /ok HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        cases.push((line, request(line, &["Host: h.test"], ""), BAD));
    }
    for hosts in [
        &[][..],
        &["Host: h.test", "Host: other.test"],
        &["Host:"],
        &["Host: h.test/x"],
        &["Host: h.test x"],
        &["Host: h.test, other.test"],
        &["Host: [::1"],
        &["Host: h.test:abc"],
        &["Host: h.test:99999"],
        &["Host: u@h.test"],
    ] {
        cases.push(("hosts", request("GET /ok HTTP/1.1", hosts, ""), BAD));
    }
    run(cases).await;
}

#[tokio::test]
async fn what_is_for_the_next_hop_alone_ends_here() {
    run(vec![
        ("Connection names the host", get(&["Connection: host, close"]), GET),
        ("Connection names the length", post(&["Connection: content-length", "Content-Length: 5"], "hello"), POST),
        (
            "an upgrade to h2c",
            get(&["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]),
            GET,
        ),
        ("TE", get(&["TE: trailers"]), GET),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let many: Vec<String> = (0..2000).map(|n| format!("x-{n}: v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    run(vec![
        ("2,000 headers", get(&many), Refused(431)),
        ("a header of 100 KB", get(&[&format!("x-a: {}", "b".repeat(100_000))]), Refused(431)),
        (
            "a target of 100 KB",
            request(&format!("GET /{} HTTP/1.1", "a".repeat(100_000)), &["Host: h.test"], ""),
            Refused(414),
        ),
        ("an extension of 20 KB", chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000))), BAD),
    ])
    .await;
}
