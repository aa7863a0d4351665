use super::*;
use crate::engine::{self, EngineOptions};
use crate::source::Input;
use serde_json::Value;

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: one}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
";

struct Test {
    pusher: Pusher,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<Command>,
}

impl Test {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.yaml"), SERVICE).expect("written");
        let options = EngineOptions::new(vec![Input::Path(folder.path().to_owned())]);
        let first = engine::start(options).expect("an engine").borrow().clone();
        let (commands, inbox) = mpsc::channel();
        Self { pusher: Pusher::new(first), commands, inbox }
    }

    fn send(&self, command: Command) {
        self.commands.send(command).expect("the inbox is at hand");
    }

    fn join(&self, stream: u64, namespace: &str) -> watch::Receiver<Target> {
        let id = format!("sidecar~10.0.0.{stream}~p.{namespace}~{namespace}.svc.cluster.local");
        let node = Arc::new(Node::parse(&id, &Value::Null).expect("a node"));
        let (target, targets) = watch::channel(Target::default());
        self.send(Command::Join { stream, node, form: Form::Whole, target });
        targets
    }

    /// The same snapshot, published again.
    fn publish(&self) {
        let published = &self.pusher.published;
        self.send(Command::Snapshot(Generation { number: published.number + 1, ..published.clone() }));
    }

    fn step(&mut self) {
        assert!(self.pusher.step(&self.inbox));
    }
}

#[test]
fn a_change_does_not_wait_for_all_who_have_joined() {
    let mut test = Test::new();
    let targets = [test.join(1, "one"), test.join(2, "two"), test.join(3, "three")];
    let generations = || targets.each_ref().map(|target| target.borrow().generation);
    test.step();
    assert_eq!(generations(), [1, 0, 0]);
    test.publish();
    test.step();
    assert_eq!(generations(), [2, 2, 2]);
    assert!(test.pusher.joined.is_empty(), "they have it");
}

#[test]
fn what_was_made_for_who_has_gone_is_forgotten() {
    let mut test = Test::new();
    let targets = [test.join(1, "one"), test.join(2, "two"), test.join(3, "two")];
    targets.iter().for_each(|_| test.step());
    let kept = |test: &Test| (test.pusher.groups.len(), test.pusher.views.len());
    assert_eq!(kept(&test), (3, 2), "each has its address for itself, two have a namespace in common");
    for (gone, after) in [(2, (2, 2)), (1, (1, 1))] {
        test.send(Command::Leave(gone));
        test.publish();
        test.step();
        assert_eq!(kept(&test), after, "{gone}");
    }
}
