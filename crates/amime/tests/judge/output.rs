//! What a process has printed so far, and signals to it.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Both streams, a line at a time.
#[derive(Default)]
pub struct Output {
    text: Mutex<String>,
    more: Condvar,
}

impl Output {
    /// Follows a child's streams, which have to be piped.
    pub fn of(child: &mut Child) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let output = output.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let Ok(line) = line else { break };
                    let mut text = output.text.lock().unwrap();
                    text.push_str(&line);
                    text.push('\n');
                    output.more.notify_all();
                }
            });
        }
        output
    }

    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the line that begins like this; what follows on it.
    pub fn wait_line(&self, start: &str) -> String {
        self.wait(start, |line| line.strip_prefix(start).map(str::to_owned))
    }

    /// Waits for a line that holds this.
    pub fn wait_for(&self, part: &str) -> String {
        self.wait(part, |line| line.contains(part).then(|| line.to_owned()))
    }

    fn wait(&self, what: &str, find: impl Fn(&str) -> Option<String>) -> String {
        let began = Instant::now();
        let mut text = self.text.lock().unwrap();
        loop {
            if let Some(found) = text.lines().find_map(&find) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "no line {what:?} in:\n{text}");
            text = self.more.wait_timeout(text, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Response code, flags and details of a request that a proxy logged (see `plane::MESH`).
    pub fn logged(&self, mark: &str) -> Logged {
        let line = self.wait_line(&format!("judged {mark} "));
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        Logged { status: part(), flags: part(), details: part() }
    }
}

/// What a proxy says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub status: String,
    pub flags: String,
    pub details: String,
}

pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
}
