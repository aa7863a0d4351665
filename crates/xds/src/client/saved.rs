//! What a client had accepted, to begin with after a restart: a form of its own for a file.
//!
//! `AMIMECFG`, the format's number, the length and the hash of what follows; then each resource as its type, name,
//! version and body (the value of an `Any`), each but the type with its length before it. Numbers are little-endian.

use super::Versions;
use super::parts::Parts;
use crate::decode::DecodeError;
use crate::intern::{Decoded, Interner};
use crate::{PerType, ResourceType, encode};
use amime_model::config::ProxyConfig;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

const MAGIC: [u8; 8] = *b"AMIMECFG";
const FORMAT: u32 = 1;
const HEADER: usize = MAGIC.len() + 4 + 8 + 8;

/// All that a client has accepted, with its versions. Cheap to make; [`Saved::to_bytes`] costs an encoding.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    pub(super) config: Arc<ProxyConfig>,
    pub(super) parts: Parts,
    pub(super) versions: PerType<Versions>,
}

/// Why saved bytes are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    #[error("not a saved configuration")]
    Foreign,
    #[error("saved in format {0}, and this is format {FORMAT}")]
    Format(u32),
    #[error("damaged or cut off")]
    Damaged,
    #[error("{kind} {name}: {error}")]
    Resource { kind: &'static str, name: String, error: DecodeError },
}

impl Saved {
    /// What the proxy would run.
    pub fn config(&self) -> &Arc<ProxyConfig> {
        &self.config
    }

    /// There is nothing that a proxy could run.
    pub fn is_empty(&self) -> bool {
        self.config.listeners.is_empty() && self.config.clusters.is_empty()
    }

    /// The versions of all that is held, by type and name.
    pub fn versions(&self) -> &PerType<Versions> {
        &self.versions
    }

    /// So that the server sends everything again: for what another version of this program has saved.
    pub fn forget_versions(&mut self) {
        self.versions = PerType::default();
    }

    /// For a file; [`Saved::parse`] reads it. Equal contents have equal bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut records = BytesMut::new();
        let mut put = |kind: ResourceType, name: &Arc<str>, body: Bytes| {
            // Without a version the server would send it again in any case.
            let version = self.versions[kind].get(name).map_or("", |version| &**version);
            records.put_u8(kind as u8);
            for part in [name.as_bytes(), version.as_bytes(), &body] {
                records.put_u32_le(part.len() as u32);
                records.put_slice(part);
            }
        };
        let config = &self.config;
        config.secrets.iter().for_each(|(n, r)| put(ResourceType::Secret, n, encode::secret(r)));
        config.clusters.iter().for_each(|(n, r)| put(ResourceType::Cluster, n, encode::cluster(r)));
        config.endpoints.iter().for_each(|(n, r)| put(ResourceType::Endpoints, n, encode::endpoints(r)));
        config.listeners.iter().for_each(|(n, r)| put(ResourceType::Listener, n, encode::listener(r)));
        for (name, routes) in config.routes.iter().filter(|(name, _)| self.parts.head(name).is_none()) {
            put(ResourceType::Route, name, encode::route(routes));
        }
        for (name, head) in self.parts.heads() {
            put(ResourceType::Route, name, encode::route(head));
        }
        for (name, host) in self.parts.hosts() {
            put(ResourceType::VirtualHost, name, encode::virtual_host(host));
        }
        let mut out = BytesMut::with_capacity(HEADER + records.len());
        out.put_slice(&MAGIC);
        out.put_u32_le(FORMAT);
        out.put_u64_le(records.len() as u64);
        out.put_u64_le(xxh64(&records, 0));
        out.unsplit(records);
        out.freeze()
    }

    /// Reads what [`Saved::to_bytes`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else, or are not whole, or hold what this version cannot read.
    pub fn parse(bytes: &[u8], interner: &Interner) -> Result<Self, SavedError> {
        let (mut header, mut records) = bytes.split_at_checked(HEADER).ok_or(match bytes.starts_with(&MAGIC) {
            true => SavedError::Damaged,
            false => SavedError::Foreign,
        })?;
        if header.copy_to_bytes(MAGIC.len()) != MAGIC[..] {
            return Err(SavedError::Foreign);
        }
        let (format, length, hash) = (header.get_u32_le(), header.get_u64_le(), header.get_u64_le());
        if format != FORMAT {
            return Err(SavedError::Format(format));
        }
        if records.len() as u64 != length || xxh64(records, 0) != hash {
            return Err(SavedError::Damaged);
        }
        let mut saved = Self::default();
        while let Some((kind, rest)) = records.split_first() {
            records = rest;
            let kind = ResourceType::ALL.into_iter().find(|k| *k as u8 == *kind).ok_or(SavedError::Damaged)?;
            let (name, version, body) = (text(&mut records)?, text(&mut records)?, part(&mut records)?);
            saved.put(interner, kind, name, version, body).map_err(|error| {
                let (kind, name) = (kind.short(), name.to_owned());
                SavedError::Resource { kind, name, error }
            })?;
        }
        let config = Arc::make_mut(&mut saved.config);
        for (name, head) in saved.parts.heads() {
            config.routes.insert(name.clone(), saved.parts.whole(interner, head));
        }
        Ok(saved)
    }

    fn put(
        &mut self,
        interner: &Interner,
        kind: ResourceType,
        name: &str,
        version: &str,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let name = interner.name(name);
        let config = Arc::make_mut(&mut self.config);
        match interner.decode(kind, body)? {
            Decoded::Secret(secret) => drop(config.secrets.insert(name.clone(), secret)),
            Decoded::Cluster(cluster) => drop(config.clusters.insert(name.clone(), cluster)),
            Decoded::Endpoints(endpoints) => drop(config.endpoints.insert(name.clone(), endpoints)),
            Decoded::Listener(listener) => drop(config.listeners.insert(name.clone(), listener)),
            Decoded::Route(head) if head.vhds => self.parts.set_head(&name, Some(head)),
            Decoded::Route(routes) => drop(config.routes.insert(name.clone(), routes)),
            Decoded::VirtualHost(host) => self.parts.set_host(interner, &name, Some(host)),
        }
        if !version.is_empty() {
            self.versions[kind].insert(name, interner.name(version));
        }
        Ok(())
    }

    /// The resources that name others.
    pub(super) fn referring(&self) -> Vec<Decoded> {
        let clusters = self.config.clusters.values().cloned().map(Decoded::Cluster);
        let listeners = self.config.listeners.values().cloned().map(Decoded::Listener);
        let heads = self.parts.heads().map(|(_, head)| Decoded::Route(head.clone()));
        clusters.chain(listeners).chain(heads).collect()
    }
}

fn part<'b>(records: &mut &'b [u8]) -> Result<&'b [u8], SavedError> {
    let (length, rest) = records.split_first_chunk().ok_or(SavedError::Damaged)?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(SavedError::Damaged)?;
    *records = rest;
    Ok(part)
}

fn text<'b>(records: &mut &'b [u8]) -> Result<&'b str, SavedError> {
    std::str::from_utf8(part(records)?).map_err(|_| SavedError::Damaged)
}

#[cfg(test)]
#[path = "saved_tests.rs"]
mod tests;
