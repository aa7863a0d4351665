//! The changes under which no request may be lost, each with a gateway and a sidecar of every kind.

use super::oracle::{Allowed, allowed};
use super::shop::{endpoints_of, routes, service, subsets};
use super::stage::{Cast, Effort, GATEWAYS, Report, Stage};
use amime_testkit::echo::Echo;

/// One class: everybody.
const EVERYBODY: &[(&str, Option<&str>)] = &[("all", None)];

/// Which of two files that belong together is saved first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    VirtualServiceFirst,
    DestinationRuleFirst,
    AtOnce,
}

/// What is changed. Tests import the variants, which then have to tell what of.
#[allow(clippy::enum_variant_names)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    AddSubset,
    RemoveSubset,
    RenameSubset,
}

impl Change {
    /// Subsets (name, version), and the one that is routed to, before and after.
    fn states(self) -> [(&'static [(&'static str, &'static str)], &'static str); 2] {
        const ONE: &[(&str, &str)] = &[("v1", "v1")];
        const TWO: &[(&str, &str)] = &[("v1", "v1"), ("v2", "v2")];
        const RENAMED: &[(&str, &str)] = &[("v1", "v1"), ("second", "v2")];
        match self {
            Self::AddSubset => [(ONE, "v1"), (TWO, "v2")],
            Self::RemoveSubset => [(TWO, "v2"), (ONE, "v1")],
            Self::RenameSubset => [(TWO, "v2"), (RENAMED, "second")],
        }
    }
}

/// Scenarios 1 to 5. None where there is no Envoy.
pub async fn subset(effort: Effort, change: Change, order: Order) -> Option<Report> {
    let echoes = [Echo::start("v1-0").await, Echo::start("v2-0").await];
    let answers = |routed: &str| answer(&echoes, if routed == "v1" { "v1" } else { "v2" });
    let [(old_subsets, old), (new_subsets, new)] = change.states();
    let route = |subset: &str| routes(&GATEWAYS, &[(None, &[(subset, 100)])]);
    let files = [
        ("service.yaml", service(endpoints_of(&echoes))),
        ("subsets.yaml", subsets(old_subsets)),
        ("routes.yaml", route(old)),
    ];
    let mut stage = Stage::start(effort, Cast::Everybody, &files, EVERYBODY, answers(old)).await?;
    let rule = || ("subsets.yaml", Some(subsets(new_subsets)));
    let service = || ("routes.yaml", Some(route(new)));
    match order {
        // What names a missing subset is pending; what lost one keeps it: either way the old one answers.
        Order::VirtualServiceFirst => {
            let meanwhile = if change == Change::RemoveSubset { new } else { old };
            stage.step(&[service()], answers(meanwhile)).await;
            stage.step(&[rule()], answers(new)).await;
        }
        Order::DestinationRuleFirst => {
            stage.step(&[rule()], answers(old)).await;
            stage.step(&[service()], answers(new)).await;
        }
        Order::AtOnce => stage.step(&[service(), rule()], answers(new)).await,
    }
    Some(stage.finish().await)
}

/// Scenario 6: ten endpoints are replaced one by one; each old one stops as soon as no request is at it.
pub async fn roll(effort: Effort) -> Option<Report> {
    const ENDPOINTS: usize = 10;
    let mut echoes = Vec::new();
    for number in 0..ENDPOINTS {
        echoes.push(Echo::start(&format!("v1-{number}")).await);
    }
    let files = [
        ("service.yaml", service(endpoints_of(&echoes))),
        ("subsets.yaml", subsets(&[("v1", "v1")])),
        ("routes.yaml", routes(&GATEWAYS, &[(None, &[("v1", 100)])])),
    ];
    let mut stage = Stage::start(effort, Cast::Everybody, &files, EVERYBODY, answer(&echoes, "v1")).await?;
    for number in 0..ENDPOINTS {
        echoes.push(Echo::start(&format!("v1-{}", ENDPOINTS + number)).await);
        let old = echoes.remove(0);
        let next = service(endpoints_of(&echoes));
        stage.step(&[("service.yaml", Some(next))], answer(&echoes, "v1")).await;
        old.idle().await;
        // The last answers are on their way.
        stage.more().await;
        drop(old);
    }
    Some(stage.finish().await)
}

fn answer(echoes: &[Echo], version: &str) -> Allowed {
    allowed(&[("all", &[version])], echoes.iter().map(|echo| echo.name.as_str()))
}
