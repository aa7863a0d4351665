//! Kubernetes' probes, asked of the application.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn probers(text: &str) -> anyhow::Result<Probers> {
    let environment = [(VARIABLE.to_owned(), text.to_owned())].into_iter().collect();
    Probers::of(&environment, Ipv4Addr::LOCALHOST.into(), true)
}

/// An application that answers each request by what `answer` makes of its head, and closes.
async fn application(answer: fn(&str) -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, peer) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let text = String::from_utf8(head).unwrap();
            let answer = answer(&format!("{text}peer: {}", peer.ip()));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

async fn ask(probers: &Probers, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).header(HOST, "10.1.1.1:15020").header("x-probe", "mine").body(()).unwrap();
    let answer = probers.answer(&request).await;
    let status = answer.status();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn http_probes_carry_headers_and_follow_redirections_at_home() {
    let port = application(|head| {
        let body = match head.split(' ').nth(1) {
            Some("/ready") => head.to_owned(),
            Some("/away") => {
                return "HTTP/1.1 302 Found\r\nlocation: http://other.example/\r\ncontent-length: 0\r\n\r\n".into();
            }
            Some("/here") => return "HTTP/1.1 302 Found\r\nlocation: /ready\r\ncontent-length: 0\r\n\r\n".into(),
            _ => return "HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nsick".into(),
        };
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    })
    .await;
    let get = |path: &str| format!(r#"{{"httpGet":{{"path":"{path}","port":{port}}},"timeoutSeconds":5}}"#);
    let probers = probers(&format!(
        r#"{{"/app-health/a/readyz":{},"/app-health/a/livez":{},"/app-health/a/startupz":{},"/app-lifecycle/a/prestopz":{}}}"#,
        get("ready"),
        get("/sick"),
        get("/here"),
        get("/away"),
    ))
    .unwrap();
    for path in ["/app-health/a/readyz", "/app-health/a/startupz"] {
        let (status, body) = ask(&probers, path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(body.starts_with("GET /ready HTTP/1.1\r\n") && body.contains("x-probe: mine"), "{body}");
        assert!(body.contains(&format!("host: 10.1.1.1:{port}")) && body.contains("peer: 127.0.0.6"), "{body}");
    }
    assert_eq!(ask(&probers, "/app-health/a/livez").await, (StatusCode::SERVICE_UNAVAILABLE, "sick".into()));
    assert_eq!(ask(&probers, "/app-lifecycle/a/prestopz").await.0, StatusCode::OK);
    let (status, body) = ask(&probers, "/app-health/b/readyz").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("/app-health/a/livez"), "{body}");
}

#[tokio::test]
async fn tcp_probes_and_those_that_take_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = |kind: &str| {
        format!(
            r#"{{"/app-health/a/readyz":{{"tcpSocket":{{"port":{port}}}}},"/app-health/a/livez":{{"{kind}":{{"port":{port}}}}}}}"#
        )
    };
    let open = probers(&text("httpGet")).unwrap();
    assert_eq!(ask(&open, "/app-health/a/readyz").await.0, StatusCode::OK);
    let (status, why) = ask(&open, "/app-health/a/livez").await;
    assert_eq!(
        (status, why.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "probe /app-health/a/livez: no answer within 1 s\n")
    );
    drop(listener);
    assert_eq!(ask(&open, "/app-health/a/readyz").await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn grpc_probes_ask_the_health_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
                    let serving = u8::from(body == health_check("shop.Cart"));
                    let answer: Bytes = vec![0, 0, 0, 0, 2, 8, 2 - serving].into();
                    let answer = Response::builder().header("grpc-status", "0").body(Full::new(answer)).unwrap();
                    Ok::<_, std::convert::Infallible>(answer)
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let executor = hyper_util::rt::TokioExecutor::new();
                let _ = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
            });
        }
    });
    let probers = probers(&format!(
        r#"{{"/app-health/a/readyz":{{"grpc":{{"port":{port},"service":"shop.Cart"}}}},"/app-health/a/livez":{{"grpc":{{"port":{port}}}}}}}"#
    ))
    .unwrap();
    assert_eq!(ask(&probers, "/app-health/a/readyz").await.0, StatusCode::OK);
    let (status, why) = ask(&probers, "/app-health/a/livez").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(why.contains("not SERVING"), "{why}");
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("{", "write a JSON object of probes"),
        (r#"{"/x":{"tcpSocket":{"port":1}}}"#, "/x: write /app-health/CONTAINER/"),
        (r#"{"/app-health/a/livez":{}}"#, "/app-health/a/livez: write one of httpGet"),
        (r#"{"/app-health/a/livez":{"grpc":{}}}"#, "write the port as a number"),
    ] {
        let error = format!("{:#}", probers(text).unwrap_err());
        assert!(error.starts_with(VARIABLE) && error.contains(expected), "{error}");
    }
}

#[test]
fn a_hook_may_take_as_long_as_it_needs() {
    for (path, seconds, expected) in [
        ("/app-health/a/readyz", 0, Some(1)),
        ("/app-health/a/livez", 7, Some(7)),
        ("/app-lifecycle/a/prestopz", 0, None),
        ("/app-lifecycle/a/poststartz", 3, Some(3)),
    ] {
        assert_eq!(limit(path, seconds), expected.map(Duration::from_secs), "{path} {seconds}");
    }
}
