//! HTTP proxy requests: absolute form is sent on in origin form, CONNECT becomes a tunnel.

use super::Way;
use crate::up::prefixed::Prefixed;
use bytes::Bytes;
use http::header::{HOST, HeaderName, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpStream;

type Body = Either<Incoming, Full<Bytes>>;

const HOW: &str = "This is a proxy into the mesh: set http_proxy to this address, or ask for http://host/path.\n";

pub(super) async fn serve(client: Prefixed<TcpStream>, way: Arc<Way>) {
    let service = service_fn(move |request| {
        let way = way.clone();
        async move { Ok::<_, Infallible>(answer(request, &way).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    // hyper has answered what is malformed; a client that goes away is an ordinary end.
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, way: &Way) -> Response<Body> {
    let outcome = if request.method() == Method::CONNECT {
        tunnel(request, way).await
    } else if request.uri().scheme_str() == Some("http") {
        forward(request, way).await
    } else {
        return say(StatusCode::BAD_REQUEST, HOW.into());
    };
    outcome.unwrap_or_else(|error| say(StatusCode::BAD_GATEWAY, format!("{error:#}\n")))
}

async fn tunnel(mut request: Request<Incoming>, way: &Way) -> anyhow::Result<Response<Body>> {
    let (host, port) = target(request.uri(), 443)?;
    let mut mesh = way.connect(&host, port).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(client) = upgrade.await {
            // Either side going away ends the tunnel.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut mesh).await;
        }
    });
    Ok(say(StatusCode::OK, String::new()))
}

async fn forward(mut request: Request<Incoming>, way: &Way) -> anyhow::Result<Response<Body>> {
    let (host, port) = target(request.uri(), 80)?;
    // The target of a proxy request is what it is for; its Host may say anything.
    if let Some(authority) = request.uri().authority() {
        let value = HeaderValue::from_str(authority.as_str())?;
        request.headers_mut().insert(HOST, value);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    for name in [PROXY_AUTHORIZATION, HeaderName::from_static("proxy-connection")] {
        request.headers_mut().remove(name);
    }
    let client = hyper::upgrade::on(&mut request);

    let mesh = TokioIo::new(way.connect(&host, port).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::Builder::new().preserve_header_case(true).handshake(mesh).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let mesh = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(mesh)) = (client.await, mesh.await) {
                // Either side going away ends the tunnel.
                let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(mesh)).await;
            }
        });
    }
    Ok(response.map(Either::Left))
}

fn target(uri: &Uri, default_port: u16) -> anyhow::Result<(String, u16)> {
    let host = uri.host().ok_or_else(|| anyhow::anyhow!("{uri} names no host"))?;
    Ok((host.to_owned(), uri.port_u16().unwrap_or(default_port)))
}

fn say(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}
