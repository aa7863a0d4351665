//! `--save FILE`: what the proxy has accepted, on disk, for a start while no control plane is there. One line says
//! whose it is and how old; what follows is `xds::client::Saved`'s.

use amime_xds::Node;
use amime_xds::client::Saved;
use amime_xds::intern::Interner;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Updates come in bursts: one file for each burst.
const PAUSE: Duration = Duration::from_millis(500);
/// A configuration may hold private keys.
const MODE: u32 = 0o600;

/// The file's first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    amime: String,
    node: String,
    /// Of the node's metadata, by which the control plane decides as well.
    metadata: String,
    /// Seconds since 1970.
    saved_at: u64,
}

/// What was saved, and when.
pub(super) struct Restored {
    pub(super) saved: Saved,
    pub(super) at: SystemTime,
}

/// Reads what an earlier run of this proxy has saved. None, with a warning, where there is nothing of use: a proxy
/// that cannot start from a file starts without.
pub(super) fn restore(path: &Path, node: &Node, interner: &Interner) -> Option<Restored> {
    match read(path, node, interner) {
        Ok(restored) => restored,
        Err(error) => {
            tracing::warn!("the saved configuration is not used: {}: {error:#}", path.display());
            None
        }
    }
}

fn read(path: &Path, node: &Node, interner: &Interner) -> anyhow::Result<Option<Restored>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!("nothing was saved yet in {}", path.display());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let end = bytes.iter().position(|byte| *byte == b'\n').context("not a saved configuration")?;
    let header: Header = serde_json::from_slice(&bytes[..end]).context("not a saved configuration")?;
    if header.node != node.id {
        bail!("it is of another proxy, {}", header.node);
    }
    if header.metadata != hash(node) {
        bail!("it was saved with other labels or metadata");
    }
    let mut saved = Saved::parse(&bytes[end + 1..], interner)?;
    if saved.is_empty() {
        return Ok(None);
    }
    if header.amime != env!("CARGO_PKG_VERSION") {
        // Another version may read the same resources otherwise: all are to be sent again.
        saved.forget_versions();
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(header.saved_at);
    Ok(Some(Restored { saved, at }))
}

/// Whether the file can be written, before anything is started.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let remedy = || format!("--save {}: it cannot be written: name a file in a folder that can be", path.display());
    let next = beside(path);
    create(&next).with_context(remedy)?;
    fs::remove_file(&next).with_context(remedy)
}

/// Writes each burst of accepted updates, as long as there are any.
pub(super) async fn follow(path: PathBuf, node: Node, ready: watch::Receiver<bool>, mut saves: watch::Receiver<Saved>) {
    while saves.changed().await.is_ok() {
        tokio::time::sleep(PAUSE).await;
        // Half a configuration is none to start from.
        if !*ready.borrow() {
            continue;
        }
        let saved = saves.borrow_and_update().clone();
        let (to, node) = (path.clone(), node.clone());
        let written = tokio::task::spawn_blocking(move || write(&to, &node, &saved)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!("the configuration is not saved: {}: {error:#}", path.display());
        }
    }
}

/// Whole or not at all: a new file, then its name.
fn write(path: &Path, node: &Node, saved: &Saved) -> anyhow::Result<()> {
    let header = Header {
        amime: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.id.clone(),
        metadata: hash(node),
        saved_at: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    let next = beside(path);
    let mut file = create(&next)?;
    serde_json::to_writer(&mut file, &header)?;
    file.write_all(b"\n")?;
    file.write_all(&saved.to_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    Ok(())
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)
}

/// In the same folder, for a name to be given to it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// The same for equal metadata, in any run of the same program.
fn hash(node: &Node) -> String {
    let mut hasher = DefaultHasher::new();
    node.metadata.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
