//! What a process has used, as Linux tells; and on which core it may run.

use std::fmt;
use std::fs;
use std::time::Duration;

/// CPU time so far, and memory now and at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    resident_kb: u64,
    peak_kb: u64,
}

impl Cost {
    pub(crate) fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
            line.split_whitespace().next().and_then(|kb| kb.parse().ok()).unwrap_or(0)
        };
        // Of each thread, in nanoseconds; /proc/PID/stat counts hundredths of a second.
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let nanos = threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        Self { cpu: Duration::from_nanos(nanos), resident_kb: field("VmRSS:"), peak_kb: field("VmHWM:") }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory {:>4} MB (peak {})", self.resident_kb / 1024, self.peak_kb / 1024)
    }
}

/// Keeps this process on one core, where there are several.
pub(crate) fn on_core(core: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut only = rustix::thread::CpuSet::new();
    only.set(core % cores);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &only) {
        eprintln!("this process stays on all cores: {error}");
    }
}
