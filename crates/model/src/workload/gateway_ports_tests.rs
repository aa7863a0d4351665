use super::*;

fn want(pod: &str, port: u16, gateway: &str) -> GatewayPortWant {
    GatewayPortWant {
        pod: PodKey { namespace: "istio-ingress".into(), name: pod.into() },
        port,
        gateway: Seniority { created: 0, name: gateway.into(), namespace: "default".into() },
    }
}

fn opened(plan: &AddressPlan, wants: &[GatewayPortWant]) -> Vec<(String, u16, u16)> {
    plan.gateway_ports(wants)
        .into_iter()
        .flat_map(|(pod, ports)| ports.into_iter().map(move |(port, o)| (pod.name.clone(), port, o.opened)))
        .collect()
}

#[test]
fn low_ports_move_by_8000() {
    let got = opened(&AddressPlan::default(), &[want("a", 80, "g"), want("a", 443, "g"), want("a", 31400, "g")]);
    assert_eq!(got, [("a".into(), 80, 8080), ("a".into(), 443, 8443), ("a".into(), 31400, 31400)]);
}

#[test]
fn a_literal_port_wins_over_a_moved_one() {
    let got = opened(&AddressPlan::default(), &[want("a", 80, "first"), want("b", 8080, "second")]);
    assert_eq!(got, [("a".into(), 80, 8081), ("b".into(), 8080, 8080)]);
}

#[test]
fn the_earlier_gateway_wins_and_the_loser_gets_the_next_free_port() {
    let mut plan = AddressPlan::default();
    plan.mark_busy(8081);
    let mut older = want("b", 80, "z");
    older.gateway.created = -1;
    let got = opened(&plan, &[want("a", 80, "a"), older, want("c", 8082, "c")]);
    assert_eq!(got, [("a".into(), 80, 8083), ("b".into(), 80, 8080), ("c".into(), 8082, 8082)]);
}

#[test]
fn gateways_of_one_pod_share_a_port() {
    let got = opened(&AddressPlan::default(), &[want("a", 80, "one"), want("a", 80, "two")]);
    assert_eq!(got, [("a".into(), 80, 8080)]);
}

#[test]
fn an_offset_moves_every_port() {
    let plan = AddressPlan::default().with_gateways(Vec::new(), GatewayPortPolicy::Offset(1000));
    let got = opened(&plan, &[want("a", 80, "g"), want("a", 8080, "g"), want("a", 65000, "g")]);
    assert_eq!(got, [("a".into(), 80, 1080), ("a".into(), 8080, 9080)]);
    let plan = AddressPlan::default().with_gateways(Vec::new(), GatewayPortPolicy::Privileged);
    assert_eq!(opened(&plan, &[want("a", 80, "g")]), [("a".into(), 80, 80)]);
}
