//! Following a control plane: a delta ADS stream whose updates the proxy runs.
//!
//! The stream's rules are `xds::client`'s; here each update is applied, and only when every worker has swapped
//! is it accepted, and acknowledged once its new DNS clusters have addresses. What cannot be run is rejected with the name of the resource, and the last good
//! configuration goes on, as it does while no control plane is there.

use crate::proxy::Proxy;
use amime_xds::client::{Client, ClientOptions, Saved};
use amime_xds::intern::Interner;
use amime_xds::transport::{self, Backoff, ControlPlane};
use amime_xds::{Node, ResourceType};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Where a proxy's configuration comes from.
#[derive(Debug, Clone)]
pub struct AdsOptions {
    /// A connection within the process, or the addresses to dial (`transport::Dialer`, whose state tells how it goes).
    pub control: ControlPlane,
    /// What the proxy says it is.
    pub node: Node,
    /// Shared by all proxies of a process, so that equal resources are kept once.
    pub interner: Arc<Interner>,
    /// How long an update waits for what it refers to.
    pub warm_limit: Duration,
    /// What an earlier run had accepted, and when: run where no control plane answers for
    /// [`ClientOptions::saved_after`].
    pub saved: Option<(Saved, SystemTime)>,
    /// Gets all that is accepted, after each update, for [`AdsOptions::saved`] of a later run.
    pub saves: Option<watch::Sender<Saved>>,
}

impl AdsOptions {
    pub fn new(control: impl Into<ControlPlane>, node: Node, interner: Arc<Interner>) -> Self {
        Self {
            control: control.into(),
            node,
            interner,
            warm_limit: ClientOptions::default().warm_limit,
            saved: None,
            saves: None,
        }
    }
}

impl Proxy {
    /// Follows a control plane until the proxy is drained or dropped. The proxy is ready once the first listeners
    /// have been accepted, which come when their routes and clusters have.
    pub fn follow(&self, options: AdsOptions) {
        let AdsOptions { control, node, interner, warm_limit, saved, saves } = options;
        let mut client = Client::new(node, interner, ClientOptions { warm_limit, ..ClientOptions::default() });
        let saved_at = saved.as_ref().map(|(_, at)| *at);
        if let Some((saved, _)) = saved {
            client.restore(saved);
        }
        let proxy = self.downgrade();
        let following = transport::run_saving(control, client, Backoff::default(), saves, move |update| {
            let proxy = proxy.upgrade();
            async move {
                let Some(proxy) = proxy else { return Err("the proxy has ended".into()) };
                let listeners = update.kind == ResourceType::Listener;
                match proxy.swap(update.config).await {
                    Ok(warming) => {
                        if let Some(at) = saved_at.filter(|_| update.saved) {
                            proxy.tell_age(at.elapsed().unwrap_or_default());
                        }
                        if listeners {
                            proxy.set_ready();
                        }
                        Ok(warming)
                    }
                    Err(error) => {
                        tracing::warn!(proxy = proxy.name(), "an update is rejected: {error}");
                        Err(error.to_string())
                    }
                }
            }
        });
        self.keep_following(following);
    }
}
