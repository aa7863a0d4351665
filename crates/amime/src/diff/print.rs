//! The forms in which a difference is printed.

use super::sides::Spec;
use super::{markdown, text, words};
use amime_model::diff::Difference;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For a comment on a merge request
    Markdown,
    Json,
}

/// What witnesses are asked of.
pub(crate) struct Asked<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) mesh_config: Option<&'a PathBuf>,
}

pub(crate) fn print(difference: &Difference, asked: &Asked<'_>, output: Output) -> anyhow::Result<String> {
    Ok(match output {
        Output::Text => text::render(difference, asked),
        Output::Markdown => markdown::render(difference, asked),
        Output::Json => {
            let mut value = serde_json::to_value(difference)?;
            let changes = value.get_mut("requests").and_then(Value::as_array_mut);
            for (written, change) in changes.into_iter().flatten().zip(&difference.requests) {
                written["command"] = Value::from(words::command(asked, &change.witness));
            }
            format!("{value:#}\n")
        }
    })
}
