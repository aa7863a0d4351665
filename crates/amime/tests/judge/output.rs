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
        let began = Instant::now();
        let mut text = self.text.lock().unwrap();
        loop {
            if let Some(rest) = text.lines().find_map(|line| line.strip_prefix(start)) {
                return rest.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "no line {start:?} in:\n{text}");
            text = self.more.wait_timeout(text, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Response code, flags and details of a request that a proxy logged (see `plane::MESH`).
    pub fn logged(&self, request_id: &str) -> Logged {
        let line = self.wait_line(&format!("judged {request_id} "));
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
