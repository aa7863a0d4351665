//! Istio's samples, unmodified, as `amime up` runs them. Skipped, with a line that says so, where they are not.

mod common;

use common::{Answer, Mesh, Start, exchange, get, samples};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const BOOKINFO: &str = "bookinfo/platform/kube/bookinfo.yaml";
const RULES: &str = "bookinfo/networking/destination-rule-all.yaml";

/// Files of bookinfo/networking that cannot run yet as their names say, and why.
const NOT_YET: [(&str, &str); 2] = [
    ("destination-rule-all-mtls.yaml", "ISTIO_MUTUAL needs identities, which are not built yet"),
    ("egress-rule-google-apis.yaml", "resolution DNS, TLS origination and a host on the internet"),
];

#[test]
fn milestone_one() {
    let Some(samples) = samples() else { return };
    let files = [
        BOOKINFO,
        "bookinfo/networking/bookinfo-gateway.yaml",
        RULES,
        "bookinfo/networking/virtual-service-reviews-jason-v2-v3.yaml",
    ];
    let mesh = Mesh::up(files.map(|file| samples.join(file)));
    let ask = |headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("x-amime-call", "http://reviews:9080/reviews/0"));
        get(mesh.port(8080), "bookinfo.example.com", "/productpage", &headers)
    };
    for _ in 0..10 {
        let jason = ask(&[("end-user", "jason")]);
        assert_eq!((jason.status, jason.workload().as_str()), (200, "productpage-v1"));
        assert_eq!(jason.called()["workload"], "reviews-v2", "{jason:?}");
        assert_eq!(ask(&[]).called()["workload"], "reviews-v3");
    }
    mesh.wait_output(0, "VirtualService default/reviews http[0]");
    let elsewhere = get(mesh.port(8080), "bookinfo.example.com", "/elsewhere", &[]);
    assert_eq!(elsewhere.status, 404);
    mesh.wait_output(0, "404 NR");
}

/// Bookinfo with more files. The test is productpage: its requests enter the mesh by the proxy that is printed.
struct Bookinfo {
    mesh: Mesh,
    proxy: SocketAddr,
}

impl Bookinfo {
    fn up(samples: &Path, files: &[&str]) -> Self {
        let mut start = Start::new().args(["--replace", "productpage-v1=127.0.0.1:9"]).arg(samples.join(BOOKINFO));
        for file in files {
            start = start.arg(samples.join(file));
        }
        let mesh = start.ready();
        let line = mesh.wait_output(0, "http_proxy=http://");
        let address = line.split("http_proxy=http://").nth(1).expect("an address");
        let address = address.split([' ', '/', '"']).next().expect("an address");
        Self { proxy: address.parse().expect("an address"), mesh }
    }

    fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = format!("GET {url} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        exchange(self.proxy, request.as_bytes()).unwrap_or_else(|| panic!("no answer\n{}", self.mesh.output()))
    }

    /// How many of `count` requests each version answered.
    fn versions(&self, url: &str, count: usize) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        for _ in 0..count {
            let answer = self.get(url, &[]);
            let version = answer.json()["version"].as_str().unwrap_or_default().to_owned();
            *seen.entry(version).or_default() += 1;
        }
        seen
    }

    fn always(&self, url: &str, headers: &[(&str, &str)], version: &str) {
        for _ in 0..8 {
            let answer = self.get(url, headers);
            assert_eq!(answer.json()["version"], version, "{url} {headers:?}: {answer:?}");
        }
    }

    /// 503, and the flag that tells that the version has no pod.
    fn no_pod(&self, url: &str, namespace_rule: &str) {
        let from = self.mesh.output().len();
        assert_eq!(self.get(url, &[]).status, 503, "{url}");
        let line = self.mesh.wait_output(from, namespace_rule);
        assert!(line.contains("503 UH"), "{line}");
    }
}

const DETAILS: &str = "http://details:9080/details/0";
const RATINGS: &str = "http://ratings:9080/ratings/0";
const REVIEWS: &str = "http://reviews:9080/reviews/0";
const JASON: &[(&str, &str)] = &[("end-user", "jason")];

