//! Scalars that YAML and serde have no word for: durations, int-or-string, base64 bytes, timestamps.
//!
//! Each asks its `Deserializer` for a newtype of a name below; `decode` knows these names, reads the
//! scalar by its own rules and reports what is wrong at its place. Used by all resource structs.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// Newtype names by which `decode` recognises the scalars of this module.
pub(crate) const DURATION: &str = "$duration";
pub(crate) const INT_OR_STRING: &str = "$int-or-string";
pub(crate) const BYTES: &str = "$bytes";
pub(crate) const TIMESTAMP: &str = "$timestamp";

/// A duration as Go writes it (`1h30m`, `0.5s`, `150ms`), never negative (a negative one is a
/// diagnostic). Dereferences to `std::time::Duration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

impl std::ops::Deref for Duration {
    type Target = std::time::Duration;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

/// A port number or the name of a port (Kubernetes' `targetPort` and probe ports).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::String(name) => f.write_str(name),
        }
    }
}

/// Bytes that are written in base64 (Secret data, `directResponse.body.bytes`).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    /// Only the length: these may be private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

/// A moment of RFC 3339, for telling which object is older.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    pub nanos: u32,
}

struct DurationVisitor;

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = Duration;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 1.5s or 2m30s")
    }
    /// Nanoseconds.
    fn visit_u128<E: Error>(self, nanos: u128) -> Result<Duration, E> {
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        // Below 10^9, so it fits.
        let nanos = (nanos % 1_000_000_000) as u32;
        Ok(Duration(std::time::Duration::new(seconds, nanos)))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(DURATION, DurationVisitor)
    }
}

struct IntOrStringVisitor;

impl<'de> Visitor<'de> for IntOrStringVisitor {
    type Value = IntOrString;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a name")
    }
    fn visit_i32<E: Error>(self, number: i32) -> Result<IntOrString, E> {
        Ok(IntOrString::Int(number))
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::String(name.to_owned()))
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(INT_OR_STRING, IntOrStringVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }
    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(BYTES, BytesVisitor)
    }
}

struct TimestampVisitor;

impl<'de> Visitor<'de> for TimestampVisitor {
    type Value = Timestamp;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-01-31T12:00:00Z")
    }
    /// Nanoseconds since 1970.
    fn visit_i128<E: Error>(self, nanos: i128) -> Result<Timestamp, E> {
        Ok(Timestamp {
            seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
            // Below 10^9, so it fits.
            nanos: nanos.rem_euclid(1_000_000_000) as u32,
        })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TIMESTAMP, TimestampVisitor)
    }
}
