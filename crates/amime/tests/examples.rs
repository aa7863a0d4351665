//! The project's own examples, each run as its README and comments say.

mod common;

use common::{Answer, Mesh, Start, example, exchange, get, root, try_send};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A request through the gateway whose stand-in makes this call; what the last call of the chain gave.
fn called(mesh: &Mesh, host: &str, call: &str, headers: &[(&str, &str)]) -> Value {
    let mut headers = headers.to_vec();
    headers.push(("x-amime-call", call));
    let answer = mesh.get(host, "/", &headers);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", mesh.output());
    answer.called()
}

#[test]
fn shop() {
    let mesh = Mesh::up([example("shop")]);
    let host = "shop.example.com";
    let front = mesh.get(host, "/", &[]);
    assert_eq!((front.status, front.workload().as_str()), (200, "web-v1"));
    assert_eq!(front.json()["headers"]["x-front"], "gateway");
    assert!(front.json().get("called").is_none());
    let moved = mesh.get(host, "/store/x", &[]);
    assert_eq!((moved.status, moved.headers["location"].as_str()), (301, "http://shop.example.com/"));
    assert_eq!(mesh.get("other.example.com", "/", &[]).status, 404);

    let reviews = "http://reviews:9080/reviews/1";
    assert_eq!(called(&mesh, host, reviews, &[("end-user", "jason")])["workload"], "reviews-v2");
    let versions: BTreeSet<String> =
        (0..200).map(|_| called(&mesh, host, reviews, &[])["version"].to_string()).collect();
    assert_eq!(versions, BTreeSet::from(["\"v1\"".to_owned(), "\"v3\"".to_owned()]));
    mesh.wait_output(0, "VirtualService shop/reviews http[0]");

    let ratings = "http://ratings:9080/";
    assert_eq!(called(&mesh, host, ratings, &[])["workload"], "ratings-v1");
    let late = called(&mesh, host, ratings, &[("x-amime-delay", "5s")]);
    assert_eq!((&late["status"], &late["flag"]), (&Value::from(504), &Value::from("UT")));
    assert_eq!(called(&mesh, host, ratings, &[("x-amime-fail-first", "2")])["workload"], "ratings-v1");
    let outage = called(&mesh, host, ratings, &[("x-try", "outage")]);
    assert_eq!((&outage["status"], &outage["flag"]), (&Value::from(503), &Value::from("FI")));
    assert_eq!(called(&mesh, host, ratings, &[("x-try", "delay")])["workload"], "ratings-v1");

    // A chain: web calls reviews, which calls ratings.
    let chain = "http://reviews:9080/a, http://ratings.shop.svc.cluster.local:9080/b";
    let answer = mesh.get(host, "/", &[("x-amime-call", chain), ("end-user", "jason")]).json();
    assert_eq!(answer["called"]["workload"], "reviews-v2");
    assert_eq!(answer["called"]["headers"]["end-user"], "jason");
    assert_eq!(answer["called"]["called"]["path"], "/b");
    assert_eq!(answer["called"]["called"]["workload"], "ratings-v1");
}

#[test]
fn practice_of_one_version() {
    let mesh = Mesh::up([example("practices/one-version")]);
    for _ in 0..20 {
        assert_eq!(called(&mesh, "caller.example.com", "http://foo/", &[])["workload"], "foo-v1");
    }
}

#[test]
fn practice_of_a_rule_for_its_own_namespace() {
    let mesh = Mesh::up([example("practices/own-namespace")]);
    let from = mesh.output().len();
    assert!(called(&mesh, "caller.example.com", "http://foo/own", &[])["workload"].is_string());
    let line = mesh.wait_output(from, "foo/own");
    assert!(line.contains("VirtualService default/foo-virtual-service"), "{line}");
    assert!(called(&mesh, "caller.other.example.com", "http://foo.default/other", &[])["workload"].is_string());
    let line = mesh.wait_output(from, "foo.default/other");
    assert!(!line.contains("foo-virtual-service"), "{line}");
}

