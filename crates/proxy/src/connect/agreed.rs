//! Requests in the version that ALPN chooses with each endpoint, which may choose another one at any time.
//! `pool` calls it.

use super::pool::{HostPool, Pools, Reset, SendError, Sent, UpstreamRequest};
use super::{http1, http2};
use crate::http::outgoing::{as_http1, as_http2};
use std::rc::Rc;
use std::time::Duration;

/// How often an endpoint may choose otherwise while one request is sent.
const TURNS: u32 = 8;

/// Sends a request that is written for HTTP/2.
pub(super) async fn send(
    pools: &Rc<Pools>,
    pool: &Rc<HostPool>,
    mut request: UpstreamRequest,
    patience: Option<Duration>,
) -> Result<Sent, SendError> {
    if pool.tls.is_none() {
        return http1::send(pools, pool, as_http1(request), false, patience).await;
    }
    for _ in 0..TURNS {
        // Whoever opens a connection that speaks the other version leaves it there for the next turn.
        if pool.agreed_http2.get() != Some(false) {
            match http2::send(pools, pool, request, patience).await {
                Err(SendError { request: Some(back), .. }) if pool.agreed_http2.get() == Some(false) => request = *back,
                sent => return sent,
            }
        } else {
            let uri = request.uri().clone();
            match http1::send(pools, pool, as_http1(request), false, patience).await {
                Err(SendError { request: Some(back), .. }) if pool.agreed_http2.get() == Some(true) => {
                    request = as_http2(*back, uri);
                }
                sent => return sent,
            }
        }
    }
    Err(SendError::unsent(Reset::Terminated, request))
}
