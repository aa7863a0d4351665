//! Nodes to typed structs, without ever failing: a leaf of a wrong type is reported with its path and place
//! and becomes its zero value. `load` calls it.
//!
//! Istio's kinds are read as Istio's JSON reader reads them: fields in camelCase or snake_case, numbers also
//! in quotes, enums also by number. What a cluster's API server would refuse all the same is a warning; an
//! unknown field is an error. Kubernetes' kinds have many fields that a mesh does not use: those are no finding.

mod access;

use super::leaf;
use super::scalar::{BYTES, DURATION, INT_OR_STRING, TIMESTAMP};
use super::spelling::closest;
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::{Entries, Node, Path, Resolved, View};
use access::{Fields, Mapping, Sequence};
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use std::cell::RefCell;
use std::fmt;

/// Decodes a node into `T`; what is wrong goes to `findings`, under `path`.
pub(super) fn decode<T: DeserializeOwned + Default>(node: Node<'_>, path: &Path<'_>, findings: &Findings) -> T {
    let decoder = Decoder { node, path, findings };
    T::deserialize(decoder).unwrap_or_else(|error| {
        decoder.report(Diagnostic::error(codes::SCHEMA, error.to_string()));
        T::default()
    })
}

/// A document that is no object, read as Istio's kinds are: an unknown field is an error.
pub(crate) fn decode_strictly<T: DeserializeOwned + Default>(root: Node<'_>) -> (T, Vec<Diagnostic>) {
    let findings = Findings::new(true);
    (decode(root, &Path::ROOT, &findings), findings.into_vec())
}

/// Collects what is wrong in one object.
pub(super) struct Findings {
    /// Istio's rules (else Kubernetes').
    istio: bool,
    found: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    pub(super) fn new(istio: bool) -> Self {
        Self { istio, found: RefCell::new(Vec::new()) }
    }

    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub(super) fn into_vec(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// Only for what the `Deserialize` implementations themselves refuse, which none here does.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl serde::de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct Decoder<'de, 'p> {
    node: Node<'de>,
    path: &'p Path<'p>,
    findings: &'p Findings,
}

impl<'de> Decoder<'de, '_> {
    fn report(self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic.with_place(Some(self.node.place())).with_field(self.path.to_string()));
    }

    /// Reports a wrong type.
    fn mismatch(self, expected: &str, suggestion: Option<String>) {
        let message = format!("{} is not {expected}", leaf::describe(self.node));
        let mut diagnostic = Diagnostic::error(codes::SCHEMA, message).with_expected(expected);
        diagnostic.suggestion = suggestion;
        self.report(diagnostic);
    }

    /// A scalar read by `read`, or the zero value and a report. Nothing written is the zero value too.
    fn leaf<T: Default>(self, expected: &str, read: impl FnOnce(Node<'de>) -> Result<T, Option<String>>) -> T {
        if self.node.is_null() {
            return T::default();
        }
        read(self.node).unwrap_or_else(|suggestion| {
            self.mismatch(expected, suggestion);
            T::default()
        })
    }

    fn integer(self, lowest: i128, highest: i128) -> i128 {
        let expected = format!("a whole number from {lowest} to {highest}");
        let read = |node: Node<'_>| {
            let scalar = node.scalar().ok_or(None)?;
            let resolved = self.unquoted(scalar);
            leaf::whole(resolved).filter(|number| (lowest..=highest).contains(number)).ok_or(None)
        };
        self.leaf(&expected, read)
    }

    fn float(self) -> f64 {
        self.leaf("a number", |node| {
            let resolved = self.unquoted(node.scalar().ok_or(None)?);
            match resolved {
                Resolved::Int(number) => Ok(number as f64),
                Resolved::Float(number) if number.is_finite() => Ok(number),
                _ => Err(None),
            }
        })
    }

    /// A scalar's meaning, numbers in quotes taken as numbers in Istio's kinds.
    fn unquoted(self, scalar: crate::yaml::Scalar<'_>) -> Resolved {
        let resolved = scalar.resolve();
        if resolved != Resolved::Str || !self.findings.istio {
            return resolved;
        }
        let number = leaf::json_number(scalar.text);
        if number.is_some() {
            let message = "a number in quotes: Istio's own tools read it, the API server of a cluster refuses it";
            self.report(Diagnostic::warning(codes::SCHEMA_WARNING, message).with_suggestion(scalar.text));
        }
        number.unwrap_or(resolved)
    }

    fn variant(self, variants: &'static [&'static str]) -> &'static str {
        let zero = variants.first().copied().unwrap_or("");
        if self.node.is_null() && !variants.contains(&self.node.text()) {
            return zero;
        }
        let text = self.node.text();
        if let Some(variant) = variants.iter().find(|variant| **variant == text) {
            return variant;
        }
        let number = self.node.scalar().and_then(|scalar| leaf::whole(scalar.resolve()));
        let by_number = number.and_then(|number| usize::try_from(number).ok()).and_then(|number| variants.get(number));
        if let Some(variant) = by_number.filter(|_| self.findings.istio) {
            return variant;
        }
        let suggestion = closest(text, variants.iter().copied()).map(str::to_owned);
        self.mismatch(&format!("one of {}", variants.join(", ")), suggestion);
        zero
    }

    fn entries(self) -> Option<Entries<'de>> {
        match self.node.view() {
            View::Mapping(entries) => Some(entries),
            View::Scalar(scalar) if scalar.is_null() => None,
            _ => {
                self.mismatch("a mapping", None);
                None
            }
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let number = self.integer(i128::from($type::MIN), i128::from($type::MAX));
            visitor.$visit($type::try_from(number).unwrap_or_default())
        })+
    };
}

