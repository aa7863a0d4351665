//! What host names stand for, and for how long: the hosts file first, then the name servers and search list of
//! resolv.conf, which may both change while the proxy runs.
//!
//! `dns` asks for the endpoints of clusters that are names. getaddrinfo would do, but for the time that an answer is
//! good for, which it does not tell.

use amime_model::config::DnsFamily;
use futures_util::future::join;
use hickory_resolver::config::{ResolverConfig, ResolverOpts, ServerOrderingStrategy};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// Names that are asked for at once; more wait for their turn, so that a mesh of many does not flood its name server.
const AT_ONCE: usize = 64;

/// Looks names up.
#[derive(Clone)]
pub struct Names {
    inner: Arc<Inner>,
    turns: Arc<Semaphore>,
}

struct Inner {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    port: u16,
    now: Mutex<Option<Arc<Sources>>>,
}

/// What tells a file from the one that was there before: when it was written, its length and its number. None: there
/// is none.
type Version = Option<(SystemTime, u64, u64)>;

/// The two files as they were read.
struct Sources {
    versions: [Version; 2],
    hosts: Hosts,
    resolver: TokioResolver,
}

impl Names {
    /// As the system is set up.
    pub fn system() -> Self {
        Self::of_files("/etc/resolv.conf", "/etc/hosts", 53)
    }

    /// As these files say; `port` is that of the name servers.
    pub fn of_files(resolv_conf: impl Into<PathBuf>, hosts: impl Into<PathBuf>, port: u16) -> Self {
        let inner = Inner { resolv_conf: resolv_conf.into(), hosts: hosts.into(), port, now: Mutex::default() };
        Self { inner: Arc::new(inner), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The same with turns of its own: for names that clients choose, which must not hold up those of the mesh.
    pub(crate) fn with_own_turns(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// What a name stands for now; None where it does not resolve.
    pub(crate) async fn ask(&self, host: &str, family: DnsFamily) -> Option<Answer> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Answer::of([ip]));
        }
        // An error: it was closed, which nobody does.
        let _turn = self.turns.acquire().await.ok()?;
        let sources = self.inner.sources().map_err(|error| tracing::warn!(%error, "no name can be looked up")).ok()?;
        let Ok(name) = Name::from_str_relaxed(host) else {
            tracing::debug!(host, "not a name");
            return None;
        };
        let of_hosts = |kind| sources.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let written = [of_hosts(RecordType::A), of_hosts(RecordType::AAAA)];
        let written: Vec<IpAddr> = written.iter().flatten().flat_map(addresses).collect();
        if !written.is_empty() {
            return Some(Answer::of(written));
        }
        let of_kind = async |kind: RecordType, wanted: bool| match wanted {
            true => found(host, kind, sources.resolver.lookup(name.clone(), kind).await),
            false => Part { addresses: Some(Vec::new()), valid: None },
        };
        let v4 = of_kind(RecordType::A, family != DnsFamily::V6Only);
        let v6 = of_kind(RecordType::AAAA, family != DnsFamily::V4Only);
        let (v4, v6) = join(v4, v6).await;
        let valid = v4.valid.into_iter().chain(v6.valid).min();
        let answer = Answer { v4: v4.addresses, v6: v6.addresses, valid };
        (!answer.addresses(DnsFamily::All).is_empty()).then_some(answer)
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Names({}, {})", self.inner.resolv_conf.display(), self.inner.hosts.display())
    }
}

impl Inner {
    /// Reads the files again where they have changed.
    fn sources(&self) -> Result<Arc<Sources>, NetError> {
        let versions = [version(&self.resolv_conf), version(&self.hosts)];
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sources) = &*now
            && sources.versions == versions
        {
            return Ok(Arc::clone(sources));
        }
        let mut hosts = Hosts::default();
        if let Ok(text) = std::fs::read(&self.hosts) {
            // An error: a line is not text; those before it count.
            let _ = hosts.read_hosts_conf(text.as_slice());
        }
        let text = std::fs::read(&self.resolv_conf).unwrap_or_default();
        let (config, options) = parse_resolv_conf(&text).or_else(|_| {
            // As the C library does where there is no file, or no name server in it.
            let text = [text.as_slice(), b"\nnameserver 127.0.0.1\n"].concat();
            parse_resolv_conf(text)
        })?;
        let resolver = resolver(config, options, self.port)?;
        let sources = Arc::new(Sources { versions, hosts, resolver });
        *now = Some(Arc::clone(&sources));
        Ok(sources)
    }
}

fn version(path: &Path) -> Version {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

/// One that asks name servers alone, in their order, and remembers nothing: who asks knows when to ask again.
fn resolver(mut config: ResolverConfig, mut options: ResolverOpts, port: u16) -> Result<TokioResolver, NetError> {
    for connection in config.name_servers.iter_mut().flat_map(|server| &mut server.connections) {
        connection.port = port;
    }
    if !config.search.is_empty() {
        config.domain = None;
    }
    options.cache_size = 0;
    options.num_concurrent_reqs = 1;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let mut resolver = builder.build()?;
    resolver.set_hosts(Arc::default());
    Ok(resolver)
}

struct Part {
    addresses: Option<Vec<IpAddr>>,
    valid: Option<Duration>,
}

fn found(host: &str, kind: RecordType, answer: Result<Lookup, NetError>) -> Part {
    match answer {
        Ok(lookup) => {
            let valid = lookup.valid_until().saturating_duration_since(Instant::now());
            Part { addresses: Some(addresses(&lookup).collect()), valid: Some(valid) }
        }
        // It has no addresses of this kind, or there is no such name.
        Err(error) if error.is_no_records_found() => Part { addresses: Some(Vec::new()), valid: None },
        Err(error) => {
            tracing::debug!(host, %kind, %error, "a name server does not answer");
            Part { addresses: None, valid: None }
        }
    }
}

fn addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> + '_ {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

/// What a name stands for, in the order of the answer; None: no name server answered for this family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    v4: Option<Vec<IpAddr>>,
    v6: Option<Vec<IpAddr>>,
    /// How long it is good for; None where that is not said, as of the hosts file.
    pub(crate) valid: Option<Duration>,
}

impl Answer {
    pub(crate) fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let (v4, v6) = addresses.into_iter().partition(IpAddr::is_ipv4);
        Self { v4: Some(v4), v6: Some(v6), valid: None }
    }

    /// With what was known before of the family that nobody answered for.
    pub(crate) fn or(self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self };
        Self { v4: self.v4.or_else(|| before.v4.clone()), v6: self.v6.or_else(|| before.v6.clone()), valid: self.valid }
    }

    /// Those that a cluster of this family goes to.
    pub(crate) fn addresses(&self, family: DnsFamily) -> Vec<IpAddr> {
        let (v4, v6) = (self.v4.as_deref().unwrap_or_default(), self.v6.as_deref().unwrap_or_default());
        match family {
            DnsFamily::V4Only => v4.to_vec(),
            DnsFamily::V6Only => v6.to_vec(),
            DnsFamily::V4Preferred if !v4.is_empty() => v4.to_vec(),
            DnsFamily::V4Preferred => v6.to_vec(),
            DnsFamily::Auto if !v6.is_empty() => v6.to_vec(),
            DnsFamily::Auto => v4.to_vec(),
            DnsFamily::All => v4.iter().chain(v6).copied().collect(),
        }
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
