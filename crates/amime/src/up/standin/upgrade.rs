//! HTTP/1.1 upgrades: WebSocket messages are echoed; any other protocol is accepted by name and its bytes are
//! echoed. `http` hands over requests that ask for one.

use super::http::{Body, empty};
use super::{PodPort, websocket};
use crate::serve::stopped;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

/// h2c by upgrade is answered over HTTP/1.1, as RFC 9113 wants; prior knowledge is the way.
pub(super) fn is_asked(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && headers.get(UPGRADE).is_some_and(|to| !to.as_bytes().eq_ignore_ascii_case(b"h2c"))
        && headers.get_all(CONNECTION).iter().any(|line| {
            line.to_str().is_ok_and(|line| line.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")))
        })
}

/// 101 and an echo.
pub(super) fn accept(mut request: Request<Incoming>, port: &PodPort) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let headers = request.headers();
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(to) = headers.get(UPGRADE) {
        answer.insert(UPGRADE, to.clone());
    }
    let websocket = headers.get(SEC_WEBSOCKET_KEY).map(|key| websocket::accept(key.as_bytes()));
    if let Some(Ok(accept)) = websocket.as_deref().map(HeaderValue::from_str) {
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    // Of the protocols that a client offers the first is taken; browsers insist on one.
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    let first = offered.and_then(|offered| offered.split(',').next()).map(|first| HeaderValue::from_str(first.trim()));
    if let Some(Ok(first)) = first {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, first);
    }

    let is_websocket = websocket.is_some();
    let mut stop = port.stop.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = tokio::io::BufStream::new(TokioIo::new(upgraded));
        let talk = async {
            if is_websocket {
                websocket::echo(&mut stream).await
            } else {
                super::echo::echo(&mut stream, Bytes::new()).await
            }
        };
        // Either end going away is an ordinary end; so is the pod's.
        tokio::select! {
            _ = talk => {}
            () = stopped(&mut stop) => {}
        }
    });
    response
}
