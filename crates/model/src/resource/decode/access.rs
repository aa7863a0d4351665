//! The children of a node, handed to serde one by one. Part of `decode`.

use super::super::spelling::{camel_case, closest};
use super::{Decoder, Refusal};
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::{Entries, Items, Node};
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess};

/// The items of a sequence.
pub(super) struct Sequence<'de, 'p> {
    decoder: Decoder<'de, 'p>,
    items: Option<Items<'de>>,
    index: usize,
}

impl<'de, 'p> Sequence<'de, 'p> {
    pub(super) fn new(decoder: Decoder<'de, 'p>, items: Option<Items<'de>>) -> Self {
        Self { decoder, items, index: 0 }
    }
}

impl<'de> SeqAccess<'de> for Sequence<'de, '_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some(node) = self.items.as_mut().and_then(Iterator::next) else { return Ok(None) };
        let path = self.decoder.path.index(self.index);
        self.index += 1;
        let decoder = Decoder { node, path: &path, findings: self.decoder.findings };
        if node.is_null() && self.decoder.findings.istio {
            decoder.report(Diagnostic::error(codes::SCHEMA, "an item with nothing in it"));
        }
        seed.deserialize(decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.items.as_ref().map(ExactSizeIterator::len)
    }
}

/// A map of any keys.
pub(super) struct Mapping<'de, 'p> {
    decoder: Decoder<'de, 'p>,
    entries: Option<Entries<'de>>,
    current: Option<(String, Node<'de>)>,
}

impl<'de, 'p> Mapping<'de, 'p> {
    pub(super) fn new(decoder: Decoder<'de, 'p>, entries: Option<Entries<'de>>) -> Self {
        Self { decoder, entries, current: None }
    }
}

impl<'de> MapAccess<'de> for Mapping<'de, '_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((key, value)) = self.entries.as_mut().and_then(Iterator::next) else { return Ok(None) };
        let name = key.key_text().into_owned();
        if name != key.text() {
            let message = format!("Kubernetes reads the key `{}` as `{name}`", key.text());
            let diagnostic = Diagnostic::warning(codes::SCHEMA_WARNING, message)
                .with_place(Some(key.place()))
                .with_field(self.decoder.path.key(&name).to_string())
                .with_suggestion(format!("\"{}\"", key.text()));
            self.decoder.findings.push(diagnostic);
        }
        let result = seed.deserialize(serde::de::value::StrDeserializer::<Refusal>::new(&name)).map(Some);
        self.current = Some((name, value));
        result
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let (name, node) = self.current.take().ok_or_else(|| Refusal::custom("a value without a key"))?;
        let path = self.decoder.path.key(&name);
        seed.deserialize(Decoder { node, path: &path, findings: self.decoder.findings })
    }
}

/// The fields of a struct: unknown ones are left out, and reported in Istio's kinds.
pub(super) struct Fields<'de, 'p> {
    decoder: Decoder<'de, 'p>,
    entries: Option<Entries<'de>>,
    fields: &'static [&'static str],
    /// Bit n: field n was given. No struct has more than 64 fields, else it would not be told twice.
    seen: u64,
    current: Option<(&'static str, Node<'de>)>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        while let Some((key, value)) = self.entries.as_mut().and_then(Iterator::next) {
            let Some(at) = self.field(key) else { continue };
            let bit = 1u64.checked_shl(at as u32).unwrap_or(0);
            if self.seen & bit != 0 {
                self.report(key, Diagnostic::error(codes::DUPLICATE_KEY, "given twice, in two spellings"));
                continue;
            }
            self.seen |= bit;
            // Nothing written is as good as absent: the default stays.
            if value.is_null() {
                continue;
            }
            let name = self.fields[at];
            self.current = Some((name, value));
            return seed.deserialize(BorrowedStrDeserializer::<Refusal>::new(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let (name, node) = self.current.take().ok_or_else(|| Refusal::custom("a value without a field"))?;
        let path = self.decoder.path.key(name);
        seed.deserialize(Decoder { node, path: &path, findings: self.decoder.findings })
    }
}

impl<'de, 'p> Fields<'de, 'p> {
    pub(super) fn new(
        decoder: Decoder<'de, 'p>,
        entries: Option<Entries<'de>>,
        fields: &'static [&'static str],
    ) -> Self {
        Self { decoder, entries, fields, seen: 0, current: None }
    }

    /// Which field a key names.
    fn field(&self, key: Node<'_>) -> Option<usize> {
        let name = key.text();
        if let Some(at) = self.fields.iter().position(|field| *field == name) {
            return Some(at);
        }
        if !self.decoder.findings.istio {
            return None;
        }
        let camel = camel_case(name);
        if let Some(at) = self.fields.iter().position(|field| *field == camel) {
            // The one field that the CRDs have in both spellings.
            if name == "mirror_percent" {
                return Some(at);
            }
            let message =
                format!("`{name}` is read as `{camel}`: the API server of a cluster does not know this spelling");
            self.report(key, Diagnostic::warning(codes::SCHEMA_WARNING, message).with_suggestion(camel));
            return Some(at);
        }
        let mut diagnostic = Diagnostic::error(codes::SCHEMA, format!("unknown field `{name}`"));
        match closest(name, self.fields.iter().copied()) {
            Some(field) => diagnostic.suggestion = Some(field.to_owned()),
            None => diagnostic.expected = Some(format!("one of {}", self.fields.join(", "))),
        }
        self.report(key, diagnostic);
        None
    }

    fn report(&self, key: Node<'_>, diagnostic: Diagnostic) {
        let field = self.decoder.path.key(key.text()).to_string();
        self.decoder.findings.push(diagnostic.with_place(Some(key.place())).with_field(field));
    }
}
