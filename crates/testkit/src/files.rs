//! Files that a program under test watches.

use std::fs;
use std::path::Path;

/// Saves as most editors do: a new file renamed over the old one.
pub fn save(path: &Path, text: &str) {
    let new = path.with_extension("tmp");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("renamed");
}
