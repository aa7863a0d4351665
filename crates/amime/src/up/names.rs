//! Names as the mesh's DNS would answer them, for stand-ins and the printed proxy: the mesh's own first, then the
//! machine's, as a pod's resolver goes on to the outside.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What the mesh knows: (name, namespace of the asking pod) to addresses, none where it is not the mesh's.
pub(crate) type MeshNames = dyn Fn(&str, &str) -> Vec<IpAddr> + Send + Sync;

/// The names that one mesh answers.
#[derive(Clone)]
pub(crate) struct Names(Arc<MeshNames>);

impl Names {
    pub(crate) fn new(mesh: Arc<MeshNames>) -> Self {
        Self(mesh)
    }

    /// The address that a pod of that namespace would dial for `host`, which may be an address already.
    pub(crate) async fn resolve(&self, host: &str, namespace: &str, port: u16) -> io::Result<SocketAddr> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(ip) = (self.0)(&name, namespace).first() {
            return Ok(SocketAddr::new(*ip, port));
        }
        let outside = tokio::net::lookup_host((name.as_str(), port)).await.ok().and_then(|mut found| found.next());
        outside.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no such host: {host}")))
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}
