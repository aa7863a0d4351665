//! What of Istio's ProxyConfig a proxy goes by: from `PROXY_CONFIG` and the annotation `proxy.istio.io/config`, which
//! the injector hands on. `settings` and `identity` read it.

use amime_model::diagnostic::Severity;
use amime_model::resource::load_mesh_config;
use amime_model::yaml;
use anyhow::bail;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The fields that matter here; None where they are not written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ProxyConfig {
    /// 0: one for each core.
    pub(super) concurrency: Option<usize>,
    pub(super) discovery_address: Option<String>,
    /// Variables (`ISTIO_META_…`) that are set for the proxy.
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) admin_port: Option<u16>,
    pub(super) status_port: Option<u16>,
    pub(super) drain: Option<Duration>,
    pub(super) termination_drain: Option<Duration>,
}

impl ProxyConfig {
    /// Reads a text, which `source` names.
    pub(super) fn read(source: &str, text: &str) -> anyhow::Result<Self> {
        // The same reader, rules and words as for a whole MeshConfig.
        let within: String = text.lines().map(|line| format!("  {line}\n")).collect();
        let whole = format!("defaultConfig:\n{within}");
        let loaded = load_mesh_config(source, &whole);
        if let Some(wrong) = loaded.diagnostics.iter().find(|found| found.severity == Severity::Error) {
            let expected = wrong.expected.as_ref().map(|expected| format!(" (expected: {expected})"));
            bail!("{source}: {}: {}{}", wrong.field, wrong.message, expected.unwrap_or_default());
        }
        let file: Arc<str> = source.into();
        let parsed = yaml::parse(&file, &whole);
        let Some(root) = parsed.documents.first().and_then(|document| document.root().get("defaultConfig")) else {
            return Ok(Self::default());
        };
        let config = loaded.config.default_config;
        let written = |field: &str| root.get(field).is_some_and(|node| !node.is_null());
        let port = |number: i32| u16::try_from(number).ok();
        Ok(Self {
            concurrency: config.concurrency.and_then(|number| usize::try_from(number).ok()),
            discovery_address: written("discoveryAddress").then_some(config.discovery_address),
            metadata: config.proxy_metadata.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            admin_port: if written("proxyAdminPort") { port(config.proxy_admin_port) } else { None },
            status_port: if written("statusPort") { port(config.status_port) } else { None },
            drain: written("drainDuration").then_some(*config.drain_duration),
            termination_drain: written("terminationDrainDuration").then_some(*config.termination_drain_duration),
        })
    }

    /// With what another says in the place of what this one says.
    pub(super) fn overridden_by(mut self, other: Self) -> Self {
        self.metadata.extend(other.metadata);
        Self {
            concurrency: other.concurrency.or(self.concurrency),
            discovery_address: other.discovery_address.or(self.discovery_address),
            metadata: self.metadata,
            admin_port: other.admin_port.or(self.admin_port),
            status_port: other.status_port.or(self.status_port),
            drain: other.drain.or(self.drain),
            termination_drain: other.termination_drain.or(self.termination_drain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_and_what_is_not_written() {
        let json =
            r#"{"terminationDrainDuration":"30s","concurrency":0,"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}"#;
        let one = ProxyConfig::read("PROXY_CONFIG", json).unwrap();
        assert_eq!(one.termination_drain, Some(Duration::from_secs(30)));
        assert_eq!((one.concurrency, one.drain, one.discovery_address.as_deref()), (Some(0), None, None));
        assert_eq!(one.metadata["ISTIO_META_DNS_CAPTURE"], "true");
        let other = ProxyConfig::read("annotation", "concurrency: 3\ndiscoveryAddress: istiod:15012\n").unwrap();
        let both = one.overridden_by(other);
        assert_eq!((both.concurrency, both.termination_drain), (Some(3), Some(Duration::from_secs(30))));
        assert_eq!(both.discovery_address.as_deref(), Some("istiod:15012"));
        assert_eq!(ProxyConfig::read("PROXY_CONFIG", "{}\n").unwrap(), ProxyConfig::default());
    }

    #[test]
    fn an_error_names_the_variable_and_the_field() {
        let error = ProxyConfig::read("PROXY_CONFIG", "terminationDrainDuration: soon\n").unwrap_err().to_string();
        assert!(error.starts_with("PROXY_CONFIG: defaultConfig.terminationDrainDuration: "), "{error}");
        assert!(ProxyConfig::read("PROXY_CONFIG", "a: [").is_err());
    }
}
