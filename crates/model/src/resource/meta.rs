//! What every object has beside its spec: kind, name, labels. Also Kubernetes' label selectors.

use super::scalar::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Labels or annotations.
pub type Map = BTreeMap<String, String>;

macro_rules! kinds {
    (
        read { $($kind:ident $group:literal [$($version:literal),+] $plural:literal $namespaced:literal;)+ }
        tools { $($tool:ident $tool_group:literal $tool_plural:literal $tool_namespaced:literal;)+ }
    ) => {
        /// The kinds of objects that have a meaning here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($kind,)+ $($tool,)+ }

        impl Kind {
            /// Those that Amime reads.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)+];
            /// Those that the mesh leaves alone and the tools look at, as trees without types.
            pub const OF_TOOLS: &'static [Kind] = &[$(Kind::$tool,)+];

            /// `VirtualService`.
            pub fn as_str(self) -> &'static str {
                let name = match self { $(Self::$kind => stringify!($kind),)+ $(Self::$tool => stringify!($tool),)+ };
                // The Gateway API has a Gateway too.
                name.strip_prefix("Kubernetes").unwrap_or(name)
            }

            /// `networking.istio.io`; empty for Kubernetes' core group.
            pub fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)+ $(Self::$tool => $tool_group,)+ }
            }

            /// The versions that are read, the preferred one first; none of kinds that the tools alone look at.
            pub fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($version),+],)+ $(Self::$tool => &[],)+ }
            }

            /// `virtualservices`.
            pub fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)+ $(Self::$tool => $tool_plural,)+ }
            }

            pub fn is_namespaced(self) -> bool {
                match self { $(Self::$kind => $namespaced,)+ $(Self::$tool => $tool_namespaced,)+ }
            }
        }
    };
}

kinds! {
    read {
        VirtualService "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "virtualservices" true;
        DestinationRule "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "destinationrules" true;
        Gateway "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "gateways" true;
        ServiceEntry "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "serviceentries" true;
        WorkloadEntry "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "workloadentries" true;
        WorkloadGroup "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "workloadgroups" true;
        Sidecar "networking.istio.io" ["v1", "v1beta1", "v1alpha3"] "sidecars" true;
        ProxyConfig "networking.istio.io" ["v1beta1"] "proxyconfigs" true;
        AuthorizationPolicy "security.istio.io" ["v1", "v1beta1"] "authorizationpolicies" true;
        PeerAuthentication "security.istio.io" ["v1", "v1beta1"] "peerauthentications" true;
        RequestAuthentication "security.istio.io" ["v1", "v1beta1"] "requestauthentications" true;
        Namespace "" ["v1"] "namespaces" false;
        Node "" ["v1"] "nodes" false;
        Service "" ["v1"] "services" true;
        Pod "" ["v1"] "pods" true;
        Endpoints "" ["v1"] "endpoints" true;
        ServiceAccount "" ["v1"] "serviceaccounts" true;
        Secret "" ["v1"] "secrets" true;
        ConfigMap "" ["v1"] "configmaps" true;
        EndpointSlice "discovery.k8s.io" ["v1", "v1beta1"] "endpointslices" true;
        Deployment "apps" ["v1"] "deployments" true;
        StatefulSet "apps" ["v1"] "statefulsets" true;
        DaemonSet "apps" ["v1"] "daemonsets" true;
        ReplicaSet "apps" ["v1"] "replicasets" true;
        Job "batch" ["v1"] "jobs" true;
        CronJob "batch" ["v1", "v1beta1"] "cronjobs" true;
    }
    tools {
        EnvoyFilter "networking.istio.io" "envoyfilters" true;
        WasmPlugin "extensions.istio.io" "wasmplugins" true;
        Telemetry "telemetry.istio.io" "telemetries" true;
        IstioOperator "install.istio.io" "istiooperators" true;
        MeshNetworks "" "meshnetworks" true;
        ChartValues "" "chartvalues" true;
        KubernetesGateway "gateway.networking.k8s.io" "gateways" true;
        HTTPRoute "gateway.networking.k8s.io" "httproutes" true;
        GRPCRoute "gateway.networking.k8s.io" "grpcroutes" true;
        MutatingWebhookConfiguration "admissionregistration.k8s.io" "mutatingwebhookconfigurations" false;
        ValidatingWebhookConfiguration "admissionregistration.k8s.io" "validatingwebhookconfigurations" false;
        CustomResourceDefinition "apiextensions.k8s.io" "customresourcedefinitions" false;
        Ingress "networking.k8s.io" "ingresses" true;
        PodDisruptionBudget "policy" "poddisruptionbudgets" true;
        HorizontalPodAutoscaler "autoscaling" "horizontalpodautoscalers" true;
    }
}

impl Kind {
    /// The kind of that group (any version); `None` where Amime does not read it.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == kind && known.group() == group)
    }

    /// The kind of that group that the tools alone look at.
    pub fn of_tools(group: &str, kind: &str) -> Option<Self> {
        Self::OF_TOOLS.iter().copied().find(|known| known.as_str() == kind && known.group() == group)
    }

    /// Istio's own kinds: their unknown fields are diagnostics.
    pub fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// Kinds of security.istio.io: read and checked, not enforced yet.
    pub fn is_security(self) -> bool {
        self.group() == "security.istio.io"
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an object is called. Orders by kind, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    pub kind: Kind,
    /// Empty for kinds without a namespace.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ResourceId {
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ResourceId {
    /// `VirtualService shop/reviews`, `Namespace shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The parts of `metadata` that a mesh uses; name and namespace are in the `ResourceId`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    pub labels: Map,
    pub annotations: Map,
    /// `None` where the object does not say, as in files it rarely does: then it counts as older than all that do.
    pub creation_timestamp: Option<Timestamp>,
    pub owners: Vec<OwnerReference>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
    pub controller: bool,
}

/// Istio's `WorkloadSelector` of policies, DestinationRules and ProxyConfigs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchLabels {
    pub match_labels: Map,
}

impl MatchLabels {
    /// Whether all labels are there; an empty selector holds for everything.
    pub fn matches(&self, labels: &Map) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Kubernetes' selector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    pub match_labels: Map,
    pub match_expressions: Vec<LabelRequirement>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelRequirement {
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: String,
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether all requirements hold; an empty selector holds for everything. An unknown operator holds for nothing.
    pub fn matches(&self, labels: &Map) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl LabelRequirement {
    fn holds(&self, value: Option<&String>) -> bool {
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            // As in Kubernetes, NotIn holds where the label is absent.
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}
