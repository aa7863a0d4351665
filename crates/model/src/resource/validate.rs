//! placeholder
use super::Object;
use crate::diagnostic::Diagnostic;
pub fn validate(_object: &Object) -> Vec<Diagnostic> {
    Vec::new()
}
