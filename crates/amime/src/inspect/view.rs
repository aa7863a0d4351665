//! A dump's resources, read, for the tables.

use amime_xds::ResourceType;
use amime_xds::intern::Decoded;
use amime_xds::json::{Dumped, Unknown, resources};
use serde_json::Value;

/// One resource of a dump.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) dumped: Dumped<'a>,
    /// None where it is not understood.
    pub(crate) decoded: Option<Decoded>,
    /// Why it is not understood, as far as it is not.
    pub(crate) unknown: Vec<Unknown>,
}

impl Seen<'_> {
    /// For the table, in the place of what cannot be told.
    pub(crate) fn excuse(&self) -> String {
        let why = self.unknown.last().map(|u| format!(": {}", u.problem)).unwrap_or_default();
        format!("(not understood{why})")
    }
}

/// The resources of one kind, and what stands beside them that is none.
pub(crate) fn of_kind(dump: &Value, kind: ResourceType) -> (Vec<Seen<'_>>, Vec<Unknown>) {
    let (all, unknown) = resources(dump);
    let of_kind = all.into_iter().filter(|dumped| dumped.kind == kind);
    let seen = of_kind.map(|dumped| {
        let (decoded, unknown) = dumped.decode();
        Seen { dumped, decoded, unknown }
    });
    (seen.collect(), unknown)
}
