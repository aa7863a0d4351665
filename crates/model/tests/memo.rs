//! What is taken over from an earlier build, and what is remembered of an earlier translation, changes nothing: after
//! any edits the outcome equals that of a look at everything.
#![allow(clippy::unwrap_used)]

use amime_model::config::{Discovery, DnsFamily, Locality};
use amime_model::resource::{MeshConfig, Object, ResourceSet, load};
use amime_model::snapshot::{Built, Held, Snapshot};
use amime_model::translate::{
    Interception, Memo, Node, NodeKind, Outline, Routing, Scope, Translation, translate, translate_endpoints,
    translate_local, translate_placed, translate_shared_with,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One object that an edit writes or takes away; the number chooses among a few forms of it.
#[derive(Debug, Clone)]
enum Edit {
    Slice { service: usize, part: usize, form: usize },
    Service { service: usize, form: usize },
    Rule { service: usize, form: usize },
    Routes { service: usize, form: usize },
    Sidecar { form: usize },
    Pod { form: usize },
}

fn edit() -> impl Strategy<Value = Edit> {
    let slice = (0..4usize, 0..2usize, 0..6usize).prop_map(|(service, part, form)| Edit::Slice { service, part, form });
    prop_oneof![
        6 => slice,
        1 => (0..4usize, 0..6usize).prop_map(|(service, form)| Edit::Service { service, form }),
        1 => (0..4usize, 0..4usize).prop_map(|(service, form)| Edit::Rule { service, form }),
        8 => (0..4usize, 0..10usize).prop_map(|(service, form)| Edit::Routes { service, form }),
        1 => (0..4usize).prop_map(|form| Edit::Sidecar { form }),
        1 => (0..3usize).prop_map(|form| Edit::Pod { form }),
    ]
}

/// Services 0 and 1 are in `one`, 2 and 3 in `two`.
fn namespace(service: usize) -> &'static str {
    if service < 2 { "one" } else { "two" }
}

impl Edit {
    fn file(&self) -> String {
        match self {
            Self::Slice { service, part, .. } => format!("slice-{service}-{part}.yaml"),
            Self::Service { service, .. } => format!("service-{service}.yaml"),
            Self::Rule { service, .. } => format!("rule-{service}.yaml"),
            Self::Routes { service, .. } => format!("routes-{service}.yaml"),
            Self::Sidecar { .. } => "sidecar.yaml".into(),
            Self::Pod { .. } => "pod.yaml".into(),
        }
    }

