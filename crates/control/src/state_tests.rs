//! The folder over restarts: what comes back, what does not, who may have it.

use super::*;
use crate::engine::{self, EngineOptions, Generation};
use crate::source::Input;
use amime_model::resource::Kind;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tokio::sync::watch;

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{port: 9080, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{timeout: 5s, route: [{destination: {host: reviews}}]}]}
";
const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny}
spec: {action: DENY, rules: [{}]}
";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(place.folder.path().join("mesh")).expect("made");
        place.save("mesh.yaml", MESH);
        place.save("policy.yaml", POLICY);
        place
    }

    fn save(&self, name: &str, text: &str) {
        let (new, file) = (self.folder.path().join("new"), self.folder.path().join("mesh").join(name));
        fs::write(&new, text).expect("written");
        fs::rename(&new, file).expect("renamed");
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("a/state")
    }

    /// A control plane's engine from its start to the moment that all is written.
    fn run(&self) -> (Generation, Option<String>) {
        let opened = State::open(&self.state()).expect("ours");
        let state = Arc::new(opened.state);
        let mut options = EngineOptions::new(vec![Input::Path(self.folder.path().join("mesh"))]);
        options.remembered = opened.remembered;
        options.state = Some(state.clone());
        let generations: watch::Receiver<Generation> = engine::start(options).expect("an engine");
        let generation = generations.borrow().clone();
        state.flush();
        // The engine ends when nobody follows it, and then the folder is free.
        drop(generations);
        while Arc::strong_count(&state) > 1 {
            std::thread::yield_now();
        }
        (generation, opened.warning)
    }
}

fn timeout(generation: &Generation) -> String {
    let service = generation.snapshot.in_force().find(|object| object.id.kind == Kind::VirtualService);
    service.map(|object| format!("{:?}", object.spec)).expect("it is there")
}

fn has_policy(generation: &Generation) -> bool {
    generation.snapshot.in_force().any(|object| object.id.kind == Kind::AuthorizationPolicy)
}

#[test]
fn last_good_versions_come_back() {
    let place = Place::new();
    let (good, warning) = place.run();
    assert_eq!(warning, None);
    // What is broken in a field, in its syntax, and a policy's.
    for broken in [MESH.replace("5s", "soon"), MESH.replace("kind: VirtualService", "kind: [VirtualService")] {
        place.save("mesh.yaml", &broken);
        place.save("policy.yaml", &POLICY.replace("spec:", "spec: {"));
        for _ in 0..2 {
            let (after, warning) = place.run();
            assert_eq!(warning, None);
            assert_eq!(timeout(&after), timeout(&good));
            assert!(has_policy(&after));
        }
    }
    // What was repaired, or taken away, while nobody looked is as it is.
    place.save("mesh.yaml", &MESH.replace("5s", "7s"));
    fs::remove_file(place.folder.path().join("mesh/policy.yaml")).expect("removed");
    let (after, _) = place.run();
    assert_ne!(timeout(&after), timeout(&good));
    assert!(!has_policy(&after));
}

#[test]
fn a_folder_that_lost_its_files_keeps_them() {
    let place = Place::new();
    let (good, _) = place.run();
    let kept = place.folder.path().join("elsewhere");
    fs::rename(place.folder.path().join("mesh"), &kept).expect("moved");
    fs::create_dir(place.folder.path().join("mesh")).expect("made");
    let (after, _) = place.run();
    assert_eq!(timeout(&after), timeout(&good));
    assert!(after.diagnostics.iter().any(|finding| finding.message.contains("no manifest is left")));
}

#[test]
fn what_was_cut_off_is_forgotten_with_a_warning() {
    let place = Place::new();
    place.run();
    let file = place.state().join("held");
    let whole = fs::read(&file).expect("written");
    place.save("mesh.yaml", &MESH.replace("5s", "soon"));
    let mut changed = whole.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    for bad in [&whole[..whole.len() / 2], &whole[..5], b"", &changed] {
        fs::write(&file, bad).expect("written");
        let (_, warning) = place.run();
        assert!(warning.is_some_and(|warning| warning.contains("held")), "{} bytes", bad.len());
    }
    // What is half written beside it does not matter.
    fs::write(&file, &whole).expect("written");
    fs::write(file.with_extension("new"), "half").expect("written");
    assert_eq!(place.run().1, None);
}

#[test]
fn a_folder_is_one_control_planes_alone() {
    let place = Place::new();
    let first = State::open(&place.state()).expect("ours");
    let error = State::open(&place.state()).expect_err("taken");
    assert!(matches!(&error, StateError::InUse { .. }) && error.to_string().contains("a/state"), "{error}");
    drop(first);
    State::open(&place.state()).expect("ours again");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&place.state()), mode(&place.state().join("lock"))), (0o700, 0o600));
    let file = place.folder.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(matches!(State::open(&file), Err(StateError::Io { .. })));
}

#[test]
fn what_could_not_be_written_is_tried_again() {
    let place = Place::new();
    let state = State::open(&place.state()).expect("ours").state;
    let (held, new) = (place.state().join("held"), place.state().join("held.new"));
    fs::create_dir(&new).expect("in the way");
    state.remember(Remembered::default());
    state.flush();
    assert!(!held.exists());
    // Nothing new comes to be remembered.
    fs::remove_dir(&new).expect("out of the way");
    state.flush();
    assert!(held.exists());
}
