//! Header edits, compiled: names checked and formats parsed once, literal values shared.

use super::table::CompileProblem;
use super::template::{Command, Template};
use crate::config::HeaderEdits;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A `config::HeaderEdits` that can be applied.
#[derive(Debug, Default)]
pub struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
}

#[derive(Debug)]
enum Value {
    Literal(HeaderValue),
    Format(Template),
}

impl Edits {
    pub(super) fn compile(edits: &HeaderEdits) -> Result<Self, CompileProblem> {
        Ok(Self {
            remove: edits.remove.iter().map(|n| name(n)).collect::<Result<_, _>>()?,
            set: edits
                .set
                .iter()
                .map(|(n, v)| Ok((name(n)?, Value::compile(v)?)))
                .collect::<Result<_, CompileProblem>>()?,
            add: edits
                .add
                .iter()
                .map(|(n, v)| Ok((name(n)?, Value::compile(v)?)))
                .collect::<Result<_, CompileProblem>>()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Removes, sets, then adds. `value_of` gives the value of a format's command, from the headers as they
    /// are at that moment; an empty value sets nothing.
    pub fn apply(&self, headers: &mut HeaderMap, value_of: &dyn Fn(&Command, &HeaderMap) -> Option<String>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            if let Some(value) = value.get(headers, value_of) {
                headers.insert(name.clone(), value);
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.get(headers, value_of) {
                headers.append(name.clone(), value);
            }
        }
    }
}

fn name(text: &str) -> Result<HeaderName, CompileProblem> {
    if text.starts_with(':') || text.eq_ignore_ascii_case("host") {
        return Err(CompileProblem(format!("header `{text}` cannot be edited like a header")));
    }
    HeaderName::from_bytes(text.to_ascii_lowercase().as_bytes())
        .map_err(|_| CompileProblem(format!("`{text}` is no header name")))
}

impl Value {
    fn compile(text: &str) -> Result<Self, CompileProblem> {
        let template = Template::parse(text)?;
        match template.literal() {
            Some(literal) => HeaderValue::from_str(literal)
                .map(Self::Literal)
                .map_err(|_| CompileProblem(format!("`{}` is no header value", literal.escape_debug()))),
            None => Ok(Self::Format(template)),
        }
    }

    fn get(
        &self,
        headers: &HeaderMap,
        value_of: &dyn Fn(&Command, &HeaderMap) -> Option<String>,
    ) -> Option<HeaderValue> {
        let value = match self {
            Self::Literal(value) => value.clone(),
            Self::Format(template) => {
                HeaderValue::from_str(&template.format(&|command| value_of(command, headers))).ok()?
            }
        };
        (!value.is_empty()).then_some(value)
    }
}