    /// Empty: it is gone.
    fn text(&self) -> String {
        match self {
            Self::Slice { form: 0, .. } => String::new(),
            Self::Slice { service, part, form } => {
                let ns = namespace(*service);
                // One of the forms has an error.
                let port = if *form == 5 { "many".to_owned() } else { "8080".to_owned() };
                let address =
                    |n: usize| format!("- {{addresses: [10.{service}.{part}.{n}], conditions: {{ready: true}}}}\n");
                let endpoints: String = (1..*form).map(address).collect();
                let endpoints =
                    if endpoints.is_empty() { "endpoints: []\n".into() } else { format!("endpoints:\n{endpoints}") };
                format!(
                    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{service}-{part}, namespace: {ns}, \
                     labels: {{kubernetes.io/service-name: s{service}}}}}\naddressType: IPv4\n\
                     ports: [{{name: http, port: {port}}}]\n{endpoints}"
                )
            }
            Self::Service { form: 0, .. } => String::new(),
            Self::Service { service, form } => {
                let ns = namespace(*service);
                let spec = match form {
                    1 => "clusterIP: None, selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]",
                    2 => "clusterIP: 10.96.0.9, ports: [{name: tcp, port: 80, targetPort: 8080}]",
                    // Its protocol is detected, so it has a route configuration of its own.
                    5 => "clusterIP: 10.96.0.7, selector: {app: a}, ports: [{name: any, port: 80, targetPort: 8080}]",
                    3 => "clusterIP: 10.96.0.8, selector: {app: a}, ports: [{name: tcp, port: 81, targetPort: 8080}]",
                    _ => "selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]",
                };
                format!(
                    "apiVersion: v1\nkind: Service\nmetadata: {{name: s{service}, namespace: {ns}}}\nspec: {{{spec}}}\n"
                )
            }
            Self::Rule { form: 0, .. } | Self::Routes { form: 0, .. } | Self::Sidecar { form: 0 } => String::new(),
            Self::Rule { service, form } => {
                let policy = match form {
                    2 => "outlierDetection: {}",
                    // The label that sidecars differ in.
                    3 => "outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [side]}}",
                    _ => "connectionPool: {tcp: {maxConnections: 1}}",
                };
                format!(
                    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r{service}, namespace: {ns}}}\n\
                     spec: {{host: s{service}, trafficPolicy: {{{policy}}}, \
                     subsets: [{{name: v{form}, labels: {{version: v{form}}}}}]}}\n",
                    ns = namespace(*service)
                )
            }
            Self::Routes { service, form } => {
                let http = match form {
                    // Forms of one reach, others of another; some have no routes for some clients.
                    4 => format!(
                        "match: [{{headers: {{a: {{exact: b}}}}}}], route: [{{destination: {{host: s{service}}}}}]"
                    ),
                    5 => format!(
                        "match: [{{headers: {{a: {{exact: c}}}}}}], route: [{{destination: {{host: s{service}}}}}]"
                    ),
                    6 => format!("match: [{{sourceNamespace: one}}], route: [{{destination: {{host: s{service}}}}}]"),
                    7 => format!("match: [{{port: 81}}], route: [{{destination: {{host: s{service}}}}}]"),
                    8 => "route: [{destination: {host: s0.one.svc.cluster.local}}]".to_owned(),
                    9 => format!("match: [{{uri: {{regex: '('}}}}], route: [{{destination: {{host: s{service}}}}}]"),
                    _ => format!("timeout: {form}s, route: [{{destination: {{host: s{service}, subset: v{form}}}}}]"),
                };
                // Two of them are for hosts of one kind.
                let host = if *service == 3 { "*.svc.cluster.local".to_owned() } else { format!("s{service}") };
                format!(
                    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{service}, namespace: {ns}}}\n\
                     spec: {{hosts: ['{host}'], http: [{{{http}}}]}}\n",
                    ns = namespace(*service)
                )
            }
            Self::Sidecar { form } => format!(
                "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, namespace: one}}\n\
                 spec: {{egress: [{}{{hosts: ['{}']}}]}}\n",
                if *form == 3 { "{port: {number: 8888, protocol: HTTP_PROXY, name: p}, hosts: ['*/*']}, " } else { "" },
                if *form == 1 { "./*" } else { "*/s0.one.svc.cluster.local" }
            ),
            Self::Pod { form } => format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: one, \
                 labels: {{app: a, version: v{form}, side: left, istio-locality: r.z{form}}}}}\n\
                 spec: {{containers: [{{name: a, ports: [{{containerPort: 8080}}]}}]}}\nstatus: {{podIP: 10.0.0.1}}\n"
            ),
        }
    }
}

/// Files as an engine has them: what is not written again stays the same objects.
type Files = BTreeMap<String, Vec<Arc<Object>>>;

fn write(files: &mut Files, edit: &Edit) {
    let file = edit.file();
    let objects = load(&file, &edit.text()).objects;
    files.insert(file, objects);
}

fn all(files: &Files) -> ResourceSet {
    let mut set = ResourceSet::default();
    files.values().flatten().for_each(|object| set.replace(object.clone()));
    set
}

