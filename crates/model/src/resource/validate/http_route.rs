//! The HTTP rules of VirtualServices.

use super::report::Report;
use super::{header, names, virtual_service};
use crate::resource::virtual_service::*;
use crate::yaml::Path;

const MEGABYTE: usize = 1 << 20;

/// What Envoy retries on, besides status codes.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

const CORS_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, rule: &HttpRoute, in_delegate: bool) {
    actions(report, at, rule, in_delegate);
    let matches = at.key("match");
    for (index, matched) in rule.matches.iter().enumerate() {
        http_match(report, &matches.index(index), matched);
    }
    if let Some(headers) = &rule.headers {
        header::changes(report, at, headers);
    }
    let rewrites_authority = rule.rewrite.as_ref().is_some_and(|rewrite| !rewrite.authority.is_empty());
    header::authority_once(report, at, rewrites_authority, rule.headers.as_ref());
    if let Some(policy) = &rule.cors_policy {
        cors(report, &at.key("corsPolicy"), policy);
    }
    if let Some(injected) = &rule.fault {
        fault(report, &at.key("fault"), injected);
    }
    mirrors(report, at, rule);
    if let Some(target) = &rule.redirect {
        redirect(report, &at.key("redirect"), target, &rule.matches);
    }
    if let Some(response) = &rule.direct_response {
        direct_response(report, &at.key("directResponse"), response);
    }
    if let Some(policy) = &rule.retries {
        retries(report, &at.key("retries"), policy);
    }
    if let Some(changed) = &rule.rewrite {
        rewrite(report, &at.key("rewrite"), changed);
    }
    let list = at.key("route");
    for (index, share) in rule.route.iter().enumerate() {
        let at = list.index(index);
        virtual_service::required_destination(report, &at, share.destination.as_ref());
        if let Some(headers) = &share.headers {
            header::changes(report, &at, headers);
        }
    }
    virtual_service::weights(report, &list, rule.route.iter().map(|share| share.weight));
    names::duration(report, at, "timeout", rule.timeout);
}

/// What a rule does: one thing.
fn actions(report: &mut Report<'_>, at: &Path<'_>, rule: &HttpRoute, in_delegate: bool) {
    let set = [
        ("delegate", rule.delegate.is_some() && !in_delegate),
        ("redirect", rule.redirect.is_some()),
        ("directResponse", rule.direct_response.is_some()),
        ("route", !rule.route.is_empty()),
    ];
    if in_delegate && rule.delegate.is_some() {
        report.error(&at.key("delegate"), "a delegate cannot delegate further");
    }
    // Istio lets delegate and directResponse stand together; the delegate's rules then win.
    let pairs = if set[0].1 { [set[0], set[1], set[3]].to_vec() } else { set.to_vec() };
    report.at_most_one(at, &pairs);
    let Some((action, _)) = set.iter().find(|(_, is_set)| *is_set) else {
        return report.error(at, "a rule needs `route`, `redirect` or `directResponse`");
    };
    if matches!(*action, "redirect" | "directResponse") {
        for (name, is_set) in [("fault", rule.fault.is_some()), ("rewrite", rule.rewrite.is_some())] {
            if is_set {
                report.error(&at.key(name), format!("only one of `{action}` and `{name}` can be set"));
            }
        }
    }
}

fn http_match(report: &mut Report<'_>, at: &Path<'_>, matched: &HttpMatch) {
    for (field, map) in [("headers", &matched.headers), ("withoutHeaders", &matched.without_headers)] {
        let map_at = at.key(field);
        for (name, value) in map {
            let at = map_at.key(name);
            header::match_name(report, &map_at, name);
            // A header's absence whatever its value is also written as this "regex".
            if field == "withoutHeaders" && value.regex.as_deref() == Some("*") {
                header::one_way(report, &at, value);
            } else {
                header::string_match(report, &at, value, false);
            }
        }
    }
    let fields = [
        ("uri", &matched.uri),
        ("scheme", &matched.scheme),
        ("method", &matched.method),
        ("authority", &matched.authority),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            header::string_match(report, &at.key(field), value, field == "uri");
        }
    }
    let map_at = at.key("queryParams");
    for (name, value) in &matched.query_params {
        header::string_match(report, &map_at.key(name), value, false);
    }
    if matched.port != 0 {
        report.result(&at.key("port"), names::port(matched.port));
    }
    names::labels(report, &at.key("sourceLabels"), &matched.source_labels);
    virtual_service::gateway_names(report, at, &matched.gateways);
    if !matched.source_namespace.is_empty() {
        report.result(&at.key("sourceNamespace"), names::dns_label(&matched.source_namespace));
    }
}

