//! A connection through an HTTP proxy: within a CONNECT or POST request, over HTTP/1 or HTTP/2. `tcp` opens it in the
//! place of a connection to the endpoint.

use crate::balance::Host;
use crate::cluster::ClusterLocal;
use crate::connect::pool::{self, HostPool, Lease, Reset, Speech, UpstreamRequest};
use crate::connect::transports::Missing;
use crate::http::body::RequestBody;
use crate::listen::stream::ClientStream;
use amime_model::config::Tunnel;
use bytes::{Bytes, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

/// Bytes between a client and a body.
const BUFFER: usize = 64 * 1024;

pub(crate) trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}

/// An open tunnel.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Duplex + Unpin>,
    pub(super) local: Option<SocketAddr>,
    pub(super) held: Held,
}

/// What a tunnel needs to its end: the request's connection; of a POST, that there is still a client.
pub(super) struct Held {
    _lease: Option<Lease>,
    _client: Option<oneshot::Sender<()>>,
}

/// Why there is no tunnel.
pub(super) enum Refused {
    Missing(Missing),
    Reset(Reset, Rc<HostPool>),
    /// The proxy's answer.
    Status(StatusCode),
    /// Nothing that could be asked for.
    Request,
}

pub(super) async fn open(cluster: &Rc<ClusterLocal>, host: &Host, tunnel: &Tunnel) -> Result<Opened, Refused> {
    let pool = cluster.pool(host, tunnel.authority.as_bytes(), None).map_err(Refused::Missing)?;
    let speech = cluster.speech(false);
    let (frames, body) = if tunnel.post {
        let (frames, body) = RequestBody::channel();
        (Some(frames), body)
    } else {
        (None, RequestBody::Empty)
    };
    let request = request(tunnel, speech != Speech::Http1, pool.tls.is_some(), body).map_err(|_| Refused::Request)?;
    // A tunnel is open within as much time again as its connection may take.
    let patience = Some(cluster.pools.settings.connect.timeout);
    let sent = pool::send(&cluster.pools, &pool, speech, request, patience).await;
    let sent = sent.map_err(|error| Refused::Reset(error.reset, Rc::clone(&pool)))?;
    let status = sent.response.status();
    // RFC 9110, 9.3.6; of HTTP/2 and POST Envoy wants 200.
    let any = matches!(sent.lease, Lease::Http1(_)) && !tunnel.post;
    let takes = if any { status.is_success() } else { status == StatusCode::OK };
    if !takes {
        return Err(Refused::Status(status));
    }
    let local = sent.lease.local();
    match frames {
        None => {
            let upgraded = hyper::upgrade::on(sent.response).await;
            let upgraded = upgraded.map_err(|_| Refused::Reset(Reset::Terminated, pool))?;
            let held = Held { _lease: Some(sent.lease), _client: None };
            Ok(Opened { stream: Box::new(TokioIo::new(upgraded)), local, held })
        }
        Some(frames) => {
            let (near, far) = tokio::io::duplex(BUFFER);
            let (client, gone) = oneshot::channel();
            let (body, lease) = (sent.response.into_body(), sent.lease);
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = carry(far, frames, body) => {}
                    _ = gone => {}
                }
                drop(lease);
            });
            Ok(Opened { stream: Box::new(near), local, held: Held { _lease: None, _client: Some(client) } })
        }
    }
}

/// Ends when a client that waits for its tunnel has gone. Who closes after some bytes may still want the answer to them;
/// who has said nothing wants nothing any more. What is `said` goes through the tunnel.
pub(super) async fn gone(client: &mut ClientStream, said: &mut BytesMut) {
    while said.len() < BUFFER {
        match client.read_buf(said).await {
            Ok(length) if length > 0 => {}
            Ok(_) if !said.is_empty() => break,
            _ => return,
        }
    }
    std::future::pending().await
}

fn request(tunnel: &Tunnel, http2: bool, tls: bool, body: RequestBody) -> Result<UpstreamRequest, http::Error> {
    let mut parts = http::uri::Parts::default();
    if http2 || !tunnel.post {
        parts.authority = Some(Authority::try_from(tunnel.authority.as_str())?);
    }
    if tunnel.post {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        parts.scheme = http2.then_some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    }
    let mut request = Request::new(body);
    *request.uri_mut() = Uri::from_parts(parts)?;
    *request.method_mut() = if tunnel.post { Method::POST } else { Method::CONNECT };
    if !http2 {
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(&tunnel.authority)?);
        if tunnel.post {
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    Ok(request)
}

/// Between a client and the bodies of a request, until the answer's has ended and the client too, or either fails.
async fn carry(far: DuplexStream, frames: mpsc::Sender<Frame<Bytes>>, mut body: Incoming) {
    let (mut read, mut write) = tokio::io::split(far);
    let up = async move {
        loop {
            let mut bytes = BytesMut::with_capacity(BUFFER / 4);
            match read.read_buf(&mut bytes).await {
                Ok(length) if length > 0 && frames.send(Frame::data(bytes.freeze())).await.is_ok() => {}
                _ => return,
            }
        }
    };
    let down = async move {
        loop {
            match body.frame().await {
                None => return write.shutdown().await,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        write.write_all(&data).await?;
                    }
                }
                Some(Err(_)) => return Err(std::io::ErrorKind::ConnectionReset.into()),
            }
        }
    };
    let mut up = std::pin::pin!(up);
    let mut down = std::pin::pin!(down);
    tokio::select! {
        () = &mut up => { let _ = down.await; }
        ended = &mut down => if ended.is_ok() { up.await },
    }
}
