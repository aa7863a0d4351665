//! Tells that something changed in the folders of the user's files. `engine`, and tools that run again, wait
//! on it and then look for themselves.
//!
//! Each folder is watched by itself, not recursively: what is moved in, put in the place of another or linked to is
//! followed as the look finds it.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// Which folder it is: another one may take its path.
type Inode = (u64, u64);

/// Watches until it is dropped.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeMap<PathBuf, Inode>,
    changed: Arc<Notify>,
    /// Why it cannot be told of changes; it must look by itself then.
    pub failure: Option<String>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn start() -> Self {
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        let started = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and `refresh` reads.
            if !event.is_ok_and(|event| matches!(event.kind, notify::EventKind::Access(_))) {
                tell.notify_one();
            }
        });
        let (watcher, failure) = match started {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { watcher, folders: BTreeMap::new(), changed, failure }
    }

    /// From now on watches these folders and no others. True where one is new: what happened in it before was not
    /// seen, so look again.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        self.folders.retain(|path, _| {
            let stays = folders.contains(path);
            if !stays {
                // One that has gone is not watched any more anyway.
                let _ = watcher.unwatch(path);
            }
            stays
        });
        self.failure = None;
        let mut new = false;
        for path in folders {
            let inode = inode(path);
            if inode.is_some() && self.folders.get(path) == inode.as_ref() {
                continue;
            }
            if self.folders.remove(path).is_some() {
                let _ = watcher.unwatch(path);
            }
            let Some(inode) = inode else { continue };
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    new = true;
                    self.folders.insert(path.clone(), inode);
                }
                Err(error) => self.failure = Some(error.to_string()),
            }
        }
        new
    }

    /// Returns once something may have changed since it last returned.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn inode(path: &Path) -> Option<Inode> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
