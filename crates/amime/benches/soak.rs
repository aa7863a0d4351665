//! The whole matrix of changes under load, longer than the tests run it: `make soak`, which writes docs/soak.md.
//!
//! Arguments: the number of changes by chance (1000), and their seed (one of the clock's).

#[path = "../tests/judge/mod.rs"]
mod judge;

use judge::random;
use judge::restart;
use judge::scenarios::Change::{AddSubset, RemoveSubset, RenameSubset};
use judge::scenarios::Order::{AtOnce, DestinationRuleFirst, VirtualServiceFirst};
use judge::scenarios::{self, Change, Order};
use judge::stage::{Effort, Report};
use rustix::process::Signal;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What ran so far, as lines of the table.
#[derive(Default)]
struct Table {
    lines: String,
    unclean: usize,
}

impl Table {
    fn add(&mut self, scenario: &str, took: Duration, report: &Report) {
        for (kind, verdict) in &report.verdicts {
            let (failed, wrong) = (verdict.failed.len(), verdict.wrong.len());
            let line =
                format!("| {scenario} | {kind} | {} | {failed} | {wrong} | {} s |\n", verdict.requests, took.as_secs());
            print!("{line}");
            self.lines.push_str(&line);
            self.unclean += failed + wrong;
        }
        if !report.is_clean() {
            println!("{}", report.told());
        }
        self.unclean += report.complaints.len();
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let count = numbers.next().unwrap_or(1_000) as usize;
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = numbers.next().unwrap_or_else(clock);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let Some(table) = runtime.block_on(matrix(count, seed)) else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/soak.md");
    std::fs::write(path, page(&table, count, seed)).expect("docs/soak.md is written");
    println!("written: docs/soak.md");
    std::process::exit(i32::from(table.unclean > 0));
}

/// None where there is no Envoy.
async fn matrix(count: usize, seed: u64) -> Option<Table> {
    let mut table = Table::default();
    let effort = Effort::LONG;
    let subsets: [(&str, Change, Order); 8] = [
        ("1. a subset comes, VirtualService first", AddSubset, VirtualServiceFirst),
        ("2. a subset comes, DestinationRule first", AddSubset, DestinationRuleFirst),
        ("3. a subset comes, both in one save", AddSubset, AtOnce),
        ("4. a subset goes, VirtualService first", RemoveSubset, VirtualServiceFirst),
        ("4. a subset goes, DestinationRule first", RemoveSubset, DestinationRuleFirst),
        ("5. a subset is renamed, VirtualService first", RenameSubset, VirtualServiceFirst),
        ("5. a subset is renamed, DestinationRule first", RenameSubset, DestinationRuleFirst),
        ("5. a subset is renamed, both in one save", RenameSubset, AtOnce),
    ];
    for (name, change, order) in subsets {
        let began = Instant::now();
        let report = scenarios::subset(effort, change, order).await?;
        table.add(name, began.elapsed(), &report);
    }
    let began = Instant::now();
    let report = scenarios::roll(effort).await?;
    table.add("6. ten endpoints are replaced one by one", began.elapsed(), &report);
    let began = Instant::now();
    let report = random::changes(Effort { between: Effort::SHORT.between, ..effort }, seed, count).await?;
    table.add(&format!("7. {count} changes by chance"), began.elapsed(), &report);
    for (name, signal) in [("SIGKILL", Signal::KILL), ("SIGTERM", Signal::TERM)] {
        let began = Instant::now();
        let report = restart::pending(effort, signal).await?;
        table.add(&format!("8. the control plane restarts while a rule is pending, {name}"), began.elapsed(), &report);
    }
    let began = Instant::now();
    let report = restart::killed(effort).await?;
    table.add("the control plane is killed with each change", began.elapsed(), &report);
    let began = Instant::now();
    let report = restart::stopped(effort).await?;
    table.add("a proxy stands still (SIGSTOP) while a rule changes", began.elapsed(), &report);
    let began = Instant::now();
    let report = restart::cut_off_while_warming(effort).await?;
    table.add("proxies are cut off while a cluster warms, the control plane is killed", began.elapsed(), &report);
    Some(table)
}

fn page(table: &Table, count: usize, seed: u64) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let rate = Effort::LONG.rate;
    let mut text = String::from("# Changes under load\n\n");
    write!(
        text,
        "Written by `make soak`. Each scenario runs a gateway of each kind at once under one `amime control`, a process of its \
         own: a real Envoy 1.40 by delta and by state of the world, and `amime proxy` (delta); scenarios 1 to 7 a sidecar of \
         each kind too, whose clients call through its port 15001. {rate} requests a second go to all of them together, evenly \
         over HTTP/1.1 keep-alive connections, HTTP/2 streams and gRPC calls, before, during and after each change.\n\n\
         *Failed* is any request without a good answer; nothing is tried again but what HTTP says was never processed. \
         *Wrong* is an answer by a version that the configuration did not allow at any time while the request was under way: \
         until the save only the old one is right, then both, and from when every proxy has acknowledged only the new one.\n\n\
         This run: {build} build, {cores} cores for everything (load, origins, proxies, control plane); the {count} changes of \
         scenario 7 from seed {seed}.\n\n\
         | scenario | proxy | requests | failed | wrong | time |\n|---|---|---|---|---|---|\n{}",
        table.lines
    )
    .expect("text");
    text
}
