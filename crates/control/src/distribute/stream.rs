//! The task of one stream: the state machine of `xds::server` between what a proxy says and what it is to have.

use super::push::Target;
use super::{Connection, LAST_PUSH, Peer, ProxyStatus, Shared};
use amime_model::translate::Node;
use amime_xds::ResourceType;
use amime_xds::server::{Diff, Form, Protocol, Stream};
use amime_xds::transport::{AdsStream, Incoming, Requests, Responses};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

/// Streams end over so many milliseconds, where there are as many.
const MOST_SPREAD: u64 = 1000;

/// A proxy introduces itself as soon as its stream is open.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

const NO_PLACE: &str = "INTERCEPTION_MODE is PROXY_PROTOCOL, and this control plane has no address for that pod: \
                        it is none of its manifests, or the pods are another one's (--stand-ins)";

const TOO_MUCH: &str = "the stream asks for more names of resources than are kept for one";

/// `old`: from then on the proxy is to go to another control plane, once it is in step.
pub(super) async fn run(shared: Arc<Shared>, mut opened: AdsStream, peer: Option<Peer>, old: Option<Instant>) {
    let first = match tokio::time::timeout(FIRST_REQUEST, opened.requests.next()).await {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None)) => return,
        Ok(Err(status)) => return opened.responses.fail(status).await,
        Err(_) => {
            let status = Status::deadline_exceeded(format!("no request came within {} s", FIRST_REQUEST.as_secs()));
            return opened.responses.fail(status).await;
        }
    };
    let introduced = match &first {
        Requests::Delta(request) => request.node.as_ref(),
        Requests::Sotw(request) => request.node.as_ref(),
    };
    let Some(introduced) = introduced else {
        return opened.responses.fail(Status::invalid_argument("the first request names no node")).await;
    };
    let node = match Node::parse(&introduced.id, &introduced.metadata) {
        Ok(node) => Arc::new(node.at(&introduced.locality)),
        Err(error) => return opened.responses.fail(Status::invalid_argument(error.to_string())).await,
    };
    let id: Arc<str> = introduced.id.as_str().into();
    let protocol = match opened.requests {
        Incoming::Delta(_) => Protocol::Delta,
        Incoming::Sotw(_) => Protocol::Sotw,
    };
    let mut stream = Stream::new(protocol, shared.options.clone());
    let mut form = Form::Whole;
    if protocol == Protocol::Delta && introduced.asks_for_vhds() {
        stream = stream.of_own_proxy();
        form = Form::Parts;
    }
    let joined = Instant::now();
    let (number, targets) = shared.push.join(node.clone(), form);
    shared.counters.opened();
    let connection = Arc::new(Connection::new(number, introduced, &node, peer.map(|peer| peer.address), protocol));
    let task = Task {
        stream,
        generation: 0,
        shared: &shared,
        connection,
        id,
        node,
        responses: opened.responses,
        may_have_secrets: peer.is_none_or(Peer::may_have_secrets),
        warned: false,
        old,
        converging: Some(joined),
        told: None,
    };
    task.run(first, opened.requests, targets).await;
    shared.push.leave(number);
    shared.forget(number);
}

struct Task<'a> {
    stream: Stream,
    generation: u64,
    shared: &'a Shared,
    connection: Arc<Connection>,
    id: Arc<str>,
    node: Arc<Node>,
    responses: Responses,
    may_have_secrets: bool,
    /// Of secrets that it did not get.
    warned: bool,
    old: Option<Instant>,
    /// When the oldest change was seen that the proxy does not have yet; its coming is one, too.
    converging: Option<Instant>,
    /// The status as it was last written down.
    told: Option<(u64, amime_xds::server::Status)>,
}

