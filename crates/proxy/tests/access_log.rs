//! Access logs: the same requests, and the lines that Istio's formats make of them.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::access_log::istio;
use amime_model::config::*;
use amime_testkit::client::{PATIENCE, Raw, get};
use amime_testkit::origin::{Origin as Server, echo};
use common::*;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

fn log(path: &Path, format: LogFormat) -> Vec<AccessLog> {
    vec![AccessLog::File { path: path.display().to_string(), format, flags: Vec::new() }]
}

fn text(path: &Path) -> Vec<AccessLog> {
    log(path, LogFormat::Text(istio::TEXT.into()))
}

/// The first lines of a file, once they are there.
async fn lines(path: &Path, count: usize) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.matches('\n').count();
        if whole >= count {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < end, "{whole} lines of {count}: {text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The words of a line; what is in quotes or brackets is one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

#[tokio::test]
async fn each_field_of_istios_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::text("hello").await;
    let mut named = forward(to("outbound|80||a.shop.svc.cluster.local"));
    named.name = "default".into();
    let all = [cluster("outbound|80||a.shop.svc.cluster.local", &[server.address])];
    let config = http_config_with(vec![at("/a", named)], all, |hcm| hcm.access_log = text(&path));
    let running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    let headers = "user-agent: curl/8 (x y)\r\nx-request-id: 1234\r\nx-forwarded-for: 10.0.0.1\r\n";
    let answer = client.get("a:80", "/a?b=c", headers).await;
    client.get("a:80", "/nobody", "").await;
    let lines = lines(&path, 2).await;
    let found = words(&lines[0]);
    let expected = [
        "GET /a?b=c HTTP/1.1",
        "200",
        "-",
        "via_upstream",
        "-",
        "-",
        "0",
        "5",
        found[9].as_str(),
        answer.header("x-envoy-upstream-service-time").unwrap(),
        "10.0.0.1",
        "curl/8 (x y)",
        "1234",
        "a:80",
        &server.address.to_string(),
        "outbound|80||a.shop.svc.cluster.local",
        found[17].as_str(),
        &running.address.to_string(),
        // As Envoy says it: the last address that somebody forwarded for, without a port.
        "10.0.0.1:0",
        "-",
        "default",
    ];
    assert_eq!(found[1..].iter().map(String::as_str).collect::<Vec<_>>(), expected, "{}", lines[0]);
    assert!(found[0].starts_with("[20") && found[0].ends_with("Z]"), "{}", found[0]);
    assert!(found[9].parse::<u64>().is_ok() && found[17].starts_with("127.0.0.1:"), "{}", lines[0]);
    let nobody = words(&lines[1]);
    assert_eq!(nobody[2..8], ["404", "NR", "route_not_found", "-", "-", "0"], "{}", lines[1]);
    assert_eq!(nobody[15..18], ["-", "-", "-"], "{}", lines[1]);
}

#[tokio::test]
async fn whose_address_is_the_client_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::text("hello").await;
    let format = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(X-SEEN)%\n";
    let forwarded = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2, 10.0.0.3\r\n";
    for (edge, hops, headers, told) in [
        (true, 0, forwarded, None),
        (true, 1, forwarded, Some("10.0.0.3:0")),
        (true, 3, forwarded, Some("10.0.0.1:0")),
        (true, 4, forwarded, None),
        (false, 0, forwarded, Some("10.0.0.3:0")),
        (false, 0, "x-forwarded-for: unknown\r\n", None),
        (false, 0, "", None),
    ] {
        let mut seen = forward(to("a"));
        seen.request_headers.set.push(("x-seen".into(), "%DOWNSTREAM_REMOTE_ADDRESS%".into()));
        let config = http_config_with(vec![seen], [cluster("a", &[server.address])], |hcm| {
            hcm.use_remote_address = edge;
            hcm.xff_num_trusted_hops = hops;
            hcm.access_log = log(&path, LogFormat::Text(format.into()));
        });
        let running = Running::start(config).await;
        let mut client = Raw::connect(running.address).await;
        client.get("a", "/", headers).await;
        let own = client.stream.local_addr().unwrap().to_string();
        let told = told.unwrap_or(&own);
        assert_eq!(lines(&path, 1).await, [format!("{told} 127.0.0.1 {told}")], "{edge} {hops} {headers}");
        drop(running);
        std::fs::remove_file(&path).unwrap();
        amime_proxy::reopen_access_logs();
    }
}

#[tokio::test]
async fn what_the_route_changed_is_logged_as_it_went_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::text("hello").await;
    let mut to_other = to("a");
    to_other.host_rewrite = Some("other.example".into());
    to_other.rewrite = PathRewrite::Prefix("/new".into());
    let mut edited = at("/old", forward(to_other));
    edited.request_headers.set.push(("x-tag".into(), "blue".into()));
    let format = "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:PATH)% %REQ(:AUTHORITY)% %REQ(X-TAG)% %RESP(SERVER)%";
    let config = http_config_with(vec![edited], [cluster("a", &[server.address])], |hcm| {
        hcm.access_log = log(&path, LogFormat::Text(format!("{format}\n")));
    });
    let running = Running::start(config).await;
    get(running.address, "a.example", "/old/x").await;
    assert_eq!(lines(&path, 1).await, ["/old/x /new/x other.example blue istio-envoy"]);
}

