//! The fields that a resource's type has, as serde's derive knows them: a deserializer that reads no text, but visits
//! each field once and writes down its path.

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;

/// A field that holds no message: its path (`[]` for any item, `{}` for any value of a map, not at the end), and the
/// words that it may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) words: Vec<String>,
}

/// All leaves of a type, sorted.
pub(crate) fn leaves<T: for<'de> Deserialize<'de>>() -> Vec<Leaf> {
    let found = RefCell::new(Vec::new());
    T::deserialize(Walk { path: String::new(), found: &found }).expect("each field takes its zero value");
    let mut found = found.into_inner();
    found.sort();
    found
}

struct Walk<'a> {
    path: String,
    found: &'a RefCell<Vec<Leaf>>,
}

impl Walk<'_> {
    fn leaf(&self, words: &[&str]) {
        let path = self.path.trim_end_matches("[]").trim_end_matches("{}").to_owned();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.found.borrow_mut().push(Leaf { path, words });
    }
}

macro_rules! leaves {
    ($($method:ident $visit:ident $zero:expr;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.leaf(&[]);
            visitor.$visit($zero)
        })+
    };
}

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Error;

    leaves! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 0;
        deserialize_i16 visit_i16 0;
        deserialize_i32 visit_i32 0;
        deserialize_i64 visit_i64 0;
        deserialize_u8 visit_u8 0;
        deserialize_u16 visit_u16 0;
        deserialize_u32 visit_u32 0;
        deserialize_u64 visit_u64 0;
        deserialize_f32 visit_f32 0.0;
        deserialize_f64 visit_f64 0.0;
        deserialize_str visit_str "";
        deserialize_string visit_str "";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.leaf(&[]);
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    /// The scalars that `amime_model::resource` reads in its own ways; others are what they wrap.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if !name.starts_with('$') {
            return visitor.visit_newtype_struct(self);
        }
        self.leaf(&[]);
        match name {
            "$duration" => visitor.visit_u128(0),
            "$timestamp" => visitor.visit_i128(0),
            "$bytes" => visitor.visit_byte_buf(Vec::new()),
            _ => visitor.visit_str(""),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Once(Some(Walk { path: format!("{}[]", self.path), found: self.found })))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Each { below: vec![("key", format!("{}{{}}", self.path))], found: self.found })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let below = fields.iter().map(|field| (*field, format!("{}{dot}{field}", self.path))).collect();
        visitor.visit_map(Each { below, found: self.found })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.leaf(variants);
        visitor.visit_enum(BorrowedStrDeserializer::new(variants[0]))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Once<'a>(Option<Walk<'a>>);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|walk| seed.deserialize(walk)).transpose()
    }
}

/// Keys with the paths of their values; the last comes first.
struct Each<'a> {
    below: Vec<(&'static str, String)>,
    found: &'a RefCell<Vec<Leaf>>,
}

impl<'de> MapAccess<'de> for Each<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, _)) = self.below.last() else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (_, path) = self.below.pop().expect("a key came before");
        seed.deserialize(Walk { path, found: self.found })
    }
}
