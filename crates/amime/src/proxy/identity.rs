//! Who a proxy is: Istio's node id and metadata, from flags, environment and the pod's mounted labels. `run` asks
//! once, before anything is opened; what is missing is named with the flag and the variable that give it.

use super::environment::Environment;
use super::proxy_config::ProxyConfig;
use super::{Kind, settings::Lifecycle};
use amime_model::config::Locality;
use amime_model::translate::Interception;
use amime_proxy::ProxyIdentity;
use anyhow::{Context, bail};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What flags say; the environment says the rest.
#[derive(Debug)]
pub(crate) struct IdentityOptions {
    pub(crate) pod_name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) service_account: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) pod_info: PathBuf,
    pub(crate) interception: Option<Interception>,
}

/// A proxy as it introduces itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) node: amime_xds::Node,
    pub(super) proxy: ProxyIdentity,
    /// The pod's own address.
    pub(super) address: IpAddr,
    pub(super) interception: Interception,
}

/// The label by which Istio's users say where a pod is; dots stand for the slashes that a label cannot have.
const LOCALITY: &str = "istio-locality";
/// Differs with each version of a workload's template, so nobody selects by it.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The pod's own settings, which the injector copies from its annotations.
const PROXY_CONFIG_ANNOTATION: &str = "proxy.istio.io/config";

/// The labels and annotations that the pod mounts as files (Kubernetes' downward API).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PodInfo {
    labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl PodInfo {
    /// What is not mounted is empty.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(downward_api(&text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
                Err(error) => Err(error).with_context(|| format!("--pod-info: {}", path.display())),
            }
        };
        Ok(Self { labels: read("labels")?, annotations: read("annotations")? })
    }
}

/// Lines of `key="value"`, the value as Go quotes it.
fn downward_api(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), serde_json::from_str(value).ok()?))).collect()
}

/// `PROXY_CONFIG`, and over it the pod's annotation.
pub(super) fn proxy_config(environment: &Environment, pod: &PodInfo) -> anyhow::Result<ProxyConfig> {
    let mut config = match environment.get("PROXY_CONFIG") {
        Some(text) => ProxyConfig::read("PROXY_CONFIG", text)?,
        None => ProxyConfig::default(),
    };
    let annotations = json_strings(environment, "ISTIO_METAJSON_ANNOTATIONS")?;
    let annotation = pod.annotations.get(PROXY_CONFIG_ANNOTATION).or(annotations.get(PROXY_CONFIG_ANNOTATION));
    if let Some(text) = annotation {
        config = config.overridden_by(ProxyConfig::read(PROXY_CONFIG_ANNOTATION, text)?);
    }
    Ok(config)
}

impl Identity {
    pub(super) fn of(
        kind: Kind,
        options: &IdentityOptions,
        environment: &Environment,
        pod: &PodInfo,
        config: &ProxyConfig,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let given = |flag: &Option<String>, variable: &str| {
            flag.clone().or_else(|| environment.get(variable).map(str::to_owned))
        };
        let name = given(&options.pod_name, "POD_NAME")
            .context("the pod's name is not known: pass --pod-name NAME or set POD_NAME")?;
        let namespace = given(&options.namespace, "POD_NAMESPACE")
            .context("the pod's namespace is not known: pass --namespace NAMESPACE or set POD_NAMESPACE")?;
        let addresses = addresses(options, environment)?;
        let Some(address) = addresses.first().copied() else {
            bail!("the pod's address is not known: pass --ip ADDRESS or set INSTANCE_IP");
        };
        let domain = options.domain.clone().unwrap_or_else(|| format!("{namespace}.svc.cluster.local"));
        for (what, text) in [("--pod-name", &name), ("--namespace", &namespace), ("--domain", &domain)] {
            if text.is_empty() || text.contains(|c: char| c == '~' || c.is_whitespace()) {
                bail!("{what} {text:?}: it becomes a part of the node's id, so no ~ and no spaces");
            }
        }
        let mut metadata = metadata(options, environment, config)?;
        let interception = interception(options, &metadata)?;
        let mut labels = json_strings(environment, "ISTIO_METAJSON_LABELS")?;
        let mounted = pod.labels.iter().filter(|(key, _)| *key != TEMPLATE_HASH);
        labels.extend(mounted.map(|(key, value)| (key.clone(), value.clone())));
        labels.extend(options.labels.iter().cloned());
        let locality = locality(&mut labels);

        let mut set = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
        set("NAME", name.clone().into());
        set("NAMESPACE", namespace.clone().into());
        let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        set("INSTANCE_IPS", all.join(",").into());
        if let Some(account) = given(&options.service_account, "SERVICE_ACCOUNT") {
            set("SERVICE_ACCOUNT", account.into());
        }
        set("LABELS", labels.into_iter().collect());
        set("PROXY_CONFIG", lifecycle.to_json());
        set("AMIME_VERSION", env!("CARGO_PKG_VERSION").into());
        let mode = if interception == Interception::ProxyProtocol { "PROXY_PROTOCOL" } else { "REDIRECT" };
        set("INTERCEPTION_MODE", mode.into());
        if binds_upstream(interception, address) {
            set("BINDS_UPSTREAM", "true".into());
        }
        // What control planes show as the proxy's version. Istio's takes what begins with no number for its own latest.
        let version = concat!("amime-", env!("CARGO_PKG_VERSION"));
        metadata.entry("ISTIO_VERSION").or_insert_with(|| version.into());
        metadata.entry("CLUSTER_ID").or_insert_with(|| "Kubernetes".into());
        let workload = metadata.get("WORKLOAD_NAME").and_then(Value::as_str).unwrap_or(&name).to_owned();

        let role = if kind == Kind::Sidecar { "sidecar" } else { "router" };
        let id = format!("{role}~{address}~{name}.{namespace}~{domain}");
        let app = metadata.get("LABELS").and_then(|labels| labels.get("app")).and_then(Value::as_str);
        let cluster = format!("{}.{namespace}", app.unwrap_or(&workload));
        let metadata = Value::Object(metadata);
        let proxy = ProxyIdentity::of_node(&id, &metadata);
        let node = amime_xds::Node { id, cluster, metadata, locality };
        Ok(Self { node, proxy, address, interception })
    }

