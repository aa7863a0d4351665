//! Runs the routing cases (`cases`) through gateways and sidecars of several kinds that one control plane configures, and
//! compares what came of each request at those of one role: destination, what the origin saw, the answer, and how the proxy logged it.

use super::cases::{self, Ask, By, COMMON, Case, Destination};
use super::output::Logged;
use super::plane::Plane;
use super::ports::Port;
use super::proxy::{Door, Proxy};
use amime_testkit::client::{Http2, text};
use amime_testkit::echo::{Echo, Seen};
use amime_testkit::load::ANSWERED_BY;
use amime_testkit::origin::{Body, full};
use http::Request;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

/// Envoy and ours of each role.
const PAIRS: [[&str; 2]; 2] = [["envoy", "amime"], ["envoy-sidecar", "amime-sidecar"]];

/// Headers that differ from one request to the next whoever sends them: only whether they are there is compared.
const VARYING: [&str; 5] = ["x-request-id", "x-envoy-upstream-service-time", "date", "x-b3-spanid", "traceparent"];

/// Istio's own Envoy tells its peers who it is by these, and so do we; the plain Envoy lacks the filter.
const PEER: &str = "x-envoy-peer-metadata";

/// By this header a request is found in the log.
const MARK: &str = "x-judged";

/// Requests (case and number) of which Envoy knowingly makes something else, and why. What is masked in `outcome` belongs
/// to it: the address by which Envoy names a client on the loopback (its machine's), and `connection: close`, by which each
/// ends its own connections. And `%RESPONSE_CODE%` is 0 in
/// Envoy's own answers, where ours have the code.
const KNOWN: &[(&str, &str)] = &[
    ("paths 18 ", "a fragment is refused by our codec, whose 400 has a text"),
    ("paths 23 ", "our codec refuses what RFC 3986 forbids in a path; Envoy escapes it"),
    ("redirects 11 ", NO_BODY),
    ("redirects 12 ", NO_BODY),
    ("direct 7 ", NO_BODY),
    ("direct 8 ", NO_BODY),
    ("upgrades 4 ", "to a server of HTTP/2 Envoy asks for upgrades by extended CONNECT alone; ours go by HTTP/1.1"),
];

const NO_BODY: &str = "over HTTP/1 Envoy announces chunks in its own answers to HEAD, where GET gets a length of 0";

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
    /// By origin, in order.
    seen: Vec<Seen>,
    logged: Option<Logged>,
}

/// A request that both of a pair have answered, and perhaps not logged yet.
struct Asked {
    what: String,
    pair: usize,
    marks: [String; 2],
    tcp: bool,
    outcomes: [Outcome; 2],
}

impl Asked {
    /// Once both have logged it.
    fn difference(self, pairs: &[[Gate; 2]]) -> Option<String> {
        let [envoy, ours] = [0, 1].map(|gate: usize| {
            let mut outcome = self.outcomes[gate].clone();
            // What the codec refuses is logged without its headers.
            if !self.tcp && outcome.status != 400 {
                let output = pairs[self.pair][gate].proxy.output();
                outcome.logged = Some(comparable_log(output.logged(&self.marks[gate])));
            }
            outcome
        });
        let case = self.what.split_once(' ').map_or("", |(_, case)| case);
        let known = KNOWN.iter().any(|(known, _)| case.starts_with(known));
        (envoy != ours && !known).then(|| format!("{}: {}", self.what, difference(&envoy, &ours)))
    }
}

/// A gateway's ports.
struct Ports {
    kind: &'static str,
    http: Port,
    tcp: Port,
}

/// A proxy, and where it is asked.
struct Gate {
    kind: &'static str,
    proxy: Proxy,
    http: Door,
    /// Gateways alone have such a port.
    tcp: Option<Door>,
}

pub struct Parity {
    origins: Vec<Echo>,
    pairs: Vec<[Gate; 2]>,
    plane: Plane,
    differences: Vec<String>,
    asked: usize,
}