/// What each file is for, by its name.
fn check(file: &str, bookinfo: &Bookinfo) {
    match file {
        "bookinfo-gateway.yaml" => {
            // productpage is the test itself, and it does not listen.
            let port = bookinfo.mesh.port(8080);
            assert_eq!(get(port, "any", "/productpage", &[]).status, 503);
            assert_eq!(get(port, "any", "/", &[]).status, 404);
        }
        "certmanager-gateway.yaml" => {
            let port = bookinfo.mesh.port(80);
            // No such service: the cluster is not there.
            let answer = get(port, "any", "/.well-known/acme-challenge/x", &[]);
            assert_eq!(answer.status, 503);
            bookinfo.mesh.wait_output(0, "503 NC");
            assert_eq!(get(port, "any", "/", &[]).status, 404);
        }
        "destination-rule-all.yaml" | "destination-rule-reviews.yaml" => {
            let seen = bookinfo.versions(REVIEWS, 60);
            assert_eq!(seen.len(), 3, "{seen:?}");
        }
        "fault-injection-details-v1.yaml" => {
            let from = bookinfo.mesh.output().len();
            assert_eq!(bookinfo.get(DETAILS, &[]).status, 555);
            bookinfo.mesh.wait_output(from, "555 FI");
        }
        "virtual-service-all-v1.yaml" => {
            for url in [DETAILS, RATINGS, REVIEWS] {
                bookinfo.always(url, &[], "v1");
            }
        }
        "virtual-service-details-v2.yaml" => bookinfo.no_pod(DETAILS, "default/details"),
        "virtual-service-ratings-db.yaml"
        | "virtual-service-ratings-mysql.yaml"
        | "virtual-service-ratings-mysql-vm.yaml" => {
            bookinfo.always(REVIEWS, &[], "v3");
            bookinfo.no_pod(RATINGS, "default/ratings");
        }
        "virtual-service-ratings-test-abort.yaml" => {
            assert_eq!(bookinfo.get(RATINGS, JASON).status, 500);
            bookinfo.always(RATINGS, &[], "v1");
        }
        "virtual-service-ratings-test-delay.yaml" => {
            let start = std::time::Instant::now();
            assert_eq!(bookinfo.get(RATINGS, JASON).json()["version"], "v1");
            assert!(start.elapsed().as_secs() >= 7);
            bookinfo.always(RATINGS, &[], "v1");
        }
        "virtual-service-reviews-50-v3.yaml" => shares(bookinfo, [("v1", 50), ("v3", 50)]),
        "virtual-service-reviews-80-20.yaml" => shares(bookinfo, [("v1", 80), ("v2", 20)]),
        "virtual-service-reviews-90-10.yaml" => shares(bookinfo, [("v1", 90), ("v2", 10)]),
        "virtual-service-reviews-v2-v3.yaml" => shares(bookinfo, [("v2", 50), ("v3", 50)]),
        "virtual-service-reviews-jason-v2-v3.yaml" => {
            bookinfo.always(REVIEWS, JASON, "v2");
            bookinfo.always(REVIEWS, &[], "v3");
        }
        "virtual-service-reviews-test-v2.yaml" => {
            bookinfo.always(REVIEWS, JASON, "v2");
            bookinfo.always(REVIEWS, &[], "v1");
        }
        "virtual-service-reviews-v3.yaml" => bookinfo.always(REVIEWS, &[], "v3"),
        unknown => panic!("{unknown} is new: say here what it is to do"),
    }
}

/// Each version gets about its share of 300 requests: six standard deviations are allowed.
fn shares(bookinfo: &Bookinfo, expected: [(&str, u32); 2]) {
    const COUNT: usize = 300;
    let seen = bookinfo.versions(REVIEWS, COUNT);
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for (version, percent) in expected {
        let share = f64::from(percent) / 100.0;
        let got = seen.get(version).copied().unwrap_or_default() as f64;
        let allowed = 6.0 * (COUNT as f64 * share * (1.0 - share)).sqrt();
        assert!((got - COUNT as f64 * share).abs() <= allowed, "{version}: {seen:?}");
    }
}

#[test]
fn each_networking_file_routes_as_its_name_says() {
    let Some(samples) = samples() else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(samples.join("bookinfo/networking"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Some((_, why)) = NOT_YET.iter().find(|(name, _)| *name == file) {
            eprintln!("not yet: {file}: {why}");
            continue;
        }
        eprintln!("{file}");
        let networking = format!("bookinfo/networking/{file}");
        // The other destination rules replace the common ones.
        let replaces = file.starts_with("destination-rule-");
        let files: Vec<&str> = if replaces { vec![&networking] } else { vec![RULES, &networking] };
        check(&file, &Bookinfo::up(&samples, &files));
    }
}

#[test]
fn helloworld() {
    let Some(samples) = samples() else { return };
    let files = ["helloworld/helloworld.yaml", "helloworld/helloworld-gateway.yaml"];
    let mesh = Mesh::up(files.map(|file| samples.join(file)));
    let mut versions = BTreeMap::new();
    for _ in 0..40 {
        let answer = mesh.get("any", "/hello", &[]);
        *versions.entry(answer.json()["version"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert_eq!(mesh.get("any", "/other", &[]).status, 404);
}

#[test]
fn httpbin() {
    let Some(samples) = samples() else { return };
    let files = ["httpbin/httpbin.yaml", "httpbin/httpbin-gateway.yaml"];
    let mesh = Mesh::up(files.map(|file| samples.join(file)));
    let answer = mesh.get("any", "/status/200", &[]);
    assert_eq!((answer.status, answer.workload().as_str()), (200, "httpbin"));
    assert_eq!(answer.json()["version"], "v1");
    assert_eq!(answer.json()["path"], "/status/200");
}

/// From standard input, as `helm template | amime up -` gives it.
#[test]
fn from_standard_input() {
    let Some(samples) = samples() else { return };
    let mut text = String::new();
    for file in ["helloworld/helloworld.yaml", "helloworld/helloworld-gateway.yaml"] {
        text.push_str(&std::fs::read_to_string(samples.join(file)).expect("a file"));
        text.push_str("\n---\n");
    }
    let mut mesh = Start::new().arg("-").with_input().spawn();
    mesh.input().expect("piped").write_all(text.as_bytes()).expect("written");
    mesh.wait_ready();
    assert_eq!(mesh.get("any", "/hello", &[]).json()["namespace"], Value::from("default"));
}
