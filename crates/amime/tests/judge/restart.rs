//! Scenario 8, and what else may befall a control plane and its proxies: processes that end, stand still and come back.

use super::eventually;
use super::oracle::{Allowed, allowed};
use super::proxy::Proxy;
use super::relay::Relay;
use super::shop::{endpoints_of, routes, service, subsets};
use super::stage::{Cast, Effort, GATEWAYS, Report, Stage};
use amime_testkit::echo::Echo;
use rustix::process::Signal;

/// The two versions, of which the first answers.
async fn start(effort: Effort, cast: Cast, with: &[(&str, &str)]) -> Option<(Stage, [Echo; 2])> {
    let echoes = [Echo::start("v1-0").await, Echo::start("v2-0").await];
    let files =
        [("service.yaml", service(endpoints_of(&echoes))), ("subsets.yaml", subsets(with)), ("routes.yaml", to("v1"))];
    let allowed = answers(&echoes, "v1");
    let stage = Stage::start(effort, cast, &files, &[("all", None)], allowed).await?;
    Some((stage, echoes))
}

const ONE: &[(&str, &str)] = &[("v1", "v1")];
const BOTH: &[(&str, &str)] = &[("v1", "v1"), ("v2", "v2")];

fn answers(echoes: &[Echo], version: &str) -> Allowed {
    allowed(&[("all", &[version])], echoes.iter().map(|echo| echo.name.as_str()))
}

fn to(subset: &str) -> String {
    routes(&GATEWAYS, &[(None, &[(subset, 100)])])
}

/// The control plane ends while a VirtualService waits for its subset, and starts again. None where there is no Envoy.
pub async fn pending(effort: Effort, signal: Signal) -> Option<Report> {
    let (mut stage, echoes) = start(effort, Cast::Gateways, ONE).await?;
    stage.plane.save("routes.yaml", &to("v2"));
    // It says so once it has read it.
    stage.plane.control().output().wait_for("the last good version goes on");
    stage.more().await;
    stage.plane.restart(signal);
    stage.settled(answers(&echoes, "v1")).await;
    stage.more().await;
    stage.step(&[("subsets.yaml", Some(subsets(BOTH)))], answers(&echoes, "v2")).await;
    Some(stage.finish().await)
}

/// The control plane is killed again and again; what is saved while it is away takes effect when it is back.
pub async fn killed(effort: Effort) -> Option<Report> {
    let (mut stage, echoes) = start(effort, Cast::Gateways, BOTH).await?;
    for version in ["v2", "v1", "v2"] {
        let next = answers(&echoes, version);
        stage.oracle.saving(&next);
        stage.plane.save("routes.yaml", &to(version));
        stage.plane.restart(Signal::KILL);
        stage.settled(next).await;
        stage.more().await;
    }
    Some(stage.finish().await)
}

/// An Envoy stands still; the others get a change all the same, and it gets it when it goes on. What it did not answer
/// while it stood still is no failure of the change: its requests are long, not lost.
pub async fn stopped(effort: Effort) -> Option<Report> {
    let (mut stage, echoes) = start(effort, Cast::Gateways, BOTH).await?;
    let next = answers(&echoes, "v2");
    stage.oracle.saving(&next);
    let (still, proxy) = &stage.proxies[1];
    proxy.signal(Signal::STOP);
    stage.plane.save("routes.yaml", &to("v2"));
    stage.plane.settled_but(stage.proxies.len(), still).await;
    let lanes = stage.load().lanes();
    let others: Vec<usize> = (0..lanes.len()).filter(|lane| !lanes[*lane].name.contains(still)).collect();
    eventually("the others answer by the change", || async {
        let outcomes = stage.load().so_far();
        let last = |lane: usize| outcomes.iter().rev().find(|outcome| outcome.lane == lane);
        let is = |lane: usize| last(lane).is_some_and(|o| o.result.as_deref().is_ok_and(|by| by.starts_with("v2")));
        others.iter().all(|lane| is(*lane)).then_some(())
    })
    .await;
    proxy.signal(Signal::CONT);
    stage.settled(next).await;
    stage.more().await;
    Some(stage.finish().await)
}

/// Each proxy loses the control plane when it knows a new cluster and waits for its endpoints, and the control plane is
/// killed; all go on by what they had, and run the new configuration when the control plane is back.
pub async fn cut_off_while_warming(effort: Effort) -> Option<Report> {
    const NEW: &str = "outbound|80|v2|app.shop.internal";
    let (mut stage, echoes) = start(effort, Cast::Relayed, ONE).await?;
    stage.relays.iter().for_each(|relay| relay.cut_at(NEW));
    // Until they are told of it again only the old version is right.
    stage.plane.save("subsets.yaml", &subsets(BOTH));
    stage.plane.save("routes.yaml", &to("v2"));
    for relay in &stage.relays {
        relay.cut().await;
    }
    stage.plane.control().signal(Signal::KILL);
    for (kind, proxy) in &stage.proxies {
        if let Proxy::Envoy(envoy) = proxy {
            let warming = envoy.stats().await["cluster_manager.warming_clusters"];
            assert!(warming > 0, "{kind} waits for endpoints");
        }
    }
    stage.more().await;
    let next = answers(&echoes, "v2");
    stage.oracle.saving(&next);
    stage.relays.iter().for_each(Relay::open);
    stage.plane.restart(Signal::KILL);
    stage.settled(next).await;
    stage.more().await;
    Some(stage.finish().await)
}