impl Parity {
    /// None where there is no Envoy.
    pub async fn start() -> Option<Self> {
        let binary = amime_testkit::envoy::binary()?;
        let mut origins = Vec::new();
        for name in ["v1-0", "v1-1", "v1-2", "v2-0", "v3-0", "s-0", "m-0"] {
            origins.push(Echo::start(name).await);
        }
        // Nobody listens there.
        let dead = Port::take();
        let gateways = PAIRS[0].map(|kind| Ports { kind, http: Port::take(), tcp: Port::take() });
        let manifests = manifests(&origins, dead.address(), &gateways);
        let plane = Plane::start(&[("cases.yaml", &manifests)], &PAIRS[1]);
        let mut gates = Vec::new();
        for Ports { kind, http, tcp } in gateways {
            let who = Door::who(&plane, kind);
            let proxy = Proxy::start(&binary, kind, &who, plane.address).await;
            gates.push(Gate { kind, proxy, http: Door::gateway(http), tcp: Some(Door::gateway(tcp)) });
        }
        for kind in PAIRS[1] {
            let who = Door::who(&plane, kind);
            let proxy = Proxy::start(&binary, kind, &who, plane.address).await;
            gates.push(Gate { kind, proxy, http: Door::sidecar(&who), tcp: None });
        }
        plane.settled(gates.len()).await;
        let mut gates = gates.into_iter();
        let pairs = std::iter::from_fn(|| Some([gates.next()?, gates.next()?])).collect();
        Some(Self { origins, pairs, plane, differences: Vec::new(), asked: 0 })
    }

    /// Runs the cases whose name begins like this, and tells what differs.
    pub async fn run(&mut self, name: &str) {
        for case in cases::all().filter(|case| case.name.starts_with(name)) {
            let mut asked = Vec::new();
            for (number, ask) in case.asks.iter().enumerate() {
                asked.extend(self.ask(case, number, ask).await);
            }
            self.differences.extend(asked.into_iter().filter_map(|asked| asked.difference(&self.pairs)));
        }
    }

    async fn ask(&mut self, case: &Case, number: usize, ask: &Ask) -> Vec<Asked> {
        let host = if ask.host.is_empty() { format!("{}.example.com", case.name) } else { ask.host.to_owned() };
        let what = format!("{} {number} ({:?} {} {host}{} {:?})", case.name, ask.by, ask.method, ask.path, ask.headers);
        let mut asked = Vec::new();
        for (pair, gates) in
            self.pairs.iter().enumerate().filter(|(_, gates)| ask.by != By::Tcp || gates[0].tcp.is_some())
        {
            self.asked += 1;
            let what = format!("{} {what}", gates[1].kind);
            if let Destination::Shares(count) = ask.destination {
                let differs = shares(gates, &host, ask, count).await;
                self.differences.extend(differs.map(|differs| format!("{what}: {differs}")));
                continue;
            }
            let marks = [0, 1].map(|gate: usize| format!("{}-{number}-{}", case.name, gates[gate].kind));
            let envoy = self.outcome(&gates[0], &host, ask, &marks[0]).await;
            let ours = self.outcome(&gates[1], &host, ask, &marks[1]).await;
            asked.push(Asked { what, pair, marks, tcp: ask.by == By::Tcp, outcomes: [envoy, ours] });
        }
        asked
    }

