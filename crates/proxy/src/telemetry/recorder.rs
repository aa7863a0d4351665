//! Where a worker's records go: to whoever reads them, in batches, so that a request costs no channel operation.

use super::RequestRecord;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Where records go: batches, in the order in which requests of one worker ended.
pub type RecordSender = mpsc::Sender<Vec<RequestRecord>>;

/// Batches are sent when they have this many records, or after `FLUSH`.
const BATCH: usize = 64;
const FLUSH: Duration = Duration::from_millis(20);

/// One worker's part of a proxy's telemetry.
pub(crate) struct Recorder {
    sender: Option<RecordSender>,
    dropped: Arc<AtomicU64>,
    buffer: RefCell<Vec<RequestRecord>>,
    flushing: Cell<bool>,
}

impl Recorder {
    pub(crate) fn new(sender: Option<RecordSender>, dropped: Arc<AtomicU64>) -> Rc<Self> {
        Rc::new(Self { sender, dropped, buffer: RefCell::default(), flushing: Cell::new(false) })
    }

    /// Whether anybody reads records: where nobody does, none are made.
    pub(crate) fn wanted(&self) -> bool {
        self.sender.is_some()
    }

    pub(crate) fn push(self: &Rc<Self>, record: RequestRecord) {
        if self.sender.is_none() {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        buffer.push(record);
        if buffer.len() >= BATCH {
            drop(buffer);
            self.flush();
        } else if !self.flushing.replace(true) {
            let this = Rc::clone(self);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(FLUSH).await;
                this.flushing.set(false);
                this.flush();
            });
        }
    }

    /// A reader that does not keep up loses whole batches, and they are counted: telemetry never holds up traffic.
    pub(crate) fn flush(&self) {
        let batch = std::mem::take(&mut *self.buffer.borrow_mut());
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        if self.sender.as_ref().is_some_and(|sender| sender.try_send(batch).is_err()) {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}
