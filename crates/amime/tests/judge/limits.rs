//! What a proxy does by what happened before: outlier detection and circuit breakers. The same requests, one after the
//! other, go through a real Envoy and through ours under one control plane; statuses, origins and flags have to be equal.

use super::envoy::Who;
use super::output::Logged;
use super::plane::Plane;
use super::ports::Port;
use super::proxy::{Door, Proxy};
use amime_testkit::client::Http2;
use amime_testkit::echo::Echo;
use amime_testkit::load::ANSWERED_BY;
use amime_testkit::origin::{Body, Origin, Version, full};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Request;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

const KINDS: [&str; 2] = ["envoy", "amime"];

/// Services with outlier detection, and what they are asked.
pub struct Ejecting {
    pub name: &'static str,
    /// Of the DestinationRule.
    pub outlier: &'static str,
    /// Not 0: one endpoint listens, and at the other so many requests of several users fail. Else all three listen.
    pub refused: usize,
    /// What the origin is told to answer, in turn, where no `grpc` is.
    pub statuses: &'static [&'static str],
    pub grpc: bool,
    /// So many answer: origins, and the proxy itself.
    pub answer: usize,
    /// Where the origins are; the gateways are in r1/z1/s1. Empty: nobody is anywhere.
    pub places: &'static [&'static str],
    /// So many priorities these make; an ejection tells Envoy's workers of each.
    pub priorities: u64,
    /// Further fields of `loadBalancer`.
    pub balance: &'static str,
    pub retries: &'static str,
}

const fn case(name: &'static str, outlier: &'static str, statuses: &'static [&'static str], answer: usize) -> Ejecting {
    let (places, balance, retries) = (&[], "", "attempts: 0");
    Ejecting { name, outlier, refused: 0, statuses, grpc: false, answer, places, priorities: 1, balance, retries }
}

