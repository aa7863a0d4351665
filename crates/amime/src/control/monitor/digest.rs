//! Short names for what a control plane read and for what it made of it, so that several of them can be compared:
//! with the same inputs, what is in force may differ by what each still holds of before.

use amime_control::Generation;
use amime_model::resource::{Object, Spec};
use std::fmt::{self, Write};
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// Hexadecimal, 16 digits. Equal between control planes of one version, whatever their files are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of the texts that were read.
    pub(super) inputs: String,
    /// Of the objects in force.
    pub(super) in_force: String,
}

impl Digests {
    pub(super) fn of(generation: &Generation) -> Self {
        let mut texts: Vec<u64> = generation.texts.files().map(|(_, text)| xxh64(text.as_bytes(), 0)).collect();
        texts.sort_unstable();
        let mut inputs = Xxh64::new(0);
        texts.iter().for_each(|text| inputs.update(&text.to_be_bytes()));
        let mut in_force = Hasher(Xxh64::new(0));
        for object in generation.snapshot.in_force() {
            in_force.object(object);
        }
        Self { inputs: hex(inputs.digest()), in_force: hex(in_force.0.digest()) }
    }
}

fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}

struct Hasher(Xxh64);

impl Hasher {
    /// By what it means, not by how it was written.
    fn object(&mut self, object: &Object) {
        // Writing to a hash does not fail.
        let _ = write!(self, "{} {:?} {:?}", object.id, object.meta, object.spec);
        if let Spec::Secret(secret) = &object.spec {
            // What it holds is not shown by Debug.
            secret.data.values().for_each(|value| self.0.update(&value.0));
        }
        for error in &object.errors {
            self.0.update(error.field.as_bytes());
        }
    }
}

impl Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
