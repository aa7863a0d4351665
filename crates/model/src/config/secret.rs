//! Secrets, by SDS name. Contents never appear in `Debug` output.

use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Certificate {
        name: String,
        /// PEM, leaf first.
        chain: Vec<u8>,
        /// PEM.
        key: Vec<u8>,
    },
    Validation {
        name: String,
        /// PEM.
        roots: Vec<u8>,
        /// PEM.
        crl: Vec<u8>,
    },
}

impl Secret {
    pub fn name(&self) -> &str {
        match self {
            Self::Certificate { name, .. } | Self::Validation { name, .. } => name,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { name, .. } => write!(f, "Certificate({name})"),
            Self::Validation { name, .. } => write!(f, "Validation({name})"),
        }
    }
}
