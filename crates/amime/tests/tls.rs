//! Gateways that end TLS, and DestinationRules that speak it, through the whole of `amime up`: files, control plane, SDS,
//! proxies.

mod common;

use amime_testkit::client::Raw;
use amime_testkit::files::save;
use amime_testkit::tls::{Authority, Client, Pair, origin, server_config};
use common::{Mesh, PATIENCE};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

const MESH: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress, namespace: edge}
spec:
  selector: {matchLabels: {app: ingress}}
  template:
    metadata: {labels: {app: ingress}}
    spec: {containers: [{name: proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: edge}
spec: {selector: {app: ingress}, ports: [{name: http, port: 80}, {name: https, port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: edge}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: edge}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: main, namespace: edge}
spec:
  selector: {app: ingress}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}
  - port: {number: 443, name: https-a, protocol: HTTPS}
    hosts: [a.example.com]
    tls: {mode: SIMPLE, credentialName: a}
  - port: {number: 443, name: https-b, protocol: HTTPS}
    hosts: ['*.b.example.com']
    tls: {mode: MUTUAL, credentialName: b}
  - port: {number: 443, name: https-c, protocol: HTTPS}
    hosts: [c.example.com]
    tls: {mode: SIMPLE, credentialName: nobody}
  - port: {number: 443, name: https-d, protocol: HTTPS}
    hosts: [d.example.com]
    tls: {mode: OPTIONAL_MUTUAL, credentialName: d}
  - port: {number: 443, name: tls-p, protocol: TLS}
    hosts: [p.example.com]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: edge}
spec:
  hosts: [a.example.com, '*.b.example.com', c.example.com, d.example.com]
  gateways: [main]
  http:
  - match: [{uri: {prefix: /outside}}]
    rewrite: {authority: outside.example.com}
    route: [{destination: {host: outside.example.com, port: {number: 80}}}]
  - match: [{uri: {prefix: /stranger}}]
    route: [{destination: {host: stranger.example.com, port: {number: 80}}}]
  - route: [{destination: {host: web}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: passing, namespace: edge}
spec:
  hosts: [p.example.com]
  gateways: [main]
  tls:
  - match: [{sniHosts: [p.example.com], port: 443}]
    route: [{destination: {host: outside.example.com, port: {number: 80}, subset: plain}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside, namespace: edge}
spec:
  host: outside.example.com
  trafficPolicy: {tls: {mode: MUTUAL, credentialName: outgoing}}
  subsets: [{name: plain, trafficPolicy: {tls: {mode: DISABLE}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stranger, namespace: edge}
spec:
  host: stranger.example.com
  trafficPolicy: {tls: {mode: SIMPLE, sni: outside.example.com}}
";

fn entry(name: &str, address: SocketAddr) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: edge}}
spec:
  hosts: [{name}.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {}}}]
  endpoints: [{{address: {}}}]
",
        address.port(),
        address.ip()
    )
}

fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// A Secret in Kubernetes' layout, or in Istio's own.
fn secret(name: &str, pair: &Pair, authority: Option<&Authority>, kubernetes: bool) -> String {
    let names = if kubernetes { ["tls.crt", "tls.key", "ca.crt"] } else { ["cert", "key", "cacert"] };
    let kind = if kubernetes { "kubernetes.io/tls" } else { "Opaque" };
    let mut text = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: edge}}\ntype: {kind}\nstringData:\n"
    );
    for (name, value) in [(names[0], &pair.chain), (names[1], &pair.key)] {
        text += &format!("  {name}: |\n{}", block(value));
    }
    if let Some(authority) = authority {
        text += &format!("  {}: |\n{}", names[2], block(&authority.pem));
    }
    text
}

fn gateway(mesh: &Mesh) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], mesh.port(443)))
}

