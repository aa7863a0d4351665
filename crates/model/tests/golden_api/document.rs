//! docs/api-support.md, made of the table.

use amime_model::resource::Kind;
use amime_model::resource::support::{self, Field};
use std::fmt::Write;

/// The whole document.
pub(crate) fn write(kinds: &[Kind]) -> String {
    let mut out = String::from(
        "# What Amime does with Istio's traffic API\n\n\
         Every field of these resources either does what Istio says it does (**yes**), or has no effect, and setting it\n\
         is said by `AM-R4` with what happens instead (**no**), or is an error that names it (**refused**). Made from the\n\
         table in `crates/model/src/resource/support` by `make bless`; tests hold it against the types that read the\n\
         fields and against Istio's own list.\n\n",
    );
    let counts = kinds.iter().map(|kind| (kind.to_string(), count(support::fields(*kind))));
    let _ = writeln!(out, "| resource | fields | yes | no | refused |\n|---|---|---|---|---|");
    for (kind, [yes, no, refused]) in counts {
        let _ =
            writeln!(out, "| [{kind}](#{}) | {} | {yes} | {no} | {refused} |", kind.to_lowercase(), yes + no + refused);
    }
    out.push_str(
        "\nA field counts once for each place where it can stand; one without effect counts once with all below it.\n",
    );
    for kind in kinds {
        section(&mut out, &kind.to_string(), support::fields(*kind));
    }
    section(&mut out, "MeshConfig", support::mesh_config());
    out.push_str("\nAll other fields of MeshConfig are named by `AM-R4` when they are set: nothing reads them yet.\n");
    out
}

fn section(out: &mut String, name: &str, fields: &'static [Field]) {
    let _ = writeln!(out, "\n## {name}\n\n| field | | what happens instead |\n|---|---|---|");
    rows(out, fields, "", &mut Vec::new());
}

/// A message that was written before is not written again.
fn rows(out: &mut String, fields: &'static [Field], prefix: &str, written: &mut Vec<(&'static [Field], String)>) {
    for field in fields {
        let path = format!("{prefix}{}", field.name());
        let mut row = |state: &str, text: &str| {
            let _ = writeln!(out, "| `{path}` | {state} | {text} |");
        };
        match field {
            Field::Done(_) => row("yes", ""),
            Field::Instead(_, instead) => row("no", instead),
            Field::Refused(_, why) => row("refused", why),
            Field::Values(_, values) => {
                row("yes", "but for:");
                for (word, instead) in *values {
                    let _ = writeln!(out, "| `{path}: {word}` | no | {instead} |");
                }
            }
            Field::Message(each, below) => {
                let same = |(fields, _): &&(&[Field], String)| std::ptr::eq(*fields, *below);
                match written.iter().find(same) {
                    Some((_, first)) => row("", &format!("as `{first}`")),
                    None => {
                        let path = format!("{prefix}{each}");
                        rows(out, below, &format!("{path}."), written);
                        if below.len() > 1 {
                            written.push((below, path));
                        }
                    }
                }
            }
        }
    }
}

/// Fields that are done, without effect, refused.
fn count(fields: &[Field]) -> [usize; 3] {
    let mut sum = [0; 3];
    for field in fields {
        let add = match field {
            Field::Done(_) | Field::Values(..) => [1, 0, 0],
            Field::Instead(..) => [0, 1, 0],
            Field::Refused(..) => [0, 0, 1],
            Field::Message(_, below) => count(below),
        };
        (0..3).for_each(|at| sum[at] += add[at]);
    }
    sum
}
