//! Findings that somebody decided to leave: by an annotation of the object, or by a configuration file.
//!
//! An annotation is `amime.dev/ignore: AM-T7 reason, IST0102 reason`: a code (`*` ends a prefix) and why, for a
//! suppression without a reason counts for nothing. Istio's own `galley.istio.io/analyze-suppress: IST0101,IST0102`
//! counts too.

use amime_model::diagnostic::Diagnostic;
use amime_model::resource::{Object, ResourceSet};
use amime_model::yaml::{self, Node, View};
use anyhow::{Context, bail};
use std::path::Path;
use std::sync::Arc;

const ANNOTATION: &str = "amime.dev/ignore";
const ISTIO_ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// What the configuration file says to leave.
#[derive(Debug, Default)]
pub(crate) struct Suppressions {
    ignore: Vec<Ignored>,
}

#[derive(Debug)]
struct Ignored {
    /// A code, or the beginning of codes before a `*`.
    code: String,
    /// `VirtualService shop/reviews`; `*` stands for anything, nothing for every object.
    resource: String,
    /// A file, or the beginning of its path before a `*`; nothing is every file.
    file: String,
}

impl Suppressions {
    /// Reads a configuration file: a list `ignore` of `code`, `resource`, `file` and `reason`.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let parsed = yaml::parse(&path.to_string_lossy().into(), &text);
        if let Some(error) = parsed.errors.first() {
            bail!("{}: {}", path.display(), error.message);
        }
        let Some(document) = parsed.documents.first() else { return Ok(Self::default()) };
        let Some(View::Sequence(items)) = document.root().get("ignore").map(Node::view) else {
            bail!("{}: a list `ignore` is expected", path.display());
        };
        Ok(Self { ignore: items.map(Ignored::read).collect::<Result<_, _>>()? })
    }

    /// Whether the finding is to be left out.
    pub(crate) fn hold_for(&self, found: &Diagnostic, resources: &ResourceSet, for_tools: &[Arc<Object>]) -> bool {
        self.ignore.iter().any(|ignored| ignored.holds_for(found)) || is_annotated(found, resources, for_tools)
    }
}

impl Ignored {
    fn read(node: Node<'_>) -> anyhow::Result<Self> {
        const FIELDS: [&str; 4] = ["code", "resource", "file", "reason"];
        let place = node.place();
        let View::Mapping(mut entries) = node.view() else { bail!("{place}: code and reason are expected") };
        if let Some((unknown, _)) = entries.find(|(key, _)| !FIELDS.contains(&key.text())) {
            bail!("{}: unknown field {}; there are {}", unknown.place(), unknown.text(), FIELDS.join(", "));
        }
        let field = |name: &str| node.get(name).map_or("", Node::text).to_owned();
        if field("code").is_empty() || field("reason").trim().is_empty() {
            bail!("{place}: what is ignored needs a code, and a reason");
        }
        Ok(Self { code: field("code"), resource: field("resource"), file: field("file") })
    }

    fn holds_for(&self, found: &Diagnostic) -> bool {
        let file = found.place.as_ref().map_or("", |place| &place.file);
        let resource = found.resource.as_ref().map(ToString::to_string).unwrap_or_default();
        fits(&self.code, found.code)
            && (self.resource.is_empty() || fits(&self.resource, &resource))
            && (self.file.is_empty() || fits(&self.file, file))
    }
}

/// `*` stands for anything, once.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
        None => pattern == text,
    }
}

fn is_annotated(found: &Diagnostic, resources: &ResourceSet, for_tools: &[Arc<Object>]) -> bool {
    let Some(id) = &found.resource else { return false };
    let Some(object) = resources.get(id).or_else(|| for_tools.iter().find(|object| object.id == *id)) else {
        return false;
    };
    let annotations = &object.meta.annotations;
    let items = |name: &str| annotations.get(name).map_or("", String::as_str).split(',').map(str::trim);
    let with_reason = |item: &str| {
        item.split_once(char::is_whitespace)
            .is_some_and(|(code, reason)| fits(code.trim_end_matches(':'), found.code) && !reason.trim().is_empty())
    };
    items(ANNOTATION).any(with_reason) || items(ISTIO_ANNOTATION).any(|code| !code.is_empty() && fits(code, found.code))
}
