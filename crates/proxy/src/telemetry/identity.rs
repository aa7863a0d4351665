//! Who a proxy is: what its metrics' labels, its records and its `x-envoy-peer-metadata` say. Made by whoever
//! starts the proxy.

use std::collections::BTreeMap;

/// Istio's name of a cluster that has none.
const CLUSTER: &str = "Kubernetes";

/// Who a proxy is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyIdentity {
    /// The xDS node id: `sidecar~127.1.0.1~reviews-v1-x.default~default.svc.cluster.local`.
    pub node_id: String,
    /// The workload (`reviews-v1`), not the pod.
    pub workload: String,
    pub namespace: String,
    /// The pod; empty where the node id is to tell.
    pub pod: String,
    /// The pod's labels: `app`, `version` and the canonical ones are looked at.
    pub labels: BTreeMap<String, String>,
    /// Istio's CLUSTER_ID; `Kubernetes` where empty.
    pub cluster: String,
    /// Istio's OWNER: `kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1`, or empty.
    pub owner: String,
}

impl ProxyIdentity {
    /// From the node's id and its metadata, as Istio's agent has them (WORKLOAD_NAME, NAMESPACE, LABELS, CLUSTER_ID,
    /// NAME, OWNER). What the metadata does not tell comes from the id.
    pub fn of_node(id: &str, metadata: &serde_json::Value) -> Self {
        let text = |key: &str| metadata.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let (pod, namespace) = id.split('~').nth(2).and_then(|name| name.rsplit_once('.')).unwrap_or(("", ""));
        let or = |told: String, else_: &str| if told.is_empty() { else_.to_owned() } else { told };
        let pod = or(text("NAME"), pod);
        let labels = metadata.get("LABELS").and_then(|value| value.as_object());
        Self {
            node_id: id.to_owned(),
            workload: or(text("WORKLOAD_NAME"), &pod),
            namespace: or(text("NAMESPACE"), namespace),
            pod,
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            cluster: text("CLUSTER_ID"),
            owner: text("OWNER"),
        }
    }

    pub(crate) fn cluster(&self) -> &str {
        if self.cluster.is_empty() { CLUSTER } else { &self.cluster }
    }

    /// The first of these labels that the pod has; empty where it has none.
    pub(crate) fn label(&self, keys: &[&str]) -> &str {
        keys.iter().find_map(|key| self.labels.get(*key)).map_or("", String::as_str)
    }

    /// Istio's canonical service: by its own label, else Kubernetes', else `app`, else the workload's name.
    pub(crate) fn canonical_service(&self) -> &str {
        match self.label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]) {
            "" => &self.workload,
            name => name,
        }
    }

    /// Istio's canonical revision; `latest` where no label tells.
    pub(crate) fn canonical_revision(&self) -> &str {
        match self.label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]) {
            "" => "latest",
            revision => revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_nodes_metadata() {
        let metadata = serde_json::json!({
            "WORKLOAD_NAME": "reviews-v1", "CLUSTER_ID": "east", "LABELS": { "app": "reviews", "version": "v1" },
        });
        let identity = ProxyIdentity::of_node("sidecar~10.1.1.1~reviews-v1-x.shop~shop.svc.cluster.local", &metadata);
        assert_eq!(identity.workload, "reviews-v1");
        assert_eq!((identity.pod.as_str(), identity.namespace.as_str()), ("reviews-v1-x", "shop"));
        assert_eq!((identity.canonical_service(), identity.canonical_revision()), ("reviews", "v1"));
        assert_eq!(identity.cluster(), "east");
    }

    #[test]
    fn what_is_not_told() {
        let identity = ProxyIdentity::of_node("router~10.1.1.1~gw.edge~edge.svc.cluster.local", &serde_json::json!({}));
        assert_eq!((identity.workload.as_str(), identity.namespace.as_str()), ("gw", "edge"));
        assert_eq!((identity.canonical_service(), identity.canonical_revision()), ("gw", "latest"));
        assert_eq!(identity.cluster(), "Kubernetes");
    }
}
