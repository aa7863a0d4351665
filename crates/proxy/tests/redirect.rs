//! Connections that the kernel has redirected, as in a pod: each goes where it wanted to go (SO_ORIGINAL_DST), by IPv4
//! and IPv6. The test runs itself again in a network namespace with rules of its own; where unshare or nft are missing, it
//! is skipped and says so.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::*;
use amime_proxy::{OwnPorts, Placement};
use amime_testkit::client::get;
use amime_testkit::origin::Origin as Server;
use common::*;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

const INSIDE: &str = "AMIME_TEST_IN_NAMESPACE";

/// What is sent to these ports goes to 15001, but for the proxy's own connections.
const SETUP: &str = r#"
set -e
ip link set lo up
ip address add 10.99.0.1/32 dev lo
ip address add fd00::1/128 dev lo nodad
nft -f - <<END
table inet redirected {
  chain output {
    type nat hook output priority -100;
    ip saddr != 127.0.0.6 tcp dport { 18080, 18081, 15020 } redirect to :15001
    meta nfproto ipv6 tcp dport 18080 redirect to :15001
  }
}
END
"#;

#[test]
fn a_redirected_connection_goes_where_it_wanted() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(inside());
        return;
    }
    for (tool, version) in [("unshare", "--version"), ("nft", "--version")] {
        if let Err(error) = Command::new(tool).arg(version).output() {
            eprintln!("skipped: no redirection here: {tool}: {error}");
            return;
        }
    }
    let namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", script]).env(INSIDE, "1").arg(std::env::current_exe().unwrap());
        command.output()
    };
    let test = "exec \"$0\" --exact a_redirected_connection_goes_where_it_wanted --nocapture";
    let output = namespace(&format!("{SETUP}\n{test}")).unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

fn capture(address: &str) -> Listener {
    let mut listener = listener("virtualOutbound", address, vec![tcp_chain(&[("PassthroughCluster", 1)])]);
    listener.listener_filters = vec![ListenerFilter::OriginalDst];
    listener.use_original_dst = true;
    listener
}

async fn inside() {
    let web = Server::text("web").await;
    let direct = Server::tcp_at("10.99.0.1:18081".parse().unwrap(), |mut stream| async move {
        amime_testkit::origin::read_head(&mut stream).await;
        amime_testkit::origin::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ndirect").await;
    })
    .await;
    let page = Server::tcp_at("10.99.0.1:15020".parse().unwrap(), |mut stream| async move {
        amime_testkit::origin::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let mut config = http_config(vec![forward(to("web"))], [cluster("web", &[web.address])]);
    let manager = hcm(RouteSource::Rds(config.routes.keys().next().unwrap().to_string()));
    config.listeners.clear();
    for (name, address) in [("0.0.0.0_18080", "0.0.0.0:18080"), ("::_18080", "[::]:18080")] {
        let mut at_port = listener(name, address, vec![http_chain(manager.clone())]);
        at_port.bind_to_port = false;
        config.listeners.insert(name.into(), Arc::new(at_port));
    }
    for (name, address) in [("virtualOutbound", "0.0.0.0:15001"), ("virtualOutbound6", "[::]:15001")] {
        config.listeners.insert(name.into(), Arc::new(Listener { name: name.into(), ..capture(address) }));
    }
    let mut passthrough = Cluster::new("PassthroughCluster", Discovery::OriginalDst { header: false, port: None });
    passthrough.lb = LbPolicy::ClusterProvided;
    passthrough.bind_source = Some("127.0.0.6".parse().unwrap());
    config.clusters.insert("PassthroughCluster".into(), Arc::new(passthrough));
    let mut running = Running::start_with(config, |options| {
        options.placement = Placement::All;
        options.own = OwnPorts { ports: vec![15020], addresses: vec!["10.99.0.1".parse().unwrap()], loopback: true };
    })
    .await;

    for (wanted, answer) in [("10.99.0.1:18080", "web"), ("[fd00::1]:18080", "web"), ("10.99.0.1:18081", "direct")] {
        let wanted: SocketAddr = wanted.parse().unwrap();
        assert_eq!(get(wanted, "a", "/").await.body, answer, "{wanted}");
        let record = running.record().await;
        assert_eq!(record.downstream.local, wanted);
    }
    assert_eq!((web.requests(), direct.connections()), (2, 1));

    // The proxy's own pages are not reached through it.
    let mut client = amime_testkit::client::Raw::connect("10.99.0.1:15020".parse().unwrap()).await;
    assert_eq!(client.until_closed().await, b"");
    assert_eq!((running.record().await.flags, page.connections()), (amime_proxy::Flags::UH, 0));
}
