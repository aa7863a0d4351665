//! What the fields of a DestinationRule's traffic policy do to requests, from YAML to sockets, at each of the four
//! places where a policy can stand: load balancing, consistent hashing, outlier detection, retry budgets, warm-up.
#![allow(clippy::unwrap_used)]

mod common;

use amime_model::config::ListenerFilter;
use amime_proxy::Flags;
use amime_testkit::client::{Answer, Raw};
use amime_testkit::echo::Echo;
use amime_testkit::load::ANSWERED_BY;
use amime_testkit::origin::{Origin as Server, Version, full};
use common::manifests::{PLACES, gateway, gateway_and_notes, manifests};
use common::*;
use http::Response;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use xxhash_rust::xxh64::xxh64;

const HOST: &str = "app.example.com";
const NO_RETRIES: &str = "{attempts: 0}";

async fn origins(names: &[&str]) -> Vec<Echo> {
    let mut origins = Vec::new();
    for name in names {
        origins.push(Echo::start(name).await);
    }
    origins
}

fn addresses(origins: &[Echo]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

async fn running(place: &str, policy: &str, endpoints: &[SocketAddr]) -> Running {
    Running::start(gateway(&manifests(place, policy, NO_RETRIES, endpoints))).await
}

/// Who answered.
fn by(answer: &Answer) -> String {
    answer.header(ANSWERED_BY).unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Who answers each of so many requests.
async fn answered(address: SocketAddr, count: usize) -> Vec<String> {
    let mut client = Raw::connect(address).await;
    let mut answered = Vec::new();
    for _ in 0..count {
        answered.push(by(&client.get(HOST, "/", "").await));
    }
    answered
}

fn shares(answered: &[String]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    answered.iter().for_each(|name| *shares.entry(name.as_str()).or_default() += 1);
    shares
}

#[tokio::test]
async fn round_robin_and_random() {
    let origins = origins(&["a", "b", "c"]).await;
    for place in PLACES {
        let even = running(place, "loadBalancer: {simple: ROUND_ROBIN}", &addresses(&origins)).await;
        let seen = answered(even.address, 60).await;
        assert_eq!(shares(&seen), BTreeMap::from([("a", 20), ("b", 20), ("c", 20)]), "{place}");
        assert!(seen.windows(4).all(|turns| turns[0] == turns[3]), "{place}: {seen:?}");
        let random = running(place, "loadBalancer: {simple: RANDOM}", &addresses(&origins)).await;
        let seen = answered(random.address, 60).await;
        assert_eq!(shares(&seen).len(), 3, "{place}");
        assert!(seen.windows(4).any(|turns| turns[0] != turns[3]), "{place}: {seen:?}");
    }
}

#[tokio::test]
async fn least_request_leaves_the_busy_one_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let mut servers = Vec::new();
    for name in ["a", "b"] {
        let opened = Arc::clone(&gate);
        servers.push(
            Server::http(Version::Http1, move |request| {
                let (gate, waits) = (Arc::clone(&opened), request.uri().path() == "/wait");
                async move {
                    if waits {
                        gate.acquire().await.unwrap().forget();
                    }
                    Response::builder().header(ANSWERED_BY, name).body(full("")).unwrap()
                }
            })
            .await,
        );
    }
    let endpoints: Vec<_> = servers.iter().map(|server| server.address).collect();
    for place in PLACES {
        for policy in ["{simple: LEAST_REQUEST}", "{simple: LEAST_CONN}", "{simple: UNSPECIFIED}", "{}"] {
            let running = running(place, &format!("loadBalancer: {policy}"), &endpoints).await;
            let before: usize = servers.iter().map(Server::requests).sum();
            let mut waiting = Raw::connect(running.address).await;
            waiting.send(format!("GET /wait HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            until(|| servers.iter().map(Server::requests).sum::<usize>() > before).await;
            let seen = answered(running.address, 20).await;
            gate.add_permits(1);
            let busy = by(&waiting.answer(false).await.unwrap());
            assert!(!seen.contains(&busy), "{policy} at {place}");
        }
    }
}

#[tokio::test]
async fn passthrough_goes_where_the_client_dialled() {
    let origins = origins(&["endpoint", "dialled"]).await;
    for place in PLACES {
        let text = manifests(place, "loadBalancer: {simple: PASSTHROUGH}", NO_RETRIES, &[origins[0].address]);
        let mut config = gateway(&text);
        // Says what was dialled, in the place of a redirected connection.
        for listener in config.listeners.values_mut() {
            Arc::make_mut(listener).listener_filters.insert(0, ListenerFilter::ProxyProtocol);
        }
        let running = Running::start(config).await;
        let mut client = Raw::connect(running.address).await;
        client.send(format!("PROXY TCP4 127.0.0.1 127.0.0.1 4000 {}\r\n", origins[1].address.port())).await;
        assert_eq!(by(&client.get(HOST, "/", "").await), "dialled", "{place}");
    }
}

#[tokio::test]
async fn a_key_keeps_its_host() {
    let origins = origins(&["a", "b", "c"]).await;
    let algorithms = ["", ", ringHash: {minimumRingSize: 64}", ", maglev: {tableSize: 251}"];
    let keys = [
        ("httpHeaderName: x-user", "/", "x-user: KEY\r\n"),
        ("httpQueryParameterName: user", "/?user=KEY", ""),
        ("httpCookie: {name: user, ttl: 0s}", "/", "cookie: a=b; user=KEY\r\n"),
    ];
    for (number, place) in PLACES.into_iter().enumerate() {
        for (key, path, header) in keys {
            let policy = format!("loadBalancer: {{consistentHash: {{{key}{}}}}}", algorithms[number % 3]);
            let running = running(place, &policy, &addresses(&origins)).await;
            let mut client = Raw::connect(running.address).await;
            let mut hosts = BTreeSet::new();
            for user in 0..20 {
                let with = |text: &str| text.replace("KEY", &format!("user-{user}"));
                let mut own = BTreeSet::new();
                for _ in 0..4 {
                    own.insert(by(&client.get(HOST, &with(path), &with(header)).await));
                }
                assert_eq!(own.len(), 1, "{policy} at {place}");
                hosts.extend(own);
            }
            assert!(hosts.len() > 1, "{policy} at {place}");
        }
    }
}

#[tokio::test]
async fn an_address_keeps_its_host() {
    let origins = origins(&["a", "b", "c"]).await;
    for place in PLACES {
        let running = running(
            place,
            "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 251}}}",
            &addresses(&origins),
        )
        .await;
        let mut hosts = BTreeSet::new();
        for client in 2..22 {
            let mut own = BTreeSet::new();
            for _ in 0..3 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from(([127, 0, 0, client], 0))).unwrap();
                let stream = socket.connect(running.address).await.unwrap();
                own.insert(by(&Raw::over(stream).get(HOST, "/", "").await));
            }
            assert_eq!(own.len(), 1, "{place}");
            hosts.extend(own);
        }
        assert!(hosts.len() > 1, "{place}");
    }
}

/// Sizes so small that the test can say who is due.
#[tokio::test]
async fn tables_have_the_size_that_is_asked_for() {
    let origins = origins(&["a", "b", "c"]).await;
    let mut points: Vec<_> =
        origins.iter().map(|o| (xxh64(format!("{}_0", o.address).as_bytes(), 0), &o.name)).collect();
    points.sort_unstable();
    let by_ring = |hash: u64| points.iter().find(|(point, _)| *point >= hash).unwrap_or(&points[0]).1.clone();
    for place in PLACES {
        // One point for each host.
        for ring in ["ringHash: {minimumRingSize: 3}", "minimumRingSize: 3"] {
            let policy = format!("loadBalancer: {{consistentHash: {{httpHeaderName: x-user, {ring}}}}}");
            let running = running(place, &policy, &addresses(&origins)).await;
            let mut client = Raw::connect(running.address).await;
            for user in 0..60 {
                let user = format!("user-{user}");
                let answer = client.get(HOST, "/", &format!("x-user: {user}\r\n")).await;
                assert_eq!(by(&answer), by_ring(xxh64(user.as_bytes(), 0)), "{user} by {ring} at {place}");
            }
        }
        // One place for each host.
        let policy = "loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 3}}}";
        let running = running(place, policy, &addresses(&origins)).await;
        let mut client = Raw::connect(running.address).await;
        let mut places: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for user in 0..60 {
            let user = format!("user-{user}");
            let answer = client.get(HOST, "/", &format!("x-user: {user}\r\n")).await;
            places.entry(xxh64(user.as_bytes(), 0) % 3).or_default().insert(by(&answer));
        }
        let owners: BTreeSet<_> = places.values().flatten().collect();
        assert!(places.values().all(|own| own.len() == 1) && owners.len() == 3, "{place}: {places:?}");
    }
}

#[tokio::test]
async fn a_cookie_is_made_with_all_that_is_asked_for() {
    let origins = origins(&["a", "b", "c"]).await;
    let cookie = "{name: user, path: /shop, ttl: 90s, attributes: [{name: SameSite, value: Lax}, {name: Secure}]}";
    let policy = format!("loadBalancer: {{consistentHash: {{httpCookie: {cookie}}}}}");
    for place in PLACES {
        let running = running(place, &policy, &addresses(&origins)).await;
        let mut client = Raw::connect(running.address).await;
        let first = client.get(HOST, "/", "").await;
        let set = first.header("set-cookie").expect("a cookie").to_owned();
        let (pair, rest) = set.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=90; Path=/shop; SameSite=Lax; Secure; HttpOnly", "{place}");
        let mut cookies = HashSet::from([pair.to_owned()]);
        for _ in 0..4 {
            let again = client.get(HOST, "/", &format!("cookie: {pair}\r\n")).await;
            assert_eq!((by(&again), again.header("set-cookie")), (by(&first), None), "{place}");
            cookies.insert(client.get(HOST, "/", "").await.header("set-cookie").unwrap().to_owned());
        }
        assert_eq!(cookies.len(), 5, "each client has one of its own");
    }
    // Without a ttl none is made.
    let policy = "loadBalancer: {consistentHash: {httpCookie: {name: user}}}";
    let none = running(PLACES[0], policy, &addresses(&origins)).await;
    assert_eq!(Raw::connect(none.address).await.get(HOST, "/", "").await.header("set-cookie"), None);
}

/// What a policy makes of an endpoint that answers with these statuses: whether it is ejected then.
async fn ejected(place: &str, policy: &str, endpoint: SocketAddr, statuses: &[u16]) -> bool {
    let policy = format!("outlierDetection: {{maxEjectionPercent: 100, baseEjectionTime: 1h, {policy}}}");
    let mut running = running(place, &policy, &[endpoint]).await;
    let mut client = Raw::connect(running.address).await;
    for status in statuses {
        let answer = client.get(HOST, "/", &format!("x-status: {status}\r\n")).await;
        let flags = running.record().await.flags;
        assert!(!flags.contains(Flags::UH), "{policy} {statuses:?} at {place}: {answer:?}");
    }
    client.get(HOST, "/", "").await;
    running.record().await.flags.contains(Flags::UH)
}

#[tokio::test]
async fn statuses_that_eject() {
    let origin = Echo::start("a").await;
    let cases: &[(&str, &[u16], bool)] = &[
        ("consecutive5xxErrors: 3", &[500, 502, 503], true),
        ("consecutive5xxErrors: 3", &[500, 502], false),
        ("consecutive5xxErrors: 3", &[500, 502, 200, 503, 500], false),
        ("consecutive5xxErrors: 0", &[500, 500, 500, 500, 500, 500], false),
        ("interval: 1s", &[500, 500, 500, 500], false),
        ("interval: 1s", &[500, 500, 500, 500, 500], true),
        ("consecutive5xxErrors: 0, consecutiveGatewayErrors: 2", &[503, 504], true),
        ("consecutive5xxErrors: 0, consecutiveGatewayErrors: 2", &[502, 500, 503, 501, 504], false),
        ("consecutive5xxErrors: 0, consecutiveGatewayErrors: 0", &[502, 503, 504, 502, 503, 504], false),
        // Without a count of their own gateway errors are not looked at.
        ("consecutive5xxErrors: 0", &[502, 503, 504, 502, 503, 504], false),
        ("consecutive5xxErrors: 4, consecutiveGatewayErrors: 2", &[500, 503, 500, 503], true),
        ("consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429]", &[429, 429], true),
        ("consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429]", &[500, 503, 500, 504], false),
        ("consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429]", &[429, 500, 429, 200, 429], false),
        ("consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429, 503]", &[429, 503], true),
        (
            "consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, outlierDetectionHttpErrorCodes: [429, 503]",
            &[429, 429, 503, 429],
            false,
        ),
        (
            "consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, outlierDetectionHttpErrorCodes: [429, 503]",
            &[429, 503, 503],
            true,
        ),
    ];
    for (number, (policy, statuses, ejects)) in cases.iter().enumerate() {
        let place = PLACES[number % 4];
        assert_eq!(ejected(place, policy, origin.address, statuses).await, *ejects, "{policy} {statuses:?} {place}");
    }
    for place in PLACES {
        for policy in [
            "consecutive5xxErrors: 2",
            "consecutive5xxErrors: 0, consecutiveGatewayErrors: 2",
            "consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [503]",
        ] {
            assert!(ejected(place, policy, origin.address, &[503, 503]).await, "{policy} {place}");
        }
    }
}

#[tokio::test]
async fn consecutive_errors_are_ignored_out_loud() {
    let origin = Echo::start("a").await;
    let policy = "outlierDetection: {consecutiveErrors: 1, consecutive5xxErrors: 0, maxEjectionPercent: 100}";
    for place in PLACES {
        let (config, said) = gateway_and_notes(&manifests(place, policy, NO_RETRIES, &[origin.address]));
        assert!(said.iter().any(|said| said.contains("consecutiveErrors")), "{said:?}");
        let running = Running::start(config).await;
        let mut client = Raw::connect(running.address).await;
        for status in [500, 503, 500, 503, 500, 503] {
            assert_eq!(client.get(HOST, "/", &format!("x-status: {status}\r\n")).await.status, status, "{place}");
        }
        assert_eq!(client.get(HOST, "/", "").await.status, 200, "{place}");
    }
}

#[tokio::test]
async fn local_errors_that_eject() {
    let origin = Echo::start("a").await;
    // Nobody listens there while the test runs: the port is taken, and does not listen.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(ANY.parse().unwrap()).unwrap();
    let dead = taken.local_addr().unwrap();
    for place in PLACES {
        let of = |policy: &'static str, endpoint, count: usize| async move {
            ejected(place, policy, endpoint, &[500; 9][..count]).await
        };
        let split = "consecutive5xxErrors: 1, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3";
        assert!(of(split, dead, 3).await, "{place}");
        assert!(!of(split, dead, 2).await, "{place}");
        assert!(of(split, origin.address, 1).await, "{place}");
        let split = "consecutive5xxErrors: 1, splitExternalLocalOriginErrors: true";
        assert!(!of(split, dead, 4).await, "{place}");
        assert!(of(split, dead, 5).await, "{place}");
        let together = "consecutive5xxErrors: 2";
        assert!(of(together, dead, 2).await, "{place}");
        let gateway_errors = "consecutive5xxErrors: 0, consecutiveGatewayErrors: 2";
        assert!(of(gateway_errors, dead, 2).await, "{place}");
    }
}

