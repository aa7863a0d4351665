//! A relay between a proxy and the control plane that reads the HTTP/2 frames which it passes on, so that it can cut the
//! connection at a moment of the protocol: between the cluster that a proxy is told of and the endpoints that it asks for.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    /// Once the proxy has been told of this cluster it is told nothing more; when it asks for its endpoints, all ends.
    UntilAsked(String),
    /// Connections end as soon as they are made.
    Cut,
}

/// One proxy's way to the control plane; it ends with the test.
pub struct Relay {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    serving: JoinHandle<()>,
}

impl Relay {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = watch::Sender::new(State::Open);
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((proxy, _)) = listener.accept().await {
                tokio::spawn(relay(proxy, to, shared.clone()));
            }
        });
        Self { address, state, serving }
    }

    /// From now on, it cuts the connection when the proxy waits for the endpoints of this cluster.
    pub fn cut_at(&self, cluster: &str) {
        self.state.send_replace(State::UntilAsked(cluster.to_owned()));
    }

    /// Waits until it has cut.
    pub async fn cut(&self) {
        let mut state = self.state.subscribe();
        let cut = state.wait_for(|state| *state == State::Cut);
        tokio::time::timeout(super::PATIENCE, cut).await.expect("the proxy waits for endpoints").expect("it lives");
    }

    /// Connections are relayed again.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns, and closes both, at the end of either or when it is cut.
async fn relay(proxy: TcpStream, to: SocketAddr, state: watch::Sender<State>) {
    let mut cut = state.subscribe();
    let told = AtomicBool::new(false);
    let relaying = async {
        // While the control plane is away, the proxy finds that its connection ends.
        let Ok(control) = TcpStream::connect(to).await else { return };
        let (proxy, control) = (proxy.into_split(), control.into_split());
        let down = pass_on(control.0, proxy.1, 0, |messages| {
            let State::UntilAsked(cluster) = &*state.borrow() else { return Next::PassOn };
            if told.load(SeqCst) {
                return Next::Withhold;
            }
            told.store(messages.iter().any(|message| has(message, CLUSTERS) && has(message, cluster)), SeqCst);
            Next::PassOn
        });
        let up = pass_on(proxy.0, control.1, PREFACE.len(), |messages| {
            let State::UntilAsked(cluster) = state.borrow().clone() else { return Next::PassOn };
            let asks = |message: &Vec<u8>| has(message, ENDPOINTS) && has(message, &cluster);
            if told.load(SeqCst) && messages.iter().any(asks) {
                state.send_replace(State::Cut);
                return Next::Withhold;
            }
            Next::PassOn
        });
        tokio::select! {
            _ = down => {}
            _ = up => {}
        }
    };
    tokio::select! {
        () = relaying => {}
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
}

fn has(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|part| part == text.as_bytes())
}

/// What is done with a frame.
#[derive(PartialEq, Eq)]
enum Next {
    PassOn,
    Withhold,
}

/// Frame by frame, behind so many bytes that are none; `decide` sees the messages that a frame completes.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    before: usize,
    decide: impl Fn(&[Vec<u8>]) -> Next,
) -> std::io::Result<()> {
    let mut preface = vec![0; before];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    let mut streams = HashMap::new();
    loop {
        let mut frame = vec![0; 9];
        from.read_exact(&mut frame).await?;
        let length = usize::from(frame[0]) << 16 | usize::from(frame[1]) << 8 | usize::from(frame[2]);
        frame.resize(9 + length, 0);
        from.read_exact(&mut frame[9..]).await?;
        if decide(&completed(&mut streams, &frame)) == Next::PassOn {
            to.write_all(&frame).await?;
        }
    }
}

/// The gRPC messages that end with this frame (RFC 9113 section 6.1; a message is a flag, its length and its bytes).
fn completed(streams: &mut HashMap<[u8; 4], Vec<u8>>, frame: &[u8]) -> Vec<Vec<u8>> {
    const DATA: u8 = 0;
    const PADDED: u8 = 8;
    if frame[3] != DATA {
        return Vec::new();
    }
    let stream = streams.entry([frame[5], frame[6], frame[7], frame[8]]).or_default();
    let payload = &frame[9..];
    let payload = match payload.first() {
        Some(padding) if frame[4] & PADDED != 0 => &payload[1..payload.len() - usize::from(*padding)],
        _ => payload,
    };
    stream.extend_from_slice(payload);
    let mut messages = Vec::new();
    while stream.len() >= 5 {
        let length = u32::from_be_bytes([stream[1], stream[2], stream[3], stream[4]]) as usize;
        if stream.len() < 5 + length {
            break;
        }
        assert_eq!(stream[0], 0, "nothing is compressed");
        messages.push(stream[5..5 + length].to_vec());
        stream.drain(..5 + length);
    }
    messages
}
