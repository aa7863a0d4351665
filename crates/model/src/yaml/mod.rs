//! YAML (and so JSON) text to trees of nodes that know their places. `resource` calls it.
//!
//! Read as Kubernetes reads it (sigs.k8s.io/yaml): the scalar words of YAML 1.1 (see `scalar`), anchors,
//! merge keys, JSON as a subset. Stricter in one thing: a key twice in one mapping is an error, and the first
//! one stays. A document with a syntax error is dropped whole; reading goes on at the next.

mod build;
mod flow;
mod path;
mod scalar;
mod tree;

pub(crate) use build::place_of_offset;
pub use build::{Parsed, parse};
pub use path::{Path, Segment};
pub use scalar::Resolved;
pub use tree::{Document, Entries, Items, Node, Scalar, Style, Tag, Twice, View};
pub(crate) use tree::{line_of, line_starts};
