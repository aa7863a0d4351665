//! The annotations that Istio 1.31 knows, with the kinds that they belong to. `annotations` reads it.

/// One annotation.
pub(super) struct Annotation {
    pub(super) name: &'static str,
    pub(super) phase: Phase,
    pub(super) deprecated: bool,
    /// `["Any"]`: every kind.
    pub(super) kinds: &'static [&'static str],
}

/// How settled a feature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Alpha,
    Beta,
    Stable,
}

const fn row(name: &'static str, phase: Phase, deprecated: bool, kinds: &'static [&'static str]) -> Annotation {
    Annotation { name, phase, deprecated, kinds }
}

const ANY: &[&str] = &["Any"];
const POD: &[&str] = &["Pod"];
const ENTRY: &[&str] = &["WorkloadEntry"];

use Phase::{Alpha, Beta, Stable};

pub(super) const TABLE: &[Annotation] = &[
    row("alpha.istio.io/canonical-serviceaccounts", Alpha, true, &["Service"]),
    row("alpha.istio.io/kubernetes-serviceaccounts", Alpha, true, &["Service"]),
    row("ambient.istio.io/bypass-inbound-capture", Alpha, false, POD),
    row("ambient.istio.io/dns-capture", Alpha, false, POD),
    row("ambient.istio.io/redirection", Beta, false, POD),
    row("ambient.istio.io/waypoint-inbound-binding", Alpha, false, &["GatewayClass", "Gateway"]),
    row("galley.istio.io/analyze-suppress", Alpha, false, ANY),
    row("gateway.istio.io/controller-version", Alpha, false, ANY),
    row("gateway.istio.io/name-override", Alpha, false, &["Gateway"]),
    row("gateway.istio.io/service-account", Alpha, false, &["Gateway"]),
    row("inject.istio.io/templates", Alpha, false, POD),
    row("istio.io/autoRegistrationGroup", Alpha, false, ENTRY),
    row("istio.io/connectedAt", Alpha, false, ENTRY),
    row("istio.io/disconnectedAt", Alpha, false, ENTRY),
    row("istio.io/dry-run", Alpha, false, &["AuthorizationPolicy"]),
    row("istio.io/reroute-virtual-interfaces", Alpha, false, POD),
    row("istio.io/rev", Alpha, false, POD),
    row("istio.io/use-waypoint-canary-weight", Alpha, false, &["Service", "ServiceEntry", "Namespace"]),
    row("istio.io/workloadController", Alpha, false, ENTRY),
    row("kubernetes.io/ingress.class", Stable, false, &["Ingress"]),
    row("networking.istio.io/exportTo", Alpha, false, &["Service"]),
    row("networking.istio.io/service-type", Alpha, false, &["Gateway"]),
    row("networking.istio.io/traffic-distribution", Alpha, false, &["Namespace", "Service", "ServiceEntry"]),
    row("prometheus.istio.io/merge-metrics", Alpha, false, POD),
    row("proxy.istio.io/config", Beta, false, POD),
    row("proxy.istio.io/overrides", Alpha, false, POD),
    row("readiness.status.sidecar.istio.io/applicationPorts", Alpha, false, POD),
    row("readiness.status.sidecar.istio.io/failureThreshold", Alpha, false, POD),
    row("readiness.status.sidecar.istio.io/initialDelaySeconds", Alpha, false, POD),
    row("readiness.status.sidecar.istio.io/periodSeconds", Alpha, false, POD),
    row("sidecar.istio.io/agentLogLevel", Alpha, false, POD),
    row("sidecar.istio.io/bootstrapOverride", Alpha, false, POD),
    row("sidecar.istio.io/componentLogLevel", Alpha, false, POD),
    row("sidecar.istio.io/discoveryAddress", Alpha, true, POD),
    row("sidecar.istio.io/extraStatTags", Alpha, true, POD),
    row("sidecar.istio.io/inject", Beta, true, POD),
    row("sidecar.istio.io/interceptionMode", Alpha, false, POD),
    row("sidecar.istio.io/logLevel", Alpha, false, POD),
    row("sidecar.istio.io/nativeSidecar", Alpha, false, POD),
    row("sidecar.istio.io/proxyCPU", Alpha, false, POD),
    row("sidecar.istio.io/proxyCPULimit", Alpha, false, POD),
    row("sidecar.istio.io/proxyImage", Alpha, false, POD),
    row("sidecar.istio.io/proxyImageType", Alpha, false, POD),
    row("sidecar.istio.io/proxyMemory", Alpha, false, POD),
    row("sidecar.istio.io/proxyMemoryLimit", Alpha, false, POD),
    row("sidecar.istio.io/rewriteAppHTTPProbers", Alpha, false, POD),
    row("sidecar.istio.io/statsCompression", Alpha, true, POD),
    row("sidecar.istio.io/statsEvictionInterval", Alpha, false, POD),
    row("sidecar.istio.io/statsFlushInterval", Alpha, false, POD),
    row("sidecar.istio.io/statsHistogramBins", Alpha, false, POD),
    row("sidecar.istio.io/statsHistogramBuckets", Alpha, false, POD),
    row("sidecar.istio.io/statsInclusionPrefixes", Alpha, true, POD),
    row("sidecar.istio.io/statsInclusionRegexps", Alpha, true, POD),
    row("sidecar.istio.io/statsInclusionSuffixes", Alpha, true, POD),
    row("sidecar.istio.io/status", Alpha, false, POD),
    row("sidecar.istio.io/userVolume", Alpha, false, POD),
    row("sidecar.istio.io/userVolumeMount", Alpha, false, POD),
    row("status.sidecar.istio.io/port", Alpha, false, POD),
    row("topology.istio.io/controlPlaneClusters", Alpha, false, &["Namespace"]),
    row("traffic.istio.io/nodeSelector", Stable, false, &["Service"]),
    row("traffic.sidecar.istio.io/excludeInboundPorts", Alpha, false, POD),
    row("traffic.sidecar.istio.io/excludeInterfaces", Alpha, false, POD),
    row("traffic.sidecar.istio.io/excludeOutboundIPRanges", Alpha, false, POD),
    row("traffic.sidecar.istio.io/excludeOutboundPorts", Alpha, false, POD),
    row("traffic.sidecar.istio.io/includeInboundPorts", Alpha, false, POD),
    row("traffic.sidecar.istio.io/includeOutboundIPRanges", Alpha, false, POD),
    row("traffic.sidecar.istio.io/includeOutboundPorts", Alpha, false, POD),
    row("traffic.sidecar.istio.io/kubevirtInterfaces", Alpha, true, POD),
];
