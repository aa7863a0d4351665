//! The loop of a client: opens the stream, drives [`Client`], and opens it again after a failure.

use super::dial::{ControlPlane, Dialing};
use super::open::DeltaStream;
use crate::client::{Client, Saved, Update};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

/// How long to wait before the next attempt: doubled after each failure, less up to half of it by chance so
/// that the proxies of a dead control plane do not all come back at once.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(5) }
    }
}

impl Backoff {
    pub(super) fn after(self, failures: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << failures.min(16)).min(self.most);
        whole.mul_f64(1.0 - chance() / 2.0)
    }
}

/// From 0 to 1. Each `RandomState` has keys of its own: chance enough to spread proxies.
pub(super) fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

/// Keeps `client` connected for as long as this future is polled. `apply` is called with each update and
/// answers once every worker runs it, or why it cannot be run.
pub async fn run<F, A>(control: impl Into<ControlPlane>, client: Client, backoff: Backoff, apply: F)
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<(), String>>,
{
    run_saving(control, client, backoff, None, apply).await;
}

/// As [`run`]; after each update that is accepted, `saves` gets all that was.
pub async fn run_saving<F, A>(
    control: impl Into<ControlPlane>,
    mut client: Client,
    backoff: Backoff,
    saves: Option<watch::Sender<Saved>>,
    mut apply: F,
) where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<(), String>>,
{
    let mut dialing = Dialing::new(control.into(), backoff);
    // What was saved runs before any control plane has answered.
    apply_all(&mut client, &mut apply, saves.as_ref()).await;
    loop {
        let channel = dialing.next().await;
        let why = match stream(channel, &mut client, &mut apply, saves.as_ref(), &mut dialing).await {
            Ok(()) => "the control plane has ended the stream".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        tracing::debug!(why, "the stream to the control plane has ended");
        client.disconnected();
        dialing.lost(why);
    }
}

/// All updates that are ready to run.
async fn apply_all<F, A>(client: &mut Client, apply: &mut F, saves: Option<&watch::Sender<Saved>>)
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<(), String>>,
{
    while let Some(update) = client.poll(Instant::now().into_std()) {
        match apply(update.clone()).await {
            Ok(()) => {
                client.accepted(&update);
                if let Some(saves) = saves {
                    saves.send_replace(client.save());
                }
            }
            Err(problem) => client.rejected(&update, &problem),
        }
    }
}

/// One stream, from its opening to its end.
async fn stream<F, A>(
    channel: Channel,
    client: &mut Client,
    apply: &mut F,
    saves: Option<&watch::Sender<Saved>>,
    dialing: &mut Dialing,
) -> Result<(), Status>
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<(), String>>,
{
    client.connected();
    let mut stream = DeltaStream::open(channel, client.requests()).await?;
    dialing.opened();
    loop {
        apply_all(client, apply, saves).await;
        for request in client.requests() {
            if !stream.send(request) {
                return Ok(());
            }
        }
        let deadline = client.deadline().map(Instant::from_std);
        let wait = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            response = stream.next() => match response? {
                Some(response) => {
                    dialing.answered();
                    client.on_response(Instant::now().into_std(), response);
                }
                None => return Ok(()),
            },
            () = wait => {}
        }
    }
}
