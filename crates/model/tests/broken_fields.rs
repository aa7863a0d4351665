//! One field of one object is broken, over the examples and the meshes that set every field: the diagnostic names that
//! field, what other objects answer is answered as before, and nothing that the object answered falls through.
//!
//! The requests are made from each mesh: every service's ports, and what every VirtualService matches, from a pod of each
//! namespace and at each gateway. Which requests are an object's is found by taking it out: those that change then.
//! `AMIME_SEED=N` breaks other fields in other ways.

mod corpus;

use amime_model::explain::{Action, Destination, Explainer, OneOrMany, Question, State, Verdict, with_pods};
use amime_model::host::resolve_short;
use amime_model::protocol::{ListenerProtocol, Protocol};
use amime_model::resource::virtual_service::{HttpMatch, StringMatch};
use amime_model::resource::{Loaded, MeshConfig, Object, ResourceSet, Spec, load, load_mesh_config};
use amime_model::snapshot::{Built, Held, Snapshot, selects};
use amime_model::yaml::{Node, Resolved, View};
use corpus::{Edit, Mesh, corpus, edited, kind_of};
use std::collections::{BTreeMap, BTreeSet};

/// How a field is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Mapping,
    List,
    /// No number, no duration, no word of an enum.
    Word,
    Regex,
    /// The name is misspelt.
    Name,
}

const WAYS: [Break; 5] = [Break::Mapping, Break::List, Break::Word, Break::Regex, Break::Name];

/// A field as it is written, and where in the document its value is.
struct Field {
    path: String,
    name: String,
    id: u32,
    scalar: Option<Resolved>,
}

fn fields(node: Node<'_>, path: &str, found: &mut Vec<Field>) {
    let mut add = |path: String, name: String, value: Node<'_>| {
        let scalar = value.scalar().map(|scalar| scalar.resolve());
        found.push(Field { path: path.clone(), name, id: value.id(), scalar });
        fields(value, &path, found);
    };
    match node.view() {
        View::Scalar(_) => {}
        View::Sequence(items) => {
            items.enumerate().for_each(|(index, item)| add(format!("{path}[{index}]"), String::new(), item));
        }
        View::Mapping(entries) => {
            entries
                .for_each(|(key, value)| add(format!("{path}.{}", key.key_text()), key.key_text().into_owned(), value));
        }
    }
}

fn build(loaded: &[Loaded], mesh: &MeshConfig, held: &Held) -> Built {
    let (resources, _) = ResourceSet::of_files(loaded);
    // Pods are made up of what is in force, as the control plane does.
    let (fit, _) = held.clone().replace_broken(&resources);
    Snapshot::build(&with_pods(&fit), mesh, held)
}

/// A value that fits.
fn sample(wanted: &Option<StringMatch>) -> Option<String> {
    let wanted = wanted.as_ref()?;
    wanted.exact.clone().or_else(|| wanted.prefix.as_ref().map(|prefix| format!("{prefix}x")))
}

fn asked(host: &str, port: u32, wanted: &HttpMatch) -> Question {
    let path = sample(&wanted.uri).unwrap_or_else(|| "/".to_owned());
    let parameters = wanted.query_params.iter();
    let parameters: Vec<_> = parameters
        .map(|(name, value)| format!("{name}={}", sample(&Some(value.clone())).unwrap_or_default()))
        .collect();
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    let header = |(name, value): (&String, &StringMatch)| {
        let value = sample(&Some(value.clone())).unwrap_or_else(|| "x".to_owned());
        (name.clone(), OneOrMany::One(value))
    };
    Question {
        url: format!("http://{host}:{port}{path}{query}"),
        method: sample(&wanted.method),
        authority: sample(&wanted.authority),
        headers: wanted.headers.iter().map(header).collect(),
        ..Question::default()
    }
}

