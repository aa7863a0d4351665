//! A client as Envoy is one: endpoints of unknown clusters are dropped, a changed cluster needs its endpoints
//! again, and only what is referred to is subscribed to.

use super::*;
use crate::refs;
use crate::server::resources::in_route;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug)]
pub(super) struct Peer {
    pub stream: Stream,
    pub log: Vec<String>,
    /// Clusters are never acknowledged; otherwise they are when they are warm.
    pub withholds_cluster_acks: bool,
    /// Clusters are acknowledged before they are warm.
    pub hasty: bool,
    /// The nonce of clusters that are still warming.
    warm_ack: Option<String>,
    /// Responses with that resource are refused whole.
    pub refuses: Option<String>,
    protocol: Protocol,
    /// It asks for virtual hosts as resources of their own.
    vhds: bool,
    now: Instant,
    held: PerType<BTreeMap<Arc<str>, Arc<Encoded>>>,
    /// Clusters without endpoints since they came or changed.
    pub warming: BTreeSet<Arc<str>>,
    subscribed: PerType<BTreeSet<Arc<str>>>,
    last_nonce: PerType<String>,
    /// What the client has said and the server has not heard yet, in order within a type.
    pub said: PerType<VecDeque<Said>>,
    /// What the server has said and the client has not heard yet.
    pub heard: VecDeque<Response>,
}

#[derive(Debug, Clone)]
pub(super) enum Said {
    Delta(DeltaRequest),
    Sotw(SotwRequest),
}

/// What such a client asks for, in its order.
const SPOKEN: [ResourceType; 5] = [
    ResourceType::Cluster,
    ResourceType::Endpoints,
    ResourceType::Listener,
    ResourceType::Route,
    ResourceType::VirtualHost,
];

fn stream(protocol: Protocol, vhds: bool) -> Stream {
    let stream = Stream::new(protocol, StreamOptions::default());
    if vhds { stream.of_own_proxy() } else { stream }
}

fn short(name: &str) -> ResourceType {
    ResourceType::ALL.into_iter().find(|t| t.short() == name).expect("a type")
}

impl Stream {
    pub(super) fn set_target_from(&mut self, target: Arc<Resources>) {
        let diff = Diff::between(&self.target, &target);
        self.set_target(target, &diff);
    }
}

