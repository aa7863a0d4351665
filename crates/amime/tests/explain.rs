//! `amime explain` as a program: what it prints, in each form, and what it says of mistakes.

mod common;

use common::example;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn explain(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_amime"))
        .arg("explain")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
    child.wait_with_output().expect("ended")
}

/// What it prints about examples/shop.
fn shop(args: &[&str]) -> String {
    let shop = example("shop");
    let mut all = vec!["-f", shop.to_str().expect("text")];
    all.extend(args);
    let output = explain(&all, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// These come in this order.
fn assert_in_order(text: &str, wanted: &[&str]) {
    let mut rest = text;
    for part in wanted {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing (or out of order) in\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn a_request_is_told_hop_by_hop_with_who_lost() {
    let text = shop(&["--from", "web-v1", "http://reviews:9080/reviews/1"]);
    let wanted = [
        "DNS",
        "rule",
        "VirtualService shop/reviews http[1]",
        "reviews.yaml:44:7",
        "✗ VirtualService shop/reviews http[0]",
        "header end-user is absent",
        "90 % reviews.shop.svc.cluster.local:9080 v1",
        "DestinationRule shop/reviews subsets[0]",
        "not evaluated",
        "verdict",
    ];
    assert_in_order(&text, &wanted);
    assert!(!text.contains('\x1b'), "no colour goes to a pipe");
    assert!(!text.contains("allowed"));
    let jason = shop(&["--from", "web-v1", "-H", "end-user: jason", "http://reviews:9080/reviews/1"]);
    assert_in_order(&jason, &["VirtualService shop/reviews http[0]", "verdict", "100 % to", "v2"]);
}

#[test]
fn the_same_as_json_mermaid_boxes_and_a_table() {
    let args = ["--from", "web-v1", "http://reviews:9080/reviews/1"];
    let json: Value = serde_json::from_str(&shop(&[&args[..], &["-o", "json"]].concat())).expect("JSON");
    assert_eq!(json["verdict"]["action"], "forward");
    assert_eq!(json["branches"][1]["percent"], 10.0);
    assert_eq!(json["hops"][0]["stage"], "dns");
    let mermaid = shop(&[&args[..], &["-o", "mermaid"]].concat());
    assert_in_order(&mermaid, &["flowchart TD", "n0([", "-->", "90 %"]);
    let drawn = shop(&[&args[..], &["-o", "diagram"]].concat());
    assert_in_order(&drawn, &["┌", "▼", "┌ rule", "90 %", "10 %", "┌ destination", "┌ destination", "└"]);
    let table = shop(&[&args[..], &["--all"]].concat());
    assert_in_order(&table, &["MATCH", "end-user=jason", "http[0]", "reviews.yaml:35:7", "90%", "http[1]"]);
}

#[test]
fn a_failing_request_names_what_would_mend_it() {
    let text = shop(&["http://nobody.example.com/"]);
    assert_in_order(&text, &["verdict", "404 (NR)", "remedy", "add nobody.example.com to Gateway shop/shop"]);
}

#[test]
fn many_requests_and_logs_are_answered_a_line_each() {
    let lines = concat!(
        r#"{"id": "a", "from": "shop/web-v1", "url": "http://reviews:9080/"}"#,
        "\n\n",
        r#"[2026-11-22T21:26:18.409Z] "GET /cart HTTP/1.1" 200 - via_upstream - "-" 0 135 4 4 "-" "curl" "b" "shop.example.com" "10.1.0.1:80" outbound|80||old.shop.svc.cluster.local 10.1.0.2:1 10.1.0.2:8080 10.1.0.3:1 - default"#,
        "\n"
    );
    let shop = example("shop");
    let output = explain(&["-f", shop.to_str().expect("text"), "--from", "gateway", "--requests", "-"], lines);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&Value::from("a"), &Value::from("b")));
    assert_eq!(answers[1]["logged"]["upstream_cluster"], "outbound|80||old.shop.svc.cluster.local");
    assert_eq!(answers[1]["verdict"]["destinations"][0]["host"], "web.shop.svc.cluster.local");
}

/// A dump has no files and no pods, and the same decisions.
#[test]
fn a_dump_of_a_proxy_is_answered_as_its_files_are() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), common::config::dump(&common::config::shop()).to_string()).expect("written");
    let dump = file.path().to_str().expect("text");
    let asked = |args: &[&str]| {
        let output = explain(&[&["--dump", dump], args].concat(), "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for args in [
        &["http://reviews:9080/reviews/1"][..],
        &["-H", "end-user: jason", "http://reviews:9080/reviews/1"],
        &["http://ratings:9080/"],
        &["-H", "x-try: outage", "http://ratings:9080/"],
        &["http://web.shop/"],
        &["--address", "203.0.113.9", "http://elsewhere.example.com:1234/"],
    ] {
        let of_dump: Value = serde_json::from_str(&asked(&[args, &["-o", "json"]].concat())).expect("JSON");
        let of_files = shop(&[args, &["--from", "web-v1", "-o", "json"]].concat());
        let of_files: Value = serde_json::from_str(&of_files).expect("JSON");
        assert_eq!(of_dump["verdict"], of_files["verdict"], "{args:?}");
        assert_eq!(of_dump["summary"], of_files["summary"], "{args:?}");
    }
    let text = asked(&["http://reviews:9080/reviews/1"]);
    assert_in_order(&text, &["VirtualService shop/reviews http[1]", "✗ VirtualService shop/reviews http[0]", "90 %"]);
    assert!(!text.contains("reviews.yaml"), "{text}");
    let table = asked(&["--all", "http://reviews:9080/reviews/1"]);
    assert_in_order(&table, &["end-user=jason", "http[0]", "90%", "http[1]"]);
}

#[test]
fn mistakes_are_told() {
    let shop = example("shop");
    let shop = shop.to_str().expect("text");
    let told = |args: &[&str], code: i32, wanted: &str| {
        let output = explain(args, "");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(wanted), "{error}");
    };
    told(&["-f", shop], 2, "<URL>");
    told(&["http://x/"], 2, "--filename");
    told(&["-f", shop, "-H", "nothing", "http://x/"], 2, "'name: value'");
    told(&["-f", shop, "--from", "nobody", "http://x/"], 1, "there is no pod or workload nobody; there are: ");
    told(&["-f", shop, "--from", "web-v1", "http://unknown.example/"], 1, "does not know an address");
    told(&["-f", shop, "ftp://x/"], 1, "no URL of http, https or tcp");
    told(&["-f", "/does/not/exist", "http://x/"], 1, "/does/not/exist");
}
