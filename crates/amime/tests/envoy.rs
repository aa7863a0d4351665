//! A real Envoy under our control plane: it takes all that it is sent, and a change of configuration loses no request.
//! Skipped, with a line that says so, where there is no Envoy (scripts/envoy.sh).

mod judge;

use amime_testkit::echo::Echo;
use amime_testkit::load::{Lane, Load, Speaks};
use judge::envoy::{Envoy, Who, Wire};
use judge::oracle::{Oracle, allowed};
use judge::plane::Plane;
use judge::ports::Port;
use judge::shop;
use std::time::Duration;

/// A subset is added, its VirtualService first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first() {
    let Some(binary) = amime_testkit::envoy::binary() else { return };
    let echoes = [Echo::start("v1-0").await, Echo::start("v2-0").await];
    let origins = || echoes.iter().map(|echo| echo.name.as_str());
    let ports = [Port::take(), Port::take()];
    let names = ["delta", "sotw"];
    let gateways = shop::gateways(&[(names[0], &ports[0]), (names[1], &ports[1])]);
    let plane = Plane::start(&[
        ("gateways.yaml", &gateways),
        ("service.yaml", &shop::service(shop::endpoints_of(&echoes))),
        ("subsets.yaml", &shop::subsets(&[("v1", "v1")])),
        ("routes.yaml", &shop::routes(&names, &[(None, &[("v1", 100)])])),
    ])
    .await;
    let delta = Envoy::start(&binary, &Who::gateway("delta"), plane.address, Wire::Delta).await;
    let sotw = Envoy::start(&binary, &Who::gateway("sotw"), plane.address, Wire::StateOfTheWorld).await;
    delta.ready().await;
    sotw.ready().await;
    plane.settled(2).await;
    let mut lanes = Vec::new();
    for (port, name) in ports.iter().zip(names) {
        for speaks in Speaks::ALL {
            lanes.push(Lane {
                name: format!("all {speaks:?} {name}"),
                speaks,
                target: port.address(),
                preface: Default::default(),
                host: shop::HOST.into(),
                path: "/echo.Echo/Say".into(),
                headers: Vec::new(),
                every: Duration::from_millis(20),
            });
        }
    }
    let v1 = || allowed(&[("all", &["v1"])], origins());
    let v2 = || allowed(&[("all", &["v2"])], origins());
    let mut oracle = Oracle::new(v1());
    let load = Load::start(lanes.clone());
    load.more(10).await;
    plane.save("routes.yaml", &shop::routes(&names, &[(None, &[("v2", 100)])]));
    plane.settled(2).await;
    load.more(10).await;
    oracle.saving(&v2());
    plane.save("subsets.yaml", &shop::subsets(&[("v1", "v1"), ("v2", "v2")]));
    plane.settled(2).await;
    oracle.settled(v2());
    load.more(10).await;
    let outcomes = load.stop().await;
    let verdict = oracle.judge(&lanes, &outcomes);
    println!("{verdict:#?}");
    println!("{:?} {:?} {:?}", plane.refusals(), delta.faults().await, sotw.faults().await);
    assert!(verdict.failed.is_empty() && verdict.wrong.is_empty());
}
