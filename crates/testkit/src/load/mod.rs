//! A steady load of small requests, each with its outcome and when it began and ended: what tests of changes under
//! traffic judge by.
//!
//! The load is open: a request begins when its time has come, whatever became of the one before. Nothing is tried
//! again but what HTTP says was never processed (RFC 9110 section 9.2.2, RFC 9113 section 8.7): it was not sent, or the
//! server said by GOAWAY that it would not look at it.

mod connections;

use bytes::Bytes;
use connections::Connections;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The header by which the servers of a test say who answers.
pub const ANSWERED_BY: &str = "x-answered-by";

/// No answer takes longer; one that does has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Speaks {
    /// Connections that are kept, one request at a time on each.
    Http1,
    /// Streams of one connection.
    Http2,
    /// Unary calls whose message comes back, on one HTTP/2 connection.
    Grpc,
}

impl Speaks {
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Grpc];
}

/// One kind of request, sent again and again.
#[derive(Debug, Clone)]
pub struct Lane {
    /// What the test calls it.
    pub name: String,
    pub speaks: Speaks,
    pub target: SocketAddr,
    /// Sent first on every connection: a PROXY header, or nothing.
    pub preface: Bytes,
    pub host: String,
    /// Of gRPC: `/package.Service/Method`.
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// From the beginning of one request to that of the next.
    pub every: Duration,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Index among the lanes.
    pub lane: usize,
    pub began: Instant,
    pub ended: Instant,
    /// Who answered with 200 (and `grpc-status: 0`, and the message), or what went wrong.
    pub result: Result<String, String>,
}

/// A load that goes on until it is stopped.
pub struct Load {
    lanes: Arc<Vec<Lane>>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    /// Requests of each lane that have ended.
    ended: watch::Sender<Vec<u64>>,
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Load {
    pub fn start(lanes: Vec<Lane>) -> Self {
        let lanes = Arc::new(lanes);
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let ended = watch::Sender::new(vec![0; lanes.len()]);
        let stop = watch::Sender::new(false);
        let mut running = JoinSet::new();
        for lane in 0..lanes.len() {
            let task = Task { lane, lanes: lanes.clone(), outcomes: outcomes.clone(), ended: ended.clone() };
            running.spawn(task.run(stop.subscribe()));
        }
        Self { lanes, outcomes, ended, stop, running }
    }

    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Waits until each lane has so many more answers (or failures) than now, of requests that began from now on.
    pub async fn more(&self, count: u64) {
        let mut ended = self.ended.subscribe();
        // What is under way now does not count.
        let goal: Vec<u64> = ended.borrow().iter().map(|n| n + count + 2).collect();
        let reached = ended.wait_for(|now| now.iter().zip(&goal).all(|(now, goal)| now >= goal));
        // The sender is here.
        let _ = reached.await;
    }

    /// What has ended so far.
    pub fn so_far(&self) -> Vec<Outcome> {
        self.outcomes.lock().expect("no lane panicked").clone()
    }

    /// Begins nothing more, waits for what is under way, and returns all outcomes.
    pub async fn stop(mut self) -> Vec<Outcome> {
        self.stop.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("no lane panicked");
        }
        std::mem::take(&mut self.outcomes.lock().expect("no lane panicked"))
    }
}

struct Task {
    lane: usize,
    lanes: Arc<Vec<Lane>>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    ended: watch::Sender<Vec<u64>>,
}

impl Task {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let lane = &self.lanes[self.lane];
        let connections = Connections::new(lane);
        let mut times = tokio::time::interval(lane.every);
        // What a starved machine could not begin in time is not made up for by a burst.
        times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut requests = JoinSet::new();
        loop {
            tokio::select! {
                _ = times.tick() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            let (connections, number) = (connections.clone(), self.lane);
            let (outcomes, ended) = (self.outcomes.clone(), self.ended.clone());
            requests.spawn(async move {
                let began = Instant::now();
                let result = match tokio::time::timeout(PATIENCE, connections.ask()).await {
                    Ok(result) => result,
                    Err(_) => Err(format!("no answer within {PATIENCE:?}")),
                };
                let outcome = Outcome { lane: number, began, ended: Instant::now(), result };
                outcomes.lock().expect("no lane panicked").push(outcome);
                ended.send_modify(|ended| ended[number] += 1);
            });
            while requests.try_join_next().is_some() {}
        }
        while requests.join_next().await.is_some() {}
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