fn nodes() -> Vec<Node> {
    [
        ("one", "a", NodeKind::Sidecar),
        ("two", "b", NodeKind::Sidecar),
        ("two", "c", NodeKind::Sidecar),
        ("two", "g", NodeKind::Gateway),
    ]
    .into_iter()
    .map(|(namespace, name, kind)| Node {
        kind,
        namespace: namespace.into(),
        name: name.into(),
        labels: [("side".to_owned(), if name == "b" { "left" } else { "right" }.to_owned())].into(),
        addresses: vec!["10.0.0.2".parse().unwrap()],
        interception: Interception::Redirect,
        dns_capture: false,
        locality: Locality { region: "r".into(), zone: "z1".into(), sub_zone: String::new() },
        host: String::new(),
        binds_upstream: false,
    })
    .collect()
}

/// As a control plane keeps it for a view.
struct Kept {
    translation: Translation,
    outline: Outline,
    routing: Routing,
}

impl Kept {
    fn whole(snapshot: &Snapshot, scope: &Scope, memo: &mut Memo) -> Self {
        let (mut translation, routing) = translate_shared_with(snapshot, &scope.shared, memo);
        let outline = Outline::of(&translation);
        if let Some(place) = &scope.place {
            translation.put(translate_placed(snapshot, &scope.shared, place, memo));
        }
        Self { outline, translation, routing }
    }

