//! Sends one case's requests, as the client would, and gathers what comes of them: the answers, and the records of the
//! proxy that took them.

use crate::unverified_tls;
use crate::up::capture::Origin;
use amime_model::config::Direction;
use amime_model::explain::{Action, Dialled, Question, Verdict};
use amime_model::translate::NodeKind;
use amime_proxy::{Flags, Protocol, RequestRecord};
use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// How long one answer may take: Envoy's own longest wait is 15 s.
const ANSWER: Duration = Duration::from_secs(30);
/// How long all of a case's requests may take; the rest is not sent then.
const ALL: Duration = Duration::from_secs(30);
/// How long a proxy's records are waited for.
const RECORD: Duration = Duration::from_secs(10);
/// How long an opaque connection is listened to. Nobody may have anything to say.
const SAID: Duration = Duration::from_millis(500);
/// How often it is tried again where a fault for some of the requests came in between.
const AGAIN: usize = 40;

/// What came of all requests of a case.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) sent: usize,
    pub(super) answers: Vec<Answer>,
    /// Of the proxy that took them.
    pub(super) records: Vec<RequestRecord>,
    /// Connections that ended without an answer, and why the last one did.
    pub(super) unanswered: usize,
    pub(super) why: String,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Null where it is no JSON: it is not of a stand-in.
    pub(super) body: serde_json::Value,
}

impl Seen {
    /// Those that no fault for a share of the requests came in between of.
    pub(super) fn usual(&self, verdict: &Verdict) -> impl Iterator<Item = &RequestRecord> {
        let always = verdict.flag.as_deref() == Some("FI");
        self.records.iter().filter(move |record| always || !record.flags.contains(Flags::FI))
    }
}

pub(super) async fn all(
    question: &Question,
    dialled: &Dialled,
    verdict: &Verdict,
    wanted: usize,
    records: &mut mpsc::Receiver<Vec<RequestRecord>>,
) -> anyhow::Result<Seen> {
    while records.try_recv().is_ok() {}
    let mut seen = Seen::default();
    let refused = verdict.action == Action::Refuse;
    if !dialled.is_http || (dialled.is_tls && dialled.kind == NodeKind::Sidecar) {
        opaque(dialled, &mut seen).await;
        if !refused {
            gather(dialled, records, &mut seen).await;
        }
        return Ok(seen);
    }
    let begun = Instant::now();
    let mut sender = None;
    while begun.elapsed() < ALL {
        let enough = seen.sent >= wanted;
        if enough && (refused || seen.sent >= wanted + AGAIN) {
            break;
        }
        if enough {
            gather(dialled, records, &mut seen).await;
            // All of them were aborted, or there are no records, which is told.
            if seen.records.is_empty() || seen.usual(verdict).next().is_some() {
                break;
            }
        }
        one(question, dialled, &mut sender, &mut seen).await?;
    }
    Ok(seen)
}

/// One request, on the connection that there is, or on a new one.
async fn one(
    question: &Question,
    dialled: &Dialled,
    sender: &mut Option<SendRequest<Empty<Bytes>>>,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    seen.sent += 1;
    if let Some(open) = sender
        && open.ready().await.is_err()
    {
        *sender = None;
    }
    let request = request(question, dialled)?;
    let answer = timeout(ANSWER, async {
        if sender.is_none() {
            *sender = Some(connect(dialled).await?);
        }
        let Some(sender) = sender else { anyhow::bail!("there is no connection") };
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    });
    match answer.await.context("no answer in time").and_then(|answer| answer) {
        Ok(answer) => seen.answers.push(answer),
        Err(error) => {
            seen.unanswered += 1;
            seen.why = format!("{error:#}");
            *sender = None;
        }
    }
    Ok(())
}

fn request(question: &Question, dialled: &Dialled) -> anyhow::Result<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = match &question.method {
        Some(method) => Method::from_bytes(method.as_bytes()).context("the method")?,
        None => Method::GET,
    };
    *request.uri_mut() = dialled.path.parse::<Uri>().context("the path")?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(&dialled.authority).context("the authority")?);
    for (name, values) in &question.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).with_context(|| format!("header {name}"))?;
        for value in values.values() {
            headers.append(name.clone(), HeaderValue::from_str(value).with_context(|| format!("header {name}"))?);
        }
    }
    Ok(request)
}

async fn connect(dialled: &Dialled) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = dial(dialled).await?;
    if !dialled.is_tls {
        return handshake(stream).await;
    }
    let name = ServerName::try_from(dialled.host.clone()).context("the name in TLS")?;
    handshake(unverified_tls::connect(stream, name).await?).await
}

async fn handshake<S>(stream: S) -> anyhow::Result<SendRequest<Empty<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn dial(dialled: &Dialled) -> io::Result<TcpStream> {
    let nobody = || io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens at that port");
    let destination = dialled.destination.ok_or_else(nobody)?;
    match (dialled.kind, dialled.pod.placement()) {
        (NodeKind::Sidecar, Some(place)) => {
            Origin { pod_ip: place.pod_ip, app_ip: place.app_ip }.connect(destination).await
        }
        _ => TcpStream::connect(destination).await,
    }
}

/// A connection that is not HTTP: a few bytes, and what comes back.
async fn opaque(dialled: &Dialled, seen: &mut Seen) {
    seen.sent += 1;
    let talked = async {
        let mut stream = dial(dialled).await.context("connecting")?;
        if dialled.is_tls {
            let name = ServerName::try_from(dialled.host.clone()).context("the name in TLS")?;
            // Who answers need not speak TLS: the name has been said by then.
            let _ = timeout(SAID, unverified_tls::connect(stream, name)).await;
            return anyhow::Ok(());
        }
        stream.write_all(b"amime test\n").await?;
        let mut said = [0; 64];
        match timeout(SAID, stream.read(&mut said)).await {
            Ok(Ok(0)) => anyhow::bail!("the connection was closed"),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    };
    if let Err(error) = talked.await {
        seen.unanswered += 1;
        seen.why = format!("{error:#}");
    }
}

/// Waits until the proxy has told of as many requests as were sent.
async fn gather(dialled: &Dialled, records: &mut mpsc::Receiver<Vec<RequestRecord>>, seen: &mut Seen) {
    let (pod, http) = (&dialled.pod, dialled.is_http && !(dialled.is_tls && dialled.kind == NodeKind::Sidecar));
    let is_ours = |record: &RequestRecord| {
        record.proxy.pod == pod.name
            && record.proxy.namespace == pod.namespace
            && record.direction != Direction::Inbound
            && (record.protocol != Protocol::Tcp) == http
            && (!http || record.request.path() == dialled.path)
    };
    let _ = timeout(RECORD, async {
        while seen.records.len() < seen.sent {
            let Some(batch) = records.recv().await else { return };
            seen.records.extend(batch.into_iter().filter(is_ours));
        }
    })
    .await;
}
