//! The application's own metrics, which the pod's prometheus.io annotations tell of, to be merged with the proxy's.
//! An application that is down loses its part alone.

use super::http_client;
use crate::proxy::Kind;
use crate::proxy::environment::Environment;
use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where Istio's injector writes the annotations.
const VARIABLE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
/// How long an application may take where the scraper does not say how long it waits: Prometheus' own time.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of the time for which the scraper waits, so much is for the application; the rest for what is the proxy's.
const SHARE: f64 = 0.9;
/// How long a scraper waits, in seconds with a fraction. The application may want to know, too.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// How much it may answer, as Istio's agent limits it.
const MOST: usize = 10 << 20;
/// The format that can be put after the proxy's.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;version=0.0.4, text/plain;q=0.5, */*;q=0.1");

/// What is scraped; nothing where no annotation asks for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AppMetrics(Vec<Target>);

#[derive(Debug, Clone, PartialEq)]
struct Target {
    port: u16,
    path: Uri,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Annotations {
    scrape: String,
    path: String,
    port: String,
    targets: Vec<WrittenTarget>,
}

#[derive(Debug, Deserialize)]
struct WrittenTarget {
    port: String,
    #[serde(default)]
    path: String,
}

impl AppMetrics {
    /// `own`: the ports of the proxy's own pages, which would scrape themselves for ever.
    pub(crate) fn of(kind: Kind, environment: &Environment, own: &[u16]) -> anyhow::Result<Self> {
        let Some(text) = environment.get(VARIABLE).filter(|_| kind == Kind::Sidecar) else {
            return Ok(Self::default());
        };
        let annotations: Annotations = serde_json::from_str(text).with_context(|| {
            format!("{VARIABLE}={text}: write {{\"scrape\":\"true\",\"path\":\"/metrics\",\"port\":\"9080\"}}")
        })?;
        if annotations.scrape == "false" {
            return Ok(Self::default());
        }
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let mut written = annotations.targets;
        if written.is_empty() {
            written.push(WrittenTarget { port: or(annotations.port, "80"), path: annotations.path });
        }
        let target = |written: WrittenTarget| {
            let port: u16 = written.port.parse().ok().filter(|port| *port > 0).with_context(|| {
                format!("{VARIABLE}: prometheus.io/port {:?} is no port: write a number from 1 to 65535", written.port)
            })?;
            if own.contains(&port) {
                bail!("{VARIABLE}: prometheus.io/port {port} is the proxy's own: write the application's");
            }
            let path = or(written.path, "/metrics");
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            let path = path.parse().with_context(|| format!("{VARIABLE}: prometheus.io/path {path}: write a path"))?;
            Ok(Target { port, path })
        };
        Ok(Self(written.into_iter().map(target).collect::<anyhow::Result<_>>()?))
    }

    /// The metrics of each target that answers in the scraper's time, in their order. `headers` are the scraper's.
    pub(super) async fn scrape(&self, headers: &HeaderMap) -> Vec<Bytes> {
        let patience = patience(headers);
        let scraped = futures_util::future::join_all(self.0.iter().map(|target| async move {
            match tokio::time::timeout(patience, target.scrape(headers)).await {
                Ok(Ok(body)) => Some(body),
                Ok(Err(error)) => {
                    tracing::warn!(port = target.port, "the application's metrics are left out: {error:#}");
                    None
                }
                Err(_) => {
                    tracing::warn!(
                        port = target.port,
                        "the application's metrics are left out: no answer in {patience:?}"
                    );
                    None
                }
            }
        }));
        scraped.await.into_iter().flatten().collect()
    }
}

impl Target {
    async fn scrape(&self, headers: &HeaderMap) -> anyhow::Result<Bytes> {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
        let stream = match http_client::connect(address, None).await {
            Ok(stream) => stream,
            // Some listen at ::1 alone.
            Err(error) => {
                let other = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), self.port);
                http_client::connect(other, None).await.map_err(|_| error)?
            }
        };
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.path.clone();
        let host = HeaderValue::try_from(format!("localhost:{}", self.port)).context("the host")?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(ACCEPT, TEXT);
        for name in [USER_AGENT, SCRAPE_TIMEOUT] {
            if let Some(value) = headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let answer = http_client::http1(stream, request, MOST).await?;
        if answer.status() != StatusCode::OK {
            bail!("it answers {}", answer.status());
        }
        Ok(without_end(answer.into_body()))
    }
}

/// How long an application may take, by what the scraper says.
fn patience(headers: &HeaderMap) -> Duration {
    let said = headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let whole = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|time| !time.is_zero());
    whole.unwrap_or(TIMEOUT).mul_f64(SHARE)
}

/// Without OpenMetrics' last line, which would end everything there, and with a line end.
fn without_end(body: Bytes) -> Bytes {
    let trimmed = body.trim_ascii_end();
    let kept = trimmed.strip_suffix(b"# EOF").map_or(trimmed, |rest| rest.trim_ascii_end());
    if kept.is_empty() { Bytes::new() } else { [kept, b"\n"].concat().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<AppMetrics> {
        let environment = [(VARIABLE.to_owned(), text.to_owned())].into_iter().collect();
        AppMetrics::of(Kind::Sidecar, &environment, &[15020])
    }

    #[test]
    fn annotations_as_the_injector_writes_them() {
        let target = |port, path: &str| Target { port, path: path.parse().unwrap() };
        let one = read(r#"{"scrape":"true","path":"/prom","port":"9080"}"#).unwrap();
        assert_eq!(one.0, [target(9080, "/prom")]);
        assert_eq!(read(r#"{"scrape":"true","path":"","port":""}"#).unwrap().0, [target(80, "/metrics")]);
        assert_eq!(read(r#"{"scrape":"false","port":"x"}"#).unwrap(), AppMetrics::default());
        let two = r#"{"scrape":"true","targets":[{"port":"1"},{"port":"2","path":"x"}]}"#;
        assert_eq!(read(two).unwrap().0, [target(1, "/metrics"), target(2, "/x")]);
        for (wrong, expected) in [
            (r#"{"scrape":"true","port":"http"}"#, "prometheus.io/port \"http\" is no port"),
            (r#"{"scrape":"true","port":"15020"}"#, "is the proxy's own"),
            ("scrape", "write {"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(expected) && error.starts_with(VARIABLE), "{error}");
        }
    }

    #[test]
    fn the_scraper_says_how_long_it_waits() {
        for (said, millis) in [("5", 4500), ("0.5", 450), ("-1", 9000), ("0", 9000), ("soon", 9000), ("inf", 9000)] {
            let headers = HeaderMap::from_iter([(SCRAPE_TIMEOUT, HeaderValue::from_static(said))]);
            assert_eq!(patience(&headers).as_millis(), millis, "{said}");
        }
        assert_eq!(patience(&HeaderMap::new()), Duration::from_secs(9));
    }

    #[test]
    fn the_end_of_openmetrics_is_cut() {
        for (body, kept) in [("a 1\n# EOF\n", "a 1\n"), ("a 1", "a 1\n"), ("", ""), ("# EOF", "")] {
            assert_eq!(without_end(Bytes::from_static(body.as_bytes())), kept.as_bytes());
        }
    }
}