    /// False: it has to be made anew.
    fn reroute(&mut self, snapshot: &Snapshot, scope: &Scope, last: &Snapshot, memo: &mut Memo) -> bool {
        let Some(changes) = snapshot.rules_changed_since(last) else { return false };
        let hosts = self.routing.reroute(snapshot, &scope.shared, &changes, &self.outline, memo);
        let Some(hosts) = hosts else { return false };
        for (route, host) in hosts {
            let config = Arc::make_mut(self.translation.config.routes.get_mut(&route).unwrap());
            let mut same = config.virtual_hosts.iter_mut().filter(|old| old.name == host.name);
            *same.next().unwrap() = host.clone();
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn remembered_equals_whole(edits in prop::collection::vec(edit(), 1..25)) {
        let mut files = Files::new();
        for service in 0..4 {
            write(&mut files, &Edit::Service { service, form: 4 });
            write(&mut files, &Edit::Slice { service, part: 0, form: 3 });
        }
        write(&mut files, &Edit::Pod { form: 1 });
        let mesh = MeshConfig::default();
        let mut last: Option<Built> = None;
        let mut held_by_whole = Held::default();
        let mut memo = Memo::default();
        let mut all_kept: Vec<Option<Kept>> = nodes().iter().map(|_| None).collect();
        for edit in &edits {
            write(&mut files, edit);
            let resources = all(&files);
            let held = last.as_ref().map(|built| built.held.clone()).unwrap_or_default();
            let whole = Snapshot::build(&resources, &mesh, &held_by_whole);
            held_by_whole = whole.held;
            let built = Snapshot::build_after(&resources, &mesh, &held, last.as_ref());
            prop_assert_eq!(&built.diagnostics, &whole.diagnostics);
            let others = last.as_ref().and_then(|last| built.snapshot.endpoints_changed_since(&last.snapshot));
            let rules = last.as_ref().and_then(|last| built.snapshot.rules_changed_since(&last.snapshot));
            if others.is_none() && rules.is_none() {
                memo.begin(&built.snapshot);
            }
            for (node, kept) in nodes().into_iter().zip(&mut all_kept) {
                let scope = Scope::of(&built.snapshot, &node);
                prop_assert_eq!(&scope, &Scope::of(&whole.snapshot, &node));
                let expected = translate(&whole.snapshot, &scope);
                let rerouted = match (kept.as_mut(), &last) {
                    (Some(kept), Some(last)) => kept.reroute(&built.snapshot, &scope, &last.snapshot, &mut memo),
                    _ => false,
                };
                if !rerouted {
                    *kept = Some(Kept::whole(&built.snapshot, &scope, &mut memo));
                }
                let shared = &kept.as_ref().unwrap().translation;
                prop_assert_eq!(&translate_local(&built.snapshot, &scope, shared), &expected);
                let (Some(others), Some(last)) = (&others, &last) else { continue };
                // The configuration from before with the endpoints of now.
                prop_assert_eq!(&scope, &Scope::of(&last.snapshot, &node));
                let mut config = translate(&last.snapshot, &scope).config;
                for endpoints in translate_endpoints(&built.snapshot, &scope.shared, scope.place.as_ref(), others, &mut memo) {
                    if let Some(old) = config.endpoints.get_mut(endpoints.cluster.as_str()) {
                        *old = endpoints;
                    }
                }
                prop_assert_eq!(&config, &expected.config);
            }
            last = Some(built);
        }
    }
}

#[test]
fn an_endpoint_alone_is_seen_to_be_alone() {
    let mut files = Files::new();
    write(&mut files, &Edit::Service { service: 0, form: 4 });
    write(&mut files, &Edit::Slice { service: 0, part: 0, form: 3 });
    let mesh = MeshConfig::default();
    let first = Snapshot::build(&all(&files), &mesh, &Held::default());
    write(&mut files, &Edit::Slice { service: 0, part: 0, form: 4 });
    let second = Snapshot::build_after(&all(&files), &mesh, &first.held, Some(&first));
    let changed = second.snapshot.endpoints_changed_since(&first.snapshot).unwrap();
    assert_eq!(changed.iter().map(|key| key.host.as_str()).collect::<Vec<_>>(), ["s0.one.svc.cluster.local"]);
    write(&mut files, &Edit::Routes { service: 0, form: 1 });
    let third = Snapshot::build_after(&all(&files), &mesh, &second.held, Some(&second));
    assert!(third.snapshot.endpoints_changed_since(&second.snapshot).is_none());
}

#[test]
fn a_rule_alone_is_seen_to_be_alone_and_changes_its_virtual_host_alone() {
    let mut files = Files::new();
    for service in 0..4 {
        write(&mut files, &Edit::Service { service, form: 4 });
    }
    write(&mut files, &Edit::Routes { service: 0, form: 4 });
    let mesh = MeshConfig::default();
    let first = Snapshot::build(&all(&files), &mesh, &Held::default());
    let scope = Scope::of(&first.snapshot, &nodes()[1]);
    let mut memo = Memo::default();
    let mut kept = Kept::whole(&first.snapshot, &scope, &mut memo);
    write(&mut files, &Edit::Routes { service: 0, form: 5 });
    let second = Snapshot::build_after(&all(&files), &mesh, &first.held, Some(&first));
    let changes = second.snapshot.rules_changed_since(&first.snapshot).unwrap();
    let hosts = kept.routing.reroute(&second.snapshot, &scope.shared, &changes, &kept.outline, &mut memo).unwrap();
    let names: Vec<_> = hosts.iter().map(|(route, host)| (&**route, host.name.as_str())).collect();
    assert_eq!(names, [("80", "s0.one.svc.cluster.local:80")]);
    // The subset of a destination is no other service.
    write(&mut files, &Edit::Routes { service: 0, form: 1 });
    let third = Snapshot::build_after(&all(&files), &mesh, &second.held, Some(&second));
    assert!(third.snapshot.rules_changed_since(&second.snapshot).is_some());
    write(&mut files, &Edit::Routes { service: 1, form: 1 });
    let fourth = Snapshot::build_after(&all(&files), &mesh, &third.held, Some(&third));
    assert!(fourth.snapshot.rules_changed_since(&third.snapshot).is_none());
}

#[test]
fn proxies_of_one_place_share_endpoints_and_those_that_no_place_concerns_are_shared_by_all() {
    let mut files = Files::new();
    for service in 0..2 {
        write(&mut files, &Edit::Service { service, form: 4 });
        write(&mut files, &Edit::Slice { service, part: 0, form: 4 });
    }
    write(&mut files, &Edit::Pod { form: 1 });
    write(&mut files, &Edit::Rule { service: 0, form: 2 });
    let built = Snapshot::build(&all(&files), &MeshConfig::default(), &Held::default());
    let mut memo = Memo::default();
    memo.begin(&built.snapshot);
    let mut found = Vec::new();
    for (name, region) in [("b", "r"), ("c", "r"), ("d", "q")] {
        let node = nodes().into_iter().find(|node| node.name == "b").unwrap();
        let locality = Locality { region: region.into(), ..node.locality.clone() };
        // No rule looks at that label.
        let labels = [("side".to_owned(), name.to_owned())].into();
        let scope = Scope::of(&built.snapshot, &Node { name: name.into(), locality, labels, ..node });
        found
            .push((scope.shared.clone(), Kept::whole(&built.snapshot, &scope, &mut memo).translation.config.endpoints));
    }
    let endpoints =
        |proxy: usize, service: &str| &found[proxy].1[&*format!("outbound|80||{service}.one.svc.cluster.local")];
    assert!(found.iter().all(|(shared, _)| *shared == found[0].0));
    assert!(Arc::ptr_eq(endpoints(0, "s0"), endpoints(1, "s0")));
    assert_ne!(endpoints(0, "s0"), endpoints(2, "s0"));
    assert!(Arc::ptr_eq(endpoints(0, "s1"), endpoints(1, "s1")) && Arc::ptr_eq(endpoints(0, "s1"), endpoints(2, "s1")));
}

#[test]
fn names_are_looked_up_for_the_addresses_that_a_proxy_can_reach_which_tells_views_apart_only_where_there_are_such_names()
 {
    let entry = |host: &str, resolution: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {resolution}, namespace: one}}\n\
             spec: {{hosts: [\"{host}\"], resolution: {resolution}, ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n"
        )
        .replace("name: DYNAMIC_DNS,", "name: dynamic,")
        .replace("name: DNS,", "name: dns,")
    };
    let named = format!("{}---\n{}", entry("a.example", "DNS"), entry("*.example", "DYNAMIC_DNS"));
    let mut files = Files::new();
    write(&mut files, &Edit::Service { service: 0, form: 4 });
    write(&mut files, &Edit::Slice { service: 0, part: 0, form: 0 });
    let without = Snapshot::build(&all(&files), &MeshConfig::default(), &Held::default());
    files.insert("named".into(), load("named", &named).objects);
    let with = Snapshot::build(&all(&files), &MeshConfig::default(), &Held::default());
    let mut memo = Memo::default();
    memo.begin(&with.snapshot);
    let mut static_clusters = Vec::new();
    let cases: [(&[&str], DnsFamily); 4] = [
        (&[], DnsFamily::V4Only),
        (&["10.0.0.2"], DnsFamily::V4Only),
        (&["fd00::2"], DnsFamily::V6Only),
        (&["10.0.0.2", "fd00::2"], DnsFamily::All),
    ];
    for (addresses, family) in cases {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let node = Node { addresses, ..nodes().remove(0) };
        assert_eq!(Scope::of(&without.snapshot, &node).shared, Scope::of(&without.snapshot, &nodes()[0]).shared);
        let scope = Scope::of(&with.snapshot, &node);
        let (translation, _) = translate_shared_with(&with.snapshot, &scope.shared, &mut memo);
        let cluster = |host: &str| translation.config.clusters[&*format!("outbound|80||{host}")].clone();
        assert_eq!(cluster("a.example").dns.family, family);
        assert!(matches!(&cluster("*.example").discovery, Discovery::DynamicDns(cache) if cache.family == family));
        static_clusters.push(cluster("s0.one.svc.cluster.local"));
    }
    assert!(static_clusters.iter().all(|cluster| Arc::ptr_eq(cluster, &static_clusters[0])));
}
