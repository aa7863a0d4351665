//! Pieces of `amime explain` that need no configuration.

use super::{access_log, requests};
use amime_model::explain::Question;

const TEXT: &str = r#"[2026-11-22T21:26:18.409Z] "GET /cart?x=1 HTTP/1.1" 503 UH no_healthy_upstream - "-" 0 135 4 - "10.0.0.9" "curl/8.1 (x)" "84961386" "shop.example.com" "-" outbound|80|v1|web.shop.svc.cluster.local - 10.44.1.23:8080 10.44.1.27:41858 - front"#;

fn question(line: &str) -> (Question, requests::Asked) {
    let asked = requests::parse(line, 7, Some("gateway")).expect("understood").expect("a request");
    (asked.questions[0].clone(), asked)
}

#[test]
fn a_line_of_text_is_a_request() {
    let (question, asked) = question(TEXT);
    assert_eq!(question.url, "http://shop.example.com:8080/cart?x=1");
    assert_eq!((question.method.as_deref(), question.authority.as_deref()), (Some("GET"), Some("shop.example.com")));
    assert_eq!((asked.id.as_str(), question.from.as_deref()), ("84961386", Some("gateway")));
    let logged = asked.logged.expect("of a log");
    assert_eq!((logged.status, logged.flags.as_str(), logged.route_name.as_str()), (503, "UH", "front"));
    assert_eq!(asked.questions[1].url, "http://shop.example.com/cart?x=1");
}

#[test]
fn a_line_of_json_is_the_same_request() {
    let json = serde_json::json!({
        "authority": "shop.example.com", "method": "GET", "path": "/cart?x=1", "response_code": 503,
        "response_flags": "UH", "downstream_local_address": "10.44.1.23:8080", "requested_server_name": null,
        "request_id": "84961386", "upstream_cluster": "outbound|80|v1|web.shop.svc.cluster.local", "mine": "x",
        "user_agent": "curl/8.1 (x)", "x_forwarded_for": "10.0.0.9"
    });
    assert_eq!(question(&json.to_string()).0, question(TEXT).0);
}

#[test]
fn tls_and_tcp_are_told_by_the_server_name_and_the_address() {
    let https = TEXT.replace(" - front", " shop.example.com front");
    assert_eq!(question(&https).0.url, "https://shop.example.com:8080/cart?x=1");
    let tcp = r#"[2026-11-22T21:26:18.409Z] "- - -" 0 - - - "-" 12 13 5 - "-" "-" "-" "-" "10.1.0.1:3306" outbound|3306||db.shop.svc.cluster.local 10.0.0.1:1 10.96.0.1:3306 10.0.0.1:2 - -"#;
    let (question, asked) = question(tcp);
    assert_eq!((question.url.as_str(), question.address.as_deref()), ("tcp://10.96.0.1:3306", Some("10.96.0.1")));
    assert_eq!(asked.id, "7");
}

#[test]
fn the_servers_side_is_left_out_and_other_text_refused() {
    let inbound = TEXT.replace("outbound|80|v1|web.shop.svc.cluster.local", "inbound|8080||");
    assert!(requests::parse(&inbound, 1, Some("gateway")).expect("understood").is_none());
    for line in ["hello", "{\"a\": 1}", "[x] \"GET"] {
        let error = requests::parse(line, 1, Some("gateway")).expect_err("no request");
        assert!(error.to_string().contains("neither"), "{error}");
    }
    let error = requests::parse(TEXT, 1, None).expect_err("whose is not known");
    assert!(error.to_string().contains("--from"), "{error}");
    assert!(access_log::of_text("").is_none());
}