/// Three origins in places, the first of which to answer fails, then the next.
const fn placed(name: &'static str, places: &'static [&'static str], balance: &'static str) -> Ejecting {
    let statuses = &["200", "500", "200", "500", "200", "500", "200"];
    let priorities = 3;
    Ejecting {
        places,
        priorities,
        balance,
        ..case(name, "consecutive5xxErrors: 1, maxEjectionPercent: 100", statuses, 4)
    }
}

/// What comes of a request that fails wherever it goes, tried so often.
const fn retried(name: &'static str, retries: &'static str) -> Ejecting {
    let places = &["r1/z1/s1", "r1/z2/s1", "r2/z1/s1"];
    Ejecting { places, retries, ..case(name, "consecutive5xxErrors: 0", &["500", "500"], 1) }
}

/// Requests of one user go to one endpoint for as long as it is not ejected.
pub const EJECTING: &[Ejecting] = &[
    case("two-errors", "consecutive5xxErrors: 2, maxEjectionPercent: 100", &["500", "500", "200", "200"], 2),
    case("success-between", "consecutive5xxErrors: 2, maxEjectionPercent: 100", &["500", "200", "500", "200"], 1),
    case("not-found", "consecutive5xxErrors: 2, maxEjectionPercent: 100", &["404", "404", "404", "200"], 1),
    case(
        "gateway-errors",
        "consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, maxEjectionPercent: 100",
        &["500", "500", "500", "503", "500", "502", "200", "502", "504", "200"],
        2,
    ),
    case(
        "five",
        "maxEjectionPercent: 100",
        &["500", "503", "500", "502", "200", "500", "500", "500", "500", "500", "200"],
        2,
    ),
    case("least-percent", "consecutive5xxErrors: 1", &["500", "200"], 1),
    case("third", "consecutive5xxErrors: 1, maxEjectionPercent: 34", &["500", "200", "500", "200"], 2),
    case(
        "two-thirds",
        "consecutive5xxErrors: 1, maxEjectionPercent: 67",
        &["500", "200", "500", "200", "500", "200"],
        3,
    ),
    case("half", "consecutive5xxErrors: 1, maxEjectionPercent: 50", &["500", "200", "500", "200", "500", "200"], 2),
    case("everybody", "consecutive5xxErrors: 1, maxEjectionPercent: 100", &["500", "500", "500", "200"], 4),
    case(
        "panic",
        "consecutive5xxErrors: 1, maxEjectionPercent: 100, minHealthPercent: 50",
        &["500", "200", "500", "200"],
        2,
    ),
    case(
        "written-errors",
        "consecutive5xxErrors: 2, maxEjectionPercent: 100, outlierDetectionHttpErrorCodes: [404]",
        &["500", "500", "500", "200", "404", "404", "200"],
        2,
    ),
    Ejecting {
        grpc: true,
        ..case("grpc-unavailable", "consecutive5xxErrors: 2, maxEjectionPercent: 100", &["14", "14", "14", "0"], 1)
    },
    placed("nearest", &["r2/z1/s1", "r1/z1/s2", "r1/z1/s1"], ""),
    placed("next-zone", &["r1/z2/s1", "r3/z1/s1", "r1/z1/s2"], ""),
    placed(
        "named-region",
        &["r3/z1/s1", "r1/z3/s1", "r2/z1/s1"],
        "localityLbSetting: {failover: [{from: r1, to: r2}]}",
    ),
    placed(
        "by-labels",
        &["r1/z2/s1", "r2/z1/s1", "r1/z1/s2"],
        "localityLbSetting: {failoverPriority: [topology.kubernetes.io/zone, topology.kubernetes.io/region]}",
    ),
    placed(
        "labels-and-regions",
        &["r3/z1/s1", "r2/z1/s1", "r1/z2/s2"],
        "localityLbSetting: {failoverPriority: [version=v1], failover: [{from: r1, to: r2}]}",
    ),
    placed(
        "zones-of-regions",
        &["r3/z1/s1", "r2/z1/s1", "r1/z2/s1"],
        "zoneAwareLbSetting: {failover: [{from: r1, to: r2}]}",
    ),
    Ejecting {
        answer: 2,
        priorities: 1,
        ..placed(
            "all-to-one",
            &["r1/z1/s1", "r2/z1/s1", "r2/z2/s1"],
            "localityLbSetting: {distribute: [{from: r1/*, to: {r2/z2/*: 100}}]}",
        )
    },
    retried("stays", "attempts: 4, retryOn: 5xx, backoff: 1ms"),
    retried("leaves-once", "attempts: 2, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true"),
    retried("leaves-twice", "attempts: 4, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true"),
    retried("begins-anew", "attempts: 6, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true"),
    Ejecting { refused: 2, ..case("refused", "consecutive5xxErrors: 2, maxEjectionPercent: 100", &["200"], 2) },
    Ejecting {
        refused: 3,
        ..case(
            "refused-apart",
            "consecutive5xxErrors: 1, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3, \
             maxEjectionPercent: 100",
            &["200"],
            2,
        )
    },
];

/// A limit, so many requests under way when the one comes that is refused, and what of them waits for a connection.
pub struct Breaking {
    pub name: &'static str,
    pub pool: &'static str,
    pub asked: usize,
    /// The origin has so many of them when the last is refused.
    pub reach: usize,
}

pub const BREAKING: &[Breaking] = &[
    Breaking {
        name: "one-waits",
        pool: "tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}",
        asked: 3,
        reach: 1,
    },
    Breaking {
        name: "two-connections",
        pool: "tcp: {maxConnections: 2}, http: {http1MaxPendingRequests: 1}",
        asked: 4,
        reach: 2,
    },
    Breaking { name: "two-requests", pool: "http: {http2MaxRequests: 2}", asked: 3, reach: 2 },
];

/// What a client sees of a request, and what is logged of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    status: u16,
    by: String,
    logged: Logged,
}

struct Gate {
    kind: &'static str,
    proxy: Proxy,
    door: Door,
}

pub struct Limits {
    gates: Vec<Gate>,
    plane: Plane,
    gated: Vec<(Origin, Arc<Semaphore>)>,
    origins: Vec<Echo>,
    _dead: Port,
}

