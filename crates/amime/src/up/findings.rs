//! Findings as they are told: each once, when it is new. `told` (for `up`) and `control` hand it each generation.

use super::announce;
use super::log::Printer;
use amime_control::engine::Generation;
use amime_model::diagnostic::{Diagnostic, codes, render};
use std::collections::HashSet;

/// What has been said.
pub(crate) struct Findings {
    printer: Printer,
    told: HashSet<Diagnostic>,
    unknown: HashSet<String>,
}

impl Findings {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, told: HashSet::new(), unknown: HashSet::new() }
    }

    /// Prints what is new in it.
    pub(crate) fn tell(&mut self, generation: &Generation) {
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
                _ => !self.told.contains(finding),
            };
            if is_new {
                let line = finding.place.as_ref().and_then(|place| generation.texts.line(place));
                // The printer takes colours off where there is no terminal.
                self.printer.print(render(finding, line, true));
            }
            now.insert(finding.clone());
        }
        let fixed = self.told.iter().any(|finding| !now.contains(finding)) && now.is_empty();
        if generation.edited && fixed {
            self.printer.print("all findings are gone");
        }
        self.told = now;
        if generation.edited && !not_enforced.is_empty() {
            self.printer.print(announce::not_enforced(&not_enforced));
        }
    }
}
