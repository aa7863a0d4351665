//! `amime control --state`: a control plane that is killed and started again goes on where it was.

mod common;

use amime_testkit::files::save;
use common::control::{Control, WEB, sidecar, until};
use common::eventually;
use std::fs;
use std::path::{Path, PathBuf};

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
";
const ROUTE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
";
const SUBSET: &str = "outbound|80|v1|web.default.svc.cluster.local";

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(files.mesh()).expect("made");
        for (name, text) in [("service", WEB), ("rule", RULE), ("route", ROUTE)] {
            files.save(name, text);
        }
        files
    }

    fn mesh(&self) -> PathBuf {
        self.folder.path().join("mesh")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn save(&self, name: &str, text: &str) {
        save(&self.mesh().join(name).with_extension("yaml"), text);
    }

    fn control(&self) -> Control {
        Control::start([Path::new("--config"), &self.mesh(), Path::new("--state"), &self.state()])
    }
}

/// Whether the first that a proxy gets, of a control plane which has just been started, has the route to the subset.
async fn goes_on(control: &Control) -> bool {
    let mut configs = control.proxy(sidecar("caller-1", "default", "10.1.1.9"));
    let first = until(&mut configs, |config| !config.routes.is_empty()).await;
    first.routes.values().any(|routes| format!("{routes:?}").contains(SUBSET))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_or_broken_goes_on_after_a_kill() {
    let files = Files::new();
    let control = files.control();
    assert!(goes_on(&control).await);
    let state = files.state().join("held");
    let text = || fs::read_to_string(&state).unwrap_or_default();
    eventually("the state is written", || text().contains("VirtualService").then_some(()));

    // Pending: the subset goes; broken: the rule cannot be read; cut short: the file is no YAML.
    let cases = [
        ("rule", RULE.replace("{name: v1, ", "{name: v2, "), "subset v1"),
        ("route", ROUTE.replace("subset: v1", "subset: [v1]"), "VirtualService"),
        ("route", ROUTE.replace("spec: {", "spec: [{"), "route.yaml"),
    ];
    let mut control = control;
    for (name, text, said) in cases {
        let from = control.output().len();
        files.save(name, &text);
        control.wait_output(from, said);
        control.signal("KILL");
        control.wait_exit();
        control = files.control();
        assert!(goes_on(&control).await, "{said}:\n{}", control.output());
        files.save(name, if name == "rule" { RULE } else { ROUTE });
    }
}

#[test]
fn two_control_planes_never_share_a_folder() {
    let files = Files::new();
    let _first = files.control();
    let mut second = Control::spawn([Path::new("--config"), &files.mesh(), Path::new("--state"), &files.state()]);
    assert_eq!(second.wait_exit(), 1);
    assert!(second.output().contains("another control plane"), "{}", second.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_state_is_a_warning() {
    let files = Files::new();
    fs::create_dir(files.state()).expect("made");
    fs::write(files.state().join("held"), "amime-state 1 0\n{").expect("written");
    let control = files.control();
    control.wait_output(0, "last good versions are not known");
    assert!(goes_on(&control).await);
}
