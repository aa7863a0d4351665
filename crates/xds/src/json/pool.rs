//! The descriptors of Envoy's types. Read when first asked for: only the debug pages and tools need them.

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, Value};
use std::sync::OnceLock;

/// What `encode` writes: all that a proxy needs that shows its configuration.
static USUAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/usual.bin"));
/// Whatever else may be in a configuration.
static ENVOY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy.bin"));

/// Envoy's mark of fields that must not be shown.
const SENSITIVE: &str = "udpa.annotations.sensitive";

#[allow(clippy::expect_used, reason = "the build script made the bytes")]
fn read(descriptors: &'static [u8]) -> DescriptorPool {
    DescriptorPool::decode(descriptors).expect("the build script's descriptors are valid")
}

/// By type URL or name.
pub(super) fn message(type_url: &str) -> Option<MessageDescriptor> {
    static USUALLY: OnceLock<DescriptorPool> = OnceLock::new();
    static ALL: OnceLock<DescriptorPool> = OnceLock::new();
    let name = type_url.rsplit_once('/').map_or(type_url, |(_, name)| name);
    let usual = USUALLY.get_or_init(|| read(USUAL)).get_message_by_name(name);
    if usual.is_some() || !might_be_envoys(name) {
        return usual;
    }
    ALL.get_or_init(|| read(ENVOY)).get_message_by_name(name)
}

/// Names of others need no look into all of Envoy's.
fn might_be_envoys(name: &str) -> bool {
    ["envoy.", "xds.", "udpa.", "google.", "cel.", "opentelemetry."].iter().any(|package| name.starts_with(package))
}

/// Whether a field is one that Envoy redacts.
pub(super) fn is_sensitive(field: &FieldDescriptor) -> bool {
    let mark = field.parent_pool().get_extension_by_name(SENSITIVE);
    mark.is_some_and(|mark| matches!(*field.options().get_extension(&mark), Value::Bool(true)))
}
