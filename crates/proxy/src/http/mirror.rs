//! Mirrored requests: sent beside the real one, their answers read and forgotten.

use super::body::RequestBody;
use super::forward::count_attempt;
use super::outgoing::Head;
use super::prepare::append_forwarded_for;
use crate::balance::PickContext;
use crate::balance::limits::Gauge;
use crate::cluster::RequestAt;
use crate::connect::pool::{self, Pools, Speech};
use crate::proxy_worker::ProxyWorker;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// Sends a copy of a request to a cluster, which takes no longer than the request may (`total`; None: for ever). Nothing
/// that goes wrong is told to anyone.
pub(super) fn send(
    proxy: &Rc<ProxyWorker>,
    cluster: &str,
    head: Head,
    body: RequestBody,
    http2: bool,
    total: Option<Duration>,
) {
    let Some(cluster) = proxy.cluster(cluster) else { return };
    let speech = cluster.speech(http2);
    let authority = head.authority.clone();
    let Ok(request) = head.into_request(speech != Speech::Http1, body) else { return };
    let proxy = Rc::clone(proxy);
    tokio::task::spawn_local(async move {
        let Some(_unit) = Gauge::take_below(RequestAt(Rc::clone(&cluster)), cluster.max_requests) else { return };
        let context = PickContext { hash: None, tried: &[], reselect: 0, leave_priorities: None, now: Instant::now() };
        let Some(host) = cluster.pick(&context, None, &proxy.rng) else { return };
        let pools: Rc<Pools> = Rc::clone(&cluster.pools);
        let Ok(pool) = cluster.pool(&host, authority.as_bytes(), None) else { return };
        let exchange = async {
            if let Ok(mut sent) = pool::send(&pools, &pool, speech, request, None).await {
                while let Some(Ok(_)) = sent.response.body_mut().frame().await {}
                sent.lease.finish(true);
            }
        };
        let Some(total) = total else { return exchange.await };
        if tokio::time::timeout(total, exchange).await.is_err() {
            tracing::debug!(cluster = %cluster.shared.name, "a mirror took too long");
        }
    });
}

/// Marks a copy as Envoy does: `-shadow` behind the host, counted as a first try, sent by the inside itself, which is
/// one more address that it came from.
pub(super) fn mark(copy: &mut Head, proxy: &ProxyWorker) {
    copy.authority = authority(&copy.authority);
    copy.upgrade = None;
    count_attempt(&mut copy.headers, 1);
    copy.headers.insert(INTERNAL, HeaderValue::from_static("true"));
    if let Some(own) = &proxy.shared.address {
        append_forwarded_for(&mut copy.headers, own);
    }
}

fn authority(authority: &HeaderValue) -> HeaderValue {
    let text = authority.to_str().unwrap_or("");
    let host = amime_model::route::table::without_port(text);
    let port = &text[host.len()..];
    HeaderValue::from_str(&format!("{host}-shadow{port}")).unwrap_or_else(|_| authority.clone())
}