impl Limits {
    /// None where there is no Envoy.
    pub async fn start() -> Option<Self> {
        let binary = amime_testkit::envoy::binary()?;
        let mut origins = Vec::new();
        for name in ["a", "b", "c"] {
            origins.push(Echo::start(name).await);
        }
        let mut gated = Vec::new();
        for _ in BREAKING {
            gated.push(Origin::gated(Version::Http1).await);
        }
        let dead = Port::take();
        let ports = KINDS.map(|_| Port::take());
        let mut text = super::shop::gateways(&KINDS.into_iter().zip(&ports).collect::<Vec<_>>());
        for case in EJECTING {
            let mut endpoints: Vec<_> = origins.iter().map(|origin| origin.address).collect();
            if case.refused > 0 {
                endpoints = vec![endpoints[0], dead.address()];
            }
            // Where a hash chooses, Envoy's retries do not look at priorities.
            let hash = if case.retries == "attempts: 0" { "consistentHash: {httpHeaderName: x-user}, " } else { "" };
            let policy = format!(
                "loadBalancer: {{{hash}{}}}, outlierDetection: {{baseEjectionTime: 3600s, {}}}",
                case.balance, case.outlier
            );
            let protocol = if case.grpc { "GRPC" } else { "HTTP" };
            service(&mut text, (case.name, protocol, case.retries), &endpoints, case.places, &policy);
        }
        for (case, (origin, _)) in BREAKING.iter().zip(&gated) {
            let policy = format!("connectionPool: {{{}}}", case.pool);
            service(&mut text, (case.name, "HTTP", "attempts: 0"), &[origin.address], &[], &policy);
        }
        for kind in KINDS {
            let Who { pod, namespace, ip, .. } = Who::gateway(kind);
            write!(
                text,
                "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {pod}\n  namespace: {namespace}\n  labels: {{gateway: \
                 {kind}, istio-locality: r1.z1.s1}}\nspec: {{containers: [{{name: proxy}}]}}\nstatus: {{podIP: {ip}}}\n"
            )
            .unwrap();
        }
        let plane = Plane::start(&[("limits.yaml", &text)], &[]);
        let mut gates = Vec::new();
        for (kind, port) in KINDS.into_iter().zip(ports) {
            let proxy = Proxy::start(&binary, kind, &Door::who(&plane, kind), plane.address).await;
            gates.push(Gate { kind, proxy, door: Door::gateway(port) });
        }
        plane.settled(gates.len()).await;
        Some(Self { gates, plane, gated, origins, _dead: dead })
    }

    /// What differs between the two, or from what is expected.
    pub async fn eject(&self, case: &Ejecting) -> Vec<String> {
        let mut found = Vec::new();
        let mut all = Vec::new();
        for gate in &self.gates {
            let answers = gate.asked_in_turn(case).await;
            let mut by: Vec<&str> = answers.iter().map(|answer| answer.by.as_str()).collect();
            by.sort_unstable();
            by.dedup();
            if by.len() != case.answer {
                found.push(format!("{} {}: not {} answer but {by:?}", gate.kind, case.name, case.answer));
            }
            let refused = answers.iter().filter(|answer| answer.logged.flags == "UF").count();
            if refused != case.refused {
                found.push(format!("{} {}: {refused} met nobody", gate.kind, case.name));
            }
            all.push(answers);
        }
        if all[0] != all[1] {
            found.push(format!("{}:\n  Envoy {:#?}\n  ours {:#?}", case.name, all[0], all[1]));
        }
        found
    }

    /// The same of a limit.
    pub async fn overflow(&self, number: usize) -> Vec<String> {
        let case = &BREAKING[number];
        let (origin, permits) = &self.gated[number];
        let mut found = Vec::new();
        for gate in &self.gates {
            let before = origin.requests();
            // On one connection, so that one worker has all of them: each has a connection of its own to an endpoint
            // at the least.
            let client = Http2::over(gate.door.connect().await.stream).await;
            let mut asked = FuturesUnordered::new();
            for ask in 0..case.asked {
                let mark = format!("{}-{}-{ask}", case.name, gate.kind);
                let request = Request::get(format!("http://{}.example.com/", case.name)).header("x-judged", &mark);
                asked.push(gate.sent(client.clone(), request.body(full("")).expect("a request"), mark));
                if ask >= case.reach {
                    continue;
                }
                let reached = super::eventually("a request reaches the origin", || {
                    std::future::ready((origin.requests() - before > ask).then_some(()))
                });
                tokio::select! {
                    () = reached => {}
                    early = asked.next() => panic!("{} {}: {early:?}", gate.kind, case.name),
                }
            }
            let refused = asked.next().await.expect("a request");
            if (refused.status, refused.logged.flags.as_str()) != (503, "UO") {
                found.push(format!("{} {}: {refused:?}", gate.kind, case.name));
            }
            permits.add_permits(case.asked - 1);
            while let Some(answered) = asked.next().await {
                if answered.status != 200 {
                    found.push(format!("{} {}: {answered:?}", gate.kind, case.name));
                }
            }
        }
        found
    }

    /// What the control plane and the proxies complain of.
    pub async fn complaints(&self) -> Vec<String> {
        let mut found = self.plane.refusals().await;
        for gate in &self.gates {
            found.extend(gate.proxy.faults().await);
        }
        found
    }
}