fn questions(snapshot: &Snapshot) -> Vec<Question> {
    let mut clients = BTreeMap::new();
    let mut gateways = BTreeSet::new();
    for pod in snapshot.pods() {
        let name = format!("{}/{}", pod.namespace, pod.name);
        if snapshot.gateways().iter().any(|gateway| selects(&gateway.spec.selector, &pod.labels)) {
            gateways.insert(name);
        } else {
            clients.entry(pod.namespace.clone()).or_insert(name);
        }
    }
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for service in snapshot.services() {
        for port in &service.ports {
            let scheme = match port.protocol {
                Protocol::Tls | Protocol::Https => "https",
                other if other.listener() == ListenerProtocol::Tcp => "tcp",
                _ => "http",
            };
            let host = service.host.replace('*', "any");
            inside.push(Question { url: format!("{scheme}://{host}:{}/", port.number), ..Question::default() });
        }
    }
    let servers = snapshot.gateways().iter().flat_map(|gateway| &gateway.spec.servers);
    let ports: BTreeSet<u32> = servers.filter_map(|server| server.port.as_ref()).map(|port| port.number).collect();
    for object in snapshot.in_force() {
        let Spec::VirtualService(rules) = &object.spec else { continue };
        let any = [HttpMatch::default()];
        for host in &rules.hosts {
            let host = host.replace('*', "any");
            for wanted in rules.http.iter().flat_map(|http| if http.matches.is_empty() { &any } else { &*http.matches })
            {
                outside.extend(ports.iter().map(|port| asked(&host, *port, wanted)));
                let known = snapshot.services().iter().filter(|s| s.host == host || s.name == host);
                inside.extend(known.flat_map(|s| &s.ports).map(|port| asked(&host, port.number, wanted)));
            }
            let https = |port: &u32| Question { url: format!("https://{host}:{port}/"), ..Question::default() };
            outside.extend(ports.iter().map(https));
        }
    }
    let from = |pod: &String, asked: &Question| Question { from: Some(pod.clone()), ..asked.clone() };
    let at = |pod: &String, asked: &Question| Question { at: Some(pod.clone()), ..asked.clone() };
    let mut all: Vec<Question> = clients.values().flat_map(|pod| inside.iter().map(move |q| from(pod, q))).collect();
    all.extend(gateways.iter().flat_map(|pod| outside.iter().map(move |q| at(pod, q))));
    all.sort_by_cached_key(|question| format!("{question:?}"));
    all.dedup();
    all
}

type Answer = Result<Verdict, String>;

fn answers(built: &Built, questions: &[Question]) -> Vec<Answer> {
    let mut explainer = Explainer::new(&built.snapshot);
    let answer = |question: &Question| {
        let verdict = explainer.explain(question).map_err(|error| error.to_string());
        // That is for people.
        verdict.map(|verdict| Verdict { why: String::new(), ..verdict })
    };
    questions.iter().map(answer).collect()
}

/// Refused, unknown to the gateway, sent where nobody is, or as before with the part that is broken refused.
fn refused(before: &Answer, now: &Answer) -> bool {
    let (Ok(before), Ok(now)) = (before, now) else { return true };
    match now.action {
        Action::Refuse => true,
        Action::Respond => now.status == Some(503) || now.object.is_none() && now.status == Some(404),
        Action::Forward if now.status == Some(503) => true,
        Action::Forward => {
            let gone = |to: &Destination| to.state != State::Ready;
            let same = |(before, now): (&Destination, &Destination)| gone(now) || before == now;
            now.destinations.iter().all(gone)
                || before.object == now.object
                    && before.destinations.len() == now.destinations.len()
                    && before.destinations.iter().zip(&now.destinations).all(same)
        }
        Action::Passthrough => false,
    }
}

/// May the object have a part in the request, though nothing changes where it is not there?
fn touches(object: &Object, root_namespace: &str, question: &Question, before: &Answer) -> bool {
    let namespace = &*object.id.namespace;
    let is = |host: &str, asked: &str| {
        let host = resolve_short(host, namespace);
        asked == host || host.strip_prefix('*').is_some_and(|end| asked.ends_with(end))
    };
    let authority = question.url.split(['/', ':']).nth(3).unwrap_or_default();
    let sent = |host: &str| before.as_ref().is_ok_and(|v| v.destinations.iter().any(|to| is(host, &to.host)));
    match &object.spec {
        Spec::VirtualService(rules) => rules.hosts.iter().any(|host| is(host, &resolve_short(authority, namespace))),
        Spec::DestinationRule(rule) => sent(&rule.host),
        Spec::ServiceEntry(entry) => entry.hosts.iter().any(|host| sent(host) || is(host, authority)),
        Spec::Sidecar(_) => {
            let own = |from: &String| from.split('/').next() == Some(namespace) || namespace == root_namespace;
            question.from.as_ref().is_some_and(own)
        }
        _ => false,
    }
}

/// Is it unknown what the object is about, when this field is broken? Its requests are as if it were not there then.
fn about(field: &str) -> bool {
    if let Some((_, of_port)) = field.strip_prefix("spec.ports[").and_then(|rest| rest.split_once('.')) {
        return of_port.starts_with("number");
    }
    let names = ["spec.hosts", "spec.gateways", "spec.exportTo", "spec.host", "spec.ports"];
    let is = |rest: &str| rest.is_empty() || rest == "Xx" || rest.starts_with('[');
    names.iter().any(|name| field.strip_prefix(name).is_some_and(is))
}

/// The next of a row of numbers that look random (splitmix64).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