impl<'de> Deserializer<'de> for Decoder<'de, '_> {
    type Error = Refusal;

    /// Untyped: as JSON.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.node.view() {
            View::Sequence(_) => self.deserialize_seq(visitor),
            View::Mapping(_) => self.deserialize_map(visitor),
            View::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => visitor.visit_unit(),
                Resolved::Bool(value) => visitor.visit_bool(value),
                Resolved::Int(number) => match (i64::try_from(number), u64::try_from(number)) {
                    (Ok(number), _) => visitor.visit_i64(number),
                    (_, Ok(number)) => visitor.visit_u64(number),
                    _ => visitor.visit_f64(number as f64),
                },
                Resolved::Float(_) => visitor.visit_f64(self.float()),
                Resolved::Str => visitor.visit_borrowed_str(scalar.text),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_bool(self.leaf("true or false", |node| match node.scalar().map(|scalar| scalar.resolve()) {
            Some(Resolved::Bool(value)) => Ok(value),
            Some(Resolved::Str) if matches!(node.text(), "true" | "false") => Err(Some(node.text().to_owned())),
            _ => Err(None),
        }))
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_f64(self.float())
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_f64(self.float())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_borrowed_str(self.leaf("text", |node| {
            let scalar = node.scalar().ok_or(None)?;
            let is_text = scalar.resolve() == Resolved::Str;
            if is_text { Ok(scalar.text) } else { Err(Some(format!("\"{}\"", scalar.text))) }
        }))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        match name {
            DURATION => visitor.visit_u128(self.leaf("a duration such as 1.5s or 2m30s", leaf::duration)),
            BYTES => visitor.visit_byte_buf(self.leaf("base64", leaf::base64)),
            TIMESTAMP => visitor.visit_i128(self.leaf("a time such as 2026-01-31T12:00:00Z", leaf::timestamp)),
            INT_OR_STRING => match self.node.scalar().map(|scalar| (scalar.text, scalar.resolve())) {
                Some((text, Resolved::Str)) => visitor.visit_borrowed_str(text),
                // A port in quotes that is a number stays a name, as in Kubernetes.
                _ => visitor.visit_i32(i32::try_from(self.integer(0, i128::from(i32::MAX))).unwrap_or_default()),
            },
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let items = match self.node.view() {
            View::Sequence(items) => Some(items),
            View::Scalar(scalar) if scalar.is_null() => None,
            View::Scalar(scalar) => {
                self.mismatch("a sequence", Some(format!("[{}]", scalar.text)));
                None
            }
            View::Mapping(_) => {
                self.mismatch("a sequence, each item of it after \"- \"", None);
                None
            }
        };
        visitor.visit_seq(Sequence::new(self, items))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_map(Mapping::new(self, self.entries()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_map(Fields::new(self, self.entries(), fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_enum(BorrowedStrDeserializer::new(self.variant(variants)))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

#[cfg(test)]
mod tests;
