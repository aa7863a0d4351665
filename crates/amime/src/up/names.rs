//! Names as a pod's resolver would answer them, for stand-ins and the printed proxy: the mesh's own first, then the
//! machine's, as a cluster's DNS goes on to the outside.

use amime_control::Generation;
use amime_model::host::CLUSTER_DOMAIN;
use amime_model::snapshot::Snapshot;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long the machine's own resolver may take. Without a network it may take very long to say no.
const OUTSIDE: Duration = Duration::from_millis(1500);

/// What the mesh says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Several for a headless service.
    Addresses(Vec<IpAddr>),
    /// A name of the cluster that nothing has.
    NoSuchName,
    /// A name of the world outside.
    Outside,
}

/// (name, namespace of the asking pod) to what the mesh says.
pub(crate) type MeshNames = dyn Fn(&str, &str) -> Answer + Send + Sync;

/// The names that one mesh answers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Names {
    mesh: Arc<MeshNames>,
    turn: Arc<AtomicUsize>,
}

impl Names {
    pub(crate) fn new(mesh: Arc<MeshNames>) -> Self {
        Self { mesh, turn: Arc::default() }
    }

    /// The address that a pod of that namespace would dial for `host`, which may be an address already.
    pub(crate) async fn resolve(&self, host: &str, namespace: &str, port: u16) -> io::Result<SocketAddr> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        match (self.mesh)(&name, namespace) {
            Answer::Addresses(found) if !found.is_empty() => {
                // Of a headless service's pods each has its turn.
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                Ok(SocketAddr::new(found[turn % found.len()], port))
            }
            Answer::Addresses(_) | Answer::NoSuchName => {
                Err(io::Error::new(io::ErrorKind::NotFound, format!("no such host: {host}")))
            }
            Answer::Outside => {
                let asked = tokio::time::timeout(OUTSIDE, tokio::net::lookup_host((name.as_str(), port))).await;
                let found = asked.ok().and_then(Result::ok).and_then(|mut found| found.next());
                Ok(found.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(stand_in_address(&name)), port)))
            }
        }
    }
}

/// The mesh's names, always of the newest snapshot.
pub(crate) fn follow(generations: &watch::Receiver<Generation>) -> Names {
    let generations = generations.clone();
    Names::new(Arc::new(move |name: &str, namespace: &str| {
        let snapshot = generations.borrow().snapshot.clone();
        answer(&snapshot, name, namespace)
    }))
}

/// An address for a name of the outside that this machine cannot resolve, so that the sidecar still decides: rules
/// for the host apply, REGISTRY_ONLY refuses, and what is passed through fails there, with its flag, not here.
/// Beside the range from which Istio gives ServiceEntries theirs.
fn stand_in_address(name: &str) -> Ipv4Addr {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [.., c, d] = hash.to_be_bytes();
    Ipv4Addr::new(240, 241, c, d)
}

/// Whether `stand_in_address` gave it.
pub(crate) fn is_stand_in(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [240, 241, ..])
}

/// What this snapshot says of a name.
pub(crate) fn answer(snapshot: &Snapshot, name: &str, namespace: &str) -> Answer {
    let found = snapshot.resolve(name, namespace);
    if !found.is_empty() {
        return Answer::Addresses(found);
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let of_the_cluster = last == name
        || last == "svc"
        || name.ends_with(&format!(".{CLUSTER_DOMAIN}"))
        || snapshot.services().iter().any(|service| service.namespace == last)
        || snapshot.pods().any(|pod| pod.namespace == last);
    if of_the_cluster { Answer::NoSuchName } else { Answer::Outside }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(Arc::new(|name: &str, namespace: &str| match (name, namespace) {
            ("reviews", "shop") => Answer::Addresses(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]),
            ("empty", _) => Answer::Addresses(Vec::new()),
            (name, _) if name.contains('.') => Answer::Outside,
            _ => Answer::NoSuchName,
        }))
    }

    #[tokio::test]
    async fn the_mesh_answers_first_and_in_turn() {
        let names = names();
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.push(names.resolve("Reviews.", "shop", 80).await.expect("known").to_string());
        }
        seen.sort();
        assert_eq!(seen, ["10.0.0.1:80", "10.0.0.2:80"]);
        for unknown in ["reviews", "empty"] {
            assert!(names.resolve(unknown, "other", 80).await.is_err(), "{unknown}");
        }
    }

    #[tokio::test]
    async fn addresses_are_themselves() {
        for (host, shown) in [("192.0.2.1", "192.0.2.1:80"), ("[::1]", "[::1]:80"), ("::1", "[::1]:80")] {
            assert_eq!(names().resolve(host, "shop", 80).await.expect("an address").to_string(), shown);
        }
    }

    #[tokio::test]
    async fn what_nobody_resolves_still_reaches_the_sidecar() {
        let address = names().resolve("no-such-host.invalid", "shop", 80).await.expect("an address");
        assert!(address.to_string().starts_with("240.241."), "{address}");
    }
}
