//! Headers and authorities of requests before they are matched.

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

#[test]
fn what_belongs_to_one_connection_is_taken_out() {
    let mut map = headers(&[
        ("connection", "close, x-secret"),
        ("connection", "Content-Length, x-forwarded-for"),
        ("x-secret", "1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("content-length", "3"),
        ("keep-alive", "5"),
        ("te", "gzip, trailers"),
        ("upgrade", "h2c"),
        ("x-stays", "1"),
    ]);
    strip_hop_by_hop(&mut map);
    let mut left: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-length", "te", "x-forwarded-for", "x-stays"]);
    assert_eq!(map["te"], "trailers");
}

#[test]
fn the_address_before_trusted_hops() {
    let one = headers(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2,3.3.3.3")]);
    let several = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2 , 3.3.3.3")]);
    for map in [one, several] {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(client(&map, true, 0), None);
        assert_eq!(client(&map, true, 1), ip("3.3.3.3"));
        assert_eq!(client(&map, true, 3), ip("1.1.1.1"));
        assert_eq!(client(&map, true, 4), None);
        assert_eq!(client(&map, false, 0), ip("3.3.3.3"));
        assert_eq!(client(&map, false, 1), ip("2.2.2.2"));
    }
    assert_eq!(client(&headers(&[("x-forwarded-for", "unknown")]), false, 0), None);
}

#[test]
fn cookies_are_joined_again() {
    let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
    http2_headers(&mut map).unwrap();
    assert_eq!(map.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    assert!(http2_headers(&mut headers(&[("connection", "close")])).is_err());
}

#[test]
fn grpc_is_told_by_its_content_type() {
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
        ("text/x", false),
    ] {
        assert_eq!(is_grpc(kind.as_bytes()), grpc, "{kind}");
    }
}

#[test]
fn one_length_goes_on_from_http2() {
    let mut equal = headers(&[("content-length", "3"), ("content-length", "3")]);
    http2_headers(&mut equal).unwrap();
    assert_eq!(equal.get_all("content-length").iter().collect::<Vec<_>>(), ["3"]);
    let mut different = headers(&[("content-length", "3"), ("content-length", "4")]);
    assert!(http2_headers(&mut different).is_err());
}
