//! A running command of `amime`: its output, signals, its end. It ends with the value.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What the process has printed so far, both streams.
#[derive(Default)]
struct Output {
    /// And how many of the streams have ended.
    text: Mutex<(String, usize)>,
    more: Condvar,
}

pub struct Process {
    child: Child,
    output: Arc<Output>,
    /// Streams that nobody reads.
    unread: Vec<Box<dyn Read + Send>>,
}

/// How many streams a process prints to.
const STREAMS: usize = 2;

impl Process {
    /// Starts it and reads what it prints.
    pub fn spawn(command: Command) -> Self {
        Self::start(command, [true; STREAMS])
    }

    /// Starts it, and nobody reads what it prints.
    pub fn unread(command: Command) -> Self {
        Self::start(command, [false; STREAMS])
    }

    /// Starts it, and nobody reads its standard error.
    pub fn unread_errors(command: Command) -> Self {
        Self::start(command, [true, false])
    }

    /// `read`: standard output, standard error.
    fn start(mut command: Command, read: [bool; STREAMS]) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("amime starts");
        let output = Arc::new(Output::default());
        let streams: [Box<dyn Read + Send>; STREAMS] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        let mut unread = Vec::new();
        for (stream, read) in streams.into_iter().zip(read) {
            if !read {
                unread.push(stream);
                continue;
            }
            let output = output.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let Ok(line) = line else { break };
                    let mut text = output.text.lock().expect("not poisoned");
                    text.0.push_str(&line);
                    text.0.push('\n');
                    output.more.notify_all();
                }
                output.text.lock().expect("not poisoned").1 += 1;
                output.more.notify_all();
            });
        }
        Self { child, output, unread }
    }

    /// Waits until it is as asked; fails where the process ends before.
    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            if let Some(code) = self.child.try_wait().expect("a child") {
                panic!("amime ended with {code}:\n{}", self.output());
            }
            assert!(start.elapsed() < PATIENCE, "amime is not {what}:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Standard input, once, where it was piped: dropping it is its end.
    pub fn input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that was printed so far.
    pub fn output(&self) -> String {
        self.output.text.lock().expect("not poisoned").0.clone()
    }

    /// Waits until it has printed just this line.
    pub fn wait_line(&self, line: &str) {
        self.wait(0, line, |printed| printed == line);
    }

    /// Waits until the output, from its byte `from` on, holds `what`; returns the line.
    pub fn wait_output(&self, from: usize, what: &str) -> String {
        self.wait(from, what, |line| line.contains(what))
    }

    fn wait(&self, from: usize, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        let mut text = self.output.text.lock().expect("not poisoned");
        loop {
            if let Some(line) = text.0[from..].lines().find(|line| is_it(line)) {
                return line.to_owned();
            }
            assert!(start.elapsed() < PATIENCE && text.1 < STREAMS, "no {what:?} in:\n{}", text.0);
            text = self.output.more.wait_timeout(text, Duration::from_millis(500)).expect("not poisoned").0;
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub fn wait_exit(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                let mut text = self.output.text.lock().expect("not poisoned");
                while self.unread.is_empty() && text.1 < STREAMS && start.elapsed() < PATIENCE {
                    text = self.output.more.wait_timeout(text, Duration::from_millis(500)).expect("not poisoned").0;
                }
                return status.code().unwrap_or(-1);
            }
            assert!(start.elapsed() < PATIENCE, "amime does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