#[test]
fn matching() {
    let mesh = Mesh::up([example("matching")]);
    let host = "www.match.example.com";
    let version = |answer: &Answer| answer.json()["version"].as_str().unwrap_or_default().to_owned();
    let of = |host: &str, path: &str, headers: &[(&str, &str)]| version(&mesh.get(host, path, headers));
    assert_eq!(of(host, "/", &[]), "v1");
    assert_eq!(of(host, "/exact", &[]), "v2");
    assert_eq!(of(host, "/exact/more", &[]), "v1");
    assert_eq!(of(host, "/cASE/x", &[]), "v2");
    let item = mesh.get(host, "/item/12?x=1", &[]);
    assert_eq!((version(&item).as_str(), &item.json()["path"]), ("v3", &Value::from("/items?x=1")));
    assert_eq!(of(host, "/item/twelve", &[]), "v1");
    assert_eq!(of(host, "/query?page=12", &[]), "v2");
    assert_eq!(of(host, "/query?page=last", &[]), "v1");
    let post = try_send(mesh.port(80), "POST", host, "/", &[("content-length", "0")]).expect("answered");
    assert_eq!(version(&post), "v3");
    assert_eq!(of("admin.match.example.com", "/", &[]), "v3");
    assert_eq!(of(host, "/", &[("cookie", "a=b; beta=1")]), "v2");
    assert_eq!(of(host, "/", &[("x-beta", "yes")]), "v2");
    assert_eq!(of(host, "/", &[("x-beta", "yes"), ("x-opt-out", "1")]), "v1");
    let moved = mesh.get(host, "/moved/far", &[]);
    assert_eq!((moved.status, moved.headers["location"].as_str()), (308, "http://new.match.example.com/here"));
    let robots = mesh.get(host, "/robots.txt", &[]);
    assert_eq!((robots.status, robots.body.as_str()), (200, "User-agent: *"));
    let api = mesh.get(host, "/api/x", &[]).json();
    assert_eq!((&api["path"], &api["headers"]["host"]), (&Value::from("/x"), &Value::from("app.internal")));
    let headers = mesh.get(host, "/headers", &[("x-secret", "1")]);
    assert_eq!(headers.headers["x-served-by"], "gateway");
    assert!(!headers.headers.contains_key("x-envoy-upstream-service-time"));
    let seen = &headers.json()["headers"];
    assert_eq!((&seen["x-rule"], &seen["x-destination"]), (&Value::from("header-changes"), &Value::from("v1")));
    assert!(seen.get("x-secret").is_none());

    let caller = "caller.match.example.com";
    assert_eq!(called(&mesh, caller, "http://app/", &[])["version"], "v1");
    assert_eq!(called(&mesh, caller, "http://app.default/ours", &[])["version"], "v3");
    assert_eq!(called(&mesh, caller, "http://app.internal.example.com/", &[])["version"], "v2");
}

#[test]
fn resilience() {
    let mesh = Mesh::up([example("resilience")]);
    let host = "front.example.com";
    let outcome = |path: &str, headers: &[(&str, &str)]| called(&mesh, host, &format!("http://backend{path}"), headers);
    assert_eq!(outcome("/", &[])["workload"], "backend");
    let late = outcome("/", &[("x-amime-delay", "3s")]);
    assert_eq!((&late["status"], &late["flag"]), (&Value::from(504), &Value::from("UT")));
    assert_eq!(outcome("/", &[("x-amime-fail-first", "2")])["workload"], "backend");
    assert_eq!(outcome("/", &[("x-amime-fail-first", "9")])["status"], 503);
    let answers: Vec<Value> = (0..60).map(|_| outcome("/faulty", &[])).collect();
    let aborted = answers.iter().filter(|answer| answer["flag"] == "FI" && answer["status"] == 500).count();
    assert!((10..=50).contains(&aborted), "{aborted} of 60");
    let start = std::time::Instant::now();
    assert_eq!(outcome("/late", &[])["workload"], "backend");
    assert!(start.elapsed().as_millis() >= 400);
}

