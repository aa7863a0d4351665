//! The admin port, on 127.0.0.1 and ::1 alone: Envoy's paths, as far as users' tools rely on them.

use super::agent::do_it;
use super::{Asked, Draining, Shared, apart, clusters, config_dump, listeners, local, server_info, stats};
use crate::proxy::Kind;
use crate::serve::{Answer, Methods, Page, find, json, problem, query, text};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json as value;
use std::sync::Arc;

const PAGES: &[Page] = &[
    Page::read("/", "this list"),
    Page::read("/certs", "certificates"),
    Page::read("/clusters", "clusters with their endpoints (?format=json)"),
    Page::read("/config_dump", "the configuration (?include_eds, ?resource=, ?mask=)"),
    Page::post("/drain_listeners", "stop accepting (?inboundonly, ?graceful)"),
    Page::read("/help", "this list"),
    Page::read("/listeners", "listeners with their addresses (?format=json)"),
    Page { path: "/logging", methods: Methods::ReadOrPost, about: "what is logged; POST ?level= changes it" },
    Page::read("/memory", "memory in use"),
    Page::post("/quitquitquit", "end the proxy"),
    Page::read("/ready", "whether the proxy is ready"),
    Page::read("/server_info", "version, state and node"),
    Page::read("/stats", "statistics (?filter=, ?usedonly, ?format=json)"),
    Page::read("/stats/prometheus", "the same, for Prometheus"),
];

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let page = match find(PAGES, &request) {
        Ok(page) => page,
        Err(answer) => return *answer,
    };
    match page.path {
        "/certs" => json(&value!({"certificates": []})),
        "/clusters" => apart(move || async move { clusters::answer(&shared, &request).await }).await,
        "/config_dump" => apart(move || async move { config_dump::answer(&shared, &request) }).await,
        "/drain_listeners" => {
            let all = shared.kind == Kind::Gateway || query(&request, "inboundonly").is_none();
            let graceful = query(&request, "graceful").is_some();
            do_it(&shared, &request, Asked::Drain(Draining { all, graceful }))
        }
        "/listeners" => listeners::answer(&shared, &request).await,
        "/logging" => logging(&shared, &request),
        "/memory" => server_info::memory(),
        "/quitquitquit" => do_it(&shared, &request, Asked::Quit),
        "/ready" => server_info::ready(&shared),
        "/server_info" => server_info::server_info(&shared),
        "/stats" => apart(move || async move { stats::stats(&shared, &request).await }).await,
        "/stats/prometheus" => apart(move || async move { stats::prometheus(&shared, &request).await }).await,
        _ => text(StatusCode::OK, help()),
    }
}

fn help() -> String {
    let line = |page: &Page| {
        let post = if page.methods == Methods::Post { "POST: " } else { "" };
        format!("  {:<18} {post}{}\n", page.path, page.about)
    };
    format!("admin commands are:\n{}", PAGES.iter().map(line).collect::<String>())
}

fn logging<B>(shared: &Shared, request: &Request<B>) -> Answer {
    if *request.method() == Method::POST {
        if let Some(refusal) = local::refuse(request) {
            return refusal;
        }
        let Some(level) = query(request, "level") else {
            return problem(
                StatusCode::BAD_REQUEST,
                "POST /logging?level=LEVEL, such as debug or amime_proxy=debug,info",
            );
        };
        if let Err(error) = shared.log.set(&level) {
            return problem(StatusCode::BAD_REQUEST, &format!("level {level}: {error:#}"));
        }
    }
    text(StatusCode::OK, format!("active loggers:\n  amime: {}\n", shared.log.show()))
}
