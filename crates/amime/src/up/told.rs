//! What has been said, so that nothing is said twice: findings when they are new, the table's rows when they change.
//! `run` hands it each generation.

use super::announce;
use super::findings::Findings;
use super::log::Printer;
use super::table::Table;
use amime_control::engine::Generation;
use std::time::Instant;

pub(super) struct Told {
    printer: Printer,
    findings: Findings,
    table: Option<Table>,
}

impl Told {
    pub(super) fn new(printer: Printer) -> Self {
        Self { findings: Findings::new(printer.clone()), printer, table: None }
    }

    /// Prints what is new in it.
    pub(super) fn tell(&mut self, generation: &Generation) {
        self.findings.tell(generation);
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
