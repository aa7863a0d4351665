//! What this process costs, by the names of Prometheus' own clients. Called by `metrics`; what the system does not
//! tell is left out.

use super::exposition::Exposition;
use std::fs;

/// A second's clock ticks in /proc, on every Linux.
const TICKS: f64 = 100.0;

pub(super) fn write(out: &mut Exposition) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        out.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kilobytes) = number_after(&status, "VmRSS:") {
        out.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", kilobytes * 1024);
    }
    if let Some(kilobytes) = number_after(&status, "VmSize:") {
        out.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", kilobytes * 1024);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", "Number of open file descriptors.", files.count());
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = number_after(&limits, "Max open files") {
        out.gauge("process_max_fds", "Maximum number of open file descriptors.", most);
    }
    let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
    if let (Some(ticks), Some(boot)) = (field(&stat, 22), number_after(&machine, "btime ")) {
        let start = boot as f64 + ticks as f64 / TICKS;
        out.gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            format!("{start:.2}"),
        );
    }
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) as f64 / TICKS)
}

/// A field of /proc/PID/stat, from 1. The second, in brackets, is the program's name and may hold anything.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number - 3)?.parse().ok()
}

/// The number that follows the first such word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 3 0 1234 9 9";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(field(stat, 22), Some(1234));
        assert_eq!(field("", 22), None);
        assert_eq!(number_after("Name:\tx\nVmRSS:\t  120 kB\n", "VmRSS:"), Some(120));
    }
}
