//! The table of codes: what each finding is called, why it matters and how to mend it. Where Istio's analyzer has a
//! code for the same, it is used.
//!
//! Whoever makes a diagnostic names its code by a constant; `amime check --explain` and the pages in docs print the rows.

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `IST0101`.
    pub code: &'static str,
    /// What a finding has where it does not say otherwise.
    pub severity: Severity,
    /// One word that names it, Istio's own where it has one.
    pub name: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// How to mend it.
    pub mend: &'static str,
}

/// Makes a constant of each row and a table of all.
macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident $code:literal $severity:ident $name:literal $why:literal $mend:literal;)+) => {
        $($(#[$doc])* pub const $constant: &str = $code;)+

        pub(super) const TABLE: &[super::Code] = &[$(super::Code {
            code: $code,
            severity: crate::diagnostic::Severity::$severity,
            name: $name,
            why: $why,
            mend: $mend,
        },)+];
    };
}

mod effect;
mod istio;
mod practices;
mod text;

pub use effect::*;
pub use istio::*;
pub use practices::*;
pub use text::*;

use super::Severity;

/// All codes, Istio's first.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [istio::TABLE, text::TABLE, effect::TABLE, practices::TABLE].into_iter().flatten()
}

/// The row of a code, whatever its case.
pub fn find(code: &str) -> Option<&'static Code> {
    all().find(|known| known.code.eq_ignore_ascii_case(code))
}

/// The page of a code in the documentation, as Markdown.
pub fn page(known: &Code) -> String {
    let Code { code, severity, name, why, mend } = known;
    format!("# {code} {name}\n\nSeverity: {}\n\n## Why\n\n{why}\n\n## How to mend it\n\n{mend}\n", severity.word())
}

/// The index of all pages, as Markdown.
pub fn index() -> String {
    let mut out =
        String::from("# Codes of findings\n\nMade from the table in `crates/model/src/diagnostic/codes`.\n\n");
    out.push_str("| code | severity | name |\n|---|---|---|\n");
    for Code { code, severity, name, .. } in all() {
        out.push_str(&format!("| [{code}]({code}.md) | {} | {name} |\n", severity.word()));
    }
    out
}
