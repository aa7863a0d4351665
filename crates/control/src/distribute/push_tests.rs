use super::*;
use crate::engine::{self, EngineOptions};
use crate::source::Input;
use amime_model::config::Locality;
use amime_model::resource::{MeshConfig, ResourceSet, load};
use amime_model::snapshot::Held;
use amime_xds::ResourceType;
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
        Self::of(SERVICE)
    }

    fn of(manifests: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.yaml"), manifests).expect("written");
        let options = EngineOptions::new(vec![Input::Path(folder.path().to_owned())]);
        let first = engine::start(options).expect("an engine").borrow().clone();
        let (commands, inbox) = mpsc::channel();
        Self { pusher: Pusher::new(first), commands, inbox }
    }

    fn send(&self, command: Command) {
        self.commands.send(command).expect("the inbox is at hand");
    }

    fn join(&self, stream: u64, namespace: &str) -> watch::Receiver<Target> {
        self.join_at(stream, namespace, "")
    }

    fn join_at(&self, stream: u64, namespace: &str, region: &str) -> watch::Receiver<Target> {
        let id = format!("sidecar~10.0.0.{stream}~p.{namespace}~{namespace}.svc.cluster.local");
        let node = Node::parse(&id, &Value::Null).expect("a node");
        let node = Arc::new(node.at(&Locality { region: region.to_owned(), ..Locality::default() }));
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

/// A service whose clients go to the nearest endpoints: one in region `r`, and so many without a region.
fn placed(others: usize) -> String {
    let more: String = (0..others).map(|n| format!("- {{addresses: [10.2.0.{n}]}}\n")).collect();
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: a, namespace: one}}
spec: {{clusterIP: 10.0.0.1, selector: {{app: a}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: a, namespace: one}}
spec: {{host: a, trafficPolicy: {{outlierDetection: {{}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: a, namespace: one, labels: {{app: a, istio-locality: r.z}}}}
spec: {{containers: [{{name: a}}]}}
status: {{podIP: 10.1.0.1}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: a, namespace: one, labels: {{kubernetes.io/service-name: a}}}}
addressType: IPv4
ports: [{{name: http, port: 80}}]
endpoints:
- {{addresses: [10.1.0.1]}}
{more}"
    )
}

#[test]
fn proxies_of_a_view_differ_by_place_in_endpoints_alone() {
    let mut test = Test::of(&placed(1));
    let targets = [test.join_at(1, "two", "r"), test.join_at(2, "two", "r"), test.join_at(3, "two", "q")];
    targets.iter().for_each(|_| test.step());
    let version = |at: usize, kind: ResourceType| targets[at].borrow().resources.version(kind).clone();
    let check = || {
        assert_eq!(version(0, ResourceType::Endpoints), version(1, ResourceType::Endpoints));
        assert_ne!(version(0, ResourceType::Endpoints), version(2, ResourceType::Endpoints));
        let own = |at: usize| version(at, ResourceType::Cluster).split('-').next().map(str::to_owned);
        assert_eq!(own(0), own(2));
    };
    let places = |test: &Test| {
        let views = test.pusher.views.values();
        views.map(|view| view.placed.len()).collect::<Vec<_>>()
    };
    check();
    assert_eq!(places(&test), [2], "one view, two places");

    // Other endpoints come to each place, as if all were made anew.
    let last = test.pusher.published.clone();
    let parse = |manifests: &str| ResourceSet::of_files([&load("a.yaml", manifests)]).0;
    let mesh = MeshConfig::default();
    let before = Snapshot::build(&parse(&placed(1)), &mesh, &Held::default());
    let mut resources = parse(&placed(1));
    let slice = parse(&placed(2)).iter().last().cloned().expect("a slice");
    // The same objects but one.
    before.snapshot.in_force().for_each(|object| resources.replace(object.clone()));
    resources.replace(slice);
    let after = Snapshot::build_after(&resources, &mesh, &before.held, Some(&before));
    assert!(after.snapshot.endpoints_changed_since(&before.snapshot).is_some());
    for (number, snapshot) in [(2, before.snapshot), (3, after.snapshot)] {
        test.send(Command::Snapshot(Generation { number, snapshot, ..last.clone() }));
        test.step();
        check();
    }
    let little = [0, 1, 2].map(|at| version(at, ResourceType::Endpoints));
    let mut anew = Test::of(&placed(2));
    let fresh = [anew.join_at(1, "two", "r"), anew.join_at(2, "two", "r"), anew.join_at(3, "two", "q")];
    fresh.iter().for_each(|_| anew.step());
    assert_eq!(
        little,
        fresh.each_ref().map(|target| target.borrow().resources.version(ResourceType::Endpoints).clone())
    );

    test.send(Command::Leave(3));
    test.publish();
    test.step();
    assert_eq!(places(&test), [1]);
}
