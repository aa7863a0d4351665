//! Envoy's JSON form of what [`crate::encode`] writes, and back: as a real Envoy prints its `/config_dump`.
//!
//! The proxy's admin page and the control plane's `/debug/config_dump` print it; `amime config` and
//! `amime status` read it, of real Envoys too. Nothing here knows the fields of a message: descriptors of all
//! of Envoy's types (made by the build script) do. A type that they do not know is shown as its `@type` and
//! its bytes, and read back as it was.

mod any;
mod bytes;
mod dump;
mod parse;
mod pool;
mod print;
mod undump;
mod unread;
mod well_known;

pub use dump::{DumpOptions, Versions, config_dump};
pub use undump::{Dumped, State, Unknown, from_config_dump, resources};

use ::bytes::Bytes;
use prost_reflect::DynamicMessage;
use serde_json::Value;

/// Why something has no JSON form, or is the JSON form of nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("{0} is not a type of Envoy's that is known here")]
    UnknownType(String),
    #[error("not a valid {type_url}: {problem}")]
    Protobuf { type_url: String, problem: String },
}

/// What of a JSON value was not read: the field's path (`filter_chains[0].name`) and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: String,
    pub problem: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// An encoded message as JSON, with its fields as the .proto file names them. `type_url` may come with or
/// without `type.googleapis.com/`.
pub fn to_json(type_url: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    print(type_url, bytes, false)
}

/// As [`to_json`], but what Envoy calls sensitive (keys, passwords) is `[redacted]`, as Envoy prints it.
pub fn to_redacted_json(type_url: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    print(type_url, bytes, true)
}

fn print(type_url: &str, bytes: &[u8], redact: bool) -> Result<Value, JsonError> {
    let descriptor = pool::message(type_url).ok_or_else(|| JsonError::UnknownType(type_url.into()))?;
    let message = DynamicMessage::decode(descriptor, bytes)
        .map_err(|e| JsonError::Protobuf { type_url: type_url.into(), problem: e.to_string() })?;
    Ok(print::Printer { redact }.message(&message, print::Sight::open()))
}

/// The message that a JSON object means, encoded, and what of it was not understood; that is left out. Takes
/// field names in either spelling and the values of enums by name or number, as protobuf does.
pub fn from_json(type_url: &str, value: &Value) -> Result<(Bytes, Vec<Unreadable>), JsonError> {
    let descriptor = pool::message(type_url).ok_or_else(|| JsonError::UnknownType(type_url.into()))?;
    let mut parser = parse::Parser::default();
    let body = parser.message(&descriptor, value);
    Ok((body.into(), parser.problems))
}
