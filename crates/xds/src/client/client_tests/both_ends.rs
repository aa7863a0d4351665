//! The client at one end and the server at the other, with their real bytes between them, messages late and
//! updates slow: no configuration that is run ever has a route to a cluster that is not in it.

use super::*;
use crate::server::{Diff, Protocol, Response, Stream, StreamOptions};
use crate::test_mesh::mesh;
use crate::wire::WireDeltaResponse;
use proptest::prelude::*;
use prost::Message;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
enum Step {
    Change(Mesh),
    /// The server takes in one request.
    Ask,
    /// The client takes in one response.
    Answer,
    /// The proxy is given the next update, or has run it.
    Run,
    /// The proxy cannot run its update.
    Refuse,
    Wait(u64),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => mesh().prop_map(Step::Change),
        8 => Just(Step::Ask),
        8 => Just(Step::Answer),
        8 => Just(Step::Run),
        1 => Just(Step::Refuse),
        2 => (0u64..3000).prop_map(Step::Wait),
        1 => Just(Step::Reconnect),
    ]
}

struct Ends {
    client: Client,
    stream: Stream,
    now: Instant,
    asked: VecDeque<DeltaRequest>,
    answered: VecDeque<Response>,
    running: Option<Update>,
}

impl Ends {
    fn new(mesh: &Mesh) -> Self {
        let options = ClientOptions { warm_limit: Duration::from_secs(3600), ..ClientOptions::default() };
        let mut ends = Self {
            client: Client::new(Node::default(), Arc::default(), options),
            stream: server(),
            now: Instant::now(),
            asked: VecDeque::new(),
            answered: VecDeque::new(),
            running: None,
        };
        ends.change(mesh);
        ends.client.connected();
        ends
    }

    fn change(&mut self, mesh: &Mesh) {
        let target = mesh.resources_for(true);
        let diff = Diff::between(self.stream.target(), &target);
        self.stream.set_target(target, &diff);
    }

    fn reconnect(&mut self, mesh: &Mesh) {
        self.stream = server();
        self.asked.clear();
        self.answered.clear();
        self.change(mesh);
        self.client.disconnected();
        self.client.connected();
    }

    fn ask(&mut self) -> bool {
        self.asked.extend(self.client.requests());
        let Some(request) = self.asked.pop_front() else { return false };
        self.stream.on_delta(self.now, request);
        true
    }

    fn answer(&mut self) -> bool {
        while let Some(response) = self.stream.next(self.now) {
            self.answered.push_back(response);
        }
        let Some(response) = self.answered.pop_front() else { return false };
        let message = response.into_message();
        let length = message.length();
        let bytes: Vec<u8> = message.flatten().collect();
        assert_eq!(bytes.len(), length);
        let read = WireDeltaResponse::decode(bytes.as_slice()).expect("a message");
        self.client.on_response(self.now, read.into());
        true
    }

    fn run(&mut self) -> bool {
        match self.running.take() {
            Some(update) => {
                self.client.accepted(&update);
                true
            }
            None => {
                self.running = self.client.poll(self.now);
                self.running.is_some()
            }
        }
    }

    fn settle(&mut self) {
        loop {
            while self.ask() | self.answer() | self.run() {}
            let Some(deadline) = self.stream.deadline(self.now) else { return };
            self.now = deadline;
        }
    }
}

fn server() -> Stream {
    let options = StreamOptions { cluster_wait: Duration::from_secs(3600), ..StreamOptions::default() };
    Stream::new(Protocol::Delta, options).of_own_proxy()
}

/// A listener of that configuration that comes to a cluster which is not in it.
fn dangling(config: &ProxyConfig) -> Option<String> {
    let lacks = |name: &str| !config.clusters.contains_key(name);
    config.listeners.values().find_map(|listener| {
        let own = refs::listener_clusters(listener).into_iter();
        let routes = refs::listener_routes(listener).filter_map(|name| config.routes.get(name));
        let mut named = own.chain(routes.flat_map(|routes| routes.clusters()));
        named.find(|name| lacks(name)).map(|name| format!("{} comes to {name}", listener.name))
    })
}

/// The domains of a route configuration, each once.
fn domains(routes: &RouteConfig) -> BTreeSet<String> {
    let all: Vec<_> = routes.virtual_hosts.iter().flat_map(|h| h.domains.clone()).collect();
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(distinct.len(), all.len(), "a domain is there twice: {all:?}");
    distinct
}

/// Of each route configuration that was in every mesh since the client began: the domains that always were in it.
#[derive(Default)]
struct Always(Option<BTreeMap<Arc<str>, BTreeSet<String>>>);

impl Always {
    fn set(&mut self, mesh: &Mesh) {
        let all = || mesh.config.routes.iter().map(|(name, routes)| (name.clone(), domains(routes)));
        let known = self.0.get_or_insert_with(|| all().collect());
        known.retain(|name, _| mesh.config.routes.contains_key(name));
        for (name, now) in all() {
            if let Some(always) = known.get_mut(&name) {
                always.retain(|domain| now.contains(domain));
            }
        }
    }

    /// A domain that is nobody's at the moment, though it is somebody's in every mesh.
    fn lost(&self, config: &ProxyConfig) -> Option<String> {
        self.0.iter().flatten().find_map(|(name, always)| {
            let now = domains(config.routes.get(name)?);
            always.iter().find(|domain| !now.contains(*domain)).map(|domain| format!("{name} has no {domain}"))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agree_in_the_end_and_never_dangle(first in mesh(), steps in prop::collection::vec(step(), 0..150)) {
        let mut ends = Ends::new(&first);
        let mut mesh = &first;
        let mut refused = false;
        let mut always = Always::default();
        always.set(mesh);
        for step in &steps {
            match step {
                Step::Change(next) => {
                    mesh = next;
                    ends.change(mesh);
                    always.set(mesh);
                }
                Step::Ask => drop(ends.ask()),
                Step::Answer => drop(ends.answer()),
                Step::Run => drop(ends.run()),
                Step::Refuse => {
                    if let Some(update) = ends.running.take() {
                        refused = true;
                        ends.client.rejected(&update, "refused");
                    }
                }
                Step::Wait(millis) => ends.now += Duration::from_millis(*millis),
                Step::Reconnect => ends.reconnect(mesh),
            }
            // A client that refused a cluster may be given what is left to be served without it.
            let config = ends.running.as_ref().map_or(ends.client.config(), |update| &update.config);
            prop_assert!(refused || dangling(config).is_none(), "after {:?}: {:?}", step, dangling(config));
            prop_assert!(refused || always.lost(config).is_none(), "after {:?}: {:?}", step, always.lost(config));
        }
        // What was refused for no lasting reason is taken after a new start.
        if let Some(update) = ends.running.take() {
            ends.client.accepted(&update);
        }
        ends.client = {
            let mut fresh = Client::new(Node::default(), Arc::default(), ClientOptions { warm_limit: Duration::from_secs(3600), ..ClientOptions::default() });
            if !refused {
                std::mem::swap(&mut fresh, &mut ends.client);
            }
            fresh
        };
        ends.reconnect(mesh);
        ends.settle();
        let config = ends.client.config();
        prop_assert_eq!(&config.clusters, &mesh.config.clusters);
        prop_assert_eq!(&config.listeners, &mesh.config.listeners);
        prop_assert_eq!(&config.endpoints, &mesh.config.endpoints);
        for (name, routes) in &config.routes {
            prop_assert_eq!(Some(routes), mesh.config.routes.get(name));
        }
        prop_assert!(ends.stream.status().in_step, "{:?}", ends.stream.status());
        prop_assert!(ends.client.ready());
    }
}
