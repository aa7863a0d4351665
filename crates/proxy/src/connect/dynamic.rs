//! Names that are looked up when a request or connection is for them (`Discovery::DynamicDns`), and kept while they are
//! in use. What asks names again is a task of the background, one a name; workers wait for the first answer alone.

use super::dns;
use super::names::{Answer, Names};
use crate::rng::Rng;
use amime_model::config::{DnsCache, DnsOptions};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Envoy's defaults.
const MOST: u32 = 1024;
const UNUSED: Duration = Duration::from_secs(300);
const FIRST_ANSWER: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_secs(60);

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// It does not resolve, or not in time.
    NoAddress,
    /// So many names are in use already.
    TooMany,
}

/// The names of one proxy, by cache.
pub(crate) struct DynamicNames {
    names: Names,
    background: Handle,
    began: Instant,
    caches: Mutex<HashMap<String, HashMap<String, Entry>>>,
}

struct Entry {
    /// None before the first answer; no addresses where there is none.
    found: watch::Receiver<Option<Arc<[IpAddr]>>>,
    /// When it was last asked for, in milliseconds since the table began.
    used: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DynamicNames {
    pub(crate) fn new(names: Names, background: Handle) -> Arc<Self> {
        Arc::new(Self { names, background, began: Instant::now(), caches: Mutex::default() })
    }

    /// The addresses of a name, the best first; never none.
    pub(crate) async fn addresses(self: &Arc<Self>, cache: &DnsCache, host: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        let mut found = self.entry(cache, &host.to_ascii_lowercase())?;
        let answered = tokio::time::timeout(FIRST_ANSWER, found.wait_for(Option::is_some)).await;
        let Ok(Ok(addresses)) = answered else { return Err(Unresolved::NoAddress) };
        let addresses = addresses.as_ref().filter(|addresses| !addresses.is_empty());
        addresses.map(Arc::clone).ok_or(Unresolved::NoAddress)
    }

    fn entry(
        self: &Arc<Self>,
        cache: &DnsCache,
        host: &str,
    ) -> Result<watch::Receiver<Option<Arc<[IpAddr]>>>, Unresolved> {
        let now = self.now();
        let mut caches = self.caches();
        if let Some(entry) = caches.get(&cache.name).and_then(|entries| entries.get(host)) {
            entry.used.store(now, Ordering::Relaxed);
            return Ok(entry.found.clone());
        }
        let entries = caches.entry(cache.name.clone()).or_default();
        if entries.len() >= cache.max_hosts.unwrap_or(MOST) as usize {
            return Err(Unresolved::TooMany);
        }
        let used = Arc::new(AtomicU64::new(now));
        let (told, found) = watch::channel(None);
        let asking = keep(Arc::downgrade(self), cache.clone(), host.to_owned(), Arc::clone(&used), told);
        let task = self.background.spawn(asking).abort_handle();
        entries.insert(host.to_owned(), Entry { found: found.clone(), used, task });
        Ok(found)
    }

    fn caches(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Entry>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes a name out that nobody has asked for in a while. How long it may still stay, otherwise.
    fn forget(&self, cache: &str, host: &str, used: &AtomicU64) -> Option<Duration> {
        // Under the lock, so that nobody asks for it meanwhile.
        let mut caches = self.caches();
        let idle = Duration::from_millis(self.now().saturating_sub(used.load(Ordering::Relaxed)));
        if idle < UNUSED {
            return Some(UNUSED - idle);
        }
        caches.get_mut(cache)?.remove(host);
        None
    }
}

/// Asks for a name again and again, until nobody uses it.
async fn keep(
    table: Weak<DynamicNames>,
    cache: DnsCache,
    host: String,
    used: Arc<AtomicU64>,
    told: watch::Sender<Option<Arc<[IpAddr]>>>,
) {
    let options = DnsOptions {
        refresh: Some(cache.refresh.unwrap_or(REFRESH)),
        respect_ttl: true,
        family: cache.family,
        ..DnsOptions::default()
    };
    let rng = Rng::new();
    let mut known: Option<Answer> = None;
    let mut failures = 0;
    loop {
        let Some(names) = table.upgrade().map(|table| table.names.clone()) else { return };
        let answer = names.ask(&host, cache.family).await;
        let pause = match &answer {
            Some(answer) => dns::good_for(&options, answer, 0.0),
            None => dns::again_after(&options, failures + 1, rng.unit()),
        };
        failures = if answer.is_some() { 0 } else { failures.saturating_add(1) };
        // A name that fails keeps its last good addresses.
        if let Some(answer) = answer {
            known = Some(answer.or(known.as_ref()));
        }
        let addresses = known.as_ref().map(|answer| answer.addresses(cache.family)).unwrap_or_default();
        told.send_replace(Some(addresses.into()));
        let due = Instant::now() + pause;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let Some(stays) = table.upgrade().and_then(|table| table.forget(&cache.name, &host, &used)) else { return };
            tokio::time::sleep(left.min(stays)).await;
        }
    }
}