    async fn outcome(&self, gate: &Gate, host: &str, ask: &Ask, mark: &str) -> Outcome {
        let mut counts: Vec<_> = self.origins.iter().map(Echo::count).collect();
        let before: Vec<u64> = counts.iter().map(|count| *count.borrow()).collect();
        self.origins.iter().for_each(|origin| drop(origin.take()));
        let door = gate.tcp.as_ref().filter(|_| ask.by == By::Tcp).unwrap_or(&gate.http);
        let mut outcome = send(door, host, ask, mark).await;
        let arrived = async {
            loop {
                let now: u64 = counts.iter().zip(&before).map(|(count, before)| *count.borrow() - before).sum();
                if now >= ask.reaches as u64 {
                    return;
                }
                let changes = counts.iter_mut().map(|count| Box::pin(count.changed()));
                futures_util::future::select_all(changes).await.0.expect("origins live");
            }
        };
        tokio::time::timeout(super::PATIENCE, arrived).await.unwrap_or_else(|_| panic!("{mark}: too few requests"));
        for origin in &self.origins {
            outcome.seen.extend(origin.take());
        }
        for seen in &mut outcome.seen {
            if ask.destination == Destination::Version {
                seen.by = version(&seen.by);
            }
            seen.headers = comparable(std::mem::take(&mut seen.headers));
            // The client of a sidecar is at the sidecar's own address.
            let own = gate.http.target.ip().to_string();
            seen.headers
                .iter_mut()
                .filter(|(_, value)| *value == own)
                .for_each(|(_, value)| "CLIENT".clone_into(value));
            for (_, value) in seen.headers.iter_mut().filter(|(name, _)| name == "x-forwarded-for") {
                // Envoy names its machine's own address for a client on the loopback.
                *value = format!("{} addresses", value.split(',').count());
            }
        }
        let own_port = format!(":{}", gate.http.target.port());
        outcome.headers.iter_mut().for_each(|(_, value)| *value = value.replace(&own_port, ":GATEWAY"));
        // How each goes on with its own connection.
        outcome.headers.retain(|(name, value)| name != "connection" || value != "close");
        outcome.seen.sort_by(|a, b| a.by.cmp(&b.by));
        if ask.destination == Destination::Version {
            for (name, value) in &mut outcome.headers {
                if name == ANSWERED_BY {
                    *value = version(value);
                }
            }
            for name in self.origins.iter().map(|origin| &origin.name) {
                outcome.body = outcome.body.replace(name, &version(name));
            }
        }
        outcome
    }