impl Task<'_> {
    /// Until the proxy goes, or the server does.
    async fn run(mut self, first: Requests, mut requests: Incoming, mut targets: watch::Receiver<Target>) {
        let mut ending = self.shared.ending.subscribe();
        // Nothing can be answered before it is known what the proxy is to have.
        let refused = match targets.wait_for(|target| target.generation > 0 || target.refused).await {
            Ok(target) => target.refused,
            Err(_) => return,
        };
        if refused {
            // It turns to another control plane, or comes again.
            return self.responses.fail(Status::failed_precondition(NO_PLACE)).await;
        }
        self.retarget(&mut targets);
        self.hear(first);
        loop {
            if self.stream.asks_too_much() {
                return self.responses.fail(Status::resource_exhausted(TOO_MUCH)).await;
            }
            while let Some(response) = self.stream.next(now()) {
                if !self.responses.send(response.into_message()).await {
                    return;
                }
            }
            self.tell();
            let deadline = self.stream.deadline(now()).map(Instant::from_std);
            let is_old = self.old.is_some_and(|old| Instant::now() >= old);
            let in_step = self.told.as_ref().is_some_and(|(_, status)| status.in_step);
            if is_old && in_step {
                // It brings what it has to the next one, which sends it what differs.
                return tracing::debug!(proxy = %self.id, "a connection has reached its age");
            }
            // What it takes too long over, it is sent again elsewhere.
            let leave = self.old.map(|old| if is_old { old + LAST_PUSH } else { old });
            tokio::select! {
                request = requests.next() => match request {
                    Ok(Some(request)) => self.hear(request),
                    Ok(None) => return,
                    Err(status) => return self.responses.fail(status).await,
                },
                changed = targets.changed() => match changed {
                    Ok(()) => self.retarget(&mut targets),
                    Err(_) => return,
                },
                () = super::at(deadline) => {}
                () = super::at(leave) => if is_old {
                    return;
                },
                () = self.responses.closed() => return,
                () = super::ended(&mut ending) => {
                    // Not all at once: another control plane is to take them up. Dropping the responses ends it well.
                    let spread = (self.shared.proxies().len() as u64).clamp(1, MOST_SPREAD);
                    return tokio::time::sleep(Duration::from_millis(self.connection.number % spread)).await;
                }
            }
        }
    }

    fn hear(&mut self, request: Requests) {
        match request {
            Requests::Delta(request) => {
                if let Some(problem) = &request.error {
                    tracing::warn!(proxy = %self.id, kind = request.type_url, problem, "a proxy refused configuration");
                }
                self.stream.on_delta(now(), request);
            }
            Requests::Sotw(request) => {
                if let Some(problem) = &request.error {
                    tracing::warn!(proxy = %self.id, kind = request.type_url, problem, "a proxy refused configuration");
                }
                self.stream.on_sotw(now(), request);
            }
        }
    }

    fn retarget(&mut self, targets: &mut watch::Receiver<Target>) {
        let mut target = targets.borrow_and_update().clone();
        if !self.may_have_secrets && !target.resources.is_empty(ResourceType::Secret) {
            target.resources = Arc::new(target.resources.without(ResourceType::Secret));
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    proxy = %self.id,
                    "private keys are not sent in plaintext to another machine: let the proxy connect by TLS (15012)"
                );
            }
        }
        // At first nobody has asked for anything yet, so nothing differs from what was asked for.
        let diff = match self.generation {
            0 => Diff::default(),
            _ => Diff::between(self.stream.target(), &target.resources),
        };
        self.generation = target.generation;
        self.stream.set_target(target.resources, &diff);
        if !diff.is_empty() {
            self.converging = self.converging.or(target.changed.map(Instant::from_std));
        }
    }

    fn tell(&mut self) {
        let status = (self.generation, self.stream.status());
        if self.told.as_ref() == Some(&status) {
            return;
        }
        let counters = &self.shared.counters;
        counters.told(self.told.as_ref().map(|(_, before)| before), &status.1);
        if status.1.in_step
            && let Some(since) = self.converging.take()
        {
            counters.converged(since.elapsed());
        }
        let (generation, stream) = status.clone();
        self.told = Some(status);
        let (id, node, connection) = (self.id.clone(), self.node.clone(), self.connection.clone());
        self.shared.set_status(connection.number, ProxyStatus { id, node, connection, generation, stream });
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