fn cors(report: &mut Report<'_>, at: &Path<'_>, policy: &CorsPolicy) {
    if !policy.allow_origin.is_empty() {
        report.deprecated(&at.key("allowOrigin"), "allowOrigins");
    }
    let list = at.key("allowOrigins");
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let at = list.index(index);
        let ways = [&origin.exact, &origin.prefix, &origin.regex];
        if ways.into_iter().flatten().all(String::is_empty) {
            report.error(&at, "an origin needs exact, prefix or regex");
        } else {
            header::string_match(report, &at, origin, false);
        }
    }
    let list = at.key("allowMethods");
    for (index, method) in policy.allow_methods.iter().enumerate() {
        if !CORS_METHODS.contains(&method.as_str()) {
            report.error(&list.index(index), format!("\"{method}\" is none of {}", CORS_METHODS.join(", ")));
        }
    }
    for (field, names) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
        let list = at.key(field);
        for (index, name) in names.iter().enumerate() {
            if name != "*" && !header::is_header_name(name) {
                report.error(&list.index(index), format!("\"{name}\" is no name of a header"));
            }
        }
    }
    names::duration(report, at, "maxAge", policy.max_age);
    if policy.max_age.is_some_and(|age| age.subsec_nanos() != 0) {
        report.error(&at.key("maxAge"), "maxAge is given in whole seconds");
    }
}

fn fault(report: &mut Report<'_>, at: &Path<'_>, fault: &HttpFault) {
    if fault.abort.is_none() && fault.delay.is_none() {
        report.error(at, "a fault needs `abort` or `delay`");
    }
    if let Some(abort) = &fault.abort {
        let at = at.key("abort");
        fraction(report, &at, abort.percentage);
        let ways = [
            ("httpStatus", abort.http_status.is_some()),
            ("grpcStatus", abort.grpc_status.is_some()),
            ("http2Error", abort.http2_error.is_some()),
        ];
        report.at_most_one(&at, &ways);
        if let Some(code) = abort.http_status {
            status(report, &at.key("httpStatus"), i64::from(code));
        }
        if let Some(name) = &abort.grpc_status
            && !GRPC_STATUS.contains(&name.as_str())
        {
            report.error(&at.key("grpcStatus"), format!("\"{name}\" is none of {}", GRPC_STATUS.join(", ")));
        }
        if abort.http2_error.is_some() {
            report.error(&at.key("http2Error"), "neither Istio nor Amime can do this");
        }
        if ways.iter().all(|(_, is_set)| !is_set) {
            report.warning(&at, "this aborts nothing: set httpStatus or grpcStatus");
        }
    }
    if let Some(delay) = &fault.delay {
        let at = at.key("delay");
        fraction(report, &at, delay.percentage);
        let ways =
            [("fixedDelay", delay.fixed_delay.is_some()), ("exponentialDelay", delay.exponential_delay.is_some())];
        report.at_most_one(&at, &ways);
        names::duration(report, &at, "fixedDelay", delay.fixed_delay);
        if delay.exponential_delay.is_some() {
            report.error(&at.key("exponentialDelay"), "neither Istio nor Amime can do this");
        }
        if delay.percent != 0 {
            report.deprecated(&at.key("percent"), "percentage.value");
        }
        if !(0..=100).contains(&delay.percent) {
            report.error(&at.key("percent"), "a percentage is from 0 to 100");
        }
    }
}

/// Below a millionth nothing can be told apart.
fn fraction(report: &mut Report<'_>, at: &Path<'_>, percentage: Option<Percent>) {
    let Some(Percent { value }) = percentage else { return };
    if value != 0.0 && !(0.0001..=100.0).contains(&value) {
        report.error(&at.key("percentage").key("value"), "a percentage is 0, or from 0.0001 to 100");
    }
}

fn status(report: &mut Report<'_>, at: &Path<'_>, code: i64) {
    if !(200..=599).contains(&code) {
        report.error(at, format!("status {code} is not from 200 to 599"));
    }
}

fn mirrors(report: &mut Report<'_>, at: &Path<'_>, rule: &HttpRoute) {
    if rule.mirror.is_some() && !rule.mirrors.is_empty() {
        report.error(&at.key("mirrors"), "only one of `mirror` and `mirrors` can be set");
    }
    if let Some(percent) = rule.mirror_percent {
        report.deprecated(&at.key("mirrorPercent"), "mirrorPercentage.value");
        if percent > 100 {
            report.error(&at.key("mirrorPercent"), "a percentage is from 0 to 100");
        }
    }
    share(report, &at.key("mirrorPercentage"), rule.mirror_percentage);
    if let Some(mirror) = &rule.mirror {
        virtual_service::destination(report, &at.key("mirror"), mirror);
    }
    let list = at.key("mirrors");
    for (index, mirror) in rule.mirrors.iter().enumerate() {
        let at = list.index(index);
        virtual_service::required_destination(report, &at, mirror.destination.as_ref());
        share(report, &at.key("percentage"), mirror.percentage);
    }
}

