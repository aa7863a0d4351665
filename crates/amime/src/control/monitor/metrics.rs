//! `/metrics`: by Istio's names where Istio has them, so that its dashboards and alerts go on working.

use super::exposition::Exposition;
use super::process;
use super::view::{View, proxy_name};
use crate::serve::{Answer, text};
use amime_control::distribute::CONVERGENCE_BOUNDS;
use amime_model::diagnostic::Severity;
use amime_xds::ResourceType;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use std::collections::BTreeMap;

/// So many proxies are named of those that refuse something; the others are counted together.
const MOST_NAMED: usize = 100;
const OTHERS: &str = "others";

pub(super) fn page(view: &View) -> Answer {
    let mut out = Exposition::default();
    write(view, &mut out);
    process::write(&mut out);
    let mut answer = text(StatusCode::OK, out.into_text());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    answer
}

/// All but the process's own.
fn write(view: &View, out: &mut Exposition) {
    out.family("pilot_info", "gauge", "Pilot version and build information.");
    out.sample("pilot_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let uptime = view.started.elapsed().unwrap_or_default().as_secs();
    out.gauge("istiod_uptime_seconds", "Current istiod server uptime in seconds.", uptime);
    proxies(view, out);
    pushes(view, out);
    rejected(view, out);
    configuration(view, out);
}

fn proxies(view: &View, out: &mut Exposition) {
    let mut by_version: BTreeMap<&str, usize> = BTreeMap::new();
    for proxy in &view.proxies {
        let version = proxy.connection.version.as_str();
        *by_version.entry(if version.is_empty() { "unknown" } else { version }).or_default() += 1;
    }
    out.family("pilot_xds", "gauge", "Number of endpoints connected to this pilot using XDS.");
    for (version, count) in by_version {
        out.sample("pilot_xds", &[("version", version)], count);
    }
    let in_step = view.proxies.iter().filter(|proxy| proxy.runs(view.generation.number)).count();
    out.family("amime_proxies", "gauge", "Connected proxies, by whether they run all that they are to have.");
    out.sample("amime_proxies", &[("in_step", "true")], in_step);
    out.sample("amime_proxies", &[("in_step", "false")], view.proxies.len() - in_step);
    out.counter("amime_xds_streams_total", "Streams that proxies have opened.", view.counts.streams);
}

/// As Istio writes types in labels.
fn label(kind: ResourceType) -> String {
    kind.short().to_ascii_lowercase()
}

fn pushes(view: &View, out: &mut Exposition) {
    out.family("pilot_xds_pushes", "counter", "Responses sent to proxies, by type.");
    for (kind, count) in view.counts.pushes.iter() {
        out.sample("pilot_xds_pushes", &[("type", &label(kind))], count);
    }
    out.family("pilot_total_xds_rejects", "counter", "Total number of XDS responses from pilot rejected by proxy.");
    for (kind, count) in view.counts.rejects.iter() {
        out.sample("pilot_total_xds_rejects", &[("type", &label(kind))], count);
    }
    out.histogram(
        "pilot_proxy_convergence_time",
        "Delay in seconds between config change and a proxy receiving all required configuration.",
        &CONVERGENCE_BOUNDS,
        &view.counts.converged,
        view.counts.converging.as_secs_f64(),
    );
}

/// What is refused now, for each proxy: the names that Istio gives these gauges.
fn rejected(view: &View, out: &mut Exposition) {
    for kind in ResourceType::ALL {
        let mut by_proxy: BTreeMap<String, usize> = BTreeMap::new();
        for proxy in &view.proxies {
            let count = proxy.stream.types[kind].rejected.len();
            if count > 0 {
                let name = proxy_name(proxy);
                let named = by_proxy.len() < MOST_NAMED || by_proxy.contains_key(&name);
                *by_proxy.entry(if named { name } else { OTHERS.to_owned() }).or_default() += count;
            }
        }
        if by_proxy.is_empty() {
            continue;
        }
        let name = format!("pilot_xds_{}_reject", label(kind));
        out.family(&name, "gauge", &format!("Pilot rejected {} configs.", kind.short()));
        for (node, count) in by_proxy {
            out.sample(&name, &[("node", &node), ("err", "Internal")], count);
        }
    }
}

fn configuration(view: &View, out: &mut Exposition) {
    let snapshot = view.snapshot();
    out.gauge("pilot_services", "Total services known to pilot.", snapshot.services().len());
    let virtual_services = snapshot.virtual_services().len();
    out.gauge("pilot_virt_services", "Total virtual services known to pilot.", virtual_services);
    let ports = snapshot.services().iter().flat_map(|service| service.ports.iter().map(move |port| (service, port)));
    let empty = ports.filter(|(service, port)| {
        let by_eds = matches!(service.resolution, amime_model::snapshot::Resolution::Static);
        by_eds && snapshot.endpoints(service, port.number).is_empty()
    });
    out.gauge("pilot_eds_no_instances", "Number of clusters without instances.", empty.count());
    out.family("pilot_inbound_updates", "counter", "Total number of updates received by pilot.");
    out.sample("pilot_inbound_updates", &[("type", "config")], view.generation.number);
    out.gauge("amime_config_pending", "References of objects to what is not there.", snapshot.pending().len());
    out.family("amime_config_findings", "gauge", "What there is to say of the files read, by severity.");
    for (severity, name) in [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "info")] {
        let count = view.generation.diagnostics.iter().filter(|finding| finding.severity == severity).count();
        out.sample("amime_config_findings", &[("severity", name)], count);
    }
}

#[cfg(test)]
pub(super) fn for_tests(view: &View) -> String {
    let mut out = Exposition::default();
    write(view, &mut out);
    out.into_text()
}
