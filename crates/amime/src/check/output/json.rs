//! Findings as one JSON object, for programs.

use crate::check::Outcome;
use amime_model::diagnostic::{Diagnostic, Severity, codes};
use serde::Serialize;

/// Written as it goes: the findings of a big mesh are not held a second time.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(serialize_with = "each")]
    diagnostics: &'a [Diagnostic],
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    errors: usize,
    warnings: usize,
    notes: usize,
    suppressed: usize,
    objects: usize,
}

#[derive(Serialize)]
struct Finding<'a> {
    code: &'a str,
    name: Option<&'a str>,
    severity: &'a str,
    message: &'a str,
    resource: Option<Resource<'a>>,
    field: &'a str,
    location: Option<Location<'a>>,
    expected: Option<&'a str>,
    fix: Option<&'a str>,
    why: Option<&'a str>,
    mend: Option<&'a str>,
    page: String,
}

#[derive(Serialize)]
struct Resource<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Location<'a> {
    file: &'a str,
    line: u32,
    column: u32,
}

pub(super) fn print(outcome: &Outcome) -> String {
    let document = Document {
        diagnostics: &outcome.diagnostics,
        summary: Summary {
            errors: outcome.count(Severity::Error),
            warnings: outcome.count(Severity::Warning),
            notes: outcome.count(Severity::Info),
            suppressed: outcome.suppressed,
            objects: outcome.objects,
        },
    };
    // Strings and numbers under fixed keys, written into memory: nothing in that can fail.
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text + "\n"
}

fn each<S: serde::Serializer>(all: &[Diagnostic], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(finding))
}

fn finding(found: &Diagnostic) -> Finding<'_> {
    let known = codes::find(found.code);
    Finding {
        code: found.code,
        name: known.map(|known| known.name),
        severity: found.severity.word(),
        message: &found.message,
        resource: found.resource.as_ref().map(|id| Resource {
            kind: id.kind.as_str(),
            namespace: &id.namespace,
            name: &id.name,
        }),
        field: &found.field,
        location: found.place.as_ref().map(|place| Location {
            file: &place.file,
            line: place.line,
            column: place.column,
        }),
        expected: found.expected.as_deref(),
        fix: found.suggestion.as_deref(),
        why: known.map(|known| known.why),
        mend: known.map(|known| known.mend),
        page: super::page(found.code),
    }
}
