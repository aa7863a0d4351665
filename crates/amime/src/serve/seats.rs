//! Who is connected to one port of a server, and since when each has been silent: at the limit the longest silence
//! ends, so that connections without a purpose keep nobody out. `accept` asks it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::task::{AbortHandle, Id};

/// Since when a connection waits for its client; None while a request is answered.
#[derive(Debug, Clone)]
pub(crate) struct Silent(Arc<Mutex<Option<Instant>>>);

impl Default for Silent {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }
}

impl Silent {
    pub(crate) fn asks(&self) {
        self.set(None);
    }

    pub(crate) fn is_answered(&self) {
        self.set(Some(Instant::now()));
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct Seats(HashMap<Id, (AbortHandle, Silent)>);

impl Seats {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, task: AbortHandle, silent: Silent) {
        self.0.insert(task.id(), (task, silent));
    }

    pub(super) fn leave(&mut self, task: Id) {
        self.0.remove(&task);
    }

    /// Ends the connection that has been silent longest; false where all are being answered.
    pub(super) fn free_one(&mut self) -> bool {
        let silent = self.0.iter().filter_map(|(id, (_, silent))| Some((silent.since()?, *id)));
        let longest = silent.min_by_key(|(since, _)| *since).and_then(|(_, id)| self.0.remove(&id));
        longest.inspect(|(task, _)| task.abort()).is_some()
    }
}