#[tokio::test]
async fn how_many_are_ejected_and_who_goes_on() {
    let origins = origins(&["a", "b", "c"]).await;
    for place in PLACES {
        let left = |policy: &'static str| {
            let endpoints = addresses(&origins);
            async move {
                let policy = format!(
                    "loadBalancer: {{simple: ROUND_ROBIN}}, \
                     outlierDetection: {{consecutive5xxErrors: 1, baseEjectionTime: 1h, {policy}}}"
                );
                let running = running(place, &policy, &endpoints).await;
                let mut client = Raw::connect(running.address).await;
                for _ in 0..12 {
                    client.get(HOST, "/", "x-status: 500\r\n").await;
                }
                let mut left = BTreeSet::new();
                for _ in 0..12 {
                    left.extend(client.get(HOST, "/", "").await.header(ANSWERED_BY).map(str::to_owned));
                }
                left.len()
            }
        };
        assert_eq!(left("maxEjectionPercent: 100").await, 0, "{place}");
        assert_eq!(left("maxEjectionPercent: 67").await, 1, "{place}");
        assert_eq!(left("maxEjectionPercent: 66").await, 2, "{place}");
        assert_eq!(left("maxEjectionPercent: 33").await, 3, "{place}");
        // Envoy's 10, of three none.
        assert_eq!(left("maxEjectionPercent: 0").await, 3, "{place}");
        assert_eq!(left("interval: 10s").await, 3, "{place}");
        // A third is left: less than 34 % are healthy, so all are asked.
        assert_eq!(left("maxEjectionPercent: 67, minHealthPercent: 34").await, 3, "{place}");
        assert_eq!(left("maxEjectionPercent: 67, minHealthPercent: 33").await, 1, "{place}");
        assert_eq!(left("maxEjectionPercent: 100, minHealthPercent: 1").await, 3, "{place}");
    }
}