    /// Panics with what differed.
    pub async fn finish(self) {
        let mut found = self.differences;
        found.extend(self.plane.refusals().await);
        for gate in self.pairs.iter().flatten() {
            // The cases name clusters that are not there on purpose.
            let faults = gate.proxy.faults().await.into_iter().filter(|fault| !fault.contains("no_cluster"));
            found.extend(faults.map(|fault| format!("{}: {fault}", gate.kind)));
        }
        println!("{} requests, each through both of {PAIRS:?}, {} differ", self.asked, found.len());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Each version's share is about the same; the shares where not.
async fn shares(pair: &[Gate; 2], host: &str, ask: &Ask, count: u32) -> Option<String> {
    let mut seen: Vec<BTreeMap<String, u32>> = Vec::new();
    for gate in pair {
        let mut own = BTreeMap::new();
        for _ in 0..count {
            let outcome = send(&gate.http, host, ask, "share").await;
            let by = outcome.headers.iter().find(|(name, _)| name == ANSWERED_BY);
            *own.entry(by.map_or(String::new(), |(_, by)| version(by))).or_insert(0) += 1;
        }
        seen.push(own);
    }
    let names = |index: usize| seen[index].keys().collect::<Vec<_>>();
    // Six standard deviations of the difference of two shares of a half.
    let most = 6.0 * (2.0 * f64::from(count) * 0.25).sqrt();
    let far = |name: &String| (f64::from(seen[0][name]) - f64::from(seen[1][name])).abs() > most;
    (names(0) != names(1) || seen[0].keys().any(far)).then(|| format!("{seen:?}"))
}

fn version(name: &str) -> String {
    name.split('-').next().unwrap_or_default().to_owned()
}

fn comparable(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let vary = |(name, value): (String, String)| {
        // An id that the client made up is kept or replaced.
        let varies = VARYING.contains(&name.as_str()) && !value.starts_with("11111111-");
        // The value of a cookie that a proxy makes up stands between quotes.
        let made = value.split('"').nth(1).filter(|_| name == "set-cookie");
        let value = made.map_or_else(|| value.clone(), |made| value.replacen(made, "(made)", 1));
        (name, if varies { "(varies)".to_owned() } else { value })
    };
    let mut headers: Vec<_> =
        headers.into_iter().filter(|(name, _)| name != MARK && !name.starts_with(PEER)).map(vary).collect();
    headers.sort();
    headers
}

/// Status and flags. Details are words of each proxy's own, flags come in any order, and of a tunnel Envoy logs who ended
/// it.
fn comparable_log(logged: Logged) -> Logged {
    let mut flags: Vec<&str> = logged.flags.split(',').filter(|flag| logged.status != "101" || *flag != "DC").collect();
    flags.retain(|flag| *flag != "-");
    flags.sort_unstable();
    Logged { flags: flags.join(","), details: String::new(), ..logged }
}

fn difference(envoy: &Outcome, ours: &Outcome) -> String {
    let lines = |outcome: &Outcome| {
        let mut lines = vec![format!("status {}", outcome.status), format!("body {:?}", outcome.body)];
        lines.extend(outcome.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.extend(outcome.trailers.iter().map(|(name, value)| format!("trailer {name}: {value}")));
        lines.extend(outcome.logged.iter().map(|logged| format!("{logged:?}")));
        lines.push(format!("{} requests reached origins", outcome.seen.len()));
        for (number, seen) in outcome.seen.iter().enumerate() {
            let Seen { by, version, method, authority, path, headers, body } = seen;
            lines.push(format!("origin {number}: {by} {version:?} {method} {authority} {path} {body:?}"));
            lines.extend(headers.iter().map(|(name, value)| format!("origin {number}: {name}: {value}")));
        }
        lines
    };
    let (envoy, ours) = (lines(envoy), lines(ours));
    let mut text = String::new();
    for line in envoy.iter().filter(|line| !ours.contains(line)) {
        write!(text, "\n    Envoy: {line}").unwrap();
    }
    for line in ours.iter().filter(|line| !envoy.contains(line)) {
        write!(text, "\n    ours:  {line}").unwrap();
    }
    text
}

fn manifests(origins: &[Echo], dead: SocketAddr, gates: &[Ports]) -> String {
    let mut text = String::from(COMMON);
    let versions = || origins.iter().filter(|origin| origin.name.starts_with('v')).collect::<Vec<_>>();
    let one = |name: &str| origins.iter().filter(|origin| origin.name.starts_with(name)).collect::<Vec<_>>();
    let services = [
        ("app", versions()),
        ("ring", versions()),
        ("maglev", versions()),
        ("cookie", versions()),
        ("query", versions()),
        ("small-ring", versions()),
        ("small-maglev", versions()),
        ("weighted", versions()),
        ("baked", one("v1")),
        ("solo", one("s")),
        ("copies", one("m")),
        ("empty", Vec::new()),
    ];
    for (name, origins) in services {
        service(&mut text, name, &origins.iter().map(|o| (version(&o.name), o.address)).collect::<Vec<_>>());
    }
    service(&mut text, "dead", &[("v1".to_owned(), dead)]);
    for Ports { kind, http, tcp } in gates {
        let (http, tcp) = (http.number, tcp.number);
        write!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {kind}, namespace: istio-system}}\n\
             spec:\n  selector: {{gateway: {kind}}}\n  servers:\n  - {{port: {{number: {http}, name: http, protocol: HTTP}}, \
             hosts: ['*/*']}}\n  - {{port: {{number: {tcp}, name: tcp, protocol: TCP}}, hosts: ['*/*']}}\n"
        )
        .unwrap();
    }
    let names: Vec<String> = gates.iter().map(|gate| format!("istio-system/{}", gate.kind)).collect();
    let gateways = format!("[{}]", names.join(", "));
    let everywhere = format!("[mesh, {}]", names.join(", "));
    let ports: Vec<String> = gates.iter().map(|gate| format!("{{port: {}}}", gate.tcp.number)).collect();
    for case in cases::all() {
        let (name, rules, objects) = (case.name, case.rules, case.objects);
        let hosts = if case.hosts.is_empty() { format!("{name}.example.com") } else { case.hosts.to_owned() };
        // A sidecar's TCP routes are those of services, not of ports.
        let names = if rules.contains("TCPPORTS") { &gateways } else { &everywhere };
        write!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  hosts: [{hosts}]\n  gateways: {names}{rules}"
        )
        .unwrap();
        if !objects.is_empty() {
            write!(text, "---{objects}").unwrap();
        }
    }
    text.replace("GATEWAYS", &everywhere).replace("TCPPORTS", &format!("[{}]", ports.join(", ")))
}

