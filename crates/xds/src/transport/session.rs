//! The loop of a client: opens the stream, drives [`Client`], and opens it again after a failure.

use super::dial::{ControlPlane, Dialing};
use super::open::DeltaStream;
use crate::client::{Client, Saved, Update};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
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

/// Who has taken the connection must have sent something by then, or another is dialled.
const FIRST_RESPONSE: Duration = Duration::from_secs(10);

/// From 0 to 1. Each `RandomState` has keys of its own: chance enough to spread proxies.
pub(super) fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

/// Ends when clusters that run already have looked up their addresses for the first time.
pub type Warming = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keeps `client` connected for as long as this future is polled. `apply` is called with each update and
/// answers once every worker runs it, or why it cannot be run.
pub async fn run<F, A>(control: impl Into<ControlPlane>, client: Client, backoff: Backoff, mut apply: F)
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<(), String>>,
{
    let apply = move |update| {
        let applied = apply(update);
        async move { applied.await.map(|()| None) }
    };
    run_saving(control, client, backoff, None, apply).await;
}

/// As [`run`], where `apply` may answer that clusters are warming; after each update that is accepted, `saves` gets all that was. What the client has restored runs only
/// when no control plane has answered for a while ([`Client::saved_after`]).
pub async fn run_saving<F, A>(
    control: impl Into<ControlPlane>,
    mut client: Client,
    backoff: Backoff,
    saves: Option<watch::Sender<Saved>>,
    mut apply: F,
) where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<Option<Warming>, String>>,
{
    let mut dialing = Dialing::new(control.into(), backoff);
    let mut warming = JoinSet::new();
    let saved_at = client.saved_after().map(|after| Instant::now() + after);
    // Or what was saved is of no use any more.
    let answered = AtomicBool::new(saved_at.is_none());
    loop {
        let attempt = async {
            let channel = dialing.next().await;
            let mut proxy = Proxy { apply: &mut apply, saves: saves.as_ref(), warming: &mut warming };
            stream(channel, &mut client, &mut proxy, &mut dialing, &answered).await
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
                let mut proxy = Proxy { apply: &mut apply, saves: saves.as_ref(), warming: &mut warming };
                proxy.run(&mut client, update).await;
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

/// What runs the updates.
struct Proxy<'a, F> {
    apply: &'a mut F,
    saves: Option<&'a watch::Sender<Saved>>,
    /// Each gives the update that has warmed up.
    warming: &'a mut JoinSet<u64>,
}

impl<F, A> Proxy<'_, F>
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<Option<Warming>, String>>,
{
    /// All updates that are ready to run.
    async fn run_all(&mut self, client: &mut Client) {
        while let Some(update) = client.poll(Instant::now().into_std()) {
            self.run(client, update).await;
        }
    }

    async fn run(&mut self, client: &mut Client, update: Update) {
        match (self.apply)(update.clone()).await {
            Ok(None) => client.accepted(&update),
            Ok(Some(warming)) => {
                client.accepted_cold(Instant::now().into_std(), &update);
                self.warming.spawn(async move {
                    warming.await;
                    update.id
                });
            }
            Err(problem) => return client.rejected(&update, &problem),
        }
        if let Some(saves) = self.saves {
            saves.send_replace(client.save());
        }
    }
}

/// One stream, from its opening to its end.
async fn stream<F, A>(
    channel: Channel,
    client: &mut Client,
    proxy: &mut Proxy<'_, F>,
    dialing: &mut Dialing,
    answered: &AtomicBool,
) -> Result<(), Status>
where
    F: FnMut(Update) -> A,
    A: Future<Output = Result<Option<Warming>, String>>,
{
    client.connected();
    let dials = dialing.dials();
    let silent = async move {
        // Within a process there is no other, and a thousand sidecars begin at once.
        match dials {
            true => tokio::time::sleep(FIRST_RESPONSE).await,
            false => std::future::pending().await,
        }
        Status::deadline_exceeded(format!("no answer came over the stream within {} s", FIRST_RESPONSE.as_secs()))
    };
    let mut silent = std::pin::pin!(silent);
    let mut stream = tokio::select! {
        opened = DeltaStream::open(channel, client.requests()) => opened?,
        status = &mut silent => return Err(status),
    };
    dialing.opened();
    let mut has_answered = false;
    loop {
        proxy.run_all(client).await;
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
                    has_answered = true;
                    dialing.answered();
                    answered.store(true, Ordering::Relaxed);
                    client.on_response(Instant::now().into_std(), response);
                }
                None => return Ok(()),
            },
            Some(warmed) = proxy.warming.join_next() => {
                if let Ok(id) = warmed {
                    client.warmed(id);
                }
            }
            () = wait => {}
            status = &mut silent, if !has_answered => return Err(status),
        }
    }
}
