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

/// `amime diff` in a folder.
fn diff(folder: &std::path::Path, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_amime"))
        .current_dir(folder)
        .arg("diff")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("ended");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A folder with the shop in `before`, and in `after` with another subset for jason, other shares and a policy.
fn changed_shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["before", "after"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
        for file in ["gateway.yaml", "ratings.yaml", "reviews.yaml", "workloads.yaml"] {
            let text = std::fs::read_to_string(example("shop").join(file)).expect("text");
            let text = match name {
                "after" => text
                    .replacen("subset: v2", "subset: v3", 1)
                    .replace("weight: 90", "weight: 80")
                    .replace("weight: 10\n", "weight: 20\n"),
                _ => text,
            };
            std::fs::write(folder.path().join(name).join(file), text).expect("written");
        }
    }
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {}\n";
    std::fs::write(folder.path().join("after/policy.yaml"), policy).expect("written");
    folder
}

#[test]
fn a_change_is_told_by_what_comes_of_requests() {
    let folder = changed_shop();
    let (code, text, error) = diff(folder.path(), &["before", "after"], "");
    assert_eq!(code, Some(1), "{error}");
    let wanted = [
        "requests to shop/reviews with header end-user=jason: v2 → v3\n",
        "-H 'end-user: jason' http://reviews.shop.svc.cluster.local:9080/",
        "requests to shop/reviews: v1 90 %, v3 10 % → v1 80 %, v3 20 %\n",
        "10 % of them move",
        "not evaluated",
        "AuthorizationPolicy shop/deny (added)",
        "AuthorizationPolicy are not evaluated",
    ];
    assert_in_order(&text, &wanted);
    // What is told of a witness is what explain says of it.
    let command = text.lines().find(|line| line.contains("jason' http")).expect("a witness").trim();
    let (program, amime) = ("amime explain", format!("'{}' explain", env!("CARGO_BIN_EXE_amime")));
    for (side, subset) in [("before", "v2"), ("after", "v3")] {
        let command = command.replacen(program, &amime, 1).replacen("-f after", &format!("-f {side}"), 1);
        let output = Command::new("sh").arg("-c").arg(&command).current_dir(folder.path()).output().expect("ended");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_in_order(&said, &["verdict", &format!("100 % to reviews.shop.svc.cluster.local:9080 {subset}")]);
    }
    // Nothing changes, though the text does.
    let ratings = folder.path().join("before/ratings.yaml");
    let same = std::fs::read_to_string(&ratings).expect("text") + "# a comment\n";
    std::fs::create_dir(folder.path().join("same")).expect("made");
    let of_before = |file: &str| std::fs::read_to_string(folder.path().join("before").join(file)).expect("text");
    let all = [&of_before("workloads.yaml"), &same, &of_before("reviews.yaml"), &of_before("gateway.yaml")]
        .map(String::as_str)
        .join("\n---\n");
    let (code, text, _) = diff(folder.path(), &["before", "-"], &all);
    assert_eq!((code, text.lines().next()), (Some(0), Some("No request changes.")), "{text}");
}

#[test]
fn a_difference_as_json_as_markdown_and_weighed_by_traffic() {
    let folder = changed_shop();
    let seen = concat!(
        r#"{"from": "shop/web-v1", "url": "http://reviews:9080/", "headers": {"end-user": "jason"}}"#,
        "\n",
        r#"{"from": "shop/web-v1", "url": "http://reviews:9080/"}"#,
        "\n",
        r#"{"from": "shop/web-v1", "url": "http://reviews:9080/x"}"#,
        "\n",
        r#"{"from": "shop/web-v1", "url": "http://ratings:9080/"}"#,
        "\n"
    );
    let (code, json, _) = diff(folder.path(), &["before", "after", "-o", "json", "--requests", "-"], seen);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(code, Some(1));
    assert_eq!((&json["observed"]["requests"], &json["observed"]["changed"]), (&Value::from(4), &Value::from(3)));
    // What is seen most comes first.
    assert_eq!(
        (&json["requests"][0]["observed"], &json["requests"][1]["observed"]),
        (&Value::from(2), &Value::from(1))
    );
    assert_eq!(json["requests"][1]["witness"]["headers"]["end-user"], "jason");
    assert!(
        json["requests"][0]["command"].as_str().is_some_and(|command| command.starts_with("amime explain -f after "))
    );
    let (_, markdown, _) = diff(folder.path(), &["before", "after", "-o", "markdown"], "");
    assert_in_order(
        &markdown,
        &["### What changes", "| requests |", "| v2 | v3 |", "AuthorizationPolicy shop/deny (added)"],
    );
}

#[test]
fn revisions_of_git_are_compared() {
    let folder = changed_shop();
    let git = |args: &[&str]| {
        let settings = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        let done =
            Command::new("git").args(settings).args(args).current_dir(folder.path()).output().expect("git is there");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q"]);
    std::fs::rename(folder.path().join("before"), folder.path().join("k8s")).expect("renamed");
    git(&["add", "k8s"]);
    git(&["commit", "-qm", "one"]);
    std::fs::remove_dir_all(folder.path().join("k8s")).expect("removed");
    std::fs::rename(folder.path().join("after"), folder.path().join("k8s")).expect("renamed");
    let wanted = "requests to shop/reviews with header end-user=jason: v2 → v3\n";
    let (code, text, error) = diff(folder.path(), &["HEAD", "k8s"], "");
    assert_eq!(code, Some(1), "{error}");
    assert!(text.contains(wanted), "{text}");
    git(&["add", "k8s"]);
    git(&["commit", "-qm", "two"]);
    for args in [&["HEAD~1..HEAD", "--", "k8s"][..], &["HEAD~1", "HEAD", "--", "k8s"], &["HEAD~1.."]] {
        let (code, text, error) = diff(folder.path(), args, "");
        assert_eq!(code, Some(1), "{error}");
        assert!(text.contains(wanted), "{text}");
    }
    let (code, text, _) = diff(folder.path(), &["HEAD", "k8s"], "");
    assert_eq!(code, Some(0), "{text}");
    let told = |args: &[&str], wanted: &str| {
        let (code, _, error) = diff(folder.path(), args, "");
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(wanted), "{error}");
    };
    told(&["k8s", "nothing"], "nothing is neither a file nor a folder nor a revision of git");
    told(&["k8s"], "AFTER is missing");
    told(&["-", "-"], "standard input can be read once");
    told(&["k8s", "k8s", "--from", "gateway"], "--requests");
}