impl Peer {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self::of(protocol, false)
    }

    /// A client as our proxy is one.
    pub(super) fn with_vhds() -> Self {
        Self::of(Protocol::Delta, true)
    }

    pub(super) fn of(protocol: Protocol, vhds: bool) -> Self {
        let mut peer = Self {
            stream: stream(protocol, vhds),
            vhds,
            log: Vec::new(),
            withholds_cluster_acks: false,
            hasty: false,
            warm_ack: None,
            refuses: None,
            protocol,
            now: Instant::now(),
            held: PerType::default(),
            warming: BTreeSet::new(),
            subscribed: PerType::default(),
            last_nonce: PerType::default(),
            said: PerType::default(),
            heard: VecDeque::new(),
        };
        peer.say_hello();
        peer
    }

    fn say_hello(&mut self) {
        for kind in SPOKEN {
            let names: Vec<_> = self.subscribed[kind].iter().cloned().collect();
            if !kind.is_wildcard() && names.is_empty() {
                continue;
            }
            let type_url = kind.type_url().to_owned();
            let held = self.held[kind].iter();
            // A proxy of ours does not tell of endpoints that a warming cluster has not been given; an Envoy does.
            let told =
                held.filter(|(n, _)| !self.vhds || kind != ResourceType::Endpoints || !self.warming.contains(*n));
            let versions = told.map(|(n, e)| (n.clone(), e.version.clone())).collect();
            self.said[kind].push_back(match self.protocol {
                Protocol::Delta => Said::Delta(DeltaRequest {
                    type_url,
                    subscribe: names,
                    initial_versions: versions,
                    ..Default::default()
                }),
                Protocol::Sotw => {
                    let version = if self.held[kind].is_empty() { "" } else { "before" }.to_owned();
                    Said::Sotw(SotwRequest { type_url, names, version, ..Default::default() })
                }
            });
            // A stream keeps the order of its first requests; answers may come in any.
            self.tell(kind);
        }
    }

    pub(super) fn reconnect(&mut self, mesh: &Mesh) {
        self.stream = stream(self.protocol, self.vhds);
        self.said = PerType::default();
        self.heard.clear();
        self.warm_ack = None;
        self.last_nonce = PerType::default();
        self.set(mesh);
        self.say_hello();
    }

    pub(super) fn set(&mut self, mesh: &Mesh) {
        self.stream.set_target_from(mesh.resources_for(self.vhds));
    }

    pub(super) fn has(&self, kind: &str, name: &str) -> bool {
        self.held[short(kind)].contains_key(name)
    }

    pub(super) fn held_version(&self, kind: &str, name: &str) -> Option<&str> {
        self.held[short(kind)].get(name).map(|e| &*e.version)
    }

    pub(super) fn names(&self, kind: ResourceType) -> Vec<(Arc<str>, Arc<str>)> {
        self.held[kind].iter().map(|(n, e)| (n.clone(), e.version.clone())).collect()
    }

    fn hosts_of(&self, route: &str) -> impl Iterator<Item = &Arc<Encoded>> {
        in_route(&self.held[ResourceType::VirtualHost], route).map(|(_, host)| host)
    }

    /// The routes of the listeners that it has, with a cluster that it lacks.
    pub(super) fn dangling(&self) -> Option<String> {
        for (listener, encoded) in &self.held[ResourceType::Listener] {
            let routes = encoded.refs.routes.iter().filter_map(|r| self.held[ResourceType::Route].get(r));
            let hosts = encoded.refs.routes.iter().flat_map(|r| self.hosts_of(r));
            for cluster in routes.chain(hosts).flat_map(|r| &r.refs.clusters).chain(&encoded.refs.clusters) {
                if !self.held[ResourceType::Cluster].contains_key(cluster) {
                    return Some(format!("{listener} comes to {cluster}"));
                }
            }
        }
        None
    }

    /// The server speaks as long as it has something to say.
    pub(super) fn pump(&mut self) {
        while let Some(response) = self.stream.next(self.now) {
            self.heard.push_back(response);
        }
    }

    /// The client takes one response in.
    pub(super) fn hear(&mut self) -> bool {
        let Some(response) = self.heard.pop_front() else { return false };
        let kind = ResourceType::from_type_url(&response.type_url).expect("a known type");
        let names: Vec<_> = response.resources.iter().map(|(n, _)| n.to_string()).collect();
        let removed: Vec<_> = response.removed.iter().map(|n| format!("-{n}")).collect();
        self.log.push([vec![kind.short().to_owned()], names.clone(), removed].concat().join(" "));
        self.last_nonce[kind].clone_from(&response.nonce);
        let refused = self.refuses.as_ref().is_some_and(|bad| names.contains(bad));
        if refused {
            self.answer(kind, response.nonce, Some(format!("{} is not good", self.refuses.as_deref().unwrap_or(""))));
            return true;
        }
        if self.protocol == Protocol::Sotw && kind.is_wildcard() {
            let names: BTreeSet<_> = response.resources.iter().map(|(n, _)| n.clone()).collect();
            self.held[kind].retain(|name, _| names.contains(name));
        }
        for (name, encoded) in response.resources {
            match kind {
                ResourceType::Endpoints => {
                    if self.held[ResourceType::Cluster].contains_key(&name) {
                        self.warming.remove(&name);
                        self.held[kind].insert(name, encoded);
                    }
                }
                ResourceType::Cluster => {
                    self.warming.retain(|warming| *warming != name);
                    let same = self.held[kind].get(&name).is_some_and(|old| old.version == encoded.version);
                    if !same {
                        self.warming.insert(name.clone());
                    }
                    self.held[kind].insert(name, encoded);
                }
                // It came when nothing named it any more.
                ResourceType::Route if !self.subscribed[kind].contains(&name) => {}
                ResourceType::VirtualHost if !self.wants_hosts_of(&name) => {}
                _ => drop(self.held[kind].insert(name, encoded)),
            }
        }
        for name in response.removed.iter().filter(|_| kind.is_wildcard() || kind == ResourceType::VirtualHost) {
            self.held[kind].remove(name);
        }
        self.subscribe();
        match kind {
            ResourceType::Cluster if self.withholds_cluster_acks => {}
            ResourceType::Cluster if !self.hasty => self.warm_ack = Some(response.nonce),
            _ => self.answer(kind, response.nonce, None),
        }
        if self.warming.is_empty()
            && let Some(nonce) = self.warm_ack.take()
        {
            self.answer(ResourceType::Cluster, nonce, None);
        }
        true
    }

    fn wants_hosts_of(&self, name: &str) -> bool {
        let wanted = &self.subscribed[ResourceType::VirtualHost];
        refs::route_of(name).is_some_and(|route| wanted.contains(&*refs::hosts_of(route)))
    }

    fn subscribe(&mut self) {
        let clusters = self.held[ResourceType::Cluster].values();
        let endpoints = clusters.filter_map(|c| c.refs.endpoints.clone()).collect();
        let routes = self.held[ResourceType::Listener].values().flat_map(|l| l.refs.routes.clone()).collect();
        self.subscribe_to(ResourceType::Endpoints, endpoints);
        self.subscribe_to(ResourceType::Route, routes);
        if self.vhds {
            let routes = self.held[ResourceType::Route].keys();
            let hosts = routes.map(|route| refs::hosts_of(route).into()).collect();
            self.subscribe_to(ResourceType::VirtualHost, hosts);
            let mut held = std::mem::take(&mut self.held[ResourceType::VirtualHost]);
            held.retain(|name, _| self.wants_hosts_of(name));
            self.held[ResourceType::VirtualHost] = held;
        }
    }

    fn subscribe_to(&mut self, kind: ResourceType, wanted: BTreeSet<Arc<str>>) {
        {
            let known: BTreeSet<_> = std::mem::replace(&mut self.subscribed[kind], wanted);
            let wanted = &self.subscribed[kind];
            if known == *wanted {
                return;
            }
            if kind != ResourceType::VirtualHost {
                self.held[kind].retain(|name, _| wanted.contains(name));
            }
            self.warming.retain(|name| self.held[ResourceType::Cluster].contains_key(name));
            let type_url = kind.type_url().to_owned();
            self.said[kind].push_back(match self.protocol {
                Protocol::Delta => Said::Delta(DeltaRequest {
                    type_url,
                    subscribe: wanted.difference(&known).cloned().collect(),
                    unsubscribe: known.difference(wanted).cloned().collect(),
                    ..Default::default()
                }),
                Protocol::Sotw => Said::Sotw(SotwRequest {
                    type_url,
                    names: wanted.iter().cloned().collect(),
                    nonce: self.last_nonce[kind].clone(),
                    ..Default::default()
                }),
            });
        }
    }

    /// The last response with clusters is acknowledged after all.
    pub(super) fn answer_clusters(&mut self) {
        self.answer(ResourceType::Cluster, self.last_nonce[ResourceType::Cluster].clone(), None);
    }

    fn answer(&mut self, kind: ResourceType, nonce: String, error: Option<String>) {
        let type_url = kind.type_url().to_owned();
        self.said[kind].push_back(match self.protocol {
            Protocol::Delta => Said::Delta(DeltaRequest { type_url, nonce, error, ..Default::default() }),
            Protocol::Sotw => Said::Sotw(SotwRequest {
                type_url,
                names: self.subscribed[kind].iter().cloned().collect(),
                version: nonce.clone(),
                nonce,
                error,
                ..Default::default()
            }),
        });
    }

    /// The server takes one request of that type in.
    pub(super) fn tell(&mut self, kind: ResourceType) -> bool {
        match self.said[kind].pop_front() {
            None => return false,
            Some(Said::Delta(request)) => self.stream.on_delta(self.now, request),
            Some(Said::Sotw(request)) => self.stream.on_sotw(self.now, request),
        }
        true
    }

    /// The client takes in what the server says now, without an answer.
    pub(super) fn receive(&mut self) {
        self.pump();
        while self.hear() {}
    }

    pub(super) fn settle_without_time(&mut self) {
        loop {
            self.receive();
            let mut said = false;
            for kind in SPOKEN {
                said |= self.tell(kind);
                self.receive();
            }
            if !said {
                return;
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.pass(time);
        self.settle_without_time();
    }

    /// Until neither end has anything left to do, now or later.
    pub(super) fn settle(&mut self) {
        self.settle_without_time();
        while let Some(deadline) = self.stream.deadline(self.now) {
            self.now = deadline;
            self.settle_without_time();
        }
    }
}
