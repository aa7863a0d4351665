//! DestinationRules: rules for one host in one namespace are merged; each client finds its own by Istio's order
//! (the client's namespace, the service's, the root namespace; the most specific host in each).
//!
//! Built by `Snapshot::build`, asked by `translate` for every service that a proxy sees.

use super::broken::Broken;
use super::origin_of;
use super::service::{Age, Labels, Service, selects};
use crate::config::Origin;
use crate::host::{self, HostIndex};
use crate::resource::destination_rule::TrafficPolicy;
use crate::resource::{DestinationRule, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One or several DestinationRules of one namespace for one host.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedRule {
    pub namespace: String,
    pub rule: DestinationRule,
    /// The objects in it, the first the one that gave its name.
    pub origins: Vec<Origin>,
    /// As written: `.`, `*`, namespaces; empty is the mesh's default.
    export_to: BTreeSet<String>,
    /// How the service wants to be spoken to is not known (TLS settings with an error): nobody may.
    pub denies: bool,
}

impl MergedRule {
    /// Whether exportTo lets clients of that namespace use it.
    pub fn is_shown_to(&self, namespace: &str) -> bool {
        let to = &self.export_to;
        to.is_empty() || to.contains("*") || to.contains(namespace)
    }

    /// The labels of clients that it is for; None: all.
    pub fn client_labels(&self) -> Option<&Labels> {
        self.rule.workload_selector.as_ref().map(|s| &s.match_labels)
    }
}

/// The rules of one namespace by host, in the order of merging.
type ByHost = HostIndex<Vec<Arc<MergedRule>>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DestinationRules {
    /// Those that clients of the namespace itself see.
    local: BTreeMap<String, ByHost>,
    /// Those that clients of other namespaces may see.
    exported: BTreeMap<String, ByHost>,
    /// Private ones of the root namespace.
    root_local: ByHost,
    root_namespace: String,
}

impl DestinationRules {
    pub fn build(objects: &[(&Object, &DestinationRule)], default_export: &[String], root_namespace: &str) -> Self {
        let mut rules = Self { root_namespace: root_namespace.to_string(), ..Self::default() };
        let mut sorted: Vec<_> = objects.iter().map(|(object, rule)| (Age::of(object), *object, *rule)).collect();
        sorted.sort_by(|(a, _, ra), (b, _, rb)| key(ra, a).cmp(&key(rb, b)));
        for (_, object, rule) in sorted {
            rules.add(object, rule, default_export);
        }
        rules
    }

    fn add(&mut self, object: &Object, rule: &DestinationRule, default_export: &[String]) {
        let ns = &*object.id.namespace;
        let broken = Broken::of(object);
        if broken.at("spec.host") || broken.at_or_misspelt("spec", "workloadSelector") {
            // For which service or which clients it is, is not known.
            return;
        }
        let mut rule = rule.clone();
        drop_broken_subsets(&mut rule, &broken);
        if broken.at_or_misspelt("spec", "exportTo") {
            rule.export_to = vec![".".to_string()];
        }
        rule.host = host::resolve_short(&rule.host, ns);
        let export_to: BTreeSet<String> = match rule.workload_selector {
            // A rule for some clients of a namespace is for no others.
            Some(_) => BTreeSet::from([".".to_string()]),
            None => rule.export_to.iter().cloned().collect(),
        };
        let merged = Arc::new(MergedRule {
            namespace: ns.to_string(),
            origins: vec![origin_of(&object.id, "")],
            export_to: export_to.clone(),
            denies: breaks_tls(rule.traffic_policy.as_deref(), "spec", &broken),
            rule,
        });
        let has = |what: &str| export_to.contains(what);
        if export_to.is_empty() || has("*") || has(".") || has(ns) {
            merge(self.local.entry(ns.to_string()).or_default(), merged.clone());
        }
        let private = if export_to.is_empty() {
            default_export.iter().any(|e| e == ".")
        } else {
            export_to.len() == 1 && (has(".") || has(ns))
        };
        if !private {
            merge(self.exported.entry(ns.to_string()).or_default(), merged);
        } else if ns == self.root_namespace {
            merge(&mut self.root_local, merged);
        }
    }

    /// All that may apply to a service for clients of a namespace; `for_client` picks among them.
    pub fn candidates(&self, client_namespace: &str, service: &Service) -> Vec<Arc<MergedRule>> {
        let own = if client_namespace == self.root_namespace {
            Some(&self.root_local)
        } else {
            self.local.get(client_namespace)
        };
        if let Some(found) = own.and_then(|rules| rules.most_specific(&service.host)) {
            return found.clone();
        }
        for namespace in [service.namespace.as_str(), self.root_namespace.as_str()] {
            let found = self.exported.get(namespace).and_then(|rules| rules.most_specific(&service.host));
            let visible: Vec<_> =
                found.into_iter().flatten().filter(|rule| rule.is_shown_to(client_namespace)).cloned().collect();
            if !visible.is_empty() {
                return visible;
            }
        }
        Vec::new()
    }

    /// Takes over the rules of an earlier build that are the same.
    pub(super) fn keep(&mut self, last: &Self) {
        let mut known: BTreeMap<(&str, &str), Vec<&Arc<MergedRule>>> = BTreeMap::new();
        for rule in last.all() {
            known.entry((&rule.namespace, &rule.rule.host)).or_default().push(rule);
        }
        let maps =
            self.local.values_mut().chain(self.exported.values_mut()).chain(std::iter::once(&mut self.root_local));
        for rule in maps.flat_map(HostIndex::values_mut).flatten() {
            let earlier = known.get(&(rule.namespace.as_str(), rule.rule.host.as_str()));
            if let Some(same) = earlier.into_iter().flatten().find(|earlier| ***earlier == *rule) {
                *rule = (*same).clone();
            }
        }
    }

    /// Every rule once, for looking at what is named in them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<MergedRule>> {
        let maps = self.local.values().chain(self.exported.values()).chain(std::iter::once(&self.root_local));
        maps.flat_map(|rules| rules.values().flatten())
    }
}

