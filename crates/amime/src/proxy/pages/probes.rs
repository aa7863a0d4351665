//! The application's probes and hooks, which the injector has turned towards the agent: asked for here, sent on to the
//! application from an address that no redirection takes, so that they pass strict mTLS.

use super::http_client;
use crate::proxy::environment::Environment;
use crate::serve::{Answer, problem, text};
use crate::unverified_tls;
use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Where Istio's injector writes them.
const VARIABLE: &str = "ISTIO_KUBE_APP_PROBERS";
const LEGACY: &str = "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION";
/// Where its hooks are asked for, in the place of probes.
const HOOKS: &str = "/app-lifecycle/";
/// As much of the application's answer as is handed back.
const MOST: usize = 10 << 10;
/// And is read at most.
const MOST_READ: usize = 10 << 20;
/// Redirections that are followed, as the kubelet does.
const REDIRECTS: usize = 10;

/// The probes by their paths at the agent.
#[derive(Debug, Clone)]
pub(crate) struct Probers {
    by_path: BTreeMap<String, Prober>,
    destination: IpAddr,
    /// None: the kernel's choice.
    source: Option<IpAddr>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Prober {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    timeout_seconds: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct HttpGet {
    path: String,
    port: u16,
    scheme: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct TcpSocket {
    port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Grpc {
    port: u16,
    service: Option<String>,
}

impl Probers {
    /// `redirected`: the kernel redirects what comes to the pod, but for one source address.
    pub(crate) fn of(environment: &Environment, pod: IpAddr, redirected: bool) -> anyhow::Result<Self> {
        let legacy = environment.flag(LEGACY)?.unwrap_or(false);
        let (localhost, outside): (IpAddr, IpAddr) = match pod {
            IpAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 6).into()),
            IpAddr::V6(_) => (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into()),
        };
        let mut by_path: BTreeMap<String, Prober> = BTreeMap::new();
        if let Some(text) = environment.get(VARIABLE) {
            by_path = serde_json::from_str(text).with_context(|| {
                format!("{VARIABLE}: write a JSON object of probes by path, as Istio's injector does")
            })?;
        }
        for (path, prober) in &by_path {
            check(path, prober).with_context(|| format!("{VARIABLE}: {path}"))?;
        }
        let destination = if legacy { localhost } else { pod };
        Ok(Self { by_path, destination, source: redirected.then_some(outside) })
    }

    /// The answer to a probe.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        let Some(prober) = self.by_path.get(path) else {
            let known: Vec<&str> = self.by_path.keys().map(String::as_str).collect();
            let known = if known.is_empty() { format!("{VARIABLE} names none") } else { known.join(", ") };
            return problem(StatusCode::BAD_REQUEST, &format!("there is no probe {path}; known: {known}"));
        };
        let late = async {
            match limit(path, prober.timeout_seconds) {
                Some(limit) => {
                    tokio::time::sleep(limit).await;
                    limit.as_secs()
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = self.probe(prober, request) => {
                answer.unwrap_or_else(|error| failed(path, &format!("{error:#}")))
            }
            seconds = late => failed(path, &format!("no answer within {seconds} s")),
        }
    }

    async fn probe<B>(&self, prober: &Prober, request: &Request<B>) -> anyhow::Result<Answer> {
        if let Some(get) = &prober.http_get {
            return self.http(get, request).await;
        }
        if let Some(tcp) = &prober.tcp_socket {
            http_client::connect(SocketAddr::new(self.destination, tcp.port), self.source).await?;
            return Ok(text(StatusCode::OK, ""));
        }
        let grpc = prober.grpc.as_ref().context("no kind of probe")?;
        self.grpc(grpc, request.headers().get(USER_AGENT)).await?;
        Ok(text(StatusCode::OK, ""))
    }

    async fn http<B>(&self, get: &HttpGet, request: &Request<B>) -> anyhow::Result<Answer> {
        let to = SocketAddr::new(self.destination, get.port);
        let path = if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) };
        let mut path: Uri = path.parse().with_context(|| format!("the path {path}"))?;
        let headers = headers_to(request.headers(), to)?;
        for _ in 0..REDIRECTS {
            let mut onward = Request::new(Full::default());
            *onward.uri_mut() = path.clone();
            *onward.headers_mut() = headers.clone();
            let stream = http_client::connect(to, self.source).await?;
            let answer = if get.scheme.eq_ignore_ascii_case("https") {
                http_client::http1(unverified_tls::connect(stream, to.ip().into()).await?, onward, MOST_READ).await?
            } else {
                http_client::http1(stream, onward, MOST_READ).await?
            };
            if !answer.status().is_redirection() {
                let (head, body) = answer.into_parts();
                return Ok(text(head.status, body.slice(..body.len().min(MOST))));
            }
            match same_place(&answer, &headers) {
                Some(other) => path = other,
                // Elsewhere is another's health; that it redirects is an answer.
                None => return Ok(text(StatusCode::OK, "")),
            }
        }
        bail!("more than {REDIRECTS} redirections")
    }

