//! Tests of a mesh: what a request must come to, written beside the manifests (`*.mesh-test.yaml`).
//!
//! `amime test` calls it. A file is read as manifests are (`file`), each case is asked of `explain`, and its verdict is
//! compared (`judge`); invariants over all requests (`never`) are asked of `explain::reach`. Nothing is matched here.

mod file;
mod judge;
mod names;
mod never;

pub use file::{Case, Edits, Expect, LoadedTests, Request, load_tests};
pub use judge::{Mismatch, judge};
pub use never::{Breach, Invariant, Never, Unless, breach};

use crate::config::Origin;
use crate::snapshot::Snapshot;
use std::path::Path;

/// Whether a file holds tests, by its name.
pub fn is_test(path: &Path) -> bool {
    const ENDINGS: [&str; 2] = [".mesh-test.yaml", ".mesh-test.yml"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Every rule of every VirtualService that tests can reach. What a delegate says stands in those that delegate to it.
pub fn rules(snapshot: &Snapshot) -> Vec<&Origin> {
    let mut rules = Vec::new();
    for service in snapshot.virtual_services().iter().filter(|service| !service.is_delegate()) {
        rules.extend(service.http.iter().map(|rule| &rule.origin));
        rules.extend(service.tls.iter().map(|rule| &rule.origin));
        rules.extend(service.tcp.iter().map(|rule| &rule.origin));
    }
    rules
}

#[cfg(test)]
mod mesh_test_tests;
