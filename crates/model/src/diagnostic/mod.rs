//! Diagnostics: what is wrong (or worth saying) about what a user wrote, where, and what to do about it.
//!
//! `resource` and `snapshot` make them; the binary prints them.

mod render;

pub use render::{Texts, render};

use crate::resource::ResourceId;
use std::sync::Arc;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// See `codes`.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    /// `None` where the finding is about no text (a missing file, a made-up object).
    pub place: Option<Place>,
    pub resource: Option<ResourceId>,
    /// `spec.http[1].timeout`; empty for the object as a whole.
    pub field: String,
    /// What would have been right, as `a duration such as 1.5s`.
    pub expected: Option<String>,
    /// What to write instead, as it would stand in the file.
    pub suggestion: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    /// The object (or the part of it that `field` names) does not take effect.
    Error,
}

/// A place in a file that a user wrote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// As the user named it, or `-` for standard input.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Diagnostic {
    /// An error without a place, to be completed by the `with_*` functions.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, message)
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, message)
    }

    pub fn info(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Info, message)
    }

    fn new(code: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            message: message.into(),
            place: None,
            resource: None,
            field: String::new(),
            expected: None,
            suggestion: None,
        }
    }

    /// Whether a field is the one that this is about, or below it.
    pub fn contains(&self, field: &str) -> bool {
        field.strip_prefix(self.field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    pub fn with_place(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    pub fn with_resource(mut self, resource: &ResourceId) -> Self {
        self.resource = Some(resource.clone());
        self
    }

    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    pub fn with_expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub fn with_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// The codes of findings about text and single objects. Where Istio's analyzer has a code for the same, it is used.
pub mod codes {
    /// A document is not YAML; it is left out.
    pub const SYNTAX: &str = "AM-Y1";
    /// A key twice in one mapping; the first one stays.
    pub const DUPLICATE_KEY: &str = "AM-Y2";
    /// A document that is no Kubernetes object.
    pub const NOT_AN_OBJECT: &str = "AM-Y3";
    /// Two objects of one kind, namespace and name; the earlier one stays.
    pub const DUPLICATE_OBJECT: &str = "AM-R1";
    /// A kind (or version of it) that Amime does not read.
    pub const UNKNOWN_KIND: &str = "AM-R2";
    /// A policy that is read and not enforced.
    pub const NOT_ENFORCED: &str = "AM-R3";
    /// A field that is read and has no effect.
    pub const NO_EFFECT: &str = "AM-R4";
    /// SchemaValidationError: a field of a wrong type, an unknown one, or one against Istio's rules.
    pub const SCHEMA: &str = "IST0106";
    /// SchemaWarning: against Istio's advice, or read by Istio's tools and refused by a cluster.
    pub const SCHEMA_WARNING: &str = "IST0133";
    /// ReferencedResourceNotFound: a host, subset, Secret or delegate that is not there.
    pub const NOT_FOUND: &str = "IST0101";
    /// A delegate's rule that cannot be merged into the delegating one.
    pub const DELEGATE: &str = "AM-T1";
    /// A broken object stays at its last good version.
    pub const HELD: &str = "AM-T2";
    /// ConflictingMeshGatewayVirtualServiceHosts: another VirtualService has the host in the mesh.
    pub const MESH_HOST_TAKEN: &str = "IST0109";
    /// ConflictingGateways: another Gateway's server has the port or the host.
    pub const GATEWAYS_IN_CONFLICT: &str = "IST0145";
    /// Another service has the address and port.
    pub const LISTENER_TAKEN: &str = "AM-L1";
    /// A rule that another VirtualService of the host leaves no request.
    pub const SHADOWED: &str = "AM-L2";
    /// Deprecated.
    pub const DEPRECATED: &str = "IST0002";
}
