//! The one thread that translates: for each snapshot every scope once, and hands each stream what it is to have.

use crate::engine::Generation;
use amime_model::snapshot::Snapshot;
use amime_model::translate::{
    Interception, Node, NodeKind, Scope, SharedScope, Translation, translate_local, translate_shared,
};
use amime_xds::server::{Encoder, Resources};
use std::collections::HashMap;
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

/// How a proxy wants its routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Route configurations whole, as any Envoy does.
    Whole,
    /// Virtual hosts as resources of their own, as ours do.
    VirtualHosts,
}

enum Command {
    Snapshot(Generation),
    Join { stream: u64, node: Arc<Node>, form: Form, target: watch::Sender<Target> },
    Leave(u64),
}

#[derive(Debug)]
pub(super) struct Push {
    commands: mpsc::Sender<Command>,
    next_stream: AtomicU64,
}

impl Push {
    pub(super) fn start(mut snapshots: watch::Receiver<Generation>) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let first = snapshots.borrow_and_update().clone();
        std::thread::Builder::new().name("amime-push".into()).spawn(move || Pusher::new(first).run(&inbox))?;
        let forward = commands.clone();
        tokio::spawn(async move {
            while snapshots.changed().await.is_ok() {
                let published = snapshots.borrow_and_update().clone();
                if forward.send(Command::Snapshot(published)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { commands, next_stream: AtomicU64::new(1) })
    }

    /// A proxy has connected: the number of its stream, and what it is to have, from now on.
    pub(super) fn join(&self, node: Arc<Node>, form: Form) -> (u64, watch::Receiver<Target>) {
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let (target, targets) = watch::channel(Target::default());
        // Where the thread is gone, the stream sees its sender dropped.
        let _ = self.commands.send(Command::Join { stream, node, form, target });
        (stream, targets)
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
}

struct Pusher {
    published: Generation,
    members: HashMap<u64, Member>,
    encoder: Encoder,
    /// Of this snapshot.
    shared: HashMap<SharedScope, Translation>,
    /// Of this snapshot.
    scopes: HashMap<(Scope, Form), Arc<Resources>>,
}

impl Pusher {
    fn new(published: Generation) -> Self {
        Self {
            published,
            members: HashMap::new(),
            encoder: Encoder::default(),
            shared: HashMap::new(),
            scopes: HashMap::new(),
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        while let Ok(command) = inbox.recv() {
            let mut newest = None;
            let mut joined = Vec::new();
            // All that waits is taken at once: of several snapshots only the newest counts.
            for command in std::iter::once(command).chain(inbox.try_iter()) {
                match command {
                    Command::Snapshot(published) => newest = Some(published),
                    Command::Join { stream, node, form, target } => {
                        self.members.insert(stream, Member { node, form, target });
                        joined.push(stream);
                    }
                    Command::Leave(stream) => drop(self.members.remove(&stream)),
                }
            }
            match newest {
                Some(published) => self.publish(published),
                None => joined.into_iter().for_each(|stream| self.give(stream)),
            }
        }
    }

    fn publish(&mut self, published: Generation) {
        self.published = published;
        self.encoder.begin();
        self.shared.clear();
        self.scopes.clear();
        let streams: Vec<_> = self.members.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.give(stream));
    }

    fn give(&mut self, stream: u64) {
        let Some(member) = self.members.get(&stream) else { return };
        if !has_place(&self.published.snapshot, &member.node) {
            // What it has goes on: its pod has gone, and it is to go, too.
            let generation = self.published.number;
            return member.target.send_modify(|target| match target.generation {
                0 => target.refused = true,
                _ => target.generation = generation,
            });
        }
        let scope = Scope::of(&self.published.snapshot, &member.node);
        let resources = self.resources(scope, member.form);
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

    fn resources(&mut self, scope: Scope, form: Form) -> Arc<Resources> {
        let key = (scope, form);
        if let Some(known) = self.scopes.get(&key) {
            return known.clone();
        }
        let scope = &key.0;
        let snapshot: &Snapshot = &self.published.snapshot;
        let shared =
            self.shared.entry(scope.shared.clone()).or_insert_with(|| translate_shared(snapshot, &scope.shared));
        let translation = translate_local(snapshot, scope, shared);
        let resources = Arc::new(match form {
            Form::Whole => self.encoder.encode(&translation.config),
            Form::VirtualHosts => self.encoder.encode_vhds(&translation.config),
        });
        self.scopes.insert(key, resources.clone());
        resources
    }
}

/// Whether it is known where this proxy listens. One that is told where connections go (PROXY protocol) listens at the
/// addresses of its pod, which are this control plane's to give; by any others it would be no proxy at all.
fn has_place(snapshot: &Snapshot, node: &Node) -> bool {
    node.kind != NodeKind::Sidecar
        || node.interception != Interception::ProxyProtocol
        || snapshot.pod(&node.namespace, &node.name).is_some_and(|pod| pod.placement().is_some())
}
