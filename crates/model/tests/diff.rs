//! What `diff` says of changes: nothing where no request changes; of each host of which something else comes, something;
//! and no witness of which the same comes.

use amime_model::diff::{Difference, ServiceWhat, Side, diff};
use amime_model::explain::{Explainer, OneOrMany, Question, Verdict, has_workloads, with_gateways};
use amime_model::resource::{MeshConfig, Object, ResourceSet, load};
use amime_model::snapshot::{Held, Snapshot};
use proptest::prelude::*;
use std::sync::Arc;

struct Mesh {
    snapshot: Arc<Snapshot>,
    for_tools: Vec<Arc<Object>>,
    has_workloads: bool,
}

impl Mesh {
    fn of(text: &str) -> Self {
        let loaded = [load("mesh.yaml", text)];
        let (resources, _) = ResourceSet::of_files(&loaded);
        let built = Snapshot::build(&with_gateways(&resources), &MeshConfig::default(), &Held::default());
        let [file] = loaded;
        Self { snapshot: built.snapshot, for_tools: file.for_tools, has_workloads: has_workloads(&resources) }
    }

    fn side(&self) -> Side<'_> {
        Side { snapshot: &self.snapshot, for_tools: &self.for_tools, has_workloads: self.has_workloads }
    }

    fn explainer(&self) -> Explainer<'_> {
        Explainer::new(&self.snapshot)
    }
}

fn verdict(explainer: &mut Explainer<'_>, question: &Question) -> Option<Verdict> {
    explainer.explain(question).ok().map(plain)
}

/// Without whose rule it was; what fails fails the same, wherever it would have gone.
fn plain(verdict: Verdict) -> Verdict {
    if verdict.status == Some(503) {
        return Verdict { status: verdict.status, flag: verdict.flag, ..Verdict::default() };
    }
    let mut verdict = Verdict { object: None, why: String::new(), ..verdict };
    verdict.destinations.sort_by_key(|destination| (destination.name(), destination.weight));
    verdict
}

fn between(before: &str, after: &str) -> Difference {
    diff(&Mesh::of(before).side(), &Mesh::of(after).side(), None)
}

