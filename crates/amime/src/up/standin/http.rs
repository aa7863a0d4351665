//! One HTTP request at a stand-in, from reading its `x-amime-*` headers to the answer. `serve` calls it for
//! HTTP/1.1 and HTTP/2 alike.

use super::shape::{Failure, Shape};
use super::{PodPort, call, grpc, upgrade};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Map, Value};
use std::convert::Infallible;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What an application of the mesh was asked, and who it is.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    workload: &'a str,
    pod: &'a str,
    namespace: &'a str,
    version: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    called: Option<Value>,
}

pub(super) async fn serve(request: Request<Incoming>, port: &PodPort) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return text(StatusCode::METHOD_NOT_ALLOWED, "a stand-in is no proxy\n");
    }
    let shape = match Shape::read(request.headers()) {
        Ok(shape) => shape,
        Err(error) => return text(StatusCode::BAD_REQUEST, &(error + "\n")),
    };
    if upgrade::is_asked(&request) {
        return upgrade::accept(request, port);
    }
    if grpc::is_grpc(request.headers()) {
        let (_, failure) = act(&shape, request.headers(), port).await;
        return match failure {
            Some(failure) => grpc::fail(failure),
            None => grpc::answer(request, port.stop.clone()),
        };
    }

    let (parts, mut body) = request.into_parts();
    // Read to its end so that the connection can be used again, and kept nowhere.
    while let Some(Ok(_)) = body.frame().await {}
    let (called, failure) = act(&shape, &parts.headers, port).await;
    let status = failure.map_or(StatusCode::OK, |failure| {
        StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    });
    let mut headers = headers_as_json(&parts.headers);
    if let Some(authority) = parts.uri.authority()
        && !parts.headers.contains_key(HOST)
    {
        headers.insert("host".into(), authority.as_str().into());
    }
    let identity = port.identity();
    let answer = Answer {
        workload: &identity.pod.workload,
        pod: &identity.pod.name,
        namespace: &identity.pod.namespace,
        version: identity.pod.version.as_deref(),
        method: parts.method.as_str(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers,
        called,
    };
    match serde_json::to_vec(&answer) {
        Ok(mut json) => {
            json.push(b'\n');
            respond(status, "application/json", json)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Makes the call that was asked for, or, at the end of the chain, waits and fails as asked.
async fn act(shape: &Shape, headers: &HeaderMap, port: &PodPort) -> (Option<Value>, Option<Failure>) {
    if let Some((target, rest)) = &shape.call {
        return (Some(call::make(target, rest.as_deref(), headers, port).await), None);
    }
    if let Some(delay) = shape.delay {
        tokio::time::sleep(delay).await;
    }
    (None, shape.failure(headers, &port.mesh.fail_first))
}

fn headers_as_json(headers: &HeaderMap) -> Map<String, Value> {
    let mut object = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> =
            headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into()).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        object.insert(name.as_str().into(), value);
    }
    object
}

pub(super) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub(super) fn text(status: StatusCode, text: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
