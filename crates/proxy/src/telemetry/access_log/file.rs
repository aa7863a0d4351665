//! The files that logs are written to: one of each in the process, with a thread that writes what workers hand it.
//! Who is slow or full never holds up traffic: lines are dropped, and counted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::{Rc, Weak as RcWeak};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Buffers that may wait for the disk.
const QUEUE: usize = 256;
/// A worker hands its buffer on when it has so much, or after `FLUSH`.
const BUFFER: usize = 32 * 1024;
const FLUSH: Duration = Duration::from_millis(50);
/// So often it is looked whether the file at the path is another one now (rotated by its owner).
const LOOK: Duration = Duration::from_secs(1);
/// The last lines may take so long.
const LAST: Duration = Duration::from_secs(1);

/// By path.
static FILES: LazyLock<Mutex<HashMap<String, Weak<LogFile>>>> = LazyLock::new(Mutex::default);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    queue: SyncSender<Message>,
}

enum Message {
    Lines(String),
    /// Open the path again: the file was moved away.
    Reopen,
    /// Say when all before is written.
    Written(oneshot::Sender<()>),
}

impl LogFile {
    /// The log at a path; the same for all who write there.
    pub(crate) fn open(path: &str) -> io::Result<Arc<Self>> {
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = files.get(path).and_then(Weak::upgrade) {
            return Ok(open);
        }
        files.retain(|_, file| file.strong_count() > 0);
        let target = Target::open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot open the access log {path}: {error}")))?;
        let (queue, messages) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".into()).spawn(move || run(target, &messages))?;
        let file = Arc::new(Self { queue });
        files.insert(path.to_owned(), Arc::downgrade(&file));
        Ok(file)
    }

    fn hand(&self, lines: String) {
        if let Err(error) = self.queue.try_send(Message::Lines(lines)) {
            use std::sync::mpsc::TrySendError::{Disconnected, Full};
            if let Full(Message::Lines(lines)) | Disconnected(Message::Lines(lines)) = error {
                dropped(&lines);
            }
        }
    }
}

fn dropped(lines: &str) {
    DROPPED.fetch_add(lines.lines().count() as u64, Ordering::Relaxed);
}

/// Lines that were lost in this process because a file or its reader did not keep up.
pub(crate) fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Opens all access logs of this process again, after they were rotated. For SIGUSR1, as Envoy.
pub fn reopen_access_logs() {
    for file in all() {
        // Full: it looks by itself before it writes on.
        let _ = file.queue.try_send(Message::Reopen);
    }
}

/// Waits until all that was logged is written, but not for a reader that has stalled: what it does not take in `LAST`
/// is lost.
pub(crate) async fn written() {
    let all = async {
        for file in all() {
            let (done, wait) = oneshot::channel();
            // Full or gone: nothing to wait for that would end.
            if file.queue.try_send(Message::Written(done)).is_ok() {
                let _ = wait.await;
            }
        }
    };
    if tokio::time::timeout(LAST, all).await.is_err() {
        tracing::warn!("access logs are not taken by who reads them: the last lines are lost");
    }
}

fn all() -> Vec<Arc<LogFile>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
}

enum Target {
    Stdout,
    Stderr,
    File { path: PathBuf, file: File, looked: Instant },
}

impl Target {
    fn open(path: &str) -> io::Result<Self> {
        Ok(match path {
            // By the handle: the path may name a socket, which cannot be opened.
            "/dev/stdout" => Self::Stdout,
            "/dev/stderr" => Self::Stderr,
            path => Self::File { path: path.into(), file: append(path.as_ref())?, looked: Instant::now() },
        })
    }

    fn reopen(&mut self) {
        if let Self::File { path, file, looked } = self {
            *looked = Instant::now();
            match append(path) {
                Ok(new) => *file = new,
                // What is open goes on.
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot open the access log again"),
            }
        }
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        if let Self::File { path, file, looked } = self
            && looked.elapsed() >= LOOK
        {
            *looked = Instant::now();
            let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
            if std::fs::metadata(&*path).map(of).ok() != file.metadata().map(of).ok() {
                self.reopen();
            }
        }
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines.as_bytes())?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines.as_bytes()),
            Self::File { file, .. } => file.write_all(lines.as_bytes()),
        }
    }
}

fn append(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn run(mut target: Target, messages: &Receiver<Message>) {
    let mut failing = false;
    while let Ok(message) = messages.recv() {
        match message {
            Message::Lines(lines) => match target.write(&lines) {
                Ok(()) => failing = false,
                Err(error) => {
                    dropped(&lines);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "access logs cannot be written");
                    }
                }
            },
            Message::Reopen => target.reopen(),
            Message::Written(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }
}

/// A worker's lines that have not been handed on yet.
pub(crate) struct Lines {
    buffers: RefCell<Vec<(Arc<LogFile>, String)>>,
    flushing: Cell<bool>,
    /// For the task that hands on what waits.
    own: RcWeak<Self>,
}

impl Lines {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new_cyclic(|own| Self { buffers: RefCell::default(), flushing: Cell::new(false), own: own.clone() })
    }

    /// Lets a line (with its end) be written.
    pub(super) fn write(&self, file: &Arc<LogFile>, line: impl FnOnce(&mut String)) {
        let mut buffers = self.buffers.borrow_mut();
        let at = match buffers.iter().position(|(open, _)| Arc::ptr_eq(open, file)) {
            Some(at) => at,
            None => {
                buffers.push((Arc::clone(file), String::new()));
                buffers.len() - 1
            }
        };
        let buffer = &mut buffers[at].1;
        line(buffer);
        if buffer.len() >= BUFFER {
            file.hand(std::mem::take(buffer));
        } else if !self.flushing.replace(true)
            && let Some(own) = self.own.upgrade()
        {
            tokio::task::spawn_local(async move {
                tokio::time::sleep(FLUSH).await;
                own.flushing.set(false);
                own.flush();
            });
        }
    }

    /// Hands all on.
    pub(crate) fn flush(&self) {
        for (file, buffer) in self.buffers.borrow_mut().drain(..) {
            if !buffer.is_empty() {
                file.hand(buffer);
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_has_stalled_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Both ends, so that opening waits for nobody; nothing is read from it.
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let log = LogFile::open(path.to_str().unwrap()).unwrap();
        // More than a pipe holds.
        log.hand("line\n".repeat(1 << 20));
        tokio::time::timeout(LAST * 10, written()).await.expect("it not to be waited for");
    }
}