/// Status and body; None where the connection is refused.
async fn get(mesh: &Mesh, client: &Client, name: &str, path: &str) -> Option<(u16, String)> {
    let mut raw = Raw::over(client.connect(gateway(mesh), name).await.ok()?);
    raw.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes()).await.ok()?;
    let answer = raw.answer(false).await?;
    Some((answer.status, answer.body))
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_end_tls_and_rules_speak_it() {
    let ca = Authority::new("ca");
    let (a, b, d) = (ca.issue(&["a.example.com"]), ca.issue(&["*.b.example.com"]), ca.issue(&["d.example.com"]));
    let client_pair = ca.issue(&["client.example.com"]);
    let outgoing = ca.issue(&["gateway.example.com"]);
    let outside_pair = ca.issue(&["outside.example.com", "p.example.com"]);
    let outside = origin(server_config(&outside_pair, Some(&ca), &[]), |told, _| {
        let text = format!("{} {}", told.server_name.unwrap_or_default(), told.certificate);
        http::Response::new(amime_testkit::origin::full(text))
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| save(&folder.path().join(name), text);
    write("mesh.yaml", &(MESH.to_owned() + &entry("outside", outside.address) + &entry("stranger", outside.address)));
    write("a.yaml", &secret("a", &a, None, true));
    let of_d = secret("d", &d, None, false);
    let its_ca = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: d-cacert, namespace: edge}}\nstringData:\n  cacert: |\n{}",
        block(&ca.pem)
    );
    write("b.yaml", &secret("b", &b, Some(&ca), false));
    write("d.yaml", &(of_d + &its_ca));
    write("outgoing.yaml", &secret("outgoing", &outgoing, Some(&ca), true));
    let folder_path = folder.path().to_owned();
    let mesh = tokio::task::spawn_blocking(move || Mesh::up([folder_path])).await.expect("started");

    let client = Client::trusting(&ca);
    let known = client.clone().with(&client_pair);
    let stranger = client.clone().with(&Authority::new("other").issue(&["client.example.com"]));
    let status = async |client: &Client, name: &str, path: &str| get(&mesh, client, name, path).await.map(|(s, _)| s);
    // SIMPLE, MUTUAL, a Secret that is not there, OPTIONAL_MUTUAL.
    assert_eq!(status(&client, "a.example.com", "/").await, Some(200));
    assert_eq!(status(&client, "x.b.example.com", "/").await, None);
    assert_eq!(status(&stranger, "x.b.example.com", "/").await, None);
    assert_eq!(status(&known, "x.b.example.com", "/").await, Some(200));
    assert_eq!(status(&client, "c.example.com", "/").await, None);
    assert_eq!(status(&client, "d.example.com", "/").await, Some(200));
    assert_eq!(status(&known, "d.example.com", "/").await, Some(200));
    assert_eq!(status(&stranger, "d.example.com", "/").await, None);
    assert_eq!(status(&client, "nobody.example.com", "/").await, None);
    // The host of another server is not served behind this one's name.
    let mut raw = Raw::over(client.connect(gateway(&mesh), "a.example.com").await.expect("a handshake"));
    assert_eq!(raw.get("d.example.com", "/", "").await.status, 404);
    assert_eq!(raw.get("a.example.com", "/", "").await.status, 200);
    // Plain HTTP is sent to HTTPS.
    let redirected = mesh.get("a.example.com", "/", &[]);
    assert_eq!((redirected.status, redirected.headers["location"].as_str()), (301, "https://a.example.com/"));
    // Onwards with the Secret's certificate, by the name of the request's host; with none, and an unknown authority: not.
    assert_eq!(get(&mesh, &client, "a.example.com", "/outside").await, Some((200, "outside.example.com true".into())));
    let (code, body) = get(&mesh, &client, "a.example.com", "/stranger").await.expect("answered");
    assert_eq!(code, 503, "{body}");
    // Passed through unopened, by its server name.
    assert_eq!(get(&mesh, &known, "p.example.com", "/").await, Some((200, "p.example.com true".into())));
    mesh.wait_output(0, "there is no Secret nobody");

    // Another certificate, then a broken one: who is connected stays, and the last good one goes on.
    let renewed = ca.issue(&["a.example.com"]);
    write("a.yaml", &secret("a", &renewed, None, true));
    let shown = async || {
        let stream = client.connect(gateway(&mesh), "a.example.com").await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a certificate").to_vec()
    };
    let changed = async {
        while shown().await != renewed.certificates() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("the new certificate in time");
    let mut broken = renewed.clone();
    broken.chain = "-----BEGIN CERTIFICATE-----\nAAAA\n".into();
    write("a.yaml", &secret("a", &broken, None, true));
    mesh.wait_output(0, "Secret edge/a stays at its last good version");
    assert_eq!(shown().await, renewed.certificates());
    assert_eq!(raw.get("a.example.com", "/", "").await.status, 200);
}
