//! The certificates, keys and trusted authorities that a configuration names, read once and shared by all who use them.
//!
//! What cannot be read, or is no longer there, keeps its last good version: connections that are there go on, and new
//! ones are taken with what was good. What never was good refuses the connections that need it, and no others.

use super::files::{CRL, Files};
use super::parameters::provider;
use amime_model::config::{ProxyConfig, Secret};
use amime_xds::refs;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a secret holds, read.
#[derive(Debug)]
pub(crate) enum Material {
    Certificate(Arc<CertifiedKey>),
    Trust(Arc<Trust>),
    Revoked(Arc<Revoked>),
}

/// Lists of revoked certificates.
pub(crate) type Revoked = Vec<webpki::CertRevocationList<'static>>;

/// Whom certificates are believed from.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) roots: RootCertStore,
    /// The same, for a certificate that is trusted by itself.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) revoked: Revoked,
}

#[derive(Debug)]
struct Entry {
    /// What it was read from.
    source: Arc<Secret>,
    /// The last good one, or why there never was one.
    material: Result<Arc<Material>, String>,
}

/// All secrets of a configuration, by SDS name.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    by_name: BTreeMap<Arc<str>, Arc<Entry>>,
    /// Those of `by_name` that are files.
    pub(crate) files: Files,
}

impl Secrets {
    /// Those of a configuration; what is as before is not read again. The very same where nothing differs. `named` is
    /// what listeners and clusters name, where that may differ from before.
    pub(crate) fn build(config: &ProxyConfig, named: bool, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let before = |name: &str| previous.and_then(|previous| previous.by_name.get(name));
        let mut by_name = BTreeMap::new();
        for (name, secret) in config.secrets.iter() {
            let entry = match before(name) {
                Some(known) if known.source == *secret => Arc::clone(known),
                known => Arc::new(Entry::read(secret, known.map(|known| &**known))),
            };
            by_name.insert(Arc::clone(name), entry);
        }
        let files = match previous {
            Some(previous) if !named => previous.files.again(),
            _ => Files::of(names(config).into_iter()),
        };
        for (name, read) in files.read() {
            let entry = match (before(&name), read) {
                (Some(known), Ok(secret)) if *known.source == secret => Arc::clone(known),
                (known, Ok(secret)) => Arc::new(Entry::read(&Arc::new(secret), known.map(|known| &**known))),
                (Some(known), Err(reason)) => {
                    tracing::error!(file = %name, %reason, "a file cannot be read: its last version goes on");
                    Arc::clone(known)
                }
                (None, Err(reason)) => {
                    tracing::error!(file = %name, %reason, "a file cannot be read: what needs it is refused");
                    let source = Secret::Validation { name: name.to_string(), roots: Vec::new(), crl: Vec::new() };
                    Arc::new(Entry { source: Arc::new(source), material: Err(reason) })
                }
            };
            by_name.insert(name, entry);
        }
        if let Some(previous) = previous {
            let gone: Vec<_> = previous.by_name.iter().filter(|(name, _)| !by_name.contains_key(*name)).collect();
            if !gone.is_empty() {
                let wanted = names(config);
                for (name, entry) in gone.into_iter().filter(|(name, _)| wanted.contains(&***name)) {
                    tracing::warn!(secret = %name, "a secret that is in use is gone: its last version goes on");
                    by_name.insert(Arc::clone(name), Arc::clone(entry));
                }
            }
            let same = by_name.len() == previous.by_name.len()
                && by_name.iter().zip(&previous.by_name).all(|((n, a), (m, b))| n == m && Arc::ptr_eq(a, b));
            if same && files == previous.files {
                return Arc::clone(previous);
            }
        }
        Arc::new(Self { by_name, files })
    }

    fn get(&self, name: &str) -> Result<&Arc<Material>, String> {
        let entry = self.by_name.get(name).ok_or_else(|| format!("there is no secret {name}"))?;
        entry.material.as_ref().map_err(|reason| format!("secret {name}: {reason}"))
    }

    /// A certificate with its key, or why it cannot be had.
    pub(crate) fn certificate(&self, name: &str) -> Result<&Arc<CertifiedKey>, String> {
        match &**self.get(name)? {
            Material::Certificate(certificate) => Ok(certificate),
            _ => Err(format!("secret {name} holds no certificate of our own")),
        }
    }

