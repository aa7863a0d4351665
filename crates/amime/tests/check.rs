//! `amime check` as a process: what it reads, prints and leaves out, and its exit codes.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const WRONG: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  namespace: shop
spec:
  hosts: [web]
  http:
  - timeot: 5s
    route:
    - destination: {host: web}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {amime.dev/ignore: IST0118 detected on purpose}}
spec: {ports: [{port: 80, name: web}]}
";

fn check(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_amime"))
        .arg("check")
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("amime starts");
    // A command line that is wrong ends before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn an_unknown_field_is_told_at_its_place_and_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("web.yaml"), WRONG).expect("a file");
    let found = check(folder.path(), &["web.yaml", "-o", "json"], "");
    assert_eq!(found.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    let first = &json["diagnostics"][0];
    assert_eq!((&first["code"], &first["location"]["line"]), (&"IST0106".into(), &9.into()), "{json:#}");
    assert_eq!(first["fix"], "timeout");
    // The port's name is left as it is, with a reason.
    assert_eq!(json["summary"]["suppressed"], 1);
}

#[test]
fn standard_input_is_read_and_the_configuration_leaves_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "ignore:\n- {code: IST01*, resource: VirtualService shop/web, reason: a test}\n";
    std::fs::write(folder.path().join(".amime-check.yaml"), config).expect("a file");
    let found = check(folder.path(), &["-"], WRONG);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(0), "{text}");
    assert!(text.ends_with("nothing found in 2 objects; 2 suppressed\n"), "{text}");
}

#[test]
fn what_cannot_be_read_is_a_mistake_of_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(check(folder.path(), &["nowhere.yaml"], "").status.code(), Some(2));
    assert_eq!(check(folder.path(), &[], "").status.code(), Some(2));
    std::fs::write(folder.path().join("c.yaml"), "ignore:\n- {code: IST0101}\n").expect("a file");
    let without_reason = check(folder.path(), &["-", "--config", "c.yaml"], WRONG);
    assert_eq!(without_reason.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&without_reason.stderr).contains("reason"));
}

#[test]
fn a_code_is_explained() {
    let page = check(Path::new("."), &["--explain", "ist0101"], "");
    assert!(String::from_utf8_lossy(&page.stdout).starts_with("# IST0101 ReferencedResourceNotFound\n"));
}
