//! Tells that something changed in the folders of the user's files. `engine` waits on it and then looks for itself.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;

/// Watches until it is dropped.
pub(crate) struct Watch {
    /// Kept for its threads.
    _watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    /// Why it cannot be told of changes; it must look by itself then.
    pub(crate) failure: Option<String>,
}

impl Watch {
    /// `folders`: each with whether everything below it counts.
    pub(crate) fn start(folders: &BTreeMap<PathBuf, bool>) -> Self {
        let changed = Arc::new(Notify::new());
        if folders.is_empty() {
            return Self { _watcher: None, changed, failure: None };
        }
        let tell = changed.clone();
        let started = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and `refresh` reads.
            if !event.is_ok_and(|event| matches!(event.kind, notify::EventKind::Access(_))) {
                tell.notify_one();
            }
        })
        .and_then(|mut watcher| {
            for (folder, below) in folders {
                let mode = if *below { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
                watcher.watch(folder, mode)?;
            }
            Ok(watcher)
        });
        match started {
            Ok(watcher) => Self { _watcher: Some(watcher), changed, failure: None },
            Err(error) => Self { _watcher: None, changed, failure: Some(error.to_string()) },
        }
    }

    /// Returns once something may have changed since it last returned.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