    /// Trusted authorities, or why they cannot be had.
    pub(crate) fn trust(&self, name: &str) -> Result<&Arc<Trust>, String> {
        match &**self.get(name)? {
            Material::Trust(trust) => Ok(trust),
            _ => Err(format!("secret {name} holds no trusted authorities")),
        }
    }

    /// Lists of revoked certificates, or why they cannot be had.
    pub(crate) fn revoked(&self, name: &str) -> Result<&Arc<Revoked>, String> {
        match &**self.get(name)? {
            Material::Revoked(revoked) => Ok(revoked),
            _ => Err(format!("secret {name} holds no revocation list")),
        }
    }

    /// What these names stand for now: who was built of the same need not be built again.
    pub(crate) fn used<'n>(&self, names: impl Iterator<Item = &'n str>) -> Used {
        Used(names.map(|name| self.by_name.get(name).and_then(|entry| entry.material.as_ref().ok()).cloned()).collect())
    }
}

/// The versions of secrets that something was built of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(Vec<Option<Arc<Material>>>);

impl PartialEq for Used {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Option<Arc<Material>>, &Option<Arc<Material>>)| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

/// Every secret that listeners and clusters name.
fn names(config: &ProxyConfig) -> BTreeSet<&str> {
    let listeners = config.listeners.values().flat_map(|listener| refs::listener_secrets(listener));
    listeners.chain(config.clusters.values().flat_map(|cluster| refs::cluster_secrets(cluster))).collect()
}

impl Entry {
    fn read(secret: &Arc<Secret>, before: Option<&Self>) -> Self {
        let material = match (read(secret), before.map(|before| &before.material)) {
            (Ok(material), _) => Ok(Arc::new(material)),
            (Err(reason), Some(Ok(good))) => {
                tracing::error!(secret = secret.name(), %reason, "a secret cannot be used: its last version goes on");
                Ok(Arc::clone(good))
            }
            (Err(reason), _) => {
                tracing::error!(secret = secret.name(), %reason, "a secret cannot be used: what needs it is refused");
                Err(reason)
            }
        };
        Self { source: Arc::clone(secret), material }
    }
}

fn read(secret: &Secret) -> Result<Material, String> {
    match secret {
        Secret::Validation { name, crl, .. } if name.starts_with(CRL) => {
            let revoked = revoked(crl)?;
            if revoked.is_empty() { Err("it is empty".into()) } else { Ok(Material::Revoked(Arc::new(revoked))) }
        }
        Secret::Certificate { chain, key, .. } => certificate(chain, key).map(|c| Material::Certificate(Arc::new(c))),
        Secret::Validation { roots, crl, .. } => trust(roots, crl).map(|t| Material::Trust(Arc::new(t))),
    }
}

fn certificate(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let certificates = certificates(chain)?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("its private key cannot be read: {error}"))?;
    let certified = CertifiedKey::from_der(certificates, key, provider());
    certified.map_err(|error| format!("its private key does not fit its certificate: {error}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.map_err(|error| format!("its certificates cannot be read: {error}"))
}

fn trust(roots: &[u8], crl: &[u8]) -> Result<Trust, String> {
    let certificates = certificates(roots)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| format!("a trusted authority cannot be read: {error}"))?;
    }
    if store.is_empty() {
        return Err("there is no trusted authority in it".into());
    }
    Ok(Trust { roots: store, certificates, revoked: revoked(crl)? })
}

fn revoked(crl: &[u8]) -> Result<Revoked, String> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(crl).collect();
    let lists = lists.map_err(|error| format!("its revocation list cannot be read: {error}"))?;
    if !crl.trim_ascii().is_empty() && lists.is_empty() {
        return Err("there is no revocation list in what should be one".into());
    }
    let read = |list: &CertificateRevocationListDer<'_>| {
        webpki::OwnedCertRevocationList::from_der(list.as_ref()).map(webpki::CertRevocationList::from)
    };
    let revoked: Result<Vec<_>, _> = lists.iter().map(read).collect();
    revoked.map_err(|error| format!("its revocation list cannot be read: {error}"))
}
