//! What `amime check` does with manifests: read, judge, leave out what is suppressed, mend, print. `cmd::check` calls it.

mod fix;
mod found;
mod output;
mod suppress;

pub(crate) use fix::{Repaired, repair};
pub(crate) use found::{Inputs, find};
pub(crate) use output::{Output, print};
pub(crate) use suppress::Suppressions;

use amime_model::diagnostic::{Diagnostic, Severity, Texts};

/// What a check came to.
pub(crate) struct Outcome {
    /// By file and place.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// How many were left out because an annotation or the configuration says so.
    pub(crate) suppressed: usize,
    /// How many objects were looked at.
    pub(crate) objects: usize,
    pub(crate) texts: Texts,
}

impl Outcome {
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Whether any finding is at least as bad.
    pub(crate) fn fails(&self, from: Severity) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity >= from)
    }
}
