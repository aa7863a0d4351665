//! The descriptors of Envoy's types. Read when first asked for: only the debug pages and tools need them.

use prost_reflect::{DescriptorPool, MessageDescriptor, Value};
use std::collections::HashSet;
use std::sync::OnceLock;

static ENVOY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy.bin"));

/// Envoy's mark of fields that must not be shown.
const SENSITIVE: &str = "udpa.annotations.sensitive";

pub(super) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    #[allow(clippy::expect_used, reason = "the build script has read the same bytes")]
    POOL.get_or_init(|| DescriptorPool::decode(ENVOY).expect("the build script's descriptors are valid"))
}

/// By type URL or name.
pub(super) fn message(type_url: &str) -> Option<MessageDescriptor> {
    let name = type_url.rsplit_once('/').map_or(type_url, |(_, name)| name);
    pool().get_message_by_name(name)
}

/// Whether a field, by its full name, is one that Envoy redacts.
pub(super) fn is_sensitive(field: &str) -> bool {
    static FIELDS: OnceLock<HashSet<String>> = OnceLock::new();
    let find = || {
        let Some(mark) = pool().get_extension_by_name(SENSITIVE) else {
            return HashSet::new();
        };
        let fields = pool().all_messages().flat_map(|m| m.fields().collect::<Vec<_>>());
        let marked = fields.filter(|f| matches!(*f.options().get_extension(&mark), Value::Bool(true)));
        marked.map(|f| f.full_name().to_owned()).collect()
    };
    FIELDS.get_or_init(find).contains(field)
}