    async fn grpc(&self, probe: &Grpc, agent: Option<&HeaderValue>) -> anyhow::Result<()> {
        let to = SocketAddr::new(self.destination, probe.port);
        let mut request = Request::new(Full::new(health_check(probe.service.as_deref().unwrap_or_default())));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = format!("http://{to}/grpc.health.v1.Health/Check").parse().context("the address")?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(agent) = agent {
            headers.insert(USER_AGENT, agent.clone());
        }
        let stream = http_client::connect(to, self.source).await?;
        let answer = http_client::http2(stream, request, MOST).await?;
        let status = answer.headers().get("grpc-status").map(HeaderValue::as_bytes);
        match status {
            Some(b"0") => {}
            Some(b"12") => bail!("the server does not have grpc.health.v1.Health"),
            Some(other) => bail!("gRPC status {}", String::from_utf8_lossy(other)),
            None => bail!("HTTP {} without a gRPC status", answer.status()),
        }
        if !serves(answer.body()) {
            bail!("the service is not SERVING");
        }
        Ok(())
    }
}

fn failed(path: &str, why: &str) -> Answer {
    tracing::debug!("probe {path}: {why}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("probe {path}: {why}"))
}

fn check(path: &str, prober: &Prober) -> anyhow::Result<()> {
    let parts: Vec<&str> = path.split('/').collect();
    let known = matches!(
        parts.as_slice(),
        ["", "app-health", container, "readyz" | "livez" | "startupz"]
        | ["", "app-lifecycle", container, "prestopz" | "poststartz"] if !container.is_empty()
    );
    if !known {
        bail!(
            "write /app-health/CONTAINER/{{readyz,livez,startupz}} or /app-lifecycle/CONTAINER/{{prestopz,poststartz}}"
        );
    }
    let port = match (&prober.http_get, &prober.tcp_socket, &prober.grpc) {
        (Some(get), None, None) => get.port,
        (None, Some(tcp), None) => tcp.port,
        (None, None, Some(grpc)) => grpc.port,
        _ => bail!("write one of httpGet, tcpSocket and grpc"),
    };
    if port == 0 {
        bail!("write the port as a number");
    }
    Ok(())
}

/// The prober's headers, which are the user's own ones, but for those of the connection. A Host that names the agent
/// names the application instead.
fn headers_to(from: &HeaderMap, to: SocketAddr) -> anyhow::Result<HeaderMap> {
    let mut headers = from.clone();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let name = from.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = match name.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => format!("{name}:{}", to.port()),
        _ if name.is_empty() => to.to_string(),
        _ => name.to_owned(),
    };
    headers.insert(HOST, HeaderValue::try_from(host).context("the Host header")?);
    Ok(headers)
}

/// Where a redirection leads, if that is at the same host.
fn same_place<B>(answer: &Response<B>, headers: &HeaderMap) -> Option<Uri> {
    let target: Uri = answer.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
    let name = |text: &str| text.rsplit_once(':').map_or(text.to_owned(), |(name, _)| name.to_owned());
    if let Some(authority) = target.authority() {
        let own = headers.get(HOST)?.to_str().ok()?;
        if name(authority.as_str()) != name(own) {
            return None;
        }
    }
    target.path_and_query().map(|path| Uri::from(path.clone()))
}

/// How long the application may take. Kubernetes gives probes a second where nothing else is said, and hooks all of
/// the pod's grace period: a preStop hook that sleeps is to be waited for.
fn limit(path: &str, seconds: u64) -> Option<Duration> {
    match seconds {
        0 if path.starts_with(HOOKS) => None,
        seconds => Some(Duration::from_secs(seconds.max(1))),
    }
}

/// A length-prefixed grpc.health.v1.HealthCheckRequest.
fn health_check(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.extend_from_slice(&[0x0a]);
        let mut length = service.len();
        while length >= 0x80 {
            message.extend_from_slice(&[(length & 0x7f) as u8 | 0x80]);
            length >>= 7;
        }
        message.extend_from_slice(&[length as u8]);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// Whether a length-prefixed HealthCheckResponse says SERVING (1), whatever other fields it has.
fn serves(body: &[u8]) -> bool {
    let Some((prefix, message)) = body.split_at_checked(5) else { return false };
    prefix[0] == 0 && message.starts_with(&[0x08, 0x01])
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
