//! JUnit reports, as CI systems read them. `check` and `test` write them.

use std::fmt::Write;

/// Tests of one file.
pub(crate) struct Suite<'a> {
    /// The file.
    pub(crate) name: &'a str,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Passed,
    /// Passed, with something to say.
    Noted(String),
    /// `kind` is the report's type of failure; `details` are further lines, may be empty.
    Failed {
        kind: &'static str,
        message: String,
        details: String,
    },
}

/// The report of a tool.
pub(crate) fn write(tool: &str, suites: &[Suite<'_>]) -> String {
    let mut out =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\">\n", escape(tool, false));
    for suite in suites {
        let failures = suite.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. })).count();
        let file = escape(suite.name, false);
        let tests = suite.cases.len();
        let _ = writeln!(out, "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failures}\">");
        suite.cases.iter().for_each(|case| write_case(&mut out, case, &file));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn write_case(out: &mut String, case: &Case, file: &str) {
    let name = escape(&case.name, false);
    let head = format!("    <testcase name=\"{name}\" classname=\"{file}\"");
    let _ = match &case.outcome {
        Outcome::Passed => writeln!(out, "{head}/>"),
        Outcome::Noted(note) => {
            writeln!(out, "{head}>\n      <system-out>{}</system-out>\n    </testcase>", escape(note, true))
        }
        Outcome::Failed { kind, message, details } => {
            let message = escape(message, false);
            let details = escape(details, true);
            let failure = format!("<failure type=\"{kind}\" message=\"{message}\"");
            let failure =
                if details.is_empty() { format!("{failure}/>") } else { format!("{failure}>{details}</failure>") };
            writeln!(out, "{head}>\n      {failure}\n    </testcase>")
        }
    };
}

/// Text in an attribute or element; what XML cannot hold is left out, and so are line ends where they have no place.
fn escape(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' if lines => out.push('\n'),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
