//! The certificate: shown, kept, replaced; and clients that mean no good.

use super::*;
use crate::distribute::Distributor;
use crate::engine::{self, EngineOptions};
use crate::listen::Port;
use crate::source::Input;
use amime_xds::client::{Client, ClientOptions};
use amime_xds::server::StreamOptions;
use amime_xds::transport::{Backoff, ClientTls, Dialer, run};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.0.0.10, ports: [{name: http, port: 80}]}
";

fn names() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

/// A control plane that is spoken TLS to.
async fn serve(tls: ServerTls) -> SocketAddr {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("mesh.yaml"), SERVICE).expect("written");
    let generations = engine::start(EngineOptions::new(vec![Input::Path(folder.path().to_owned())])).expect("read");
    let distributor = Distributor::start(generations, StreamOptions::default()).expect("started");
    let port = Port::open("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = port.address().expect("bound");
    let listener = port.serve(distributor, Some(tls));
    tokio::spawn(async move {
        let _keep = (listener, folder);
        std::future::pending::<()>().await;
    });
    address
}

/// Connects a proxy that trusts this, and waits for what it gets.
async fn connect(address: SocketAddr, host: &str, ca_pem: Vec<u8>) {
    let tls = ClientTls { ca_pem, server_name: None };
    let dialer = Dialer::new(vec![format!("{host}:{}", address.port())], Some(tls)).expect("certificates");
    let node = amime_xds::Node {
        id: "sidecar~10.1.1.1~a.default~default.svc.cluster.local".into(),
        ..amime_xds::Node::default()
    };
    let client = Client::new(node, Arc::default(), ClientOptions::default());
    let (sender, mut configs) = watch::channel(false);
    let running = tokio::spawn(run(dialer, client, Backoff::default(), move |update| {
        sender.send_replace(!update.config.clusters.is_empty());
        std::future::ready(Ok(()))
    }));
    let served = tokio::time::timeout(Duration::from_secs(30), configs.wait_for(|served| *served)).await;
    served.expect("in time").expect("a client");
    running.abort();
}

#[tokio::test]
async fn a_self_signed_certificate_is_kept_and_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = ServerTls::self_signed(&names(), Some(folder.path())).expect("made");
    let address = serve(tls.clone()).await;
    let ca = std::fs::read(folder.path().join(CERTIFICATE)).expect("kept");
    connect(address, "127.0.0.1", ca.clone()).await;
    connect(address, "localhost", ca).await;

    let again = ServerTls::self_signed(&names(), Some(folder.path())).expect("read");
    assert_eq!(again.fingerprint(), tls.fingerprint());
    assert_eq!(tls.fingerprint().len(), 95);
    let other = ServerTls::self_signed(&["control.example.com".into()], Some(folder.path())).expect("made");
    assert_ne!(other.fingerprint(), tls.fingerprint(), "it is for other names");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.path().join(KEY)).expect("kept").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn files_that_change_are_read_again_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
    let save = |(pem, private): &(String, String)| {
        std::fs::write(&certificate, pem).expect("written");
        std::fs::write(&key, private).expect("written");
    };
    let (one, two) = (make(&names()).expect("made"), make(&names()).expect("made"));
    save(&one);
    let tls = ServerTls::from_files(&certificate, &key).expect("read");
    let address = serve(tls.clone()).await;
    connect(address, "localhost", one.0.clone().into_bytes()).await;
    let first = tls.fingerprint();
    let look = || tls.certificate.shown.lock().expect("whole").looked -= LOOK;
    save(&(one.0.clone(), two.1.clone()));
    look();
    assert_eq!(tls.fingerprint(), first, "a key of another certificate");
    std::fs::remove_file(&key).expect("removed");
    look();
    assert_eq!(tls.fingerprint(), first, "no key at all");
    save(&two);
    look();
    assert_ne!(tls.fingerprint(), first);
    connect(address, "localhost", two.0.into_bytes()).await;
    let error = ServerTls::from_files(&certificate, &folder.path().join("no.key")).expect_err("missing");
    assert!(error.to_string().contains("no.key"), "{error}");
}

#[tokio::test]
async fn who_says_nothing_or_nonsense_holds_nobody_up() {
    let pem = make(&names()).expect("made");
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
    std::fs::write(&certificate, &pem.0).expect("written");
    std::fs::write(&key, &pem.1).expect("written");
    let address = serve(ServerTls::from_files(&certificate, &key).expect("read")).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    let mut nonsense = TcpStream::connect(address).await.expect("connected");
    tokio::io::AsyncWriteExt::write_all(&mut nonsense, b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    connect(address, "localhost", pem.0.into_bytes()).await;
    // The oldest had to make room.
    let mut first = silent.swap_remove(0);
    let ended = tokio::time::timeout(Duration::from_secs(5), first.read(&mut [0; 16])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}
