//! `model::config` -> Envoy's protobufs: the value of an `Any` of each resource type. Equal configuration
//! gives equal bytes.

use crate::convert::{self, common::any};
use amime_model::config::{Cluster, ClusterEndpoints, Listener, RouteConfig, Secret, VirtualHost};
use bytes::Bytes;

pub fn cluster(cluster: &Cluster) -> Bytes {
    any(&convert::cluster::to_pb(cluster)).value.into()
}

pub fn endpoints(endpoints: &ClusterEndpoints) -> Bytes {
    any(&convert::endpoint::to_pb(endpoints)).value.into()
}

pub fn listener(listener: &Listener) -> Bytes {
    any(&convert::listener::to_pb(listener)).value.into()
}

pub fn route(routes: &RouteConfig) -> Bytes {
    any(&convert::route::to_pb(routes)).value.into()
}

pub fn virtual_host(host: &VirtualHost) -> Bytes {
    any(&convert::route::host_to_pb(host)).value.into()
}

pub fn secret(secret: &Secret) -> Bytes {
    any(&convert::secret::to_pb(secret)).value.into()
}