#[tokio::test]
async fn an_ejected_endpoint_comes_back() {
    let origin = Echo::start("a").await;
    for place in PLACES {
        let policy = "outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 200ms, maxEjectionPercent: 100}";
        let running = running(place, policy, &[origin.address]).await;
        let mut client = Raw::connect(running.address).await;
        let before = Instant::now();
        assert_eq!(client.get(HOST, "/", "x-status: 500\r\n").await.status, 500);
        while client.get(HOST, "/", "").await.status != 200 {}
        assert!(before.elapsed() >= Duration::from_millis(200), "{place}");
    }
}

/// Of so many requests at once, all of which fail at first: how many are tried again. Before them come others that do not
/// fail.
async fn retried(place: &str, policy: &str, before: usize, at_once: usize) -> usize {
    let (first, second) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let gates = (Arc::clone(&first), Arc::clone(&second));
    let origin = Server::http(Version::Http1, move |request| {
        let path = request.uri().path().to_owned();
        let again = !seen.lock().unwrap().insert(path.clone());
        let gate = Arc::clone(if again { &gates.1 } else { &gates.0 });
        async move {
            if path == "/before" {
                return Response::new(full(""));
            }
            gate.acquire().await.unwrap().forget();
            Response::builder().status(if again { 200 } else { 503 }).body(full("")).unwrap()
        }
    })
    .await;
    let retries = "{attempts: 1, retryOn: 5xx, backoff: 1ms}";
    let running = Running::start(gateway(&manifests(place, policy, retries, &[origin.address]))).await;
    let mut client = Raw::connect(running.address).await;
    for _ in 0..before {
        assert_eq!(client.get(HOST, "/before", "").await.status, 200);
    }
    let mut asking = tokio::task::JoinSet::new();
    let address = running.address;
    let refused = Arc::new(Mutex::new(0));
    for n in 0..at_once {
        let refused = Arc::clone(&refused);
        asking.spawn(async move {
            let status = Raw::connect(address).await.get(HOST, &format!("/{n}"), "").await.status;
            *refused.lock().unwrap() += usize::from(status == 503);
            status
        });
    }
    until(|| origin.requests() == before + at_once).await;
    first.add_permits(at_once);
    // Each is refused or tried again.
    until(|| origin.requests() - before - at_once + *refused.lock().unwrap() == at_once).await;
    let retried = origin.requests() - before - at_once;
    second.add_permits(at_once);
    let statuses = asking.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), retried, "{policy} at {place}");
    retried
}

