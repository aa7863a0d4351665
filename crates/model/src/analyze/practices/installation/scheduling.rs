//! Where pods may be put: whether all replicas can be in one zone.

use crate::resource::{LabelSelector, Map};
use serde::Deserialize;

const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// What a pod's spec, an IstioOperator and a chart say of it, in the same words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::analyze::practices) struct Scheduling {
    topology_spread_constraints: Vec<Spread>,
    affinity: Affinity,
    node_selector: Map,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spread {
    topology_key: String,
    when_unsatisfiable: String,
    max_skew: i64,
    label_selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    pod_anti_affinity: AntiAffinity,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct AntiAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Vec<Term>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Term {
    topology_key: String,
    label_selector: Option<LabelSelector>,
}

impl Scheduling {
    /// What both say.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.topology_spread_constraints.extend(other.topology_spread_constraints);
        self.affinity.pod_anti_affinity.required.extend(other.affinity.pod_anti_affinity.required);
        self.node_selector.extend(other.node_selector);
        self
    }

    /// Why so many pods with these labels may all be in one zone; none: they cannot.
    pub(in crate::analyze::practices) fn shares_zone(&self, replicas: i64, labels: &Map) -> Option<&'static str> {
        let is_zone = |key: &String| ZONES.contains(&key.as_str());
        if self.node_selector.keys().any(is_zone) {
            return Some("nodeSelector puts all of them into one zone");
        }
        let chooses = |selector: &Option<LabelSelector>| selector.as_ref().is_some_and(|it| it.matches(labels));
        let apart = |term: &Term| is_zone(&term.topology_key) && chooses(&term.label_selector);
        if self.affinity.pod_anti_affinity.required.iter().any(apart) {
            return None;
        }
        let why = |spread: &Spread| match spread {
            spread if spread.when_unsatisfiable == "ScheduleAnyway" => Some("ScheduleAnyway is a wish, not a rule"),
            spread if !chooses(&spread.label_selector) => Some("the labelSelector of the constraint leaves them out"),
            spread if spread.max_skew >= replicas => Some("maxSkew lets as many be in one zone as there are"),
            _ => None,
        };
        let of_zone: Vec<_> =
            self.topology_spread_constraints.iter().filter(|spread| is_zone(&spread.topology_key)).map(why).collect();
        match of_zone.first() {
            None => Some("nothing spreads them over zones"),
            Some(first) if of_zone.iter().all(Option::is_some) => *first,
            Some(_) => None,
        }
    }
}
