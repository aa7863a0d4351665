//! How a cluster balances.

use super::common::{duration, from_duration, u32_value, u64_value};
use amime_model::config::{Cluster, Discovery, LbPolicy, SlowStart};
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::load_balancing_policies as policies;
use envoy_types::pb::envoy::r#type::v3::Percent;
use pb::cluster::LbConfig;
use prost::Name;

pub(crate) fn to_pb(cluster: &Cluster) -> (pb::cluster::LbPolicy, Option<LbConfig>) {
    use pb::cluster::LbPolicy as Pb;
    if let Discovery::OriginalDst { header, port } = cluster.discovery
        && (header || port.is_some())
    {
        let config = pb::cluster::OriginalDstLbConfig {
            use_http_header: header,
            upstream_port_override: u32_value(port.map(u32::from)),
            ..Default::default()
        };
        return (Pb::ClusterProvided, Some(LbConfig::OriginalDstLbConfig(config)));
    }
    let slow_start = cluster.slow_start.as_ref().map(slow_start_to_pb);
    match &cluster.lb {
        LbPolicy::RoundRobin => (
            Pb::RoundRobin,
            slow_start.map(|slow_start| {
                LbConfig::RoundRobinLbConfig(pb::cluster::RoundRobinLbConfig { slow_start_config: Some(slow_start) })
            }),
        ),
        LbPolicy::LeastRequest { choices } => (
            Pb::LeastRequest,
            (choices.is_some() || slow_start.is_some()).then(|| {
                LbConfig::LeastRequestLbConfig(pb::cluster::LeastRequestLbConfig {
                    choice_count: u32_value(*choices),
                    slow_start_config: slow_start,
                    ..Default::default()
                })
            }),
        ),
        LbPolicy::Random => (Pb::Random, None),
        LbPolicy::RingHash { min_size, max_size } => (
            Pb::RingHash,
            Some(LbConfig::RingHashLbConfig(pb::cluster::RingHashLbConfig {
                minimum_ring_size: u64_value(*min_size),
                maximum_ring_size: u64_value(*max_size),
                ..Default::default()
            })),
        ),
        LbPolicy::Maglev { table_size } => (
            Pb::Maglev,
            Some(LbConfig::MaglevLbConfig(pb::cluster::MaglevLbConfig { table_size: u64_value(*table_size) })),
        ),
        LbPolicy::ClusterProvided => (Pb::ClusterProvided, None),
    }
}

fn slow_start_to_pb(slow_start: &SlowStart) -> pb::cluster::SlowStartConfig {
    pb::cluster::SlowStartConfig {
        slow_start_window: duration(Some(slow_start.window)),
        aggression: Some(core::RuntimeDouble {
            default_value: slow_start.aggression,
            // Envoy wants a key; nothing sets it.
            runtime_key: "amime.slow_start".into(),
        }),
        min_weight_percent: Some(Percent { value: slow_start.min_weight_percent }),
    }
}

fn slow_start_from_pb(slow_start: pb::cluster::SlowStartConfig) -> SlowStart {
    SlowStart {
        window: from_duration(slow_start.slow_start_window).unwrap_or_default(),
        // Envoy's defaults: 1.0 and 10 %.
        aggression: slow_start.aggression.map_or(1.0, |a| a.default_value),
        min_weight_percent: slow_start.min_weight_percent.map_or(10.0, |p| p.value),
    }
}

pub(crate) fn common_to_pb(cluster: &Cluster) -> Option<pb::cluster::CommonLbConfig> {
    use pb::cluster::common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig};
    let config = pb::cluster::CommonLbConfig {
        healthy_panic_threshold: cluster.panic_threshold.map(|p| Percent { value: p.into() }),
        locality_config_specifier: cluster
            .locality_weighted
            .then_some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})),
        ..Default::default()
    };
    (config != pb::cluster::CommonLbConfig::default()).then_some(config)
}

pub(crate) fn from_pb(pb: &mut pb::Cluster, discovery: &Discovery) -> (LbPolicy, Option<SlowStart>) {
    use pb::cluster::LbPolicy as Pb;
    if let Some(policy) = pb.load_balancing_policy.as_ref().and_then(typed_lb) {
        return (policy, None);
    }
    if matches!(discovery, Discovery::OriginalDst { .. } | Discovery::DynamicDns(_)) {
        return (LbPolicy::ClusterProvided, None);
    }
    let config = pb.lb_config.take();
    match pb.lb_policy() {
        // A policy by `load_balancing_policy` alone that is not known balances as Envoy does by default.
        Pb::RoundRobin | Pb::LoadBalancingPolicyConfig => {
            let slow_start = match config {
                Some(LbConfig::RoundRobinLbConfig(config)) => config.slow_start_config,
                _ => None,
            };
            (LbPolicy::RoundRobin, slow_start.map(slow_start_from_pb))
        }
        Pb::LeastRequest => {
            let config = match config {
                Some(LbConfig::LeastRequestLbConfig(config)) => config,
                _ => Default::default(),
            };
            let choices = config.choice_count.map(|c| c.value);
            (LbPolicy::LeastRequest { choices }, config.slow_start_config.map(slow_start_from_pb))
        }
        Pb::Random => (LbPolicy::Random, None),
        Pb::RingHash => {
            let config = match config {
                Some(LbConfig::RingHashLbConfig(config)) => config,
                _ => Default::default(),
            };
            let policy = LbPolicy::RingHash {
                min_size: config.minimum_ring_size.map(|s| s.value),
                max_size: config.maximum_ring_size.map(|s| s.value),
            };
            (policy, None)
        }
        Pb::Maglev => {
            let table_size = match config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size.map(|s| s.value),
                _ => None,
            };
            (LbPolicy::Maglev { table_size }, None)
        }
        Pb::ClusterProvided => (LbPolicy::ClusterProvided, None),
    }
}

/// The first policy of the newer form that is known, with Envoy's defaults.
fn typed_lb(policy: &pb::LoadBalancingPolicy) -> Option<LbPolicy> {
    policy.policies.iter().find_map(|policy| {
        let config = policy.typed_extension_config.as_ref()?.typed_config.as_ref()?;
        let is = |url: String| config.type_url == url;
        if is(policies::round_robin::v3::RoundRobin::type_url()) {
            Some(LbPolicy::RoundRobin)
        } else if is(policies::least_request::v3::LeastRequest::type_url()) {
            Some(LbPolicy::LeastRequest { choices: None })
        } else if is(policies::random::v3::Random::type_url()) {
            Some(LbPolicy::Random)
        } else if is(policies::ring_hash::v3::RingHash::type_url()) {
            Some(LbPolicy::RingHash { min_size: None, max_size: None })
        } else if is(policies::maglev::v3::Maglev::type_url()) {
            Some(LbPolicy::Maglev { table_size: None })
        } else if is(policies::cluster_provided::v3::ClusterProvided::type_url()) {
            Some(LbPolicy::ClusterProvided)
        } else {
            None
        }
    })
}
