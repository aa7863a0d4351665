//! What comes of a request on one side, in a form that two sides can be compared by: without the names of rules and
//! the places of objects, shares in lowest terms.

use crate::config::{
    DownstreamTls, HeaderEdits, Route, RouteAction, RouteMatch, TcpProxy, VirtualHost, WeightedCluster,
};
use crate::explain::{Action, Destination, Explainer, Question, QuestionError, Step, Verdict};
use crate::route::RouteTable;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What comes of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Met(Box<Met>),
    /// It cannot be sent: who sends it is not there, or its name has no address.
    Unsent(Unsent),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    UnknownName,
    NoGateway,
    NoSender,
}

#[derive(Debug, Clone)]
pub(super) struct Met {
    pub verdict: Verdict,
    /// The rule that decided, without what it asks for.
    pub effect: Option<Route>,
    pub tcp: Option<TcpProxy>,
    /// TLS that the listener ends.
    pub tls: Option<DownstreamTls>,
    /// Of virtual host and table.
    edits: Vec<HeaderEdits>,
}

impl PartialEq for Met {
    fn eq(&self, other: &Self) -> bool {
        // That a header is taken away shows in the verdict, of requests that have it.
        let effect = |met: &Self| met.effect.as_ref().map(without_removals);
        self.verdict == other.verdict
            && self.tcp == other.tcp
            && self.tls == other.tls
            && self.edits == other.edits
            && effect(self) == effect(other)
    }
}

fn without_removals(route: &Route) -> Route {
    let mut route = route.clone();
    route.request_headers.remove.clear();
    route.response_headers.remove.clear();
    if let RouteAction::Forward(forward) = &mut route.action {
        for cluster in &mut forward.clusters {
            cluster.request_headers.remove.clear();
            cluster.response_headers.remove.clear();
        }
    }
    route
}

/// The answer, with what it was found by.
pub(super) struct Answer {
    pub outcome: Outcome,
    pub table: Option<Arc<RouteTable>>,
    /// By which rule.
    pub matches: Option<RouteMatch>,
}

/// Asks one side. Err: the question itself is wrong.
pub(super) fn ask(explainer: &mut Explainer<'_>, question: &Question) -> Result<Answer, QuestionError> {
    let mut found = None;
    let mut rule = None;
    let (mut effect, mut tcp, mut tls, mut edits) = (None, None, None, Vec::new());
    let verdict = explainer.explain_telling(question, &mut |step| match step {
        Step::Listener(_) => {}
        Step::Chain(chain) => tls.clone_from(&chain.tls),
        Step::Tcp(proxy) => tcp = Some(plain_tcp(proxy)),
        Step::Routes { table, request, selection } => {
            found = Some(table.clone());
            if let Some(host) = table.virtual_host(request.authority) {
                edits = edits_of(table, host);
            }
            effect = selection.map(|selection| plain(selection.route));
            rule = selection.map(|selection| selection.route.matches.clone());
        }
    });
    let outcome = match verdict {
        Ok(verdict) => {
            let verdict = comparable(verdict);
            let told_alone = match verdict.action {
                // Where all destinations fail, the client gets the same whichever it would have been.
                Action::Forward => verdict.status.is_some(),
                Action::Passthrough | Action::Refuse => true,
                Action::Respond => false,
            };
            if told_alone {
                let verdict = Verdict {
                    action: verdict.action,
                    status: verdict.status,
                    flag: verdict.flag,
                    ..Verdict::default()
                };
                Outcome::Met(Box::new(Met { verdict, effect: None, tcp: None, tls, edits: Vec::new() }))
            } else {
                Outcome::Met(Box::new(Met { verdict, effect, tcp, tls, edits }))
            }
        }
        Err(QuestionError::Unresolved(_)) => Outcome::Unsent(Unsent::UnknownName),
        Err(QuestionError::NoGateway) => Outcome::Unsent(Unsent::NoGateway),
        Err(QuestionError::NoSuchPod { .. } | QuestionError::SeveralPods { .. }) => Outcome::Unsent(Unsent::NoSender),
        Err(error @ (QuestionError::Url(_) | QuestionError::Address(_) | QuestionError::NoProxy)) => return Err(error),
    };
    Ok(Answer { outcome, table: found, matches: rule })
}

fn edits_of(table: &RouteTable, host: &VirtualHost) -> Vec<HeaderEdits> {
    let config = table.config();
    [&host.request_headers, &host.response_headers, &config.request_headers, &config.response_headers]
        .map(HeaderEdits::clone)
        .to_vec()
}

/// Verdicts that are equal mean the same.
fn comparable(mut verdict: Verdict) -> Verdict {
    verdict.object = None;
    verdict.why = String::new();
    let mut merged: Vec<Destination> = Vec::new();
    for destination in std::mem::take(&mut verdict.destinations) {
        let weight = destination.weight;
        let plain = Destination { weight: 0, ..destination };
        match merged.iter_mut().find(|known| Destination { weight: 0, ..(*known).clone() } == plain) {
            Some(known) => known.weight = known.weight.saturating_add(weight),
            None => merged.push(Destination { weight, ..plain }),
        }
    }
    merged.retain(|destination| destination.weight > 0 || verdict.action != Action::Forward);
    let common = merged.iter().fold(0, |common, destination| divisor(common, destination.weight)).max(1);
    merged.iter_mut().for_each(|destination| destination.weight /= common);
    merged.sort_by_key(|destination| (destination.name(), destination.weight));
    verdict.destinations = merged;
    verdict
}

fn divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { divisor(other, one % other) }
}

/// A rule without its match, names, and what came from where.
pub(super) fn plain(route: &Route) -> Route {
    let mut route = Route {
        matches: RouteMatch::default(),
        name: String::new(),
        origin: None,
        stat_prefix: String::new(),
        operation: String::new(),
        ..route.clone()
    };
    if let RouteAction::Forward(forward) = &mut route.action {
        let mut merged: BTreeMap<String, WeightedCluster> = BTreeMap::new();
        for cluster in std::mem::take(&mut forward.clusters) {
            let edits = format!(
                "{}{:?}{:?}{:?}",
                cluster.name, cluster.request_headers, cluster.response_headers, cluster.host_rewrite
            );
            match merged.get_mut(&edits) {
                Some(known) => known.weight = known.weight.saturating_add(cluster.weight),
                None => drop(merged.insert(edits, cluster)),
            }
        }
        let mut clusters: Vec<_> = merged.into_values().collect();
        if clusters.len() > 1 {
            clusters.retain(|cluster| cluster.weight > 0);
        }
        let common = clusters.iter().fold(0, |common, cluster| divisor(common, cluster.weight)).max(1);
        clusters.iter_mut().for_each(|cluster| cluster.weight /= common);
        if let [only] = clusters.as_mut_slice() {
            only.weight = 1;
        }
        forward.clusters = clusters;
    }
    route
}

fn plain_tcp(proxy: &TcpProxy) -> TcpProxy {
    TcpProxy { stat_prefix: String::new(), clusters: Vec::new(), access_log: Vec::new(), origin: None, ..proxy.clone() }
}