#[test]
fn balancing() {
    let mesh = Mesh::up([example("balancing")]);
    let pods = |service: &str, path: &str, headers: &[(&str, &str)], count: usize| -> BTreeSet<String> {
        let call = format!("http://{service}{path}");
        (0..count).map(|_| called(&mesh, "caller.example.com", &call, headers)["pod"].to_string()).collect()
    };
    assert_eq!(pods("turns", "/", &[], 4).len(), 4);
    assert_eq!(pods("lots", "/", &[], 80).len(), 4);
    assert!(pods("least", "/", &[], 80).len() >= 2);
    for user in ["anna", "ben", "chris"] {
        assert_eq!(pods("sticky", "/", &[("x-user", user)], 10).len(), 1);
    }
    let users: Vec<String> = (0..60).map(|n| format!("user-{n}")).collect();
    let spread: BTreeSet<String> =
        users.iter().flat_map(|user| pods("sticky", "/", &[("x-user", user.as_str())], 1)).collect();
    assert_eq!(spread.len(), 4);
    assert_eq!(pods("sticky", "/cookie", &[("cookie", "session=1")], 10).len(), 1);
    assert_eq!(pods("sticky", "/address", &[], 10).len(), 1);
}

#[test]
fn scopes() {
    let config = example("scopes-mesh.yaml");
    let mesh = Start::new().arg(example("scopes")).arg("--mesh-config").arg(config).ready();
    let red = |call: &str| called(&mesh, "red.example.com", call, &[]);
    let blue = |call: &str| called(&mesh, "blue.example.com", call, &[]);
    let own = red("http://store/");
    assert_eq!((&own["namespace"], &own["headers"]["x-rule"]), (&Value::from("red"), &Value::from("red")));
    assert_eq!(red("http://store.blue/")["namespace"], "blue");
    let own = blue("http://store/");
    assert_eq!(own["namespace"], "blue");
    assert!(own["headers"].get("x-rule").is_none());
    assert_eq!(blue("http://store.red/")["status"], 502);
    assert_eq!(red("http://legacy.example.com/")["namespace"], "red");
    assert_eq!(red("http://unknown.example.com/")["status"], 502);
}

#[test]
fn protocols() {
    let mesh = Mesh::up([example("protocols")]);
    let host = "caller.example.com";
    let grpc = called(&mesh, host, "grpc://echo:7070/echo.Echo/Say", &[]);
    assert_eq!((&grpc["status"], &grpc["body"]), (&Value::from(200), &Value::from("grpc-status: 0")));
    let refused = called(&mesh, host, "grpc://echo:7070/echo.Echo/Say", &[("x-amime-status", "503")]);
    assert_eq!(refused["body"], "grpc-status: 14");
    for call in ["h2c://echo:8081/", "http://echo:8081/", "http://echo:7777/", "h2c://echo:7777/", "h2c://echo/"] {
        assert_eq!(called(&mesh, host, call, &[])["workload"], "echo", "{call}");
    }

    let mut stream = TcpStream::connect(("127.0.0.1", mesh.port(9000))).expect("connected");
    stream.write_all(b"hello\n").expect("written");
    let mut back = [0; 6];
    stream.read_exact(&mut back).expect("echoed");
    assert_eq!(&back, b"hello\n");

    // A WebSocket through gateway and sidecar.
    let mut stream = TcpStream::connect(("127.0.0.1", mesh.port(80))).expect("connected");
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nhost: echo.example.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .expect("written");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).expect("written");
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).expect("echoed");
    assert_eq!(&frame, &[0x81, 2, b'h', b'i']);

    let connect = b"CONNECT echo.example.com:80 HTTP/1.1\r\nhost: echo.example.com:80\r\n\r\n";
    let refused = exchange(("127.0.0.1", mesh.port(80)), connect).expect("answered");
    assert!(refused.status >= 400, "{refused:?}");
}

#[test]
fn every_example_is_run_here() {
    let text = std::fs::read_to_string(root().join("crates/amime/tests/examples.rs")).expect("this file");
    for entry in std::fs::read_dir(root().join("examples")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!path.is_dir() || text.contains(&format!("example(\"{name}")), "{name} is not run");
    }
    // The ready curl line of the table is the one that the README gives.
    let mesh = Mesh::up([example("shop")]);
    let line = format!("curl -H 'Host: shop.example.com' http://localhost:{}/", mesh.port(80));
    mesh.wait_output(0, &line);
    assert_eq!(get(mesh.port(80), "shop.example.com", "/", &[]).status, 200);
}
