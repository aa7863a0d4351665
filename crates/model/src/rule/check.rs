//! Can a rule be carried out? The matcher compiles it, part by part, so that the broken part can be named.
//!
//! `snapshot` asks it of every rule: what does not compile must not reach a proxy, where it would take all routes of
//! its configuration with it.

use super::{edits, filters, matches, target};
use crate::config::{DirectResponse, Forward, PathRewrite, Route, RouteAction, RouteMatch, WeightedCluster};
use crate::resource::virtual_service::{Headers, HttpRoute};
use crate::route::table::check_route;

/// A part that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Below the rule: `match[0]`, `route[1].headers`.
    pub field: String,
    pub message: String,
}

impl Problem {
    /// What the rule matches is unknown.
    pub fn in_match(&self) -> bool {
        self.field.starts_with("match")
    }
}

/// The first problem of each part.
pub fn problems(rule: &HttpRoute) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut note = |field: String, message: Option<String>| {
        found.extend(message.map(|message| Problem { field, message }));
    };
    for (index, m) in rule.matches.iter().enumerate() {
        note(format!("match[{index}]"), compile(Route { matches: matches::of(m), ..plain() }));
    }
    note("headers".to_string(), with_headers(rule.headers.as_ref()));
    for (index, destination) in rule.route.iter().enumerate() {
        note(format!("route[{index}].headers"), with_headers(destination.headers.as_ref()));
    }
    if let Some(cors) = &rule.cors_policy {
        note("corsPolicy".to_string(), compile(Route { cors: Some(filters::cors(cors)), ..plain() }));
    }
    if let Some(rewrite) = &rule.rewrite {
        note("rewrite".to_string(), compile(Route { action: forward(target::path_rewrite(rewrite)), ..plain() }));
    }
    if let Some(redirect) = &rule.redirect {
        // The port has no part in whether it can be done.
        let message = match target::redirect(redirect, 80, false) {
            Some(redirect) => compile(Route { action: RouteAction::Redirect(redirect), ..plain() }),
            None => Some(format!("{} is no status of a redirect", redirect.redirect_code)),
        };
        note("redirect".to_string(), message);
    } else if let Some(response) = &rule.direct_response {
        let message = match target::direct_response(response) {
            Some(_) => None,
            None => Some(format!("{} is no status of an answer", response.status)),
        };
        note("directResponse".to_string(), message);
    }
    found
}

fn plain() -> Route {
    Route::new(RouteMatch::default(), RouteAction::Respond(DirectResponse { status: 200, body: Vec::new() }))
}

fn forward(rewrite: PathRewrite) -> RouteAction {
    let clusters = vec![WeightedCluster { weight: 1, ..WeightedCluster::default() }];
    RouteAction::Forward(Box::new(Forward { clusters, rewrite, ..Forward::default() }))
}

fn with_headers(headers: Option<&Headers>) -> Option<String> {
    let operations = edits::of(headers);
    compile(Route { request_headers: operations.request, response_headers: operations.response, ..plain() })
}

fn compile(route: Route) -> Option<String> {
    check_route(&route).err().map(|problem| problem.0)
}
