//! The thread on which stand-ins and printed proxies run, beside the proxies' workers. `up` and `control` start one.

use std::sync::Arc;
use tokio::sync::Notify;

pub(crate) struct Applications {
    pub(crate) handle: tokio::runtime::Handle,
    stop: Arc<Notify>,
    thread: std::thread::JoinHandle<()>,
}

impl Applications {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let stopped = stop.clone();
        let run = move || runtime.block_on(stopped.notified());
        let thread = std::thread::Builder::new().name("applications".into()).spawn(run)?;
        Ok(Self { handle, stop, thread })
    }

    pub(crate) fn stop(self) {
        self.stop.notify_one();
        // It panics on nothing; and there would be nothing to be done.
        let _ = self.thread.join();
    }
}
