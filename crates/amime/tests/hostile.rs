//! Malformed and smuggling requests, 229 of them in HTTP/1.1 and HTTP/2, at a gateway of `amime up`: none gets behind it
//! that should not, none breaks what is well-formed.
//!
//! The requests and their judge are programs of their own (`../shared/tools/hostile`), sent with Python packages that
//! `scripts/hostile.sh` installs. Skipped, with a line that says so, where either is missing.

mod common;

use common::{Start, root};
use std::path::PathBuf;
use std::process::Command;

/// Within a `Claim`'s numbers, and none that another test opens.
const RECORDER: u16 = 5;

/// The folder of the programs, and that of the packages.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let shared = std::env::var_os("AMIME_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let tools = shared.join("tools/hostile");
    if !tools.join("run.py").is_file() {
        println!("skipped: {} is not there", tools.display());
        return None;
    }
    // The test binary lies in a subfolder of the build directory.
    let test = std::env::current_exe().ok()?;
    let packages = test.ancestors().map(|folder| folder.join("hostile/packages")).find(|path| path.is_dir());
    if packages.is_none() || Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3 with hpack and hyperframe (scripts/hostile.sh installs them)");
        return None;
    }
    Some((tools, packages?))
}

#[test]
fn malformed_requests_are_refused_and_others_answered() {
    let Some((tools, packages)) = programs() else { return };
    let start = Start::new();
    let (gateway, recorder) = (start.claim.offset + 80, start.claim.offset + RECORDER);
    let mesh = root().join("crates/amime/tests/hostile/mesh.yaml");
    let replace = format!("default/backend=127.0.0.1:{recorder}");
    let _mesh = start.arg(mesh).args(["--replace", &replace]).ready();

    let python = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("python3");
        // The folder of the programs may not be ours to write to.
        command.arg("-B").arg(tools.join(program)).args(arguments).env("PYTHONPATH", &packages);
        command.output().expect("python3 runs")
    };
    let run = python("run.py", &[&format!("127.0.0.1:{gateway}"), &recorder.to_string()]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let folder = tempfile::tempdir().expect("a folder");
    let outcomes = folder.path().join("outcomes.json");
    std::fs::write(&outcomes, &run.stdout).expect("written");
    let score = python("score.py", &[&outcomes.display().to_string()]);
    let said = String::from_utf8_lossy(&score.stdout);
    assert!(score.status.success() && said.trim() == "229 of 229 requests", "{said}");
}
