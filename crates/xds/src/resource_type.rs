//! The resource types of ADS that Amime knows, and a small map with one place for each.

use std::ops::{Index, IndexMut};

/// In the order in which an update goes out: what others refer to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    Secret,
    Cluster,
    Endpoints,
    Listener,
    Route,
    /// Of route configurations that say so; called `ROUTECONFIG/VHOSTNAME`.
    VirtualHost,
}

impl ResourceType {
    pub const ALL: [Self; 6] =
        [Self::Secret, Self::Cluster, Self::Endpoints, Self::Listener, Self::Route, Self::VirtualHost];

    pub fn type_url(self) -> &'static str {
        match self {
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.type_url() == url)
    }

    /// Listeners and clusters are subscribed to as a whole, the rest by name.
    pub fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// The short name that users of Istio and Envoy know.
    pub fn short(self) -> &'static str {
        match self {
            Self::Secret => "SDS",
            Self::Cluster => "CDS",
            Self::Endpoints => "EDS",
            Self::Listener => "LDS",
            Self::Route => "RDS",
            Self::VirtualHost => "VHDS",
        }
    }
}

/// One value for each resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerType<T>([T; 6]);

impl<T> PerType<T> {
    pub fn iter(&self) -> impl Iterator<Item = (ResourceType, &T)> {
        ResourceType::ALL.into_iter().zip(self.0.iter())
    }
}

impl<T> Index<ResourceType> for PerType<T> {
    type Output = T;

    fn index(&self, index: ResourceType) -> &T {
        &self.0[index as usize]
    }
}

impl<T> IndexMut<ResourceType> for PerType<T> {
    fn index_mut(&mut self, index: ResourceType) -> &mut T {
        &mut self.0[index as usize]
    }
}
