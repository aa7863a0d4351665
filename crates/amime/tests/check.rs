//! `amime check` as a process: what it reads, prints and leaves out, and its exit codes.

use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
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
  exportTo: [.]
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

const MENDED: &str = "\
--- web.yaml
+++ web.yaml
@@ -6,7 +6,7 @@
 spec:
   hosts: [web]
   http:
-  - timeot: 5s
+  - timeout: 5s
     route:
     - destination: {host: web}
   exportTo: [.]
";

#[test]
fn what_has_one_remedy_is_mended_in_the_file_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yaml");
    let before = format!("\u{feff}# Ours.\r\n{}", WRONG.replace('\n', "\r\n"));
    std::fs::write(&file, &before).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    std::os::unix::fs::symlink("web.yaml", folder.path().join("link.yaml")).expect("a link");
    let fixed = check(folder.path(), &["link.yaml", "--fix"], "");
    assert_eq!(fixed.status.code(), Some(0), "{fixed:?}");
    let after = before.replace("timeot", "timeout");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), after);
    let meta = std::fs::symlink_metadata(&file).expect("a file");
    assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o640, "{meta:?}");
    assert_eq!(names(folder.path()), ["link.yaml", "web.yaml"]);
    // Again: nothing is left to mend.
    let again = check(folder.path(), &["link.yaml", "--fix"], "");
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(text.starts_with("fixed 0 findings in 0 files\n"), "{text}");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), after);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_dry_run_shows_the_change_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yaml");
    std::fs::write(&file, WRONG).expect("a file");
    let shown = check(folder.path(), &["web.yaml", "--fix", "--dry-run"], "");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        text.starts_with(&format!("{MENDED}would fix 1 finding in 1 file\n\nweb.yaml\n\nerror[IST0106]")),
        "{text}"
    );
    // What is found is what is in the file.
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), WRONG);
    // A program that reads findings gets them alone.
    let json = check(folder.path(), &["web.yaml", "--fix", "-o", "json"], "");
    let found: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((json.status.code(), found["summary"]["errors"].as_u64()), (Some(0), Some(0)), "{found:#}");
    assert_eq!(String::from_utf8_lossy(&json.stderr), format!("{MENDED}fixed 1 finding in 1 file\n\n"));
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), WRONG.replace("timeot", "timeout"));
}

#[test]
fn standard_input_cannot_be_mended_and_what_is_suppressed_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = check(folder.path(), &["-", "--fix"], WRONG);
    assert_eq!((refused.status.code(), refused.stdout), (Some(2), Vec::new()));
    assert_eq!(check(folder.path(), &["x.yaml", "--dry-run"], "").status.code(), Some(2));
    let meant = WRONG.replace("name: web\n", "name: web\n  annotations: {amime.dev/ignore: IST0106 meant so}\n");
    std::fs::write(folder.path().join("web.yaml"), &meant).expect("a file");
    assert_eq!(check(folder.path(), &["web.yaml", "--fix"], "").status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(folder.path().join("web.yaml")).expect("a file"), meant);
}

#[test]
fn a_file_that_is_no_text_is_left_and_keeps_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let misspelt = WRONG.replace("kind: VirtualService", "kind: VirtualServce");
    let binary = [misspelt.as_bytes(), b"---\n\xff\n"].concat();
    std::fs::write(folder.path().join("a.yaml"), &binary).expect("a file");
    std::fs::write(folder.path().join("b.yaml"), &misspelt).expect("a file");
    assert_eq!(check(folder.path(), &[".", "--fix"], "").status.code(), Some(1));
    assert_eq!(std::fs::read(folder.path().join("a.yaml")).expect("a file"), binary);
    let mended = std::fs::read_to_string(folder.path().join("b.yaml")).expect("a file");
    assert_eq!(mended, WRONG.replace("timeot", "timeout"));
}

#[test]
fn a_write_that_is_cut_off_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = format!("{WRONG}{}", "# A comment as long as many are.\n".repeat(1000));
    std::fs::write(folder.path().join("web.yaml"), &long).expect("a file");
    // The kernel ends the process at the first byte over the limit.
    let cut = Command::new("sh")
        .args(["-c", "ulimit -f 4; exec \"$0\" check web.yaml --fix", env!("CARGO_BIN_EXE_amime")])
        .current_dir(folder.path())
        .output()
        .expect("a shell");
    assert!(!cut.status.success(), "{cut:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("web.yaml")).expect("a file"), long);
    // What it left behind is no manifest, and in nobody's way.
    assert_eq!(check(folder.path(), &[".", "--fix"], "").status.code(), Some(0));
    let now = std::fs::read_to_string(folder.path().join("web.yaml")).expect("a file");
    assert_eq!(now, long.replace("timeot", "timeout"));
}

#[test]
fn values_of_charts_are_judged_by_what_the_charts_make_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("istiod.yaml", "autoscaleMin: 1\n");
    write("gateway.yaml", "service:\n  type: LoadBalancer\n");
    write("empty.yaml", "");
    write("good.yaml", "service: {type: NodePort}\n");
    let told = |args: &[&str]| {
        let found = check(folder.path(), &[args, &["-o", "json"]].concat(), "");
        let json: Value = serde_json::from_slice(&found.stdout).expect("JSON");
        let all = json["diagnostics"].as_array().expect("a list").clone();
        let told = |one: &Value| format!("{} {}", one["code"].as_str().unwrap_or(""), one["location"]);
        all.iter().map(told).collect::<Vec<_>>()
    };
    let both = told(&["--values", "istiod=istiod.yaml", "--values", "gateway=gateway.yaml"]);
    let at = |code: &str, file: &str, line: u32, column: u32| {
        format!("{code} {}", serde_json::json!({"file": file, "line": line, "column": column}))
    };
    assert_eq!(both, [at("AM-T2", "gateway.yaml", 2, 9), at("AM-S2", "istiod.yaml", 1, 15)]);
    // An empty file leaves the chart its defaults.
    assert_eq!(told(&["--values", "gateway=empty.yaml"]), ["AM-T2 null"]);
    assert!(told(&["--values", "gateway=good.yaml"]).is_empty());
    for wrong in ["ztunnel=good.yaml", "gateway", "gateway=", "gateway=missing.yaml"] {
        assert_eq!(check(folder.path(), &["--values", wrong], "").status.code(), Some(2), "{wrong}");
    }
}
