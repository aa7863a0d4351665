//! `amime control --stand-ins`: pods without proxies, with sidecars and gateways that are started elsewhere.

mod common;

use amime_model::config::{EndpointAddress, ProxyConfig};
use common::control::{Control, run_printed, sidecar, until};
use common::{Answer, Claim, eventually, example, exchange, try_get};
use std::net::SocketAddr;

const HOST: &str = "shop.example.com";

fn shop() -> String {
    example("shop").display().to_string()
}

/// The endpoints of a cluster.
fn endpoints(config: &ProxyConfig, cluster: &str) -> Vec<SocketAddr> {
    let found = config.endpoints.get(cluster).into_iter().flat_map(|e| &e.localities).flat_map(|l| &l.endpoints);
    found
        .filter_map(|endpoint| match &endpoint.address {
            EndpointAddress::Socket(address) => Some(*address),
            _ => None,
        })
        .collect()
}

/// Where the pods of a service of the shop are.
async fn pods(control: &Control, service: &str) -> Vec<SocketAddr> {
    let mut configs = control.proxy(sidecar("observer", "shop", "10.1.1.9"));
    let prefix = format!("||{service}.shop.svc.cluster.local");
    let of = |config: &ProxyConfig| {
        let cluster = config.clusters.keys().find(|name| name.starts_with("outbound|") && name.ends_with(&prefix));
        cluster.map(|name| endpoints(config, name)).unwrap_or_default()
    };
    let config = until(&mut configs, |config| !of(config).is_empty()).await;
    of(&config)
}

fn ask(pod: SocketAddr, path: &str, call: &str) -> Option<Answer> {
    let call = if call.is_empty() { String::new() } else { format!("x-amime-call: {call}\r\n") };
    exchange(
        pod,
        format!("GET {path} HTTP/1.1\r\nhost: web\r\nend-user: jason\r\n{call}connection: close\r\n\r\n").as_bytes(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn stand_ins_answer_at_their_pods_addresses_and_call_directly() {
    let control = Control::start(["--config", &shop(), "--stand-ins"]);
    let web = pods(&control, "web").await;
    let reviews = pods(&control, "reviews").await;
    assert!(!web.is_empty() && reviews.len() > 1, "{web:?} {reviews:?}");
    let answer = ask(web[0], "/", "http://reviews:9080/,http://ratings:9080/").expect("answered");
    assert_eq!(answer.workload(), "web-v1");
    assert_eq!(answer.called()["workload"], "ratings-v1", "{answer:?}");
    let missing = ask(web[0], "/", "http://no-such-service:80/").expect("answered");
    assert!(missing.called()["body"].as_str().is_some_and(|why| why.contains("no-such-service")), "{missing:?}");
    // No rule applies without a proxy: each pod of the service has its turn.
    let called = |_| ask(web[0], "/", "http://reviews:9080/").expect("answered").called()["workload"].clone();
    let all: std::collections::BTreeSet<String> = (0..20).map(called).map(|name| name.to_string()).collect();
    assert_eq!(all.len(), reviews.len(), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_started_elsewhere_is_in_front_of_its_stand_in() {
    let control = Control::start(["--config", &shop(), "--stand-ins", "--sidecar", "shop/web-v1"]);
    let line = control.wait_output(0, "sidecar shop/web-v1-");
    let web = pods(&control, "web").await[0];
    assert!(line.contains(&format!(" {}: amime proxy sidecar --control ", web.ip())), "{line}");
    assert!(!control.output().contains("sidecar shop/reviews"), "{}", control.output());
    assert!(ask(web, "/", "").is_none(), "nobody listens at the pod's address before its sidecar does");

    let sidecar = run_printed(&line);
    sidecar.wait_line("ready");
    let answer = eventually("an answer through the sidecar", || ask(web, "/", "http://reviews:9080/reviews/1"));
    assert_eq!(answer.workload(), "web-v1");
    // The rule of the VirtualService decides, not a turn.
    let versions: std::collections::BTreeSet<String> = (0..20)
        .map(|_| ask(web, "/", "http://reviews:9080/reviews/1").expect("answered").called()["workload"].to_string())
        .collect();
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), ["\"reviews-v2\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_started_by_the_command_that_is_printed() {
    let claim = Claim::take();
    let offset = claim.offset.to_string();
    let control = Control::start(["--config", &shop(), "--stand-ins", "--gateway-port-offset", &offset]);
    let gateway = run_printed(&control.wait_output(0, "gateway istio-ingress/"));
    gateway.wait_line("ready");
    let port = 80 + claim.offset;
    let answer = eventually("an answer through the gateway", || {
        try_get(port, HOST, "/", &[]).filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.workload(), "web-v1");
}

#[test]
fn a_sidecar_of_nothing_is_said() {
    let mut control = Control::spawn(["--config", &shop(), "--stand-ins", "--sidecar", "shop/nobody"]);
    assert_eq!(control.wait_exit(), 2);
    let output = control.output();
    assert!(output.contains("shop/nobody") && output.contains("shop/web-v1"), "{output}");
    assert_eq!(Control::spawn(["--config", &shop(), "--sidecar", "shop/web-v1"]).wait_exit(), 2);
}
