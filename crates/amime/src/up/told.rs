//! What has been said, so that nothing is said twice: findings when they are new, the table's rows when they change.
//! `run` hands it each generation.

use super::announce;
use super::log::Printer;
use super::table::Table;
use amime_control::engine::Generation;
use amime_model::diagnostic::{Diagnostic, codes, render};
use std::collections::HashSet;
use std::time::Instant;

pub(super) struct Told {
    printer: Printer,
    findings: HashSet<Diagnostic>,
    unknown: HashSet<String>,
    table: Option<Table>,
}

impl Told {
    pub(super) fn new(printer: Printer) -> Self {
        Self { printer, findings: HashSet::new(), unknown: HashSet::new(), table: None }
    }

    /// Prints what is new in it.
    pub(super) fn tell(&mut self, generation: &Generation) {
        let mut now = HashSet::new();
        let mut not_enforced = Vec::new();
        for finding in generation.diagnostics.iter() {
            if finding.code == codes::NOT_ENFORCED {
                not_enforced.push(finding);
                continue;
            }
            // A kind that is not known is named once, wherever it moves to in its file.
            let is_new = match finding.code {
                codes::UNKNOWN_KIND => self.unknown.insert(finding.message.clone()),
                _ => !self.findings.contains(finding),
            };
            if is_new {
                let line = finding.place.as_ref().and_then(|place| generation.texts.line(place));
                // The printer takes colours off where there is no terminal.
                self.printer.print(render(finding, line, true));
            }
            now.insert(finding.clone());
        }
        let fixed = self.findings.iter().any(|finding| !now.contains(finding)) && now.is_empty();
        if generation.edited && fixed {
            self.printer.print("all findings are gone");
        }
        self.findings = now;
        if generation.edited && !not_enforced.is_empty() {
            self.printer.print(announce::not_enforced(&not_enforced));
        }
        if let Some(before) = &self.table {
            let after = Table::of(&generation.snapshot);
            for line in after.changes_from(before) {
                self.printer.print(line);
            }
            self.table = Some(after);
        }
    }

    /// Everything runs: the whole table, and how each replaced workload reaches the mesh.
    pub(super) fn ready(&mut self, generation: &Generation, pods: usize, started: Instant) {
        let table = Table::of(&generation.snapshot);
        self.printer.print(table.to_string());
        self.table = Some(table);
        for text in announce::replacements(&generation.snapshot) {
            self.printer.print(text);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.printer.print(format!("ready: {pods} pods in {seconds:.1} s"));
    }
}
