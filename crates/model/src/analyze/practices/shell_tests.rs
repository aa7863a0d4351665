use super::{Ends, ends, script_of};

const QUIT: &str = "curl -fsI -X POST http://localhost:15020/quitquitquit";
const WAIT: &str = "until curl -fsI http://localhost:15021/healthz/ready; do sleep 1; done";

fn told(script: &str) -> Option<Ends> {
    ends(&script.replace("QUIT", QUIT).replace("WAIT", WAIT), false)
}

#[test]
fn a_sidecar_is_told_to_end_whatever_fails() {
    for script in [
        "WAIT; run --all; code=$?; QUIT; exit $code",
        "WAIT && run; code=$?\nQUIT\nexit $code",
        "trap 'QUIT' EXIT; WAIT; run && more",
        "trap \"QUIT\" 0\nset -e\nrun\nmore",
        "finish() { QUIT; }\ntrap finish EXIT\nrun || exit 1",
        "set -e\nWAIT\nset +e\nrun\ncode=$?\nset -e\nQUIT || true\nexit $code",
        "set -e; run || code=$?; QUIT; exit ${code:-0}",
        "run && QUIT || QUIT",
        "run; wget -q --post-data='' -O- http://127.0.0.1:15020/quitquitquit",
        "if run; then QUIT; else QUIT; exit 1; fi",
        "(run; exit 3); curl -sXPOST localhost:15000/quitquitquit",
        "run > /out.log 2>&1; curl -s -d '' localhost:15020/quitquitquit >/dev/null",
        "run | tee log; curl --request POST localhost:15020/quitquitquit # last",
        "{ run; } && true; pkill -f pilot-agent",
        "sh -ec 'run; more'; QUIT",
        "while ! curl -s localhost:15021/healthz/ready; do sleep 1; done\nrun\nfor i in 1 2 3; do QUIT && break; done",
        "echo start && sleep 3 && QUIT",
    ] {
        assert_eq!(told(script), Some(Ends::Always), "{script}");
    }
}

#[test]
fn a_script_that_leaves_before_is_told_of() {
    for script in [
        "WAIT && run && QUIT",
        "run || exit 1; QUIT",
        "set -e; run; QUIT",
        "set -euo pipefail\nrun\nQUIT",
        "set -o errexit\nrun | tee log\nQUIT",
        "if run; then QUIT; fi",
        "run || QUIT",
        "trap QUIT INT; run && QUIT",
        "sh -c 'run && QUIT'",
    ] {
        assert_eq!(told(script), Some(Ends::Sometimes), "{script}");
    }
    assert_eq!(ends(&format!("run; {QUIT}"), true), Some(Ends::Sometimes));
}

#[test]
fn a_script_that_never_tells_is_told_of() {
    for script in [
        "run",
        "WAIT; run",
        "run; curl http://localhost:15020/quitquitquit",
        "run; curl -fsI http://localhost:15020/quitquitquit",
        "trap 'QUIT' EXIT; exec run",
        "exec run; QUIT",
        // A trap that may do nothing is none.
        "trap 'test -f x && QUIT' EXIT; run",
        "finish() { QUIT; }\nrun",
        "# QUIT",
        "run; wget -q -O- http://localhost:15020/quitquitquit",
    ] {
        assert_eq!(told(script), Some(Ends::Never), "{script}");
    }
}

#[test]
fn what_is_beyond_the_reading_is_left_alone() {
    for script in
        ["cat <<EOF\nx\nEOF\nQUIT", "case x in *) QUIT;; esac", "diff <(a) <(b)", "run 'open", ". ./lib.sh; QUIT", "fi"]
    {
        assert_eq!(told(script), None, "{script}");
    }
    assert_eq!(told(&"(".repeat(10_000)), None);
    assert_eq!(told(&("! ".repeat(500) + "run")), None);
}

#[test]
fn the_script_of_a_command_line_is_found() {
    let of = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        script_of(&words).map(|(script, stops)| (script.to_owned(), stops))
    };
    assert_eq!(of(&["/bin/sh", "-c", "a"]), Some(("a".to_owned(), false)));
    assert_eq!(of(&["bash", "-euxo", "pipefail", "-c", "a", "b"]), Some(("a".to_owned(), true)));
    assert_eq!(of(&["busybox", "sh", "-o", "errexit", "-c", "a"]), Some(("a".to_owned(), true)));
    assert_eq!(of(&["/sbin/tini", "--", "/bin/bash", "--login", "-lc", "a"]), Some(("a".to_owned(), false)));
    assert_eq!(of(&["sh", "/run.sh", "-c"]), None);
    assert_eq!(of(&["python", "-c", "a"]), None);
}