    /// The address that upstream sockets on the loopback network are bound to, for a proxy that is not in its pod.
    pub(super) fn loopback_source(&self) -> Option<IpAddr> {
        binds_upstream(self.interception, self.address).then_some(self.address)
    }
}

/// A pod of this machine's loopback network: its proxy binds by itself, so that it shares its clusters with others.
fn binds_upstream(interception: Interception, address: IpAddr) -> bool {
    interception == Interception::ProxyProtocol && address.is_loopback()
}

fn addresses(options: &IdentityOptions, environment: &Environment) -> anyhow::Result<Vec<IpAddr>> {
    if !options.addresses.is_empty() {
        return Ok(options.addresses.clone());
    }
    let text = environment.get("INSTANCE_IP").unwrap_or_default();
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().with_context(|| format!("INSTANCE_IP={text}: {part} is no IP address"))).collect()
}

/// Of the lowest rank first: ProxyConfig's, the environment's, the flags'.
fn metadata(
    options: &IdentityOptions,
    environment: &Environment,
    config: &ProxyConfig,
) -> anyhow::Result<Map<String, Value>> {
    let mut metadata = Map::new();
    let of_config = config.metadata.iter().filter_map(|(name, value)| Some((name.strip_prefix("ISTIO_META_")?, value)));
    metadata.extend(of_config.map(|(name, value)| (name.to_owned(), value.as_str().into())));
    let of_environment = environment.with_prefix("ISTIO_META_");
    metadata.extend(of_environment.map(|(name, value)| (name.to_owned(), value.into())));
    for (name, text) in environment.with_prefix("ISTIO_METAJSON_") {
        let value: Value = serde_json::from_str(text)
            .with_context(|| format!("ISTIO_METAJSON_{name}: write a JSON object, as {{\"key\": \"value\"}}"))?;
        let Value::Object(fields) = value else {
            bail!("ISTIO_METAJSON_{name}: write a JSON object, as {{\"key\": \"value\"}}");
        };
        match name {
            "LABELS" => {}
            "ANNOTATIONS" => {
                metadata.insert(name.to_owned(), Value::Object(fields));
            }
            _ => metadata.extend(fields),
        }
    }
    metadata.extend(options.metadata.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    Ok(metadata)
}

/// A JSON object of strings in a variable.
fn json_strings(environment: &Environment, variable: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let Some(text) = environment.get(variable) else { return Ok(BTreeMap::new()) };
    serde_json::from_str(text)
        .with_context(|| format!("{variable}: write a JSON object of strings, as {{\"app\": \"reviews\"}}"))
}

fn interception(options: &IdentityOptions, metadata: &Map<String, Value>) -> anyhow::Result<Interception> {
    if let Some(interception) = options.interception {
        return Ok(interception);
    }
    match metadata.get("INTERCEPTION_MODE").and_then(Value::as_str) {
        None | Some("" | "REDIRECT") => Ok(Interception::Redirect),
        Some("PROXY_PROTOCOL") => Ok(Interception::ProxyProtocol),
        Some(other) => bail!(
            "ISTIO_META_INTERCEPTION_MODE={other} is not supported: set REDIRECT (connections redirected by the kernel) \
             or PROXY_PROTOCOL, or pass --interception"
        ),
    }
}

/// Reads the locality label, and writes it as Istio's agent does: with slashes.
fn locality(labels: &mut BTreeMap<String, String>) -> Locality {
    let Some(text) = labels.get_mut(LOCALITY) else { return Locality::default() };
    if !text.contains('/') {
        *text = text.replace('.', "/");
    }
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
