//! Scenario 8, and what else may befall a control plane and its proxies: processes that end, stand still and come back.

use super::command::Control;
use super::envoy::{Envoy, Who, Wire};
use super::eventually;
use super::oracle::{Allowed, Oracle, allowed};
use super::ours::Ours;
use super::plane::MESH;
use super::ports::Port;
use super::shop::{self, endpoints_of, routes, service, subsets};
use super::stage::{Effort, KINDS, Report, lanes};
use amime_testkit::client::Raw;
use amime_testkit::echo::Echo;
use amime_testkit::load::Load;
use rustix::process::Signal;
use std::fs;

/// A control plane as a process, and a gateway of each kind under load.
struct Scene {
    folder: tempfile::TempDir,
    control: Option<Control>,
    envoys: [Envoy; 2],
    ours: Ours,
    echoes: [Echo; 2],
    load: Load,
    oracle: Oracle,
    effort: Effort,
    _ports: Vec<Port>,
}

impl Scene {
    async fn start(effort: Effort) -> Option<Self> {
        let binary = amime_testkit::envoy::binary()?;
        let echoes = [Echo::start("v1-0").await, Echo::start("v2-0").await];
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<Port> = KINDS.iter().map(|_| Port::take()).collect();
        let gateways: Vec<_> = KINDS.into_iter().zip(&ports).collect();
        fs::create_dir(folder.path().join("manifests")).expect("a folder");
        fs::write(folder.path().join("mesh.yaml"), MESH).expect("written");
        save(&folder, "gateways.yaml", &shop::gateways(&gateways));
        save(&folder, "service.yaml", &service(endpoints_of(&echoes)));
        save(&folder, "subsets.yaml", &subsets(&[("v1", "v1")]));
        save(&folder, "routes.yaml", &routes(&KINDS, &[(None, &[("v1", 100)])]));
        let at = |name: &str| folder.path().join(name).display().to_string();
        let control = Control::start([
            "--config".to_owned(),
            at("manifests"),
            "--mesh-config".to_owned(),
            at("mesh.yaml"),
            "--state".to_owned(),
            at("state"),
        ]);
        let envoys = [
            Envoy::start(&binary, &Who::gateway(KINDS[0]), control.grpc, Wire::Delta).await,
            Envoy::start(&binary, &Who::gateway(KINDS[1]), control.grpc, Wire::StateOfTheWorld).await,
        ];
        let ours = Ours::start(&Who::gateway(KINDS[2]), &[control.grpc]);
        for port in &ports {
            eventually("a gateway serves", || async {
                let mut client = Raw::try_connect(port.address()).await?;
                client.send(format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", shop::HOST)).await;
                client.answer(false).await.filter(|answer| answer.status == 200)
            })
            .await;
        }
        let oracle = Oracle::new(answers(&echoes, "v1"));
        let load = Load::start(lanes(effort, &[("all", None)], &ports));
        load.more(effort.between).await;
        Some(Self { folder, control: Some(control), envoys, ours, echoes, load, oracle, effort, _ports: ports })
    }

    fn control(&self) -> &Control {
        self.control.as_ref().expect("always but while it is started again")
    }

    fn restart(&mut self, signal: Signal) {
        self.control = self.control.take().map(|control| control.restart(signal));
    }

    /// Both Envoys have a stream again.
    async fn connected(&self) {
        for envoy in &self.envoys {
            eventually("Envoy is connected", || async {
                (envoy.stats().await.get("control_plane.connected_state") == Some(&1)).then_some(())
            })
            .await;
        }
    }

    /// Saves what lets this version answer, and waits until it does everywhere.
    async fn becomes(&mut self, version: &str, name: &str, text: &str) {
        let next = answers(&self.echoes, version);
        self.oracle.saving(&next);
        save(&self.folder, name, text);
        self.everywhere(version).await;
        self.oracle.settled(next);
        self.load.more(self.effort.between).await;
    }

    /// The last answer of each lane is by this version.
    async fn everywhere(&self, version: &str) {
        eventually("the change is everywhere", || async {
            let outcomes = self.load.so_far();
            let last = |lane: usize| outcomes.iter().rev().find(|outcome| outcome.lane == lane);
            let is =
                |lane: usize| last(lane).is_some_and(|o| o.result.as_deref().is_ok_and(|by| by.starts_with(version)));
            (0..self.load.lanes().len()).all(is).then_some(())
        })
        .await;
        // A proxy's other worker may be a moment behind the one that has answered.
        self.load.more(self.effort.between).await;
    }

    async fn finish(self) -> Report {
        let lanes = self.load.lanes().to_vec();
        let outcomes = self.load.stop().await;
        let mut complaints = Vec::new();
        for envoy in &self.envoys {
            complaints.extend(envoy.faults().await);
        }
        Report::of(&self.oracle, &lanes, &outcomes, complaints)
    }
}

fn answers(echoes: &[Echo], version: &str) -> Allowed {
    allowed(&[("all", &[version])], echoes.iter().map(|echo| echo.name.as_str()))
}

fn save(folder: &tempfile::TempDir, name: &str, text: &str) {
    amime_testkit::files::save(&folder.path().join("manifests").join(name), text);
}

fn to(subset: &str) -> String {
    routes(&KINDS, &[(None, &[(subset, 100)])])
}

/// The control plane ends while a VirtualService waits for its subset, and starts again. None where there is no Envoy.
pub async fn pending(effort: Effort, signal: Signal) -> Option<Report> {
    let mut scene = Scene::start(effort).await?;
    save(&scene.folder, "routes.yaml", &to("v2"));
    // It says so once it has read it.
    scene.control().output().wait_for("the last good version goes on");
    scene.load.more(effort.between).await;
    scene.restart(signal);
    scene.connected().await;
    scene.load.more(effort.between).await;
    scene.becomes("v2", "subsets.yaml", &subsets(&[("v1", "v1"), ("v2", "v2")])).await;
    Some(scene.finish().await)
}

/// The control plane is killed again and again; what is saved while it is away takes effect when it is back.
pub async fn killed(effort: Effort) -> Option<Report> {
    let mut scene = Scene::start(effort).await?;
    scene.becomes("v1", "subsets.yaml", &subsets(&[("v1", "v1"), ("v2", "v2")])).await;
    for version in ["v2", "v1", "v2"] {
        let next = answers(&scene.echoes, version);
        scene.oracle.saving(&next);
        save(&scene.folder, "routes.yaml", &to(version));
        scene.restart(Signal::KILL);
        scene.everywhere(version).await;
        scene.oracle.settled(next);
        scene.load.more(effort.between).await;
    }
    Some(scene.finish().await)
}

/// An Envoy stands still; the others get a change all the same, and it gets it when it goes on. What it did not answer
/// while it stood still is no failure of the change: its requests are long, not lost.
pub async fn stopped(effort: Effort) -> Option<Report> {
    let mut scene = Scene::start(effort).await?;
    scene.becomes("v1", "subsets.yaml", &subsets(&[("v1", "v1"), ("v2", "v2")])).await;
    let next = answers(&scene.echoes, "v2");
    scene.oracle.saving(&next);
    scene.envoys[1].signal(Signal::STOP);
    save(&scene.folder, "routes.yaml", &to("v2"));
    let others = |lane: usize| !scene.load.lanes()[lane].name.contains(KINDS[1]);
    eventually("the others have the change", || async {
        let outcomes = scene.load.so_far();
        let last = |lane: usize| outcomes.iter().rev().find(|outcome| outcome.lane == lane);
        let is = |lane: usize| last(lane).is_some_and(|o| o.result.as_deref().is_ok_and(|by| by.starts_with("v2")));
        (0..scene.load.lanes().len()).filter(|lane| others(*lane)).all(is).then_some(())
    })
    .await;
    scene.envoys[1].signal(Signal::CONT);
    scene.everywhere("v2").await;
    scene.oracle.settled(next);
    scene.load.more(effort.between).await;
    Some(scene.finish().await)
}
