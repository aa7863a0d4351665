//! The load against an origin: steady, all three protocols, failures as failures.

use super::*;
use crate::echo::Echo;

fn lane(speaks: Speaks, target: SocketAddr, headers: &[(&str, &str)]) -> Lane {
    Lane {
        name: format!("{speaks:?}"),
        speaks,
        target,
        preface: Bytes::new(),
        host: "app.example.com".into(),
        path: "/echo.Echo/Say".into(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        every: Duration::from_millis(2),
    }
}

#[tokio::test]
async fn answers_name_who_gave_them() {
    let echo = Echo::start("v1").await;
    let load = Load::start(Speaks::ALL.map(|speaks| lane(speaks, echo.address, &[])).into());
    load.more(20).await;
    let outcomes = load.stop().await;
    for speaks in 0..Speaks::ALL.len() {
        let own: Vec<_> = outcomes.iter().filter(|outcome| outcome.lane == speaks).collect();
        assert!(own.len() >= 20);
        assert!(own.iter().all(|outcome| outcome.result.as_deref() == Ok("v1")), "{own:?}");
    }
}

#[tokio::test]
async fn what_fails_is_told() {
    let echo = Echo::start("v1").await;
    let silent = crate::origin::Origin::tcp(|stream| async move { drop(stream) }).await;
    let load = Load::start(vec![
        lane(Speaks::Http1, echo.address, &[("x-status", "503")]),
        lane(Speaks::Grpc, echo.address, &[("x-grpc-status", "14")]),
        lane(Speaks::Http2, silent.address, &[]),
    ]);
    load.more(3).await;
    let outcomes = load.stop().await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_err()), "{outcomes:?}");
}