impl Gate {
    async fn asked_in_turn(&self, case: &Ejecting) -> Vec<Answered> {
        let mut answers = Vec::new();
        let before = self.updates(case.name).await;
        for (number, status) in case.statuses.iter().enumerate() {
            let mark = format!("{}-{}-{number}", case.name, self.kind);
            // Of so many, some have the endpoint at which nobody listens.
            let users = if case.refused > 0 { 24 } else { 1 };
            for user in 0..users {
                let mark = format!("{mark}-{user}");
                answers.push(if case.grpc {
                    self.call(case.name, mark, &user.to_string(), status).await
                } else {
                    self.get(case.name, mark, &user.to_string(), status).await
                });
                self.ejected(case, before).await;
            }
        }
        answers
    }

    /// How often Envoy's workers were told of other endpoints, and how many of this service's it has ejected.
    async fn updates(&self, service: &str) -> (u64, u64) {
        let Proxy::Envoy(envoy) = &self.proxy else { return (0, 0) };
        // Its main thread ejects what a worker tells it to: once it has answered twice, it has heard of it.
        for _ in 0..2 {
            envoy.admin("/ready").await.expect("Envoy is ready");
        }
        let stats = envoy.stats().await;
        let told = stats["cluster_manager.cluster_updated"] + stats["cluster_manager.cluster_updated_via_merge"];
        let name = format!("cluster.outbound|80||{service}.shop.internal.outlier_detection.ejections_enforced_total");
        (told, stats[&name])
    }

    /// Waits until what came of the requests so far is taken into account. Envoy tells its workers of a second change
    /// within a second only at its end. A request for no service then passes the worker in the same way.
    async fn ejected(&self, case: &Ejecting, before: (u64, u64)) {
        super::eventually("Envoy's workers know who is ejected", || async {
            let now = self.updates(case.name).await;
            (now.0 - before.0 == (now.1 - before.1) * case.priorities).then_some(())
        })
        .await;
        for _ in 0..2 {
            self.door.connect().await.get("nobody.example.com", "/", "").await;
        }
    }

    async fn get(&self, host: &str, mark: String, user: &str, status: &str) -> Answered {
        let headers = format!("x-judged: {mark}\r\nx-user: {user}\r\nx-status: {status}\r\n");
        let answer = self.door.connect().await.get(&format!("{host}.example.com"), "/", &headers).await;
        let by = answer.header(ANSWERED_BY).unwrap_or("nobody").to_owned();
        Answered { status: answer.status, by, logged: self.logged(&mark) }
    }

    async fn call(&self, host: &str, mark: String, user: &str, status: &str) -> Answered {
        let request = Request::post(format!("http://{host}.example.com/echo.Echo/Say"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-judged", &mark)
            .header("x-user", user)
            .header("x-grpc-status", status)
            .body(full(&b"\0\0\0\0\x05hello"[..]))
            .expect("a request");
        self.sent(Http2::over(self.door.connect().await.stream).await, request, mark).await
    }

    async fn sent(&self, mut client: Http2, request: Request<Body>, mark: String) -> Answered {
        let response = client.send(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let by = parts.headers.get(ANSWERED_BY).map_or("nobody", |by| by.to_str().expect("text")).to_owned();
        amime_testkit::client::text(body).await;
        Answered { status: parts.status.as_u16(), by, logged: self.logged(&mark) }
    }

    /// Details are words of each proxy's own.
    fn logged(&self, mark: &str) -> Logged {
        let logged = self.proxy.output().logged(mark);
        let mut flags: Vec<&str> = logged.flags.split(',').collect();
        flags.sort_unstable();
        Logged { flags: flags.join(","), details: String::new(), ..logged }
    }
}

/// A service that `NAME.example.com` leads to, of this name, protocol and retries.
fn service(
    text: &mut String,
    (name, protocol, retries): (&str, &str, &str),
    endpoints: &[SocketAddr],
    places: &[&str],
    policy: &str,
) {
    let host = format!("{name}.shop.internal");
    let gateways = KINDS.map(|kind| format!("istio-system/{kind}")).join(", ");
    write!(
        text,
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         hosts: [{host}]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports: [{{number: 80, name: port, protocol: \
         {protocol}}}]\n  endpoints:\n"
    )
    .unwrap();
    for (number, address) in endpoints.iter().enumerate() {
        let place = places.get(number).map_or(String::new(), |place| format!(", locality: {place}"));
        writeln!(text, "  - {{address: {}, ports: {{port: {}}}{place}}}", address.ip(), address.port()).unwrap();
    }
    write!(
        text,
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         host: {host}\n  trafficPolicy: {{{policy}}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         hosts: [{name}.example.com]\n  gateways: [{gateways}]\n  http:\n  - retries: {{{retries}}}\n    route: \
         [{{destination: {{host: {host}, port: {{number: 80}}}}}}]\n"
    )
    .unwrap();
}
