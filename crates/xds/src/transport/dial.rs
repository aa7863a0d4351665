//! Finding a control plane: several addresses over TCP, plain or by TLS, or a connection that is there already.
//! Called by [`super::run`]; who dials watches the connection's state by [`Dialer::state`].
//!
//! The order is chance's, anew each time that one is looked for. Who answers is stayed with. When its connection
//! breaks the next is dialled after up to half a second, so that the proxies of a dead control plane do not all
//! reach the other at once; when none could be reached, or connections break soon one after the other, a growing time
//! goes by.

use super::open::channel_over_network;
use super::session::{Backoff, chance};
use super::tls::Connector;
use super::{ClientTls, TlsError};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;

/// A TCP connection, and a look-up of a name, may take so long.
const CONNECT: Duration = Duration::from_secs(1);

/// And a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// The longest pause between a broken connection and the next.
const SPREAD: Duration = Duration::from_millis(500);

/// A stream that has been answered for so long was no failure.
const STEADY: Duration = Duration::from_secs(5);

/// Where a proxy's configuration comes from.
#[derive(Debug, Clone)]
pub enum ControlPlane {
    /// A connection within the process; nothing takes its place when it ends.
    Connection(Channel),
    Dial(Dialer),
}

impl From<Channel> for ControlPlane {
    fn from(channel: Channel) -> Self {
        Self::Connection(channel)
    }
}

impl From<Dialer> for ControlPlane {
    fn from(dialer: Dialer) -> Self {
        Self::Dial(dialer)
    }
}

/// The addresses of one or more control planes. Clones share the connection's state.
#[derive(Debug, Clone)]
pub struct Dialer(Arc<Shared>);

struct Shared {
    targets: Vec<String>,
    tls: Option<Connector>,
    state: watch::Sender<ConnectionState>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("targets", &self.targets).field("tls", &self.tls.is_some()).finish()
    }
}

/// How a proxy and its control planes stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    Connected {
        /// The address that was dialled, with its name where that is not the address: `istiod:15010 (10.0.0.7:15010)`.
        address: String,
        since: SystemTime,
    },
    Away {
        since: SystemTime,
        /// Of the last attempt, or how the connection broke.
        why: String,
    },
}

impl Dialer {
    /// `addresses` are `host:port`; a name with several addresses counts as several control planes.
    ///
    /// # Errors
    /// Where the CA certificates or the server's name cannot be read.
    pub fn new(addresses: Vec<String>, tls: Option<ClientTls>) -> Result<Self, TlsError> {
        let tls = tls.as_ref().map(Connector::new).transpose()?;
        let why = if addresses.is_empty() { "no control plane is named" } else { "none was dialled yet" };
        let state = watch::Sender::new(ConnectionState::Away { since: SystemTime::now(), why: why.into() });
        Ok(Self(Arc::new(Shared { targets: addresses, tls, state })))
    }

    /// The connection's state, as it changes.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.state.subscribe()
    }
}

/// An address to dial, and the `host:port` that it stands for.
#[derive(Debug, Clone)]
struct Candidate {
    target: String,
    address: SocketAddr,
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.address.to_string();
        if address == self.target { f.write_str(&address) } else { write!(f, "{} ({address})", self.target) }
    }
}

/// One client's search for a control plane.
pub(super) struct Dialing {
    control: ControlPlane,
    backoff: Backoff,
    /// Not dialled in this round.
    untried: VecDeque<Candidate>,
    current: Option<Candidate>,
    /// Rounds without an answer, or with one that did not last, one after the other.
    failures: u32,
    /// Since when the stream is answered.
    answered: Option<Instant>,
    pause: Pause,
}

/// What comes before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    None,
    /// The connection broke: a moment by chance.
    Spread,
    /// Nobody answered.
    Backoff,
}

impl Dialing {
    pub(super) fn new(control: ControlPlane, backoff: Backoff) -> Self {
        Self {
            control,
            backoff,
            untried: VecDeque::new(),
            current: None,
            failures: 0,
            answered: None,
            pause: Pause::None,
        }
    }

    /// The next connection; waits until there is one.
    pub(super) async fn next(&mut self) -> Channel {
        loop {
            let pause = self.pause();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let dialer = match &self.control {
                ControlPlane::Connection(channel) => return channel.clone(),
                ControlPlane::Dial(dialer) => dialer.clone(),
            };
            if self.untried.is_empty() {
                self.untried = dialer.0.candidates(self.current.as_ref()).await;
            }
            let Some(candidate) = self.untried.pop_front() else {
                self.lost("no name of a control plane has an address".into());
                continue;
            };
            match dialer.0.dial(&candidate).await {
                Ok(channel) => {
                    self.current = Some(candidate);
                    return channel;
                }
                Err(problem) => self.lost(format!("{candidate}: {problem}")),
            }
        }
    }

