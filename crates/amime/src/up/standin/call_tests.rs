//! Calls that stand-ins make.

use super::*;

#[test]
fn targets_are_read() {
    let target = Target::read("http://reviews:9080/reviews/1?x=1").expect("a target");
    assert_eq!((target.authority.as_str(), target.path.as_str()), ("reviews:9080", "/reviews/1?x=1"));
    assert_eq!(target.speaks, Speaks::Http1);
    let target = Target::read("reviews").expect("a target");
    assert_eq!((target.authority.as_str(), target.path.as_str()), ("reviews", "/"));
    assert_eq!(Target::read("grpc://echo:7070/echo.Echo/Say").expect("a target").speaks, Speaks::Grpc);
    for bad in ["https://a/", "ftp://a/", "http://", "http:///x", "http://a b/"] {
        assert!(Target::read(bad).is_err(), "{bad}");
    }
}

#[test]
fn headers_go_on_but_for_those_of_the_connection() {
    let mut incoming = HeaderMap::new();
    for (name, value) in [
        ("host", "web"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive, x-mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("end-user", "jason"),
        ("x-request-id", "id"),
        ("x-amime-status", "503"),
        ("x-amime-call", "http://a/,http://b/"),
    ] {
        incoming.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let names = |headers: &HeaderMap| {
        let mut names: Vec<String> = headers.keys().map(|name| name.to_string()).collect();
        names.sort();
        names
    };
    let last = carried_on(&incoming, None);
    assert_eq!(names(&last), ["end-user", "x-amime-status", "x-request-id"]);
    assert_eq!(carried_on(&incoming, Some("http://b/"))[CALL], "http://b/");
}
