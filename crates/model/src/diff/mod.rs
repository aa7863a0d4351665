//! The difference between two configurations, told by what comes of requests.
//!
//! `amime diff` calls it. Requests are made of the rules of both sides (`candidates`), and each is asked of both by the
//! engine that `explain` has; nothing is matched here. What no request shows by itself is compared as it stands:
//! settings of clusters, endpoints, and who sees which service. What nobody evaluates is named.

mod candidates;
mod clients;
mod outcome;
mod requests;
mod sample;
mod services;
mod settings;
mod targets;
mod unevaluated;
mod words;

use crate::explain::{Explainer, Question};
use crate::resource::Object;
use crate::snapshot::Snapshot;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One of the two configurations.
pub struct Side<'s> {
    pub snapshot: &'s Snapshot,
    /// Objects of kinds that the mesh leaves alone; Ingresses tell of load balancers, others are named where they differ.
    pub for_tools: &'s [Arc<Object>],
    /// Whether there is anything that could answer for a service.
    pub has_workloads: bool,
}

/// All that differs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub requests: Vec<Change>,
    pub services: Vec<ServiceChange>,
    pub settings: Vec<SettingChange>,
    /// Objects that differ and that nobody evaluates: what they do to requests is not told.
    pub not_evaluated: Vec<NotEvaluated>,
    /// Whether there are security policies, whether they differ or not: no answer knows of them.
    pub has_policies: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// Requests to one host that have had the same outcome and have the same one now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub host: String,
    /// `shop/reviews` of a Kubernetes Service, else the host.
    pub name: String,
    /// Who sends them: `shop/web-v1`, `namespace shop`, `gateway shop/front`, `internet`.
    pub clients: BTreeSet<String>,
    /// What of the requests: conditions of rules in words. Empty: of all that no other change is about.
    pub when: BTreeSet<String>,
    /// It is of requests too that no rule asks anything of.
    #[serde(skip)]
    unconditional: bool,
    pub before: String,
    pub after: String,
    /// The share that goes elsewhere, in percent, where it is a matter of shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_percent: Option<f64>,
    /// One such request, of which `explain` says `before` of one side and `after` of the other.
    pub witness: Question,
    /// How many of the requests that were observed.
    pub observed: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChange {
    pub host: String,
    pub name: String,
    pub what: ServiceWhat,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", rename_all_fields = "camelCase")]
pub enum ServiceWhat {
    Added,
    Removed,
    /// Namespaces whose clients come to see it, or no longer do.
    Visible {
        added: BTreeSet<String>,
        removed: BTreeSet<String>,
    },
    /// Of one port, by who answers.
    Endpoints {
        port: u32,
        before: String,
        after: String,
    },
}

/// How clients reach a destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingChange {
    pub host: String,
    pub name: String,
    /// `9080 v1`; empty where it is no matter of a destination.
    pub destination: BTreeSet<String>,
    pub clients: BTreeSet<String>,
    pub setting: String,
    pub before: String,
    pub after: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotEvaluated {
    /// `AuthorizationPolicy shop/deny`.
    pub object: String,
    /// `added`, `removed`, `changed`.
    pub what: &'static str,
}

/// Of requests that were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    pub requests: u64,
    /// Of these, the ones with another outcome.
    pub changed: u64,
    /// Those of which neither side could be asked.
    pub unanswered: u64,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.services.is_empty()
            && self.settings.is_empty()
            && self.not_evaluated.is_empty()
    }
}

fn explainer<'s>(side: &Side<'s>, has_workloads: bool) -> Explainer<'s> {
    let explainer = Explainer::new(side.snapshot).with_ingresses(side.for_tools);
    if has_workloads { explainer } else { explainer.without_workloads() }
}

/// Compares the two. `observed` are requests that were seen, each in the ways in which it can be meant, the likeliest
/// first (never none).
pub fn diff(before: &Side<'_>, after: &Side<'_>, observed: Option<&[Vec<Question>]>) -> Difference {
    // What says nothing of workloads has them for all services.
    let whole = before.has_workloads && after.has_workloads;
    let mut search = requests::Search {
        before: explainer(before, whole),
        after: explainer(after, whole),
        changes: Vec::new(),
        known: std::collections::HashMap::new(),
    };
    let clients = clients::all(before.snapshot, after.snapshot, &search.before, &search.after);
    let mut settings = settings::Settings::default();
    let mut visible = services::Visible::default();
    for client in &clients {
        let translations = client.translations(&mut search.before, &mut search.after);
        let targets = targets::of(client, before.snapshot, after.snapshot, &translations);
        targets.iter().for_each(|target| search.compare(client, target));
        if let (Some(one), Some(other)) = &translations {
            settings.compare(client, &one.config, &other.config);
            visible.note(client, &one.config, &other.config);
        }
    }
    let observed = observed.map(|all| search.observe(all, before.snapshot, after.snapshot));
    let mut requests = search.changes;
    requests.iter_mut().filter(|change| change.unconditional).for_each(|change| change.when.clear());
    // What is seen most comes first.
    requests.sort_by(|one, other| {
        (other.observed, &one.host, one.unconditional).cmp(&(one.observed, &other.host, other.unconditional))
    });
    let policies = |side: &Side<'_>| side.snapshot.in_force().any(|object| object.id.kind.is_security());
    Difference {
        has_policies: policies(before) || policies(after),
        requests,
        services: services::changes(before, after, visible),
        settings: settings.changes,
        not_evaluated: unevaluated::between(before, after),
        observed,
    }
}
