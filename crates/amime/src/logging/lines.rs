//! A thread between who logs and standard error: a reader there that stands still holds up no request. Lines that it
//! does not take are lost, and counted. `LogLevel` starts it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait.
const WAITING: usize = 4096;
/// How long the last lines may take.
const LAST: Duration = Duration::from_millis(200);

enum Message {
    Line(Vec<u8>),
    /// Said when all that came before it is written.
    Written(SyncSender<()>),
}

/// Where to log. Clones are the same.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    /// Lines to standard error.
    pub(super) fn start() -> io::Result<Self> {
        Self::to(io::stderr())
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, waiting) = mpsc::sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || write(out, &waiting, &counted))?;
        Ok(Self { queue, lost })
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn finish(&self) {
        let (said, written) = mpsc::sync_channel(1);
        // Full: nobody takes them.
        if self.queue.try_send(Message::Written(said)).is_ok() {
            let _ = written.recv_timeout(LAST);
        }
    }
}

/// One whole event, as the subscriber writes it.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

fn write(mut out: impl Write, waiting: &Receiver<Message>, lost: &AtomicU64) {
    let mut told = 0;
    while let Ok(message) = waiting.recv() {
        // A reader that went away does not end the process.
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
            }
            Message::Written(said) => {
                let _ = out.flush();
                // Nobody waits any more where it took too long.
                let _ = said.try_send(());
            }
        }
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            let _ = writeln!(out, "… {} lines of the log were lost: nobody took them from standard error", now - told);
            told = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what it is given only when it is told to.
    struct Gate(Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_waits_for_nobody_and_what_is_lost_is_said() {
        let (open, gate) = mpsc::channel();
        let (out, read) = mpsc::channel();
        let lines = Lines::to(Gate(gate, out)).unwrap();
        // One is being written, or is about to be.
        let all = WAITING + 10;
        for n in 0..all {
            lines.make_writer().write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        let lost = usize::try_from(lines.lost()).unwrap();
        assert!(lost == 9 || lost == 10, "{lost}");
        for _ in 0..=all {
            open.send(()).unwrap();
        }
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("lines of the log were lost") {
            text.extend(read.recv().unwrap());
        }
        assert!(text.starts_with(b"0\n"));
    }
}
