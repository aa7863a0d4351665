//! `/stats/prometheus` (15090, and 15020 with the application's own), and `/stats` in Envoy's forms, which are made of
//! the same metrics.

use super::{Shared, apart};
use crate::serve::{Answer, Page, find, json, problem, query, text};
use amime_model::route::regex::Regex;
use amime_proxy::MetricsFormat;
use bytes::BytesMut;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json as value};
use std::sync::Arc;

const PAGES: &[Page] = &[Page::read("/stats/prometheus", "metrics of the proxy")];

/// The stats port's only page.
pub(super) async fn page(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    match find(PAGES, &request) {
        Ok(_) => apart(move || async move { prometheus(&shared, &request).await }).await,
        Err(answer) => *answer,
    }
}

/// The proxy's own metrics, in the format that is asked for.
pub(super) async fn prometheus<B>(shared: &Shared, request: &Request<B>) -> Answer {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = MetricsFormat::accepted(accept);
    exposition(own(shared, format).await.into(), format)
}

async fn own(shared: &Shared, format: MetricsFormat) -> String {
    shared.proxy.tell_log_lost(shared.log.lost());
    shared.proxy.metrics(format).await
}

/// The proxy's metrics, and then the application's, in the one format that can be put together.
pub(super) async fn merged<B: Send + 'static>(shared: Arc<Shared>, request: Request<B>) -> Answer {
    let application = shared.app_metrics.scrape(request.headers()).await;
    apart(move || async move {
        if application.is_empty() {
            return prometheus(&shared, &request).await;
        }
        let format = MetricsFormat::accepted("");
        let mut all = BytesMut::from(own(&shared, format).await.as_bytes());
        application.iter().for_each(|part| all.extend_from_slice(part));
        exposition(all.freeze(), format)
    })
    .await
}

fn exposition(body: bytes::Bytes, format: MetricsFormat) -> Answer {
    let mut answer = text(StatusCode::OK, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    answer
}

/// `/stats`: `?filter=REGEX`, `?usedonly`, `?format=json|prometheus`.
pub(super) async fn stats<B>(shared: &Shared, request: &Request<B>) -> Answer {
    let format = query(request, "format");
    if format.as_deref() == Some("prometheus") {
        return prometheus(shared, request).await;
    }
    // Envoy's filter is a search; ours a match of the whole, so what may stand around it is said.
    let filter = match query(request, "filter").map(|filter| Regex::new(&format!("(?s:.*)(?:{filter})(?s:.*)"))) {
        Some(Ok(filter)) => Some(filter),
        Some(Err(error)) => return problem(StatusCode::BAD_REQUEST, &format!("filter: {error}")),
        None => None,
    };
    let used_only = query(request, "usedonly").is_some();
    let metrics = own(shared, MetricsFormat::accepted("")).await;
    let mut stats: Vec<(String, &str)> = metrics.lines().filter_map(stat).collect();
    stats.retain(|(name, number)| {
        filter.as_ref().is_none_or(|filter| filter.is_match(name)) && !(used_only && *number == "0")
    });
    stats.sort();
    if format.as_deref() == Some("json") {
        let number = |text: &str| text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from);
        let stats: Vec<Value> =
            stats.iter().map(|(name, text)| value!({"name": name, "value": number(text)})).collect();
        return json(&value!({"stats": stats}));
    }
    text(StatusCode::OK, stats.iter().map(|(name, number)| format!("{name}: {number}\n")).collect::<String>())
}

/// A line of metrics by Envoy's name: `envoy_cluster_upstream_rq_total{cluster_name="x"} 1` is
/// `cluster.x.upstream_rq_total`. What is not Envoy's keeps its name and labels.
fn stat(line: &str) -> Option<(String, &str)> {
    if line.starts_with('#') {
        return None;
    }
    let (name, number) = line.rsplit_once(' ')?;
    let (metric, labels) = name.split_once('{').unwrap_or((name, ""));
    let label = |key: &str| {
        let value = labels.strip_prefix(key)?.strip_prefix("=\"")?;
        value.strip_suffix("\"}")
    };
    let Some(own) = metric.strip_prefix("envoy_") else { return Some((name.to_owned(), number)) };
    let scoped =
        [("cluster", "cluster_name"), ("listener", "listener_address")].into_iter().find_map(|(scope, key)| {
            let rest = own.strip_prefix(scope)?.strip_prefix('_')?;
            Some(format!("{scope}.{}.{rest}", label(key)?))
        });
    let managed = || {
        let scopes = ["cluster_manager", "listener_manager", "server"].into_iter();
        scopes.filter(|_| labels.is_empty()).find_map(|scope| {
            let rest = own.strip_prefix(scope)?.strip_prefix('_')?;
            Some(format!("{scope}.{rest}"))
        })
    };
    Some((scoped.or_else(managed).unwrap_or_else(|| name.to_owned()), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_s_names() {
        for (line, name, number) in [
            (
                r#"envoy_cluster_upstream_rq_total{cluster_name="outbound|80||a.b"} 3"#,
                "cluster.outbound|80||a.b.upstream_rq_total",
                "3",
            ),
            ("envoy_cluster_manager_active_clusters 7", "cluster_manager.active_clusters", "7"),
            ("envoy_server_live 1", "server.live", "1"),
            (r#"istio_requests_total{a="b c"} 2"#, r#"istio_requests_total{a="b c"}"#, "2"),
        ] {
            assert_eq!(stat(line), Some((name.to_owned(), number)));
        }
        assert_eq!(stat("# TYPE a counter"), None);
    }
}