fn share(report: &mut Report<'_>, at: &Path<'_>, percentage: Option<Percent>) {
    if percentage.is_some_and(|percentage| !(0.0..=100.0).contains(&percentage.value)) {
        report.error(&at.key("value"), "a percentage is from 0 to 100");
    }
}

fn redirect(report: &mut Report<'_>, at: &Path<'_>, target: &HttpRedirect, matches: &[HttpMatch]) {
    if !target.uri.is_empty() && !target.prefix_rewrite.is_empty() {
        report.error(&at.key("prefixRewrite"), "only one of `uri` and `prefixRewrite` can be set");
    }
    let others = matches.iter().filter_map(|matched| matched.uri.as_ref()).any(|uri| uri.prefix.is_none());
    if !target.prefix_rewrite.is_empty() && others {
        report.error(&at.key("prefixRewrite"), "prefixRewrite needs matches of `uri` to be by prefix");
    }
    report.at_most_one(at, &[("port", target.port.is_some()), ("derivePort", target.derive_port.is_some())]);
    let texts = [&target.uri, &target.prefix_rewrite, &target.authority, &target.scheme];
    if texts.iter().all(|text| text.is_empty()) && target.port.is_none() && target.derive_port.is_none() {
        report.error(at, "a redirect needs `uri`, `authority`, `scheme` or `port`");
    }
    // Envoy's API has these five; with another, Istio's configuration is refused whole.
    if !matches!(target.redirect_code, 0 | 301 | 302 | 303 | 307 | 308) {
        report.error(&at.key("redirectCode"), format!("{} is none of 301, 302, 303, 307, 308", target.redirect_code));
    }
    if !matches!(target.scheme.as_str(), "" | "http" | "https") {
        report.error(&at.key("scheme"), "a redirect's scheme is http or https");
    }
    if let Some(port) = target.port.filter(|port| *port != 0) {
        report.result(&at.key("port"), names::port(port));
    }
}

fn direct_response(report: &mut Report<'_>, at: &Path<'_>, response: &HttpDirectResponse) {
    status(report, &at.key("status"), i64::from(response.status));
    let Some(body) = &response.body else { return };
    let at = at.key("body");
    report.at_most_one(&at, &[("string", body.string.is_some()), ("bytes", body.bytes.is_some())]);
    let string = body.string.as_ref().map_or(0, String::len);
    let size = string.max(body.bytes.as_ref().map_or(0, |bytes| bytes.0.len()));
    if size > MEGABYTE {
        report.error(&at, "a body of a direct response is smaller than 1 MB");
    } else if size > 100 * 1024 {
        report.warning(&at, "each proxy holds this body: keep it below 100 KB");
    }
}

pub(super) fn retries(report: &mut Report<'_>, at: &Path<'_>, policy: &HttpRetry) {
    if policy.attempts < 0 {
        report.error(&at.key("attempts"), "attempts cannot be below 0");
    }
    let set =
        policy.per_try_timeout.is_some() || !policy.retry_on.is_empty() || policy.retry_remote_localities.is_some();
    if policy.attempts == 0 && set {
        report.error(at, "retries with 0 attempts (or none given) are off, and the other fields then have no use");
    }
    names::duration(report, at, "perTryTimeout", policy.per_try_timeout);
    names::duration(report, at, "backoff", policy.backoff);
    if policy.retry_on.is_empty() {
        return;
    }
    for condition in policy.retry_on.split(',') {
        let is_status = condition.parse::<u16>().is_ok_and(has_status_text);
        if !is_status && !RETRY_ON.contains(&condition) {
            report.error(&at.key("retryOn"), format!("\"{condition}\" is no condition to retry on, nor a status code"));
        }
        let instead = match condition {
            "retriable-headers" => "here: Istio's API has no list of headers to retry by, so that none fits",
            "http3-post-connect-failure" => "here: no proxy speaks HTTP/3 to endpoints",
            _ => continue,
        };
        report.no_effect(&at.key("retryOn"), condition, instead);
    }
}

/// Status codes that have a name (IANA's, and 418).
fn has_status_text(code: u16) -> bool {
    matches!(code, 103 | 208 | 226 | 418)
        || http::StatusCode::from_u16(code).is_ok_and(|code| code.canonical_reason().is_some())
}

fn rewrite(report: &mut Report<'_>, at: &Path<'_>, changed: &HttpRewrite) {
    let by_regex = changed.uri_regex_rewrite.as_ref();
    if !changed.uri.is_empty() && by_regex.is_some() {
        report.error(&at.key("uriRegexRewrite"), "only one of `uri` and `uriRegexRewrite` can be set");
    }
    if changed.uri.is_empty() && by_regex.is_none() && changed.authority.is_empty() {
        report.error(at, "a rewrite needs `uri`, `uriRegexRewrite` or `authority`");
    }
    if let Some(by_regex) = by_regex {
        header::regex_rewrite(report, &at.key("uriRegexRewrite"), by_regex);
    }
}
