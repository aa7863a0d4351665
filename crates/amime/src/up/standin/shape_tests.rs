//! What stand-ins are told to do.

use super::*;
use http::{HeaderName, HeaderValue};

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

#[test]
fn a_chain_loses_its_first_entry() {
    let shape = Shape::read(&headers(&[(CALL, "http://a/, http://b/x ,http://c:1/")])).expect("sound");
    assert_eq!(shape.call, Some(("http://a/".into(), Some("http://b/x,http://c:1/".into()))));
    let shape = Shape::read(&headers(&[(CALL, "http://a/")])).expect("sound");
    assert_eq!(shape.call, Some(("http://a/".into(), None)));
    assert_eq!(Shape::read(&headers(&[(CALL, " , ")])).expect("sound").call, None);
}

#[test]
fn several_lines_are_one_chain() {
    let mut lines = headers(&[(CALL, "http://a/")]);
    lines.append(CALL, HeaderValue::from_static("http://b/"));
    assert_eq!(Shape::read(&lines).expect("sound").call, Some(("http://a/".into(), Some("http://b/".into()))));
}

#[test]
fn durations_are_gos() {
    for (text, milliseconds) in [("200ms", 200), ("1.5s", 1500), ("1m30s", 90_000), ("0s", 0)] {
        assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["", "200", "ms", "1x", "2h", "-1s", "1s x", "1..5s"] {
        assert_eq!(duration(text), None, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = Shape::read(&headers(&[(STATUS, "99")])).expect_err("unsound");
    assert!(error.starts_with("x-amime-status: 99 is not a status"), "{error}");
    assert!(Shape::read(&headers(&[(DELAY, "soon")])).is_err());
    assert!(Shape::read(&headers(&[(FAIL_FIRST, "-1")])).is_err());
}

#[test]
fn the_first_requests_of_an_id_fail() {
    let memory = FailFirst::default();
    let lines = headers(&[(FAIL_FIRST, "2"), (REQUEST_ID, "a")]);
    let shape = Shape::read(&lines).expect("sound");
    let statuses: Vec<_> = (0..4).map(|_| shape.failure(&lines, &memory).map(|f| f.status)).collect();
    assert_eq!(statuses, [Some(503), Some(503), None, None]);

    let lines = headers(&[(FAIL_FIRST, "1"), (STATUS, "429"), (REQUEST_ID, "b")]);
    let shape = Shape::read(&lines).expect("sound");
    let statuses: Vec<_> = (0..2).map(|_| shape.failure(&lines, &memory).map(|f| f.status)).collect();
    assert_eq!(statuses, [Some(429), None]);
}

#[test]
fn memory_is_bounded() {
    let memory = FailFirst::default();
    for n in 0..REMEMBERED + 100 {
        assert!(memory.fails(&n.to_string(), 1));
    }
    let seen = memory.seen.lock().expect("not poisoned");
    assert_eq!((seen.counts.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
}
