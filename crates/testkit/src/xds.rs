//! A control plane that serves what a test sets: the server half of ADS over in-memory streams.

use amime_model::config::ProxyConfig;
use amime_xds::server::{Diff, Encoder, Form, Protocol, Resources, Status, Stream, StreamOptions};
use amime_xds::transport::{AdsStream, Link, Requests, channel_over, serve_connection};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tonic::transport::Channel;

/// For clients that take route configurations whole, and for those that ask for virtual hosts.
#[derive(Clone)]
struct Targets {
    whole: Arc<Resources>,
    vhds: Arc<Resources>,
}

impl Targets {
    fn of(config: &ProxyConfig, encoder: &mut Encoder) -> Self {
        Self {
            whole: Arc::new(encoder.encode(config, Form::Whole)),
            vhds: Arc::new(encoder.encode(config, Form::Parts)),
        }
    }
}

/// The control plane; every stream of it gets the same configuration.
#[derive(Clone)]
pub struct Peer {
    target: watch::Sender<Targets>,
    status: watch::Sender<Status>,
    encoder: Arc<Mutex<Encoder>>,
    /// Counts up to end the streams that are open.
    cut: watch::Sender<u64>,
}

impl Peer {
    pub fn new(config: &ProxyConfig) -> Self {
        let mut encoder = Encoder::default();
        let target = Targets::of(config, &mut encoder);
        Self {
            target: watch::Sender::new(target),
            status: watch::Sender::default(),
            encoder: Arc::new(Mutex::new(encoder)),
            cut: watch::Sender::new(0),
        }
    }

    /// From now on, this configuration.
    pub fn set(&self, config: &ProxyConfig) {
        let mut encoder = self.encoder.lock().expect("no test panicked");
        encoder.begin();
        let target = Targets::of(config, &mut encoder);
        // In step is what the client said about the target before.
        self.status.send_modify(|status| status.in_step = false);
        self.target.send_replace(target);
    }

    /// A connection to it.
    pub fn channel(&self) -> Channel {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(self.clone().connection(ours, Link::InProcess));
        channel_over(theirs)
    }

    /// A channel over TCP, which connects again after a cut.
    pub async fn tcp_channel(&self) -> Channel {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let peer = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(peer.clone().connection(stream, Link::Network));
            }
        });
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("a URI");
        endpoint.connect_lazy()
    }

    /// Serves one connection until it ends, or all are cut.
    pub async fn connection<IO>(self, io: IO, link: Link)
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let mut cut = self.cut.subscribe();
        let serving = serve_connection(
            io,
            link,
            |stream| {
                let (peer, mut cut) = (self.clone(), self.cut.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        () = peer.serve(stream) => {}
                        _ = cut.changed() => {}
                    }
                });
            },
            std::future::pending(),
        );
        tokio::select! {
            // How it ends is the test's matter.
            _ = serving => {}
            _ = cut.changed() => {}
        }
    }

    /// Waits until the client's state is as the test wants it.
    pub async fn wait(&self, what: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.subscribe();
        let found = tokio::time::timeout(crate::client::PATIENCE, status.wait_for(what)).await;
        found.expect("the client to get there in time").expect("the peer is here").clone()
    }

    /// Waits until the client runs all that was set.
    pub async fn in_step(&self) {
        self.wait(|status| status.in_step).await;
    }

    /// Ends all streams, as a control plane that dies.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }

    async fn serve(self, mut stream: AdsStream) {
        let grace = Duration::from_millis(50);
        let options = StreamOptions { grace, ..StreamOptions::default() };
        let first = match stream.requests.next().await {
            Ok(Some(Requests::Delta(first))) => first,
            _ => return,
        };
        let vhds = first.node.as_ref().is_some_and(|node| node.asks_for_vhds());
        let state = Stream::new(Protocol::Delta, options);
        let mut state = if vhds { state.of_own_proxy() } else { state };
        state.on_delta(Instant::now(), first);
        let mut target = self.target.subscribe();
        loop {
            let targets = target.borrow_and_update().clone();
            let wanted = if vhds { targets.vhds } else { targets.whole };
            let diff = Diff::between(state.target(), &wanted);
            state.set_target(wanted, &diff);
            while let Some(response) = state.next(Instant::now()) {
                if !stream.responses.send(response.into_message()).await {
                    return;
                }
            }
            self.status.send_replace(state.status());
            let deadline = state.deadline(Instant::now());
            let wait = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                request = stream.requests.next() => match request {
                    Ok(Some(Requests::Delta(request))) => state.on_delta(Instant::now(), request),
                    _ => return,
                },
                changed = target.changed() => if changed.is_err() { return },
                () = wait => {}
            }
        }
    }
}
