//! The state folder: what a control plane remembers over a restart, so that what is broken or pending then stays at its
//! last good version. `engine` starts from what is remembered and hands over what is to be; a thread writes it, off
//! the way from a save to the proxies.
//!
//! The text is written to a new file that is then renamed into place, and begins with a hash of the rest: what was cut
//! off or changed is not taken for what was remembered. It holds Secrets, so nobody else may read it.

use amime_model::resource::Object;
use amime_model::snapshot::{Archive, Held, SavedHeld, SavedObject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use xxhash_rust::xxh64::xxh64;

const NAME: &str = "held";
const LOCK: &str = "lock";
/// The first line is this, the version of the format, and the hash.
const MAGIC: &str = "amime-state 1";
/// The thread rests so many times longer than it worked: a large mesh that changes all the time costs little.
const REST: u32 = 9;
/// After a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is remembered.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    pub held: Held,
    /// The objects of each file, those too that are kept while the file cannot be read as a whole.
    pub files: BTreeMap<PathBuf, Vec<Arc<Object>>>,
    /// The last mesh config file without an error.
    pub mesh_config: Option<Arc<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Text {
    objects: Vec<SavedObject>,
    files: BTreeMap<String, Vec<usize>>,
    held: SavedHeld,
    mesh_config: Option<Arc<str>>,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path} is the state of another control plane that is running; each needs a folder of its own")]
    InUse { path: String },
}

/// A state folder, locked for as long as this lives.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    _lock: File,
    writer: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Remember(Box<Remembered>),
    Flush(mpsc::Sender<()>),
}

/// An opened folder.
#[derive(Debug)]
pub struct Opened {
    pub state: State,
    pub remembered: Remembered,
    /// What was there could not be read, and why.
    pub warning: Option<String>,
}

impl State {
    /// Makes the folder where there is none, and reads what is in it.
    ///
    /// # Errors
    /// Where the folder cannot be made, or another control plane has it. What is in it is never an error.
    pub fn open(folder: &Path) -> Result<Opened, StateError> {
        let fail = |source| StateError::Io { path: folder.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        let lock = private().create(true).truncate(false).open(folder.join(LOCK)).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::InUse { path: folder.display().to_string() });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let path = folder.join(NAME);
        let (remembered, warning) = match read(&path) {
            Ok(remembered) => (remembered, None),
            Err(error) if error.kind() == ErrorKind::NotFound => (Remembered::default(), None),
            Err(error) => {
                let path = path.display();
                (Remembered::default(), Some(format!("{path}: {error}: the last good versions are not known")))
            }
        };
        let (writer, commands) = mpsc::channel();
        std::thread::Builder::new().name("amime-state".into()).spawn(move || run(&path, &commands)).map_err(fail)?;
        Ok(Opened { state: Self { folder: folder.to_owned(), _lock: lock, writer }, remembered, warning })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes this down soon; of several only the newest.
    pub(crate) fn remember(&self, remembered: Remembered) {
        // The thread ends with the last sender.
        let _ = self.writer.send(Command::Remember(Box::new(remembered)));
    }

    /// Waits until all has been written.
    pub fn flush(&self) {
        let (done, wait) = mpsc::channel();
        if self.writer.send(Command::Flush(done)).is_ok() {
            // An error: the thread has ended, and there is nothing to wait for.
            let _ = wait.recv();
        }
    }
}

/// Writes the newest, rests, and writes what has come meanwhile, or what could not be written. Who waits for it is not
/// kept waiting.
fn run(path: &Path, commands: &mpsc::Receiver<Command>) {
    let mut written = None;
    let mut newest: Option<Box<Remembered>> = None;
    let mut rested = Instant::now();
    // Of the last failure: it is said once.
    let mut said = None;
    loop {
        let command = match newest {
            Some(_) => commands.recv_timeout(rested.saturating_duration_since(Instant::now())),
            None => commands.recv().map_err(mpsc::RecvTimeoutError::from),
        };
        let (done, ended) = match command {
            Ok(Command::Remember(remembered)) => {
                newest = Some(remembered);
                continue;
            }
            Ok(Command::Flush(done)) => (Some(done), false),
            Err(mpsc::RecvTimeoutError::Timeout) => (None, false),
            Err(mpsc::RecvTimeoutError::Disconnected) => (None, true),
        };
        let begun = Instant::now();
        let mut rest = Duration::ZERO;
        if let Some(remembered) = newest.take()
            && let Err(error) = write(path, &remembered, &mut written)
        {
            let why = error.to_string();
            if said.replace(why.clone()).as_ref() != Some(&why) {
                tracing::warn!(path = %path.display(), why, "the state cannot be written: a restart would not know it");
            }
            // A disk that is full may have room again, though nothing new is to be remembered.
            newest = Some(remembered);
            rest = AGAIN;
        } else {
            said = None;
        }
        rested = Instant::now() + rest.max(begun.elapsed() * REST);
        if let Some(done) = done {
            // Who asked may have gone.
            let _ = done.send(());
        }
        if ended {
            return;
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Writes a file of the folder whole, or leaves the one that is there. Nobody else may read it.
///
/// # Errors
/// Where it cannot be written.
pub fn replace_file(path: &Path, contents: &[&[u8]]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = private().create(true).truncate(true).open(&new)?;
    for part in contents {
        file.write_all(part)?;
    }
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // The name is on the disk, too, when its folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// `written` is the hash of what is there.
fn write(path: &Path, remembered: &Remembered, written: &mut Option<u64>) -> io::Result<()> {
    let mut archive = Archive::default();
    let held = remembered.held.save(&mut archive);
    let files = remembered.files.iter().filter_map(|(file, objects)| {
        let numbers = objects.iter().filter_map(|object| archive.add(object)).collect();
        // A name that is no text cannot be written as one.
        Some((file.to_str()?.to_owned(), numbers))
    });
    let files = files.collect();
    let text = Text { objects: archive.texts(), files, held, mesh_config: remembered.mesh_config.clone() };
    let body = serde_json::to_vec(&text)?;
    let hash = xxh64(&body, 0);
    if *written != Some(hash) {
        replace_file(path, &[format!("{MAGIC} {hash:016x}\n").as_bytes(), &body])?;
        *written = Some(hash);
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Remembered> {
    let bytes = std::fs::read(path)?;
    let broken = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| broken("it is not what was written"))?;
    let (head, body) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 1..]);
    let hash = head.strip_prefix(MAGIC).ok_or_else(|| broken("it is of another version"))?;
    if u64::from_str_radix(hash.trim(), 16) != Ok(xxh64(body, 0)) {
        return Err(broken("it is not what was written"));
    }
    let text: Text = serde_json::from_slice(body)?;
    let objects: Vec<_> = text.objects.iter().map(SavedObject::read).collect();
    let files = text.files.into_iter().map(|(file, numbers)| {
        let of_file = numbers.iter().filter_map(|number| objects.get(*number).cloned().flatten()).collect();
        (PathBuf::from(file), of_file)
    });
    let files = files.collect();
    Ok(Remembered { held: Held::restore(&text.held, &objects), files, mesh_config: text.mesh_config })
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
