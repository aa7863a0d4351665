//! What `amime test` does: finds test files, asks each case of the matcher, compares, and prints. `cmd::test` calls it.

mod files;
mod human;
mod json;
mod junit;
mod live;
mod run;
mod watch;

pub(crate) use run::{Inputs, run};
pub(crate) use watch::watch;

use amime_model::diagnostic::{Diagnostic, Place, Severity, Texts};
use amime_model::explain::Trace;
use amime_model::mesh_test::Mismatch;
use std::time::Duration;

/// The forms in which the outcome is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people: a line a case, and the way of the request where it fails
    Human,
    Json,
    /// A JUnit report, a suite a file
    Junit,
}

/// The outcome as text in that form. `coverage` is for people alone: programs are always told.
pub(crate) fn print(report: &Report, output: Output, coverage: bool) -> String {
    match output {
        Output::Human => human::print(report, coverage),
        Output::Json => json::print(report),
        Output::Junit => junit::print(report),
    }
}

/// What a run came to.
pub(crate) struct Report {
    /// By the order of the files.
    pub(crate) files: Vec<FileReport>,
    pub(crate) texts: Texts,
    /// Of all manifests together, by place: the rules, and whether a test reaches them.
    pub(crate) rules: Vec<RuleReport>,
    pub(crate) took: Duration,
}

pub(crate) struct FileReport {
    pub(crate) file: String,
    /// What is wrong in the file itself; where that is an error, no case was asked.
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) cases: Vec<CaseReport>,
}

pub(crate) struct CaseReport {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) outcome: Outcome,
    /// With `--live`: how it was sent, or why not.
    pub(crate) live: Option<Sending>,
}

/// What `--live` did with a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sending {
    /// So many requests.
    Sent(usize),
    Not(String),
}

pub(crate) enum Outcome {
    /// With the security policies that are for the destination, and that nobody evaluated.
    Passed { not_evaluated: Vec<String> },
    Failed {
        mismatches: Vec<Mismatch>,
        /// None where no request is to be shown.
        trace: Option<Box<Trace>>,
    },
    /// It could not be asked at all.
    Unanswered(String),
}

pub(crate) struct RuleReport {
    /// `VirtualService shop/reviews http[1]`.
    pub(crate) rule: String,
    pub(crate) place: Option<Place>,
    pub(crate) reached: bool,
}

impl Report {
    pub(crate) fn passed(&self) -> usize {
        self.cases().filter(|case| case.has_passed()).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.cases().filter(|case| !case.has_passed()).count()
    }

    /// Whether a test file cannot be run as it is written.
    pub(crate) fn has_broken_files(&self) -> bool {
        self.files.iter().any(FileReport::is_broken)
    }

    fn cases(&self) -> impl Iterator<Item = &CaseReport> {
        self.files.iter().flat_map(|file| &file.cases)
    }
}

impl FileReport {
    pub(crate) fn is_broken(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

impl CaseReport {
    pub(crate) fn has_passed(&self) -> bool {
        matches!(self.outcome, Outcome::Passed { .. })
    }
}