/// Of the candidates, the one for a client with these labels in this namespace.
pub fn for_client<'a>(
    candidates: &'a [Arc<MergedRule>],
    client_namespace: &str,
    labels: &Labels,
) -> Option<&'a Arc<MergedRule>> {
    let mut general = None;
    for rule in candidates {
        match rule.client_labels() {
            None => general = Some(rule),
            Some(selector) if rule.namespace == client_namespace && selects(selector, labels) => {
                return Some(rule);
            }
            Some(_) => {}
        }
    }
    general
}

/// A subset of which it is not known who is in it, or how it wants to be spoken to, is not there.
fn drop_broken_subsets(rule: &mut DestinationRule, broken: &Broken<'_>) {
    let mut index = 0;
    rule.subsets.retain(|subset| {
        let path = format!("spec.subsets[{index}]");
        index += 1;
        let unknown = ["name", "labels"].iter().any(|name| broken.at_or_misspelt(&path, name));
        !subset.name.is_empty() && !unknown && !breaks_tls(subset.traffic_policy.as_deref(), &path, broken)
    });
}

/// Is it unknown how those want to be spoken to whom the traffic policy in `parent` is for? Settings that were
/// misspelt are none, and without them it would be in plaintext.
fn breaks_tls(policy: Option<&TrafficPolicy>, parent: &str, broken: &Broken<'_>) -> bool {
    let path = format!("{parent}.trafficPolicy");
    let ports = policy.map_or(0, |policy| policy.port_level_settings.len());
    broken.whole_or_misspelt(parent, "trafficPolicy")
        || broken.whole_or_misspelt(&path, "portLevelSettings")
        || broken.at_or_misspelt(&path, "tls")
        || (0..ports).any(|i| broken.at_or_misspelt(&format!("{path}.portLevelSettings[{i}]"), "tls"))
}

/// Rules for some clients come first, then the older.
fn key<'a>(rule: &DestinationRule, age: &'a Age) -> (bool, &'a Age) {
    (rule.workload_selector.is_none(), age)
}

/// Adds a rule to those for its host: merged into each that is for the same clients, or beside them.
fn merge(rules: &mut ByHost, incoming: Arc<MergedRule>) {
    let list = rules.entry(&incoming.rule.host);
    let mut beside = true;
    for existing in list.iter_mut() {
        if incoming.export_to == existing.export_to {
            beside = false;
        } else if !existing.export_to.is_empty() && incoming.export_to.is_superset(&existing.export_to) {
            beside = true;
        } else {
            beside = true;
            continue;
        }
        match (incoming.client_labels(), existing.client_labels()) {
            (Some(a), Some(b)) if a != b => {
                beside = true;
                continue;
            }
            (None, None) | (Some(_), Some(_)) => beside = false,
            _ => {}
        }
        let target = Arc::make_mut(existing);
        target.denies |= incoming.denies;
        target.origins.extend(incoming.origins.iter().cloned());
        for subset in &incoming.rule.subsets {
            if target.rule.subsets.iter().all(|s| s.name != subset.name) {
                target.rule.subsets.push(subset.clone());
            }
        }
        if target.rule.traffic_policy.is_none() {
            target.rule.traffic_policy.clone_from(&incoming.rule.traffic_policy);
        }
    }
    if beside {
        list.push(incoming);
    }
}
