//! placeholder
use super::Object;
use crate::diagnostic::Diagnostic;
pub(super) fn without_effect(_object: &Object) -> Vec<Diagnostic> {
    Vec::new()
}
