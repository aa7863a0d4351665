//! Lines as Envoy writes them, in text and in JSON.

use super::*;
use crate::telemetry::{Ends, Protocol};
use amime_model::access_log::istio;
use http::HeaderMap;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// What the format makes of an entry.
fn line(format: LogFormat, entry: &Entry<'_>, head: Option<&kept::Head<'_>>) -> String {
    let mut sources = Vec::new();
    let mut kept = Kept::default();
    let mut out = String::new();
    let written = match &format {
        LogFormat::Text(text) => Written::Text(Format::compile(text, &mut sources)),
        LogFormat::Json(fields) => Written::Json(Node::compile(fields, &mut sources)),
    };
    if let Some(head) = head {
        kept.request(&sources, head);
        let mut headers = HeaderMap::new();
        headers.insert("x-envoy-upstream-service-time", 6.into());
        kept.response(&sources, &headers);
    }
    let entry = Entry { kept: Some(&kept), ..*entry };
    match written {
        Written::Text(format) => format.write(&entry, &mut out),
        Written::Json(node) => node.write(&entry, &mut out),
    }
    out
}

fn entry() -> Entry<'static> {
    Entry {
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_210_096_789),
        duration: Duration::from_millis(7),
        request_duration: Some(Duration::ZERO),
        response_duration: Some(Duration::from_millis(6)),
        protocol: Some(Protocol::Http11),
        status: 200,
        grpc_status: None,
        flags: Flags::NONE,
        details: "via_upstream",
        transport_failure: "",
        received: 3,
        sent: 135,
        request_head: 80,
        response_head: 100,
        attempts: 1,
        upstream: Some("10.1.0.4:9080".parse().unwrap()),
        upstream_local: Some("10.1.0.9:40002".parse().unwrap()),
        upstream_pipe: "",
        upstream_name: "",
        cluster: "outbound|9080|v1|reviews.default.svc.cluster.local",
        downstream: Ends {
            remote: "10.1.0.9:51000".parse().unwrap(),
            direct: "10.1.0.8:52000".parse().unwrap(),
            local: "10.96.0.7:9080".parse().unwrap(),
        },
        server_name: "",
        route: "default",
        chain: "",
        kept: None,
    }
}

fn head(headers: &HeaderMap) -> kept::Head<'_> {
    kept::Head { method: "GET", path: "/reviews/0?x=1", authority: "reviews:9080", scheme: "http", headers }
}

#[test]
fn istios_text() {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", "curl/8.5.0".parse().unwrap());
    headers.insert("x-request-id", "6e2f".parse().unwrap());
    assert_eq!(
        line(LogFormat::Text(istio::TEXT.into()), &entry(), Some(&head(&headers))),
        "[2024-02-29T12:34:56.789Z] \"GET /reviews/0?x=1 HTTP/1.1\" 200 - via_upstream - \"-\" 3 135 7 6 \"-\" \
         \"curl/8.5.0\" \"6e2f\" \"reviews:9080\" \"10.1.0.4:9080\" \
         outbound|9080|v1|reviews.default.svc.cluster.local 10.1.0.9:40002 10.96.0.7:9080 10.1.0.9:51000 - default\n"
    );
    // A rewritten path is logged as the client sent it.
    headers.insert("x-envoy-original-path", "/old".parse().unwrap());
    assert!(
        line(LogFormat::Text(istio::TEXT.into()), &entry(), Some(&head(&headers))).contains("\"GET /old HTTP/1.1\"")
    );
}

#[test]
fn istios_text_of_a_connection() {
    let tcp = Entry { protocol: None, status: 0, details: "", route: "", flags: Flags::UF.with(Flags::URX), ..entry() };
    assert_eq!(
        line(LogFormat::Text(istio::TEXT.into()), &tcp, None),
        "[2024-02-29T12:34:56.789Z] \"- - -\" 0 UF,URX - - \"-\" 3 135 7 - \"-\" \"-\" \"-\" \"-\" \"10.1.0.4:9080\" \
         outbound|9080|v1|reviews.default.svc.cluster.local 10.1.0.9:40002 10.96.0.7:9080 10.1.0.9:51000 - -\n"
    );
}

#[test]
fn istios_json() {
    let headers = HeaderMap::new();
    let text = line(LogFormat::Json(istio::json()), &entry(), Some(&head(&headers)));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["response_code"], 200);
    assert_eq!(value["duration"], 7);
    assert_eq!(value["upstream_service_time"], "6");
    assert_eq!(value["method"], "GET");
    assert_eq!(value["user_agent"], Value::Null);
    assert_eq!(value["response_flags"], "-");
    assert!(text.starts_with("{\"authority\":\"reviews:9080\",\"bytes_received\":3,"), "{text}");
}

#[test]
fn formats_of_ones_own() {
    let headers = HeaderMap::new();
    let text = |format: &str| line(LogFormat::Text(format.into()), &entry(), Some(&head(&headers)));
    assert_eq!(text("%START_TIME(%Y/%m/%d)% %REQ(:PATH):4% 100%%"), "2024/02/29 /rev 100%");
    assert_eq!(text("%REQ_WITHOUT_QUERY(:PATH)%|%UPSTREAM_REMOTE_PORT%|%NO_SUCH%"), "/reviews/0|9080|-");
    assert_eq!(text("%RESPONSE_TX_DURATION% %RESPONSE_FLAGS_LONG% %DOWNSTREAM_PEER_SUBJECT%"), "1 - -");
    let fields = serde_json::json!({ "a": { "b": ["%RESPONSE_CODE%", "code %RESPONSE_CODE%", "%TRAILER(x)%", 5] } });
    let Value::Object(fields) = fields else { unreachable!() };
    assert_eq!(line(LogFormat::Json(fields), &entry(), None), r#"{"a":{"b":[200,"code 200",null,5]}}"#);
}
