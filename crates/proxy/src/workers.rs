//! The worker threads: one current-thread runtime each, on which proxies place their listeners.
//!
//! `Proxy::start` and config swaps send closures to workers; nothing else crosses threads on the data path.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

use crate::proxy_worker::ProxyWorker;

/// A set of worker threads, shared by all proxies of a process. Cheap to clone; the threads end when the
/// last clone is dropped, or at `shutdown`.
#[derive(Clone)]
pub struct Workers(Arc<Inner>);

struct Inner {
    senders: Mutex<Vec<mpsc::UnboundedSender<Command>>>,
    count: usize,
    next: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Command = Box<dyn FnOnce(&WorkerState) + Send>;

/// What lives on one worker thread.
#[derive(Default)]
pub(crate) struct WorkerState {
    /// By the proxy's number in this process.
    pub(crate) proxies: RefCell<HashMap<u64, Rc<ProxyWorker>>>,
}

/// The worker is gone (shut down).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker threads have been shut down")]
pub struct WorkersGone;

impl Workers {
    /// Starts `count` threads (at least one).
    pub fn start(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let mut senders = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for index in 0..count {
            let (sender, receiver) = mpsc::unbounded_channel();
            let (started, start) = std::sync::mpsc::channel();
            threads.push(
                std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || run(receiver, &started))?,
            );
            // The runtime is made on its thread, for it cannot move; a lack of files is reported here.
            start.recv().map_err(|_| io::Error::other("a worker thread ended while it started"))??;
            senders.push(sender);
        }
        Ok(Self(Arc::new(Inner {
            senders: Mutex::new(senders),
            count,
            next: AtomicUsize::new(0),
            threads: Mutex::new(threads),
        })))
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// The next worker in turn, for a proxy that lives on one.
    pub(crate) fn next(&self) -> usize {
        self.0.next.fetch_add(1, Ordering::Relaxed) % self.0.count
    }

    /// Runs a closure on a worker and gives back what it returned.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        worker: usize,
        f: impl FnOnce(&WorkerState) -> T + Send + 'static,
    ) -> Result<T, WorkersGone> {
        let (done, result) = oneshot::channel();
        self.post(worker, move |state| {
            // The caller may have stopped waiting; the work is done all the same.
            let _ = done.send(f(state));
        })?;
        result.await.map_err(|_| WorkersGone)
    }

    /// Runs a closure on a worker, some time soon.
    pub(crate) fn post(&self, worker: usize, f: impl FnOnce(&WorkerState) + Send + 'static) -> Result<(), WorkersGone> {
        let senders = self.0.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.get(worker).ok_or(WorkersGone)?.send(Box::new(f)).map_err(|_| WorkersGone)
    }

    /// Ends all workers with everything on them, and waits for the threads. Not to be called on a worker.
    pub fn shutdown(&self) {
        self.0.senders.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

fn run(mut commands: mpsc::UnboundedReceiver<Command>, started: &std::sync::mpsc::Sender<io::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(61)
        .build_local(tokio::runtime::LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(()));
    runtime.block_on(async {
        let state = WorkerState::default();
        while let Some(command) = commands.recv().await {
            command(&state);
        }
    });
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workers({})", self.0.count)
    }
}
