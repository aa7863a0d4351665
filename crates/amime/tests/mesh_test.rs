//! `amime test` as a process: the examples' own tests, failures, files that are wrong, and the reports.

mod common;

use common::process::Process;
use std::path::Path;
use std::process::{Command, Output};

fn test(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_amime"));
    command.arg("test").args(args).current_dir(root).env("NO_COLOR", "1").output().expect("amime runs")
}

/// Tests of examples/shop that are written elsewhere.
fn of_shop(tests: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.mesh-test.yaml"), tests).expect("a file");
    let path = folder.path().to_string_lossy();
    let args: Vec<&str> = ["-f", "examples/shop", &path].into_iter().chain(more.iter().copied()).collect();
    let output = test(&args);
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn the_examples_pass_and_it_is_told_which_rules_no_test_reaches() {
    let output = test(&["examples", "--coverage"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("VirtualService shop/ratings http[1]"), "{text}");
    assert!(!text.contains("VirtualService shop/reviews http[0]"), "{text}");
}

#[test]
fn a_failure_tells_what_was_found_with_the_way_of_the_request() {
    let tests = "tests: [{name: jason, request: {from: shop/web-v1, url: 'http://reviews:9080/', \
                 headers: {end-user: jason}}, expect: {subset: v3}}]";
    let (code, text) = of_shop(tests, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("subset: expected v3") && text.contains("VirtualService shop/reviews http[0]"), "{text}");
    let (code, report) = of_shop(tests, &["-o", "junit"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("tests=\"1\" failures=\"1\"") && report.contains("expected v3"), "{report}");
}

#[test]
fn nobody_is_allowed_or_denied_while_that_is_not_evaluated() {
    for expect in ["denied: true", "denied: false", "allowed: true", "allowed: false"] {
        let tests =
            format!("tests: [{{request: {{from: shop/web-v1, url: 'http://reviews:9080/'}}, expect: {{{expect}}}}}]");
        let (code, text) = of_shop(&tests, &[]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("not evaluated"), "{text}");
    }
}

#[test]
fn an_unknown_field_is_told_with_what_was_meant_and_nothing_runs() {
    let tests = "tests:\n- request: {url: 'http://shop.example.com/'}\n  expect: {statsu: 301}\n";
    let (code, text) = of_shop(tests, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("a.mesh-test.yaml:3:12") && text.contains("try `status`"), "{text}");
}

#[test]
fn what_must_never_be_is_told_with_the_request_that_does_it() {
    let (code, text) = of_shop("never: [{reaches: reviews, subset: v2, from: [shop/web-v1]}]", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("never: expected no request from shop/web-v1 reaches reviews v2"), "{text}");
    assert!(text.contains("end-user: jason") && text.contains("VirtualService shop/reviews http[0]"), "{text}");
    let (code, text) = of_shop("never: [{reaches: reviews, subset: v2, unless: {headers: {end-user: jason}}}]", &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = of_shop("never: [{reaches: reviews, from: [internet]}]", &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = of_shop("never: [{reaches: revues}]", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no service revues"), "{text}");
}

#[test]
fn live_the_same_cases_are_sent_through_a_mesh() {
    let output = test(&["examples", "--live", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let files = report["files"].as_array().expect("files");
    let all: Vec<_> = files.iter().flat_map(|file| file["tests"].as_array().expect("tests")).collect();
    let sent = |name: &str| &all.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("{name}"))["sent"];
    assert_eq!(sent("who gets which version of reviews: everyone else"), 500);
    assert_eq!(sent("old paths move"), 1);
    assert!(all.iter().all(|case| case.get("not_sent").is_none()), "{report:#}");
    // Nobody would answer where nobody is.
    let output = test(&["-f", "examples/shop/reviews.yaml", "examples/shop", "--live"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no workload is in examples/shop/reviews.yaml"));
}

#[test]
fn watched_files_are_tested_again_when_they_change() {
    let folder = common::copy_of("shop");
    let mut command = Command::new(env!("CARGO_BIN_EXE_amime"));
    command.args(["test", "--watch"]).arg(folder.path()).env("NO_COLOR", "1");
    let mut process = Process::spawn(command);
    process.wait_output(0, "8 passed");
    process.wait_output(0, "watching 1 folder;");
    let rules = folder.path().join("reviews.yaml");
    let text = std::fs::read_to_string(&rules).expect("text");
    let saved = |text: &str| {
        let from = process.output().len();
        std::fs::write(&rules, text).expect("written");
        from
    };
    let from = saved(&text.replace("weight: 90", "weight: 80").replace("weight: 10", "weight: 20"));
    process.wait_output(from, "weights.v1: expected 90 %");
    process.wait_output(from, "1 failed, 7 passed");
    let from = saved(&text);
    process.wait_output(from, "8 passed");
    // A test that is new is found too.
    let from = process.output().len();
    let new = "tests: [{name: new, request: {url: 'http://none.example.com/'}, expect: {status: 404}}]";
    std::fs::write(folder.path().join("new.mesh-test.yaml"), new).expect("written");
    process.wait_output(from, "9 passed");
    process.signal("INT");
    assert_eq!(process.wait_exit(), 0, "{}", process.output());
}
