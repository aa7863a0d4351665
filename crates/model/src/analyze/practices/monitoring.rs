//! AM-S3: sidecars on pods that do nothing but monitoring, and what they cost.

use super::injected::{asks_for_sidecar, has_sidecar, is_made_by_another};
use crate::analyze::istio::{injector_name, injector_values};
use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::resource::workload::Container;
use crate::resource::{Kind, Spec};

/// Images by the end of their path, and containers by their name (those without a slash); `*` ends a beginning.
const MONITORING: [&str; 62] = [
    "alertmanager",
    "alloy",
    "aws-for-fluent-bit*",
    "aws-otel-collector",
    "azuremonitor/containerinsights/ciprod",
    "beyla",
    "blackbox-exporter",
    "blackbox_exporter",
    "cadvisor",
    "cloudwatch-agent",
    "cloudwatch-exporter",
    "datadog-agent",
    "datadog/agent",
    "datadog/cluster-agent",
    "datadoghq/agent",
    "datadoghq/cluster-agent",
    "dcgm-exporter",
    "elastic-agent",
    "elasticsearch-exporter",
    "elasticsearch_exporter",
    "filebeat",
    "fluent-bit*",
    "fluentbit",
    "fluentd*",
    "grafana/agent",
    "grafana-agent*",
    "heartbeat",
    "jaeger-agent",
    "kafka-exporter",
    "kube-state-metrics",
    "memcached-exporter",
    "metricbeat",
    "metrics-server",
    "mongodb-exporter",
    "mongodb_exporter",
    "mysqld-exporter",
    "mysqld_exporter",
    "netdata",
    "newrelic/infrastructure*",
    "newrelic-infra*",
    "node-exporter",
    "node_exporter",
    "node-problem-detector",
    "opentelemetry-collector*",
    "otel-collector*",
    "otelcol*",
    "otc-container",
    "postgres-exporter",
    "postgres_exporter",
    "prometheus",
    "prometheus-adapter",
    "prometheus-node-exporter",
    "prometheus-operator",
    "prometheus-server",
    "promtail",
    "pushgateway",
    "redis_exporter",
    "snmp-exporter",
    "splunk-otel-collector",
    "statsd-exporter",
    "telegraf",
    "vmagent",
];

/// What stands beside such containers and is nothing without them.
const HELPERS: [&str; 9] = [
    "config-reloader",
    "configmap-reload",
    "k8s-sidecar",
    "kube-rbac-proxy",
    "kube-rbac-proxy-main",
    "prometheus-config-reloader",
    "prometheus-server-configmap-reload",
    "thanos",
    "thanos-sidecar",
];

pub(super) fn find(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    for pod in world.pods.all() {
        let Some(name) = monitoring(pod) else { continue };
        if !has_sidecar(world, pod) || is_made_by_another(world, pod) {
            continue;
        }
        let message = format!("pods of {name} alone get a sidecar, which asks for {}", cost(world, pod));
        let field = format!("{}.containers[0].image", pod.path);
        let mut finding = about(codes::NEEDLESS_SIDECAR, pod.object, &field, message);
        if asks_for_sidecar(pod) {
            finding.severity = Severity::Info;
            finding.message.push_str("; the pod itself asks for it");
        }
        found.push(finding.with_suggestion("sidecar.istio.io/inject: \"false\""));
    }
}

/// What monitors in a pod that does nothing else.
fn monitoring<'p>(pod: &PodView<'p>) -> Option<&'p str> {
    let own = || pod.spec.containers.iter().filter(|container| container.name != "istio-proxy");
    let is_known = |container: &Container| is_any(container, &MONITORING) || is_any(container, &HELPERS);
    let first = own().find(|container| is_any(container, &MONITORING))?;
    own().all(is_known).then_some(first.name.as_str())
}

fn is_any(container: &Container, known: &[&str]) -> bool {
    let image = container.image.split('@').next().unwrap_or_default();
    // A colon before the last slash is a registry's port.
    let image = match image.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => image,
    };
    let last = image.rsplit('/').next().unwrap_or_default();
    // As Rancher calls its copies.
    let copy = last.strip_prefix("mirrored-").unwrap_or_default();
    known.iter().any(|known| {
        if known.contains('/') {
            return image == *known || image.ends_with(&format!("/{known}"));
        }
        [container.name.as_str(), last].into_iter().any(|name| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *known,
        }) || copy.ends_with(&format!("-{known}"))
    })
}

/// What Istio's chart asks for where nobody says otherwise.
const CPU: &str = "100m";
const MEMORY: &str = "128Mi";

/// `100m CPU and 128Mi memory, 300m and 384Mi for 3 replicas`.
fn cost(world: &World<'_>, pod: &PodView<'_>) -> String {
    let (cpu, memory) = requests(world, pod);
    let each = match (cpu.as_deref(), memory.as_deref()) {
        (Some(cpu), Some(memory)) => format!("{cpu} CPU and {memory} memory"),
        (Some(cpu), None) => format!("{cpu} CPU"),
        (None, Some(memory)) => format!("{memory} memory"),
        (None, None) => "no CPU and memory of its own".to_owned(),
    };
    let replicas = match &pod.object.spec {
        Spec::Deployment(it) | Spec::StatefulSet(it) | Spec::ReplicaSet(it) => it.replicas.unwrap_or(1),
        _ => 1,
    };
    if pod.object.id.kind == Kind::DaemonSet {
        return format!("{each} on each node");
    }
    let times = |text: Option<&str>, base: Option<f64>, unit: &str| Some(format!("{}{unit}", base? * scale(text?)?));
    let replicas_f = f64::from(replicas);
    let all: Vec<String> = [
        times(cpu.as_deref(), Some(1000.0 * replicas_f), "m CPU"),
        times(memory.as_deref(), Some(replicas_f / 1_048_576.0), "Mi memory"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if replicas < 2 || all.is_empty() { each } else { format!("{each}; {} for {replicas} replicas", all.join(" and ")) }
}

/// What the sidecar asks for: by the pod's annotations, else as the installation says. One annotation takes the place of
/// all that the installation says, as in Istio's template.
fn requests(world: &World<'_>, pod: &PodView<'_>) -> (Option<String>, Option<String>) {
    let annotation = |name: &str| pod.annotations.get(&format!("sidecar.istio.io/{name}")).cloned();
    let said = ["proxyCPU", "proxyMemory", "proxyCPULimit", "proxyMemoryLimit"];
    if said.iter().any(|name| annotation(name).is_some()) {
        return (annotation("proxyCPU"), annotation("proxyMemory"));
    }
    let labels = world.namespace_labels(&pod.object.id.namespace);
    let revision = pod.labels.get("istio.io/rev").or_else(|| labels?.get("istio.io/rev"));
    let values = injector_values(world, &injector_name(revision));
    let said = values.map(|values| values["global"]["proxy"]["resources"].clone()).filter(|said| said.is_object());
    match said {
        Some(said) => {
            let text = |name: &str| said["requests"][name].as_str().map(str::to_owned);
            (text("cpu"), text("memory"))
        }
        None => (Some(CPU.to_owned()), Some(MEMORY.to_owned())),
    }
}

/// A quantity of Kubernetes as a number: cores, or bytes.
fn scale(text: &str) -> Option<f64> {
    let end = text.find(|next: char| !next.is_ascii_digit() && next != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}
