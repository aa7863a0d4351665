//! Endpoints that are Unix sockets, from YAML.
#![allow(clippy::unwrap_used)]

mod common;

use amime_proxy::Flags;
use amime_testkit::client::{Raw, get};
use amime_testkit::origin::read_head;
use common::manifests::{PLACES, gateway, inbound, manifests, tcp_manifests};
use common::*;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

const HOST: &str = "app.example.com";

/// Answers requests with its name, and counts them.
fn serve(listener: UnixListener, name: &'static str) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut count = 0;
                while !read_head(&mut stream).await.is_empty() {
                    count += 1;
                    let body = format!("{name} {count}");
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                }
            });
        }
    });
}

/// The one endpoint is this.
fn at(text: &str, address: &str) -> String {
    text.replace(
        "{address: 127.0.0.1, labels: {version: v1}, ports: {app: 1}}",
        &format!("{{address: '{address}', labels: {{version: v1}}}}"),
    )
}

#[tokio::test]
async fn a_file_or_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    serve(UnixListener::bind(&path).unwrap(), "file");
    let name = format!("amime-test-{}", std::process::id());
    let listener = net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    serve(UnixListener::from_std(listener).unwrap(), "name");
    let nobody = "127.0.0.1:1".parse().unwrap();
    for (address, answered) in [(path.display().to_string(), "file"), (format!("@{name}"), "name")] {
        let text = manifests(PLACES[0], "loadBalancer: {simple: RANDOM}", "{attempts: 0}", &[nobody]);
        let mut running = Running::start(gateway(&at(&text, &format!("unix://{address}")))).await;
        for count in 1..4 {
            assert_eq!(get(running.address, HOST, "/").await.body, format!("{answered} {count}"));
            assert_eq!(running.record().await.flags, Flags::NONE);
        }
        let text = tcp_manifests(PLACES[0], "loadBalancer: {simple: RANDOM}", &[nobody]);
        let running = Running::start(gateway(&at(&text, &format!("unix://{address}")))).await;
        assert_eq!(get(running.address, HOST, "/").await.body, format!("{answered} 1"));
    }
    // Nobody is there any more.
    drop(folder);
    let text = manifests(PLACES[0], "loadBalancer: {simple: RANDOM}", "{attempts: 0}", &[nobody]);
    let mut running = Running::start(gateway(&at(&text, &format!("unix://{}", path.display())))).await;
    assert_eq!(get(running.address, HOST, "/").await.status, 503);
    assert_eq!(running.record().await.flags, Flags::UF);
}

#[tokio::test]
async fn an_application_behind_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    serve(UnixListener::bind(&path).unwrap(), "application");
    let config = inbound(&format!(
        "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: app, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: app}}}}
  ingress: [{{port: {{number: 9080, name: http, protocol: HTTP}}, defaultEndpoint: 'unix://{}'}}]
",
        path.display()
    ));
    let running = Running::start(config).await;
    let mut client = Raw::connect(running.address).await;
    client.send("PROXY TCP4 127.0.0.1 127.0.0.1 4000 9080\r\n").await;
    assert_eq!(client.get("app", "/", "").await.body, "application 1");
}
