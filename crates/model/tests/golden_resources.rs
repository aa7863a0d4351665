//! Golden tests of what is said about resources: each file of `golden_resources/` holds what a user wrote, and after
//! `=====` the objects that were read and the findings as they are printed.
//!
//! `AMIME_BLESS=1 cargo test -p amime-model --test golden_resources` writes what is said into the files.

mod golden_files;

use amime_model::diagnostic::{Diagnostic, Texts, render};
use amime_model::resource::{ResourceSet, load, load_mesh_config, unknown_kinds};
use std::fmt::Write;

/// The objects that were read, and all diagnostics as they are printed.
fn said_of_objects(name: &str, input: &str) -> String {
    let loaded = load(name, input);
    let mut out = String::new();
    for object in &loaded.objects {
        let verdict = if object.errors.is_empty() { "" } else { " (broken)" };
        let _ = writeln!(out, "{}{verdict}", object.id);
    }
    let files = [loaded];
    let mut diagnostics = files[0].all_diagnostics();
    diagnostics.extend(ResourceSet::of_files(&files).1);
    diagnostics.extend(unknown_kinds(&files));
    diagnostics.sort_by(|one, other| one.place.cmp(&other.place));
    out + &printed(&diagnostics, name, &files[0].text)
}

fn said_of_mesh_config(name: &str, input: &str) -> String {
    let loaded = load_mesh_config(name, input);
    printed(&loaded.diagnostics, name, &loaded.text)
}

fn printed(diagnostics: &[Diagnostic], name: &str, text: &str) -> String {
    let mut texts = Texts::default();
    texts.insert(name.into(), text.into());
    let mut out = String::new();
    for diagnostic in diagnostics {
        let line = diagnostic.place.as_ref().and_then(|place| texts.line(place));
        let _ = write!(out, "\n{}", render(diagnostic, line, false));
    }
    out
}

#[test]
fn findings_are_as_they_were() {
    golden_files::check("golden_resources", |name, input| {
        let said = if name.starts_with("mesh-config") { said_of_mesh_config } else { said_of_objects };
        said(&format!("{name}.yaml"), input)
    });
}
