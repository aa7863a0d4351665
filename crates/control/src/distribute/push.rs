//! The one thread that translates: for each snapshot every scope once, and hands each stream what it is to have.

use super::thread;
use crate::engine::Generation;
use amime_model::snapshot::{RulesChange, ServiceKey, Snapshot};
use amime_model::translate::{
    Interception, Memo, Node, NodeKind, Outline, Place, Placed, Routing, Scope, SharedScope, translate_endpoints,
    translate_own, translate_placed, translate_shared_with,
};
use amime_xds::server::{Common, Encoder, Form, Resources};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use tokio::sync::watch;

/// What a stream is to have.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// Zero before the first.
    pub generation: u64,
    /// When the change was seen that this comes of.
    pub changed: Option<Instant>,
    pub resources: Arc<Resources>,
    /// Nothing can be made for this proxy, and it has had nothing before.
    pub refused: bool,
}

enum Command {
    Snapshot(Generation),
    Join { stream: u64, node: Arc<Node>, form: Form, target: watch::Sender<Target> },
    Leave(u64),
}

#[derive(Debug)]
pub(super) struct Push {
    commands: mpsc::Sender<Command>,
    alive: watch::Receiver<()>,
    next_stream: AtomicU64,
}

impl Push {
    pub(super) fn start(mut snapshots: watch::Receiver<Generation>) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let first = snapshots.borrow_and_update().clone();
        let alive = thread::spawn("amime-push", move || Pusher::new(first).run(&inbox))?;
        let forward = commands.clone();
        tokio::spawn(async move {
            while snapshots.changed().await.is_ok() {
                let published = snapshots.borrow_and_update().clone();
                if forward.send(Command::Snapshot(published)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { commands, alive, next_stream: AtomicU64::new(1) })
    }

    /// A proxy has connected: the number of its stream, and what it is to have, from now on.
    pub(super) fn join(&self, node: Arc<Node>, form: Form) -> (u64, watch::Receiver<Target>) {
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let (target, targets) = watch::channel(Target::default());
        // Where the thread is gone, the stream sees its sender dropped.
        let _ = self.commands.send(Command::Join { stream, node, form, target });
        (stream, targets)
    }

    /// Returns when the thread has ended. It does so by a panic alone while this is there.
    pub(super) async fn stopped(&self) {
        thread::ended(self.alive.clone()).await;
    }

    pub(super) fn leave(&self, stream: u64) {
        let _ = self.commands.send(Command::Leave(stream));
    }
}

/// A connected proxy.
struct Member {
    node: Arc<Node>,
    form: Form,
    target: watch::Sender<Target>,
    /// Of this snapshot's parts.
    group: Option<Arc<(Scope, Form)>>,
}

/// What is made for one `SharedScope`. The translation itself is not kept: it is several times as large.
struct View {
    outline: Outline,
    routing: Routing,
    /// As it is for clients anywhere.
    general: Forms,
    /// The same but for endpoints that depend on where clients are.
    placed: HashMap<Place, Forms>,
}

/// In each of the forms that somebody wants.
#[derive(Default)]
struct Forms {
    whole: Option<Arc<Common>>,
    parts: Option<Arc<Common>>,
}

impl Forms {
    fn of(&self, form: Form) -> Option<&Arc<Common>> {
        match form {
            Form::Whole => self.whole.as_ref(),
            Form::Parts => self.parts.as_ref(),
        }
    }

    fn set(&mut self, form: Form, common: Arc<Common>) {
        match form {
            Form::Whole => self.whole = Some(common),
            Form::Parts => self.parts = Some(common),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Arc<Common>> {
        self.whole.iter_mut().chain(&mut self.parts)
    }
}

impl View {
    fn common(&self, place: Option<&Place>, form: Form) -> Option<&Arc<Common>> {
        match place {
            Some(place) => self.placed.get(place)?.of(form),
            None => self.general.of(form),
        }
    }
}

struct Pusher {
    published: Generation,
    members: BTreeMap<u64, Member>,
    /// Of these, the ones that were given nothing yet. They are given one after the other, so that a change that comes
    /// meanwhile does not wait for all of them.
    joined: VecDeque<u64>,
    /// Some proxy has gone since views and groups were last looked through.
    has_left: bool,
    encoder: Encoder,
    memo: Memo,
    /// Of this snapshot.
    views: HashMap<SharedScope, View>,
    /// Of this snapshot.
    groups: HashMap<Arc<(Scope, Form)>, Arc<Resources>>,
}

impl Pusher {
    fn new(published: Generation) -> Self {
        let mut memo = Memo::default();
        memo.begin(&published.snapshot);
        Self {
            published,
            members: BTreeMap::new(),
            joined: VecDeque::new(),
            has_left: false,
            encoder: Encoder::default(),
            memo,
            views: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        while self.step(inbox) {}
    }

    /// Takes what has come, and gives one proxy what it is to have, or all of them where there is a new snapshot. False
    /// once nobody can send anything any more.
    fn step(&mut self, inbox: &mpsc::Receiver<Command>) -> bool {
        let mut first = None;
        if self.joined.is_empty() {
            match inbox.recv() {
                Ok(command) => first = Some(command),
                Err(mpsc::RecvError) => return false,
            }
        }
        let mut newest = None;
        // All that waits is taken at once: of several snapshots only the newest counts.
        for command in first.into_iter().chain(inbox.try_iter()) {
            match command {
                Command::Snapshot(published) => newest = Some(published),
                Command::Join { stream, node, form, target } => {
                    self.members.insert(stream, Member { node, form, target, group: None });
                    self.joined.push_back(stream);
                }
                Command::Leave(stream) => {
                    self.members.remove(&stream);
                    self.has_left = true;
                }
            }
        }
        if let Some(published) = newest {
            self.joined.clear();
            self.publish(published);
        } else if let Some(stream) = self.joined.pop_front() {
            self.give(stream);
        }
        true
    }

    /// What was made for proxies that have gone is not kept up to date.
    fn forget_unused(&mut self) {
        if std::mem::take(&mut self.has_left) {
            let used: HashSet<_> = self.members.values().filter_map(|member| member.group.as_ref()).collect();
            self.groups.retain(|group, _| used.contains(group));
            let scopes = self.groups.keys().map(|group| &group.0);
            let places: HashSet<_> = scopes.clone().map(|scope| (&scope.shared, scope.place.as_ref())).collect();
            let used: HashSet<_> = scopes.map(|scope| &scope.shared).collect();
            self.views.retain(|scope, _| used.contains(scope));
            for (scope, view) in &mut self.views {
                view.placed.retain(|place, _| places.contains(&(scope, Some(place))));
            }
        }
    }

    fn publish(&mut self, published: Generation) {
        let last = std::mem::replace(&mut self.published, published);
        self.forget_unused();
        self.encoder.begin();
        if !self.publish_little(&last.snapshot) {
            self.memo.begin(&self.published.snapshot);
            self.views.clear();
            self.groups.clear();
            self.members.values_mut().for_each(|member| member.group = None);
        }
        let streams: Vec<_> = self.members.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.give(stream));
    }

    /// Puts what has changed since `last` into what there is. False: it is too much for that.
    fn publish_little(&mut self, last: &Snapshot) -> bool {
        let snapshot = self.published.snapshot.clone();
        if let Some(services) = snapshot.endpoints_changed_since(last) {
            self.change_endpoints(&services);
        } else if let Some(changes) = snapshot.rules_changed_since(last) {
            if self.change_rules(&changes).is_none() {
                return false;
            }
        } else {
            return false;
        }
        for (group, resources) in &mut self.groups {
            let view = self.views.get(&group.0.shared);
            if let Some(common) = view.and_then(|view| view.common(group.0.place.as_ref(), group.1)) {
                *resources = Arc::new(resources.after(common.clone()));
            }
        }
        true
    }

    /// Nothing else has changed: views have other endpoints, and what is a proxy's own stays.
    fn change_endpoints(&mut self, services: &[ServiceKey]) {
        for (scope, view) in &mut self.views {
            let snapshot = &self.published.snapshot;
            let placed = view.placed.iter_mut().map(|(place, forms)| (Some(place), forms));
            for (place, forms) in placed.chain([(None, &mut view.general)]) {
                let endpoints = translate_endpoints(snapshot, scope, place, services, &mut self.memo);
                for common in forms.all() {
                    *common = Arc::new(self.encoder.with_endpoints(common, &endpoints));
                }
            }
        }
    }

    /// Nothing but the rules of VirtualServices has changed: views have other virtual hosts. What is a sidecar's own
    /// stays; gateways have their routes for themselves. None where it is more than that.
    fn change_rules(&mut self, changes: &[RulesChange]) -> Option<()> {
        self.groups.retain(|group, _| group.0.shared.kind != NodeKind::Gateway);
        for (scope, view) in &mut self.views {
            let snapshot = &self.published.snapshot;
            let hosts = view.routing.reroute(snapshot, scope, changes, &view.outline, &mut self.memo)?;
            if hosts.is_empty() {
                continue;
            }
            for common in view.placed.values_mut().chain([&mut view.general]).flat_map(Forms::all) {
                *common = Arc::new(self.encoder.with_hosts(common, &hosts)?);
            }
        }
        Some(())
    }

    fn give(&mut self, stream: u64) {
        let Some(member) = self.members.get_mut(&stream) else { return };
        if !has_place(&self.published.snapshot, &member.node) {
            // What it has goes on: its pod has gone, and it is to go, too.
            let generation = self.published.number;
            return member.target.send_modify(|target| match target.generation {
                0 => target.refused = true,
                _ => target.generation = generation,
            });
        }
        let (snapshot, form) = (&self.published.snapshot, member.form);
        let group = member.group.get_or_insert_with(|| Arc::new((Scope::of(snapshot, &member.node), form))).clone();
        let resources = self.resources(&group);
        let published = &self.published;
        if let Some(member) = self.members.get(&stream) {
            member.target.send_replace(Target {
                generation: published.number,
                changed: Some(published.changed),
                resources,
                refused: false,
            });
        }
    }

    fn resources(&mut self, group: &Arc<(Scope, Form)>) -> Arc<Resources> {
        if let Some(known) = self.groups.get(group) {
            return known.clone();
        }
        let (scope, form) = &**group;
        let common = self.common(scope, *form);
        let snapshot: &Snapshot = &self.published.snapshot;
        // It was made just now, or earlier.
        let own = self.views.get(&scope.shared).map(|view| {
            let own = translate_own(snapshot, scope, &view.outline);
            self.encoder.own(&own.config, &own.without, *form)
        });
        let resources = Arc::new(Resources::new(common, Arc::new(own.unwrap_or_default())));
        self.groups.insert(group.clone(), resources.clone());
        resources
    }

    fn common(&mut self, scope: &Scope, form: Form) -> Arc<Common> {
        let general = self.general(&scope.shared, form);
        let Some(place) = &scope.place else { return general };
        let known = self.views.get(&scope.shared).and_then(|view| view.common(Some(place), form)).cloned();
        known.unwrap_or_else(|| {
            let placed = translate_placed(&self.published.snapshot, &scope.shared, place, &mut self.memo);
            let common = match placed == Placed::default() {
                true => general,
                false => Arc::new(self.encoder.with_placed(&general, &placed.clusters, &placed.endpoints)),
            };
            if let Some(view) = self.views.get_mut(&scope.shared) {
                view.placed.entry(place.clone()).or_default().set(form, common.clone());
            }
            common
        })
    }

    fn general(&mut self, scope: &SharedScope, form: Form) -> Arc<Common> {
        let known = self.views.get(scope).and_then(|view| view.general.of(form)).cloned();
        known.unwrap_or_else(|| {
            let (translation, routing) = translate_shared_with(&self.published.snapshot, scope, &mut self.memo);
            let common = Arc::new(self.encoder.common(&translation.config, form));
            let view = self.views.entry(scope.clone()).or_insert_with(|| View {
                outline: Outline::of(&translation),
                routing,
                general: Forms::default(),
                placed: HashMap::new(),
            });
            view.general.set(form, common.clone());
            common
        })
    }
}

/// Whether it is known where this proxy listens. One that is told where connections go (PROXY protocol) listens at the
/// addresses of its pod, which are this control plane's to give; by any others it would be no proxy at all.
fn has_place(snapshot: &Snapshot, node: &Node) -> bool {
    node.kind != NodeKind::Sidecar
        || node.interception != Interception::ProxyProtocol
        || snapshot.pod(&node.namespace, &node.name).is_some_and(|pod| pod.placement().is_some())
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
