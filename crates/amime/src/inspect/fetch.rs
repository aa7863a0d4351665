//! One GET of a debug page. `source` and `amime status` call it.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// For the connection, and then for the whole answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// A dump of a proxy that knows many thousand services has some hundred MB.
const LARGEST: usize = 1 << 30;

/// The port where a control plane's debug pages are, where none is written.
pub(crate) const MONITORING: u16 = 15014;
/// The port where a proxy's admin pages are, where none is written.
pub(crate) const ADMIN: u16 = 15000;

/// What a page answered.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// `HOST`, `HOST:PORT`, `[IPv6]:PORT`, `PORT`, each with or without `http://`, as `HOST:PORT`.
pub(crate) fn authority(address: &str, port: u16) -> String {
    let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    if !address.is_empty() && address.bytes().all(|b| b.is_ascii_digit()) {
        return format!("127.0.0.1:{address}");
    }
    if let Ok(ip) = address.parse::<std::net::Ipv6Addr>() {
        return format!("[{ip}]:{port}");
    }
    match address.rsplit_once(':') {
        Some((host, _)) if !host.is_empty() && !address.ends_with(']') => address.to_owned(),
        _ => format!("{address}:{port}"),
    }
}

/// A page that has to answer 200. `whose` is what listens there, for the error, and `hint` what to do where
/// nothing does.
pub(crate) fn get(authority: &str, path: &str, whose: &str, hint: &str) -> anyhow::Result<Bytes> {
    let page = page(authority, path).with_context(|| format!("{whose} at {authority} does not answer; {hint}"))?;
    if page.status != 200 {
        let said = String::from_utf8_lossy(&page.body);
        bail!("http://{authority}{path} answered {}: {}", page.status, said.lines().next().unwrap_or_default());
    }
    Ok(page.body)
}

pub(crate) fn page(authority: &str, path: &str) -> anyhow::Result<Page> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(authority))
            .await
            .context("no connection within 5 s")?
            .context("connecting")?;
        tokio::time::timeout(ANSWER, ask(stream, authority, path)).await.context("no answer within 60 s")?
    })
}

async fn ask(stream: TcpStream, authority: &str, path: &str) -> anyhow::Result<Page> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, authority).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await.context("it speaks no HTTP")?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|e| anyhow::anyhow!("{e}"))?;
    drop(sender);
    connection.abort();
    Ok(Page { status, body: body.to_bytes() })
}

/// A text as the value of a query's parameter.
pub(crate) fn escape(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