/// What is found wrong with a mesh, and how many fields of it were broken.
fn check(mesh: &Mesh, seed: u64, wrong: &mut Vec<String>) -> (usize, usize) {
    let mut state = seed;
    let config = mesh.mesh_config.as_ref().map_or_else(MeshConfig::default, |document| {
        load_mesh_config("mesh-config.yaml", &document.root().to_flow()).config
    });
    let good: Vec<Loaded> =
        mesh.objects.iter().enumerate().map(|(n, d)| load(&format!("{n:03}.yaml"), &d.root().to_flow())).collect();
    let built = build(&good, &config, &Held::default());
    let questions = questions(&built.snapshot);
    let before = answers(&built, &questions);
    let (mut broken, mut compared) = (0, 0);
    for (at, document) in mesh.objects.iter().enumerate() {
        let (Some(kind), Some(spec)) = (kind_of(document), document.root().get("spec")) else { continue };
        // One that is wrong from the start shows nothing.
        if good[at].objects.iter().any(|object| !object.errors.is_empty()) {
            continue;
        }
        let mut found = Vec::new();
        fields(spec, "spec", &mut found);
        let mut without = good.clone();
        without.remove(at);
        let without = answers(&build(&without, &config, &Held::default()), &questions);
        for field in found {
            // Half of them at a time: other seeds break the others.
            let (skip, way) = (next(&mut state).is_multiple_of(2), WAYS[next(&mut state) % WAYS.len()]);
            if skip {
                continue;
            }
            let misspelt = format!("{}Xx", field.name);
            let edit = match way {
                Break::Mapping => Edit::Value("{oops: 1}"),
                Break::List => Edit::Value("[[1]]"),
                Break::Word => Edit::Value("'soon, perhaps'"),
                Break::Regex => Edit::Value("'(['"),
                Break::Name if field.name.is_empty() => continue,
                Break::Name => Edit::Name(&misspelt),
            };
            let mut loaded = good.clone();
            loaded[at] = load(&good[at].file, &edited(document.root(), field.id, edit));
            let label = format!("{}: {kind} {} as {way:?}", mesh.name, field.path);
            let Some(object) = loaded[at].objects.first() else {
                wrong.push(format!("{label}: no object is left"));
                continue;
            };
            if object.errors.is_empty() {
                let scalar = field.scalar.is_some();
                let typed = matches!(field.scalar, Some(Resolved::Int(_) | Resolved::Float(_) | Resolved::Bool(_)));
                let must = match way {
                    Break::Mapping | Break::List => scalar,
                    Break::Word | Break::Regex => typed,
                    Break::Name => false,
                };
                if must {
                    wrong.push(format!("{label}: no error"));
                }
                // What is written means something else now.
                continue;
            }
            broken += 1;
            let path = match way {
                Break::Name => format!("{}Xx", field.path),
                _ => field.path.clone(),
            };
            let within =
                |named: &str| named.strip_prefix(&path).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']));
            if !object.errors.iter().any(|error| within(&error.field)) {
                let named: Vec<_> =
                    object.errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
                wrong.push(format!("{label}: named are {named:?}"));
            }
            let held = answers(&build(&loaded, &config, &built.held), &questions);
            let alone = answers(&build(&loaded, &config, &Held::default()), &questions);
            let rows = questions.iter().zip(&before).zip(&without).zip(held.iter().zip(&alone));
            for (((question, before), without), (held, alone)) in rows {
                compared += 1;
                let asked = format!("{:?}{:?} {} {:?}", question.from, question.at, question.url, question.headers);
                if held != before {
                    wrong.push(format!("{label}, held: {asked}\n  before {before:?}\n  now {held:?}"));
                } else if alone == before {
                    continue;
                } else if before == without && !touches(&good[at].objects[0], &config.root_namespace, question, before)
                {
                    wrong.push(format!("{label}: {asked} is another's\n  before {before:?}\n  now {alone:?}"));
                } else if !refused(before, alone) && !about(&path) {
                    wrong.push(format!("{label}: {asked} falls through\n  before {before:?}\n  now {alone:?}"));
                }
            }
        }
    }
    (broken, compared)
}

#[test]
fn one_broken_field_is_named_and_harms_nothing_else() {
    let seed = std::env::var("AMIME_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut wrong = Vec::new();
    let (mut broken, mut compared) = (0, 0);
    for mesh in corpus().iter().filter(|mesh| !mesh.name.contains("golden")) {
        let (fields, answers) = check(mesh, seed, &mut wrong);
        println!("{}: {fields} broken, {answers} answers", mesh.name);
        broken += fields;
        compared += answers;
    }
    println!("{broken} fields broken, {compared} answers compared (seed {seed})");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(broken > 400, "{broken} fields broken");
}
