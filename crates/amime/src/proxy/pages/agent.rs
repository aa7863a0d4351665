//! The agent's port, as Istio's has it: readiness, merged metrics, rewritten probes, and the way to end the proxy.

use super::{Asked, Draining, Shared, health, local, stats};
use crate::proxy::Kind;
use crate::serve::{Answer, Page, find, text};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

const PAGES: &[Page] = &[
    Page::read("/healthz/ready", "whether the proxy is ready"),
    Page::read("/stats/prometheus", "metrics of the proxy and of the application"),
    Page::read("/metrics", "the same"),
    Page::read("/app-health/*", "the application's probes: /app-health/CONTAINER/{readyz,livez,startupz}"),
    Page::read("/app-lifecycle/*", "the application's hooks: /app-lifecycle/CONTAINER/{prestopz,poststartz}"),
    Page::post("/drain", "drain, and go on running"),
    Page::post("/quitquitquit", "end the proxy"),
];

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let page = match find(PAGES, &request) {
        Ok(page) => page,
        Err(answer) => return *answer,
    };
    match page.path {
        "/healthz/ready" => health::answer(&shared),
        "/stats/prometheus" | "/metrics" => stats::merged(shared, request).await,
        "/app-health/*" | "/app-lifecycle/*" => shared.probers.answer(&request).await,
        "/drain" => {
            let all = shared.kind == Kind::Gateway;
            do_it(&shared, &request, Asked::Drain(Draining { all, graceful: true }))
        }
        _ => do_it(&shared, &request, Asked::Quit),
    }
}

/// What only programs of this machine may ask for.
pub(super) fn do_it<B>(shared: &Shared, request: &Request<B>, wish: Asked) -> Answer {
    if let Some(refusal) = local::refuse(request) {
        return refusal;
    }
    tracing::info!(?wish, "asked by {}", request.uri().path());
    shared.ask(wish);
    text(StatusCode::OK, "OK\n")
}