/// Services with two versions each, a workload that asks, and a gateway.
const WORLD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: shop}
spec: {selector: {app: ratings}, ports: [{name: http, port: 9080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1, namespace: shop}
spec: {selector: {matchLabels: {app: reviews}}, template: {metadata: {labels: {app: reviews, version: v1}}, spec: {containers: [{name: a, image: a, ports: [{containerPort: 9080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v2, namespace: shop}
spec: {selector: {matchLabels: {app: reviews}}, template: {metadata: {labels: {app: reviews, version: v2}}, spec: {containers: [{name: a, image: a, ports: [{containerPort: 9080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ratings-v1, namespace: shop}
spec: {selector: {matchLabels: {app: ratings}}, template: {metadata: {labels: {app: ratings, version: v1}}, spec: {containers: [{name: a, image: a, ports: [{containerPort: 9080}]}]}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
";

fn world(more: &str) -> String {
    format!("{WORLD}---\n{more}")
}

fn rules(rules: &[String]) -> String {
    world(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews, namespace: shop}}\n\
         spec:\n  hosts: [reviews]\n  http:\n{}",
        rules.iter().map(|rule| format!("  - {rule}\n")).collect::<String>()
    ))
}

fn to(subset: &str) -> String {
    format!("route: [{{destination: {{host: reviews, subset: {subset}}}}}]")
}

#[test]
fn another_subset_for_one_header_is_told_with_a_witness() {
    let jason = |subset: &str| format!("{{match: [{{headers: {{end-user: {{exact: jason}}}}}}], {}}}", to(subset));
    let rest = format!("{{{}}}", to("v1"));
    let found = between(&rules(&[jason("v1"), rest.clone()]), &rules(&[jason("v2"), rest.clone()]));
    let [change] = found.requests.as_slice() else { panic!("{found:#?}") };
    assert_eq!((change.name.as_str(), change.before.as_str(), change.after.as_str()), ("shop/reviews", "v1", "v2"));
    assert_eq!(change.when.iter().collect::<Vec<_>>(), ["header end-user=jason"]);
    assert_eq!(change.witness.headers["end-user"], OneOrMany::One("jason".into()));
    assert!(change.clients.contains("shop/web-v1"));
    // The same in another form: rules of the same outcome, in other objects' order, with other names.
    let named = format!("{{name: everyone, {}}}", to("v1"));
    let found = between(&rules(&[jason("v2"), rest]), &rules(&[jason("v2"), named]));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn shares_timeouts_and_404_are_told() {
    let split = |one: u32, other: u32| {
        format!(
            "{{route: [{{destination: {{host: reviews, subset: v1}}, weight: {one}}}, \
             {{destination: {{host: reviews, subset: v2}}, weight: {other}}}]}}"
        )
    };
    let found = between(&rules(&[split(90, 10)]), &rules(&[split(80, 20)]));
    assert_eq!(found.requests[0].moved_percent, Some(10.0));
    assert_eq!(found.requests[0].after, "v1 80 %, v2 20 %");
    assert!(between(&rules(&[split(50, 50)]), &rules(&[split(1, 1)])).is_empty());
    let timeout = |time: &str| format!("{{timeout: {time}, {}}}", to("v1"));
    let found = between(&rules(&[timeout("2s")]), &rules(&[timeout("3s")]));
    assert_eq!((found.requests[0].before.as_str(), found.requests[0].after.as_str()), ("timeout 2s", "timeout 3s"));
    let only = |path: &str| format!("{{match: [{{uri: {{prefix: {path}}}}}], {}}}", to("v1"));
    let found = between(&rules(&[only("/")]), &rules(&[only("/api")]));
    assert_eq!(found.requests[0].after, "404 (NR)");
    // A header that is taken away, and a share of faults, which no verdict shows.
    let fault =
        |share: u32| format!("{{fault: {{abort: {{httpStatus: 500, percentage: {{value: {share}}}}}}}, {}}}", to("v1"));
    let found = between(&rules(&[fault(5)]), &rules(&[fault(6)]));
    assert_eq!(found.requests[0].after, "fault 6 % get 500");
}

#[test]
fn services_settings_and_policies_are_told() {
    let spaces = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: two}\n";
    let before = world(spaces).replacen(
        "name: ratings, namespace: shop}",
        "name: ratings, namespace: shop, annotations: {networking.istio.io/exportTo: .}}",
        1,
    );
    let found = between(&before, &world(spaces));
    let added = found.services.iter().find_map(|change| match &change.what {
        ServiceWhat::Visible { added, .. } => Some((change.name.as_str(), added.iter().cloned().collect::<Vec<_>>())),
        _ => None,
    });
    assert_eq!(added, Some(("shop/ratings", vec!["one".to_owned(), "two".to_owned()])), "{found:#?}");
    let limited = WORLD.replacen(
        "spec: {host: reviews,",
        "spec: {host: reviews, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 1s}}},",
        1,
    );
    let found = between(WORLD, &limited);
    assert_eq!(found.settings[0].setting, "connect timeout");
    assert_eq!((found.settings[0].before.as_str(), found.settings[0].after.as_str()), ("10s", "1s"));
    let policy = world(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {}\n",
    );
    let found = between(WORLD, &policy);
    assert_eq!(
        (found.not_evaluated[0].object.as_str(), found.not_evaluated[0].what),
        ("AuthorizationPolicy shop/deny", "added")
    );
    assert!(found.has_policies && !found.is_empty());
}

/// One rule by chance: a match and what is done.
fn rule() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just(String::new()),
        prop::sample::select(vec!["/", "/a", "/a/b", "/ab"]).prop_map(|p| format!("uri: {{prefix: {p}}}")),
        prop::sample::select(vec!["/a", "/a/b"]).prop_map(|p| format!("uri: {{exact: {p}}}")),
        prop::sample::select(vec!["/a.*", "/[ab]+"]).prop_map(|p| format!("uri: {{regex: '{p}'}}")),
    ];
    let value = prop::sample::select(vec!["exact: anna", "exact: ben", "prefix: an", "regex: '.*n'"]);
    let header = prop::option::of((prop::sample::select(vec!["headers", "withoutHeaders"]), value));
    let end = prop::sample::select(vec![
        to("v1"),
        to("v2"),
        "route: [{destination: {host: ratings}}]".to_owned(),
        "redirect: {uri: /away}".to_owned(),
        "directResponse: {status: 418}".to_owned(),
        format!("rewrite: {{uri: /r}}, {}", to("v1")),
        format!("headers: {{request: {{remove: [x-user]}}}}, {}", to("v1")),
    ]);
    (path, header, end).prop_map(|(path, header, end)| {
        let header = header.map(|(kind, value)| format!("{kind}: {{x-user: {{{value}}}}}"));
        let conditions: Vec<_> = [path].into_iter().chain(header).filter(|c| !c.is_empty()).collect();
        match conditions.is_empty() {
            true => format!("{{{end}}}"),
            false => format!("{{match: [{{{}}}], {end}}}", conditions.join(", ")),
        }
    })
}

fn request() -> impl Strategy<Value = (&'static str, Option<&'static str>)> {
    let path = prop::sample::select(vec!["/", "/a", "/a/b", "/ab", "/abc", "/b", "/a/b/c"]);
    (path, prop::option::of(prop::sample::select(vec!["anna", "ben", "ann", "an", "x"])))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_changes_is_told_and_what_is_told_changes(
        one in prop::collection::vec(rule(), 1..5),
        other in prop::collection::vec(rule(), 1..5),
        // What is kept of the first before the second begins.
        kept in 0..5usize,
        requests in prop::collection::vec(request(), 40),
    ) {
        let changed: Vec<String> = one.iter().take(kept).chain(&other).cloned().collect();
        let (before, after) = (Mesh::of(&rules(&one)), Mesh::of(&rules(&changed)));
        let found = diff(&before.side(), &after.side(), None);
        let (mut before, mut after) = (before.explainer(), after.explainer());
        for change in &found.requests {
            let (was, is) = (verdict(&mut before, &change.witness), verdict(&mut after, &change.witness));
            prop_assert_ne!(&was, &is, "{:#?}", change);
        }
        let told = found.requests.iter().any(|change| change.host == "reviews.shop.svc.cluster.local");
        for (path, user) in requests {
            let question = Question {
                from: Some("shop/web-v1".to_owned()),
                url: format!("http://reviews:9080{path}"),
                headers: user.map(|user| ("x-user".to_owned(), OneOrMany::One(user.to_owned()))).into_iter().collect(),
                ..Question::default()
            };
            if verdict(&mut before, &question) != verdict(&mut after, &question) {
                prop_assert!(told, "{:?} changes:\n{}\n\n{}", question, one.join("\n"), changed.join("\n"));
            }
        }
    }
}