#[tokio::test]
async fn retries_are_limited_by_number() {
    for place in PLACES {
        let of = |policy: &'static str| retried(place, policy, 0, 6);
        assert_eq!(of("connectionPool: {http: {maxRetries: 2}}").await, 2, "{place}");
        // 0 is no limit.
        assert_eq!(of("connectionPool: {http: {maxRetries: 0}}").await, 6, "{place}");
    }
}

#[tokio::test]
async fn retries_are_limited_by_budget() {
    // A port has no budget of its own.
    for place in [PLACES[0], PLACES[2]] {
        let of = |policy: &'static str, before| retried(place, policy, before, 8);
        assert_eq!(of("retryBudget: {percent: 50, minRetryConcurrency: 1}", 0).await, 4, "{place}");
        assert_eq!(of("retryBudget: {percent: 0, minRetryConcurrency: 2}", 0).await, 2, "{place}");
        // At least three, where nothing is written.
        assert_eq!(of("retryBudget: {percent: 10}", 0).await, 3, "{place}");
        assert_eq!(of("retryBudget: {}", 40).await, 3, "{place}");
        // Requests that have ended count too, for so long: 20 % of 48.
        assert_eq!(of("retryBudget: {budgetInterval: 1h}", 22).await, 6, "{place}");
        assert_eq!(of("retryBudget: {budgetInterval: 1h}", 40).await, 8, "{place}");
        assert_eq!(of("retryBudget: {budgetInterval: 0s}", 40).await, 3, "{place}");
        // It wins over the number.
        let both = "retryBudget: {percent: 100}, connectionPool: {http: {maxRetries: 1}}";
        assert_eq!(of(both, 0).await, 8, "{place}");
    }
}