    /// How long to wait before the next attempt.
    fn pause(&mut self) -> Duration {
        match std::mem::replace(&mut self.pause, Pause::None) {
            Pause::None => Duration::ZERO,
            Pause::Spread => {
                let spread = SPREAD.mul_f64(chance());
                if self.failures == 0 { spread } else { spread.max(self.backoff.after(self.failures)) }
            }
            Pause::Backoff => {
                let failures = self.failures;
                self.failures = failures.saturating_add(1);
                self.backoff.after(failures)
            }
        }
    }

    /// The control plane has opened the stream.
    pub(super) fn opened(&self) {
        if let (ControlPlane::Dial(dialer), Some(candidate)) = (&self.control, &self.current) {
            let state = ConnectionState::Connected { address: candidate.to_string(), since: SystemTime::now() };
            dialer.0.state.send_replace(state);
        }
    }

    /// Whether there is another control plane to go to, or the same one anew.
    pub(super) fn dials(&self) -> bool {
        matches!(self.control, ControlPlane::Dial(_))
    }

    /// It has sent something: it is found, and is stayed with.
    pub(super) fn answered(&mut self) {
        self.answered.get_or_insert_with(Instant::now);
        self.untried.clear();
        self.pause = Pause::Spread;
    }

    /// Nothing came over the stream, and it is left; there may have been none.
    pub(super) fn silent(&mut self) {
        let connected = match &self.control {
            ControlPlane::Dial(dialer) => matches!(*dialer.0.state.borrow(), ConnectionState::Connected { .. }),
            ControlPlane::Connection(_) => false,
        };
        if connected {
            self.lost("no answer came over the stream".into());
        }
    }

    /// The stream has ended, or could not be opened.
    pub(super) fn lost(&mut self, why: String) {
        if let Some(since) = self.answered.take() {
            self.failures = if since.elapsed() >= STEADY { 0 } else { self.failures.saturating_add(1) };
        }
        match &self.control {
            ControlPlane::Connection(_) => self.pause = Pause::Backoff,
            ControlPlane::Dial(dialer) => {
                if self.pause == Pause::None && self.untried.is_empty() {
                    self.pause = Pause::Backoff;
                }
                dialer.0.state.send_modify(|state| {
                    let since = match state {
                        ConnectionState::Connected { .. } => SystemTime::now(),
                        ConnectionState::Away { since, .. } => *since,
                    };
                    *state = ConnectionState::Away { since, why };
                });
            }
        }
    }
}

impl Shared {
    /// All addresses of all names, shuffled; last the one that was `left`.
    async fn candidates(&self, left: Option<&Candidate>) -> VecDeque<Candidate> {
        let mut found: Vec<(bool, f64, Candidate)> = Vec::new();
        for target in &self.targets {
            match tokio::time::timeout(CONNECT, lookup_host(target)).await {
                Ok(Ok(addresses)) => {
                    for address in addresses {
                        if !found.iter().any(|(_, _, known)| known.address == address) {
                            let was_left = left.is_some_and(|left| left.address == address);
                            found.push((was_left, chance(), Candidate { target: target.clone(), address }));
                        }
                    }
                }
                Ok(Err(error)) => tracing::warn!(target, %error, "a control plane's name has no address"),
                Err(_) => tracing::warn!(target, "looking up a control plane's name takes too long"),
            }
        }
        found.sort_by(|(left, one, _), (right, other, _)| left.cmp(right).then(one.total_cmp(other)));
        found.into_iter().map(|(_, _, candidate)| candidate).collect()
    }

    async fn dial(&self, candidate: &Candidate) -> Result<Channel, String> {
        let connecting = TcpStream::connect(candidate.address);
        let tcp = match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no connection in time".into()),
        };
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        let Some(tls) = &self.tls else { return Ok(channel_over_network(tcp)) };
        let host = candidate.target.rsplit_once(':').map_or(&*candidate.target, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::time::timeout(HANDSHAKE, tls.connect(host, tcp)).await {
            Ok(Ok(stream)) => Ok(channel_over_network(stream)),
            Ok(Err(problem)) => Err(problem),
            Err(_) => Err("no TLS handshake in time".into()),
        }
    }
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