#[tokio::test]
async fn why_an_upstream_was_not_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    // Nobody listens at a port that was just given back.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config =
        http_config_with(vec![forward(to("a"))], [cluster("a", &[nobody])], |hcm| hcm.access_log = text(&path));
    let running = Running::start(config).await;
    assert_eq!(get(running.address, "a", "/").await.status, 503);
    let found = words(&lines(&path, 1).await[0]);
    let details =
        "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    assert_eq!(found[2..7], ["503", "UF", details, "-", "delayed_connect_error:_Connection_refused"], "{found:?}");
    assert_eq!(found[15..18], [nobody.to_string(), "a".into(), "-".into()], "{found:?}");
}

#[tokio::test]
async fn json_has_the_same_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::text("hello").await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[server.address])], |hcm| {
        hcm.access_log = log(&path, LogFormat::Json(istio::json()));
    });
    let running = Running::start(config).await;
    get(running.address, "a", "/x").await;
    let line: serde_json::Value = serde_json::from_str(&lines(&path, 1).await[0]).unwrap();
    assert_eq!((&line["path"], &line["response_code"], &line["bytes_sent"]), (&"/x".into(), &200.into(), &5.into()));
    assert_eq!(line["upstream_host"], server.address.to_string());
    assert_eq!(line["requested_server_name"], serde_json::Value::Null);
    assert_eq!(line.as_object().unwrap().len(), istio::json().len());
}

#[tokio::test]
async fn connections_and_those_that_nobody_takes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::tcp(echo).await;
    let mut taken = tcp_chain(&[("a", 1)]);
    if let NetworkFilter::Tcp(tcp) = &mut taken.filters[0] {
        tcp.access_log = text(&path);
    }
    let nobodys = FilterChain {
        matches: FilterChainMatch { destination_port: Some(1), ..FilterChainMatch::default() },
        ..tcp_chain(&[("a", 1)])
    };
    let with = |chain| {
        let mut listener = listener("test", ANY, vec![chain]);
        listener.access_log = vec![AccessLog::File {
            path: path.display().to_string(),
            format: LogFormat::Text(istio::TEXT.into()),
            flags: vec!["NR".into()],
        }];
        let mut config = ProxyConfig::default();
        config.listeners.insert("test".into(), Arc::new(listener));
        with_clusters(config, [cluster("a", &[server.address])])
    };
    let running = Running::start(with(taken)).await;
    let mut client = Raw::connect(running.address).await;
    client.send("hello").await;
    client.bytes(5).await;
    client.stream.shutdown().await.unwrap();
    client.until_closed().await;
    let first = words(&lines(&path, 1).await[0]);
    assert_eq!(first[1..9].join(" "), "- - - 0 - - - - 5 5", "{first:?}");
    assert_eq!(first[15..17], [server.address.to_string(), "a".into()], "{first:?}");
    let running = Running::start(with(nobodys)).await;
    Raw::connect(running.address).await.until_closed().await;
    let second = words(&lines(&path, 2).await[1]);
    assert_eq!(second[2..5], ["0", "NR", "filter_chain_not_found"], "{second:?}");
}

#[tokio::test]
async fn a_rotated_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let server = Server::text("hello").await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[server.address])], |hcm| {
        hcm.access_log = log(&path, LogFormat::Text("%REQ(:PATH)%\n".into()));
    });
    let running = Running::start(config).await;
    get(running.address, "a", "/1").await;
    assert_eq!(lines(&path, 1).await, ["/1"]);
    std::fs::rename(&path, &old).unwrap();
    amime_proxy::reopen_access_logs();
    get(running.address, "a", "/2").await;
    assert_eq!(lines(&path, 1).await, ["/2"]);
    assert_eq!(lines(&old, 1).await, ["/1"]);
}

#[tokio::test]
async fn what_was_logged_is_written_when_the_proxy_has_drained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::text("hello").await;
    let config = http_config_with(vec![forward(to("a"))], [cluster("a", &[server.address])], |hcm| {
        hcm.access_log = log(&path, LogFormat::Text("%REQ(:PATH)%\n".into()));
    });
    let running = Running::start(config).await;
    for _ in 0..20 {
        get(running.address, "a", "/").await;
    }
    running.proxy.drain(PATIENCE).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 20);
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_refused() {
    let server = Server::text("hello").await;
    let config = |path: &str| {
        http_config_with(vec![forward(to("a"))], [cluster("a", &[server.address])], |hcm| {
            hcm.access_log = log(Path::new(path), LogFormat::Text(String::new()));
        })
    };
    let running = Running::start(http_config(vec![forward(to("a"))], [cluster("a", &[server.address])])).await;
    let error = running.proxy.apply(config("/nowhere/at/all")).await.unwrap_err();
    assert!(error.to_string().starts_with("Listener test: cannot open the access log /nowhere/at/all"), "{error}");
    assert_eq!(get(running.address, "a", "/").await.status, 200);
}