/// One endpoint has been there for the whole window when another comes.
async fn warms_up(place: &str, policy: &str, window: Duration, least: f64) {
    let origins = origins(&["old", "new"]).await;
    let endpoints = addresses(&origins);
    let text = |endpoints| manifests(place, policy, NO_RETRIES, endpoints);
    let running = Running::start(gateway(&text(&endpoints[..1]))).await;
    // From here on it is known.
    answered(running.address, 1).await;
    tokio::time::sleep(window).await;
    // Alone it takes all.
    answered(running.address, 4).await;
    let mut client = Raw::connect(running.address).await;
    let comes = Instant::now();
    running.proxy.apply(gateway(&text(&endpoints))).await.unwrap();
    let mut news = 0.0;
    for _ in 0..100 {
        news += f64::from(u8::from(by(&client.get(HOST, "/", "").await) == "new"));
    }
    // However slow the machine is: its part was never more than what it has by now.
    let part = (comes.elapsed().as_secs_f64() / window.as_secs_f64()).clamp(least, 1.0);
    let most = 100.0 * part / (1.0 + part);
    assert!(news <= most + 4.0 * most.sqrt(), "{policy} at {place}: {news} of 100, at most {most} are due");
    tokio::time::sleep(window).await;
    let shares = answered(running.address, 200).await.iter().filter(|name| *name == "new").count();
    assert!((50..=150).contains(&shares), "{policy} at {place}: {shares} of 200 when it is warm");
}

#[tokio::test]
async fn a_new_endpoint_warms_up() {
    let window = Duration::from_secs(2);
    let policies = [
        "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 2s}}",
        "loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 2s, minimumPercent: 10, aggression: 1}}",
        "loadBalancer: {warmupDurationSecs: 2s}",
        "loadBalancer: {simple: LEAST_REQUEST, warmupDurationSecs: 2s}",
    ];
    // All at once: they wait most of the time.
    let all = (0..4).flat_map(|at| [(PLACES[at], policies[at]), (PLACES[at], policies[(at + 1) % 4])]);
    let mut warming = tokio::task::JoinSet::new();
    for (place, policy) in all {
        warming.spawn(warms_up(place, policy, window, 0.1));
    }
    warming.join_all().await;
}

#[tokio::test]
async fn who_hashes_does_not_warm_up() {
    let config = gateway(&manifests(
        PLACES[0],
        "loadBalancer: {warmup: {duration: 60s}, consistentHash: {useSourceIp: true}}",
        NO_RETRIES,
        &[SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 1)],
    ));
    assert!(config.clusters.values().all(|cluster| cluster.slow_start.is_none()));
}