fn service(text: &mut String, name: &str, endpoints: &[(String, SocketAddr)]) {
    write!(
        text,
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         hosts: [{name}.shop.internal]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - {{number: 80, name: \
         http, protocol: HTTP}}\n  - {{number: 81, name: grpc, protocol: GRPC}}\n"
    )
    .unwrap();
    if endpoints.is_empty() {
        text.push_str("  workloadSelector: {labels: {nobody: has}}\n");
    } else {
        text.push_str("  endpoints:\n");
    }
    for (version, address) in endpoints {
        let (ip, port) = (address.ip(), address.port());
        let weight = if name == "weighted" && version == "v2" { ", weight: 6" } else { "" };
        let ports = format!("{{http: {port}, grpc: {port}}}");
        writeln!(text, "  - {{address: {ip}, labels: {{version: {version}}}, ports: {ports}{weight}}}").unwrap();
    }
}

async fn send(door: &Door, host: &str, ask: &Ask, mark: &str) -> Outcome {
    match ask.by {
        By::Http1 | By::Tcp => over_http1(door, host, ask, mark).await,
        By::Http2 | By::Grpc => over_http2(door, host, ask, mark).await,
        By::WebSocket => upgraded(door, host, ask, mark).await,
    }
}

async fn over_http1(door: &Door, host: &str, ask: &Ask, mark: &str) -> Outcome {
    let mut request = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n{MARK}: {mark}\r\n", ask.method, ask.path);
    for (name, value) in ask.headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    if !ask.body.is_empty() {
        write!(request, "content-length: {}\r\n", ask.body.len()).unwrap();
    }
    write!(request, "\r\n{}", ask.body).unwrap();
    let mut client = door.connect().await;
    client.send(request).await;
    let answer = client.answer(ask.method == "HEAD").await;
    let answer = answer.unwrap_or_else(|| panic!("{mark}: the connection ended"));
    outcome(answer.status, answer.headers, answer.body, Vec::new())
}

async fn over_http2(door: &Door, host: &str, ask: &Ask, mark: &str) -> Outcome {
    let mut request =
        Request::builder().method(ask.method).uri(format!("http://{host}{}", ask.path)).header(MARK, mark);
    for (name, value) in ask.headers {
        request = request.header(*name, *value);
    }
    let body: Body = if ask.by == By::Grpc {
        request = request.header("content-type", "application/grpc").header("te", "trailers");
        full(&b"\0\0\0\0\x05hello"[..])
    } else {
        full(ask.body)
    };
    let mut client = Http2::over(door.connect().await.stream).await;
    let response = client.send(request.body(body).expect("a request")).await.unwrap_or_else(|e| panic!("{mark}: {e}"));
    let (parts, body) = response.into_parts();
    let lines = |headers: &http::HeaderMap| {
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        headers.iter().map(line).collect::<Vec<_>>()
    };
    let (body, trailers) = text(body).await;
    outcome(parts.status.as_u16(), lines(&parts.headers), body, trailers.iter().flat_map(lines).collect())
}

/// What was said on the upgraded connection is the body.
async fn upgraded(door: &Door, host: &str, ask: &Ask, mark: &str) -> Outcome {
    let mut client = door.connect().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {host}\r\n{MARK}: {mark}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ask.path
    );
    client.send(request).await;
    let answer = client.answer(false).await.unwrap_or_else(|| panic!("{mark}: the connection ended"));
    let mut said = answer.body;
    if answer.status == 101 {
        client.send("hello").await;
        said = String::from_utf8_lossy(&client.bytes(5).await).into_owned();
    }
    outcome(answer.status, answer.headers, said, Vec::new())
}

fn outcome(status: u16, headers: Vec<(String, String)>, body: String, trailers: Vec<(String, String)>) -> Outcome {
    Outcome {
        status,
        headers: comparable(headers),
        body,
        trailers: comparable(trailers),
        seen: Vec::new(),
        logged: None,
    }
}
