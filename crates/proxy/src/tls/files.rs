//! Certificates that are files of the proxy's own machine, by Istio's names for them: `file-cert:CHAIN~KEY`,
//! `file-root:PATH`, and `file-crl:PATH` for revoked ones. `secrets` reads them; `proxy` asks whether they have changed.

use amime_model::config::Secret;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

const CERTIFICATE: &str = "file-cert:";
const ROOT: &str = "file-root:";
pub(super) const CRL: &str = "file-crl:";
/// The system's own trusted authorities (Istio).
pub(super) const SYSTEM: &str = "file-root:system";

/// What tells two states of a file apart, also where a link leads elsewhere now; None: it is not there.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

/// The files that a configuration names, and how they were when they were read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Files(BTreeMap<Arc<str>, Vec<Stamp>>);

impl Files {
    /// Of all secrets that are named.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let files = names.filter(|name| *name != SYSTEM && !paths(name).is_empty());
        Self(files.map(|name| (name.into(), stamps(name))).collect())
    }

    /// The same files as they are now.
    pub(super) fn again(&self) -> Self {
        Self(self.0.keys().map(|name| (Arc::clone(name), stamps(name))).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is another one now.
    pub(crate) fn have_changed(&self) -> bool {
        self.0.iter().any(|(name, before)| stamps(name) != *before)
    }

    /// What is in them, or why that is not known.
    pub(super) fn read(&self) -> impl Iterator<Item = (Arc<str>, Result<Secret, String>)> {
        self.0.keys().map(|name| (Arc::clone(name), read(name)))
    }
}

/// The paths in a name; none where it is no file's.
fn paths(name: &str) -> Vec<&str> {
    if let Some(pair) = name.strip_prefix(CERTIFICATE) {
        return pair.split_once('~').map_or(vec![pair], |(chain, key)| vec![chain, key]);
    }
    name.strip_prefix(ROOT).or_else(|| name.strip_prefix(CRL)).into_iter().collect()
}

fn stamps(name: &str) -> Vec<Stamp> {
    let stamp = |path: &str| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    };
    paths(name).into_iter().map(stamp).collect()
}

fn read(name: &str) -> Result<Secret, String> {
    let content = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let whole = name.to_owned();
    match paths(name).as_slice() {
        [chain, key] => Ok(Secret::Certificate { name: whole, chain: content(chain)?, key: content(key)? }),
        [list] if name.starts_with(CRL) => {
            Ok(Secret::Validation { name: whole, roots: Vec::new(), crl: content(list)? })
        }
        [roots] if name.starts_with(ROOT) => {
            Ok(Secret::Validation { name: whole, roots: content(roots)?, crl: Vec::new() })
        }
        _ => Err("a certificate needs the file of its key".into()),
    }
}
