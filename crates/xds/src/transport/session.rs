//! The loop of a client: opens the stream, drives [`Client`], and opens it again after a failure.

use super::dial::{ControlPlane, Dialing};
use super::open::DeltaStream;
use crate::client::{Client, Saved, Update};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// As [`run`]; after each update that is accepted, `saves` gets all that was. What the client has restored runs only
/// when no control plane has answered for a while ([`Client::saved_after`]).
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
    let saved_at = client.saved_after().map(|after| Instant::now() + after);
    // Or what was saved is of no use any more.
    let answered = AtomicBool::new(saved_at.is_none());
    loop {
        let attempt = async {
            let channel = dialing.next().await;
            stream(channel, &mut client, &mut apply, saves.as_ref(), &mut dialing, &answered).await
        };
        let silence = async {
            match saved_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
            if answered.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            biased;
            ended = attempt => Some(ended),
            () = silence => None,
        };
        client.disconnected();
        let Some(ended) = ended else {
            // The next stream begins with the versions of what was saved, so the one that may be open is left.
            dialing.silent();
            answered.store(true, Ordering::Relaxed);
            if let Some(update) = client.poll_saved() {
                tracing::warn!("no control plane has answered yet: the saved configuration is run");
                run_update(&mut client, update, &mut apply, saves.as_ref()).await;
            }
            continue;
        };
        let why = match ended {
            Ok(()) => "the control plane has ended the stream".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        tracing::debug!(why, "the stream to the control plane has ended");
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
        run_update(client, update, apply, saves).await;
    }
}

async fn run_update<F, A>(client: &mut Client, update: Update, apply: &mut F, saves: Option<&watch::Sender<Saved>>)
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<(), String>>,
{
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

/// One stream, from its opening to its end.
async fn stream<F, A>(
    channel: Channel,
    client: &mut Client,
    apply: &mut F,
    saves: Option<&watch::Sender<Saved>>,
    dialing: &mut Dialing,
    answered: &AtomicBool,
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
                    answered.store(true, Ordering::Relaxed);
                    client.on_response(Instant::now().into_std(), response);
                }
                None => return Ok(()),
            },
            () = wait => {}
        }
    }
}
