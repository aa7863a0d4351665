//! Connection pools, outlier detection and client TLS: what DestinationRules, Sidecars and MeshConfig share.

use super::names;
use super::report::Report;
use crate::resource::destination_rule::{ClientTls, ClientTlsMode, ConnectionPool, H2UpgradePolicy, OutlierDetection};
use crate::yaml::Path;

pub(super) fn pool(report: &mut Report<'_>, at: &Path<'_>, pool: &ConnectionPool) {
    if pool.http.is_none() && pool.tcp.is_none() {
        report.error(at, "a connection pool needs `tcp` or `http`");
    }
    if let Some(http) = &pool.http {
        let at = at.key("http");
        let limits = [
            ("http1MaxPendingRequests", http.http1_max_pending_requests),
            ("http2MaxRequests", http.http2_max_requests),
            ("maxRequestsPerConnection", http.max_requests_per_connection),
            ("maxRetries", http.max_retries),
            ("maxConcurrentStreams", http.max_concurrent_streams),
        ];
        not_negative(report, &at, &limits);
        names::duration(report, &at, "idleTimeout", http.idle_timeout);
        if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol {
            report.error(&at.key("useClientProtocol"), "not together with h2UpgradePolicy UPGRADE");
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            let at = at.key("http2KeepAlive");
            for (name, value) in [("interval", keepalive.interval), ("timeout", keepalive.timeout)] {
                if value.is_none() {
                    report.error(&at, format!("`{name}` is missing"));
                }
                names::duration(report, &at, name, value);
            }
        }
    }
    if let Some(tcp) = &pool.tcp {
        let at = at.key("tcp");
        not_negative(report, &at, &[("maxConnections", tcp.max_connections)]);
        names::duration(report, &at, "connectTimeout", tcp.connect_timeout);
        names::duration(report, &at, "maxConnectionDuration", tcp.max_connection_duration);
        // 0 turns this one off.
        names::duration(report, &at, "idleTimeout", tcp.idle_timeout.filter(|timeout| !timeout.is_zero()));
        if let Some(keepalive) = &tcp.tcp_keepalive {
            let at = at.key("tcpKeepalive");
            names::duration(report, &at, "time", keepalive.time);
            names::duration(report, &at, "interval", keepalive.interval);
        }
    }
}

fn not_negative(report: &mut Report<'_>, at: &Path<'_>, limits: &[(&str, i32)]) {
    for (name, _) in limits.iter().filter(|(_, limit)| *limit < 0) {
        report.error(&at.key(name), "a limit cannot be below 0");
    }
}

pub(super) fn outlier(report: &mut Report<'_>, at: &Path<'_>, outlier: &OutlierDetection) {
    names::duration(report, at, "baseEjectionTime", outlier.base_ejection_time);
    names::duration(report, at, "interval", outlier.interval);
    if outlier.consecutive_errors != 0 {
        report.deprecated(&at.key("consecutiveErrors"), "consecutive5xxErrors or consecutiveGatewayErrors");
    }
    if !outlier.split_external_local_origin_errors && outlier.consecutive_local_origin_failures.is_some_and(|n| n > 0) {
        report.error(&at.key("consecutiveLocalOriginFailures"), "this needs splitExternalLocalOriginErrors: true");
    }
    let percents =
        [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)];
    for (name, percent) in percents {
        if !(0..=100).contains(&percent) {
            report.error(&at.key(name), "a percentage is from 0 to 100");
        }
    }
    let list = at.key("outlierDetectionHttpErrorCodes");
    for (index, code) in outlier.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..=599).contains(code) {
            report.error(&list.index(index), format!("status {code} is not from 100 to 599"));
        }
    }
}

/// `namespace`: of the object that holds it.
pub(super) fn client_tls(report: &mut Report<'_>, at: &Path<'_>, tls: &ClientTls, namespace: &str) {
    let by_name = !tls.credential_name.is_empty();
    if let Some(rest) = tls.credential_name.strip_prefix("configmap://") {
        match rest.split_once('/') {
            Some((owner, name)) if !owner.is_empty() && !name.is_empty() => {
                if owner != namespace {
                    let message =
                        format!("a ConfigMap with certificates is of the object's own namespace, {namespace}");
                    report.error(&at.key("credentialName"), message);
                }
            }
            _ => report.error(&at.key("credentialName"), "a ConfigMap is named as configmap://NAMESPACE/NAME"),
        }
    }
    if tls.insecure_skip_verify == Some(true) {
        let names = ("subjectAltNames", !tls.subject_alt_names.is_empty());
        let authority = ("caCertificates", !tls.ca_certificates.is_empty());
        let against: &[(&str, bool)] = match tls.mode {
            ClientTlsMode::Simple => &[authority, ("credentialName", by_name), names],
            ClientTlsMode::Mutual => &[authority, names],
            ClientTlsMode::Disable | ClientTlsMode::IstioMutual => &[],
        };
        for (name, _) in against.iter().filter(|(_, is_set)| *is_set) {
            report.error(&at.key(name), "without use, since insecureSkipVerify is true");
        }
    }
    if !matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
        return;
    }
    let files = [
        ("clientCertificate", &tls.client_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
        ("caCrl", &tls.ca_crl),
    ];
    if by_name {
        for (name, _) in files.iter().filter(|(_, file)| !file.is_empty()) {
            report.error(&at.key(name), format!("only one of `credentialName` and `{name}` can be set"));
        }
    } else if tls.mode == ClientTlsMode::Mutual {
        for (name, _) in files[..2].iter().filter(|(_, file)| file.is_empty()) {
            report.error(at, format!("mode MUTUAL needs `{name}`, or `credentialName`"));
        }
    }
}
