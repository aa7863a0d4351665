//! The call that `x-amime-call` asks for: through the pod's own sidecar, as the application of a mesh makes it; directly
//! where the pod has none.
//! `http` calls it, and puts what it returns under `called`.

use super::PodPort;
use super::shape::CALL;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::io;
use tokio::net::TcpStream;

const FLAG: &str = "x-amime-flag";
/// How much of an answer is kept.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a call gave: an answer's head and body, or why none came.
struct Got {
    status: u16,
    flag: Option<String>,
    json: bool,
    body: Bytes,
}

impl Got {
    /// The JSON of a good answer. Objects and lists count as JSON whatever their content type says: small servers
    /// of a user's own often say nothing.
    fn answer(&self) -> Option<Value> {
        let good = (200..300).contains(&self.status);
        let value: Value = good.then(|| serde_json::from_slice(&self.body).ok()).flatten()?;
        (self.json || value.is_object() || value.is_array()).then_some(value)
    }
}

/// Calls `target`, handing `rest` of the chain on, and tells the outcome as the value of `called`.
pub(super) async fn make(target: &str, rest: Option<&str>, headers: &HeaderMap, port: &PodPort) -> Value {
    match perform(target, rest, headers, port).await {
        Ok(got) => {
            if let Some(answer) = got.answer() {
                return answer;
            }
            json!({"status": got.status, "flag": got.flag, "body": String::from_utf8_lossy(&got.body)})
        }
        Err(error) => json!({"status": null, "flag": null, "body": format!("{error:#}")}),
    }
}

async fn perform(target: &str, rest: Option<&str>, headers: &HeaderMap, port: &PodPort) -> anyhow::Result<Got> {
    let target = Target::read(target)?;
    let stream = connect(&target, port).await?;
    let headers = carried_on(headers, rest);
    let response = match target.speaks {
        Speaks::Http1 => http1(&target, headers, stream).await?,
        Speaks::Http2 | Speaks::Grpc => http2(&target, headers, stream).await?,
    };
    read(response, target.speaks).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// `http://`
    Http1,
    /// `h2c://`
    Http2,
    /// `grpc://`: one empty message.
    Grpc,
}

#[derive(Debug)]
struct Target {
    speaks: Speaks,
    authority: Authority,
    path: PathAndQuery,
}

impl Target {
    fn read(text: &str) -> anyhow::Result<Self> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = text.parse().map_err(|error| anyhow::anyhow!("{CALL}: {text}: {error}"))?;
        let speaks = match uri.scheme_str() {
            Some("http") => Speaks::Http1,
            Some("h2c") => Speaks::Http2,
            Some("grpc") => Speaks::Grpc,
            other => anyhow::bail!("{CALL}: {}: a stand-in calls http, h2c and grpc", other.unwrap_or_default()),
        };
        let parts = uri.into_parts();
        let authority = parts.authority.ok_or_else(|| anyhow::anyhow!("{CALL}: {text} names no host"))?;
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { speaks, authority, path })
    }
}

async fn connect(target: &Target, port: &PodPort) -> io::Result<TcpStream> {
    let number = target.authority.port_u16().unwrap_or(80);
    port.mesh.connect(&port.identity().pod, target.authority.host(), number).await
}

/// The incoming headers but for Host, lengths and what belongs to one connection; the chain is one shorter.
fn carried_on(incoming: &HeaderMap, rest: Option<&str>) -> HeaderMap {
    let mut headers = incoming.clone();
    let named: Vec<HeaderName> = incoming
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP).chain(&[HOST, CONTENT_LENGTH, EXPECT]) {
        headers.remove(name);
    }
    headers.remove(CALL);
    if let Some(Ok(rest)) = rest.map(HeaderValue::from_str) {
        headers.insert(CALL, rest);
    }
    headers
}

async fn http1(target: &Target, headers: HeaderMap, stream: TcpStream) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target.path.clone().into();
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, HeaderValue::from_str(target.authority.as_str())?);
    // One call, one connection.
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(sender.send_request(request).await?)
}

async fn http2(target: &Target, headers: HeaderMap, stream: TcpStream) -> anyhow::Result<Response<Incoming>> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let uri = Uri::builder()
        .scheme("http")
        .authority(target.authority.clone())
        .path_and_query(target.path.clone())
        .build()?;
    let grpc = target.speaks == Speaks::Grpc;
    // A frame of no bytes: the empty message.
    let body = if grpc { Bytes::from_static(&[0; 5]) } else { Bytes::new() };
    let mut request = Request::new(Full::new(body));
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    if grpc {
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(sender.send_request(request).await?)
}

async fn read(response: Response<Incoming>, speaks: Speaks) -> anyhow::Result<Got> {
    let (head, body) = response.into_parts();
    let text = |name: &str| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let kind = text(CONTENT_TYPE.as_str()).unwrap_or_default();
    let collected = Limited::new(body, LONGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("the answer {} broke off: {error}", head.status.as_u16()))?;
    let trailers = collected.trailers().cloned();
    let mut body = collected.to_bytes();
    if speaks == Speaks::Grpc {
        // gRPC's outcome is in its status, of the trailers or of headers alone.
        let of = |headers: &HeaderMap| headers.get("grpc-status").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let status = trailers.as_ref().and_then(of).or_else(|| of(&head.headers)).unwrap_or_else(|| "none".into());
        body = Bytes::from(format!("grpc-status: {status}"));
    }
    Ok(Got { status: head.status.as_u16(), flag: text(FLAG), json: kind.contains("json"), body })
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
