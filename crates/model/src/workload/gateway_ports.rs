//! Which port of this machine each gateway port is opened at.
//!
//! `workload::expand` asks for all gateways at once; the answer depends on nothing but the wants and the plan.

use super::{AddressPlan, PodKey};
use std::collections::{BTreeMap, BTreeSet};

/// How a gateway port as written becomes a port of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GatewayPortPolicy {
    /// Ports below 1024 move up by 8000 (80 to 8080, 443 to 8443).
    #[default]
    Unprivileged,
    /// As written.
    Privileged,
    /// Each port moves up by this much.
    Offset(u16),
}

impl GatewayPortPolicy {
    /// None: there is no such port.
    pub fn wish(self, port: u16) -> Option<u16> {
        match self {
            Self::Unprivileged if port < 1024 => Some(port + 8000),
            Self::Unprivileged | Self::Privileged => Some(port),
            Self::Offset(offset) => port.checked_add(offset),
        }
    }
}

/// Who is the earlier Gateway: by creation time (seconds since 1970, 0 where none is written), then name, then
/// namespace, as Istio orders objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    pub created: i64,
    pub name: String,
    pub namespace: String,
}

/// One server of a Gateway wants this port at this gateway pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPortWant {
    pub pod: PodKey,
    /// As the Gateway writes it.
    pub port: u16,
    pub gateway: Seniority,
}

/// Where a gateway port ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedPort {
    pub opened: u16,
    /// What the policy alone would have given: another gateway has it where `opened` differs.
    pub wished: u16,
    /// The earliest Gateway that wants it.
    pub gateway: Seniority,
}

impl AddressPlan {
    /// A port for each distinct (pod, port) that is wanted. A literal port wins over a moved one, then the earlier
    /// Gateway over the later; the loser gets the next port that is free. Wants for which no port exists are left out.
    pub fn gateway_ports(&self, wants: &[GatewayPortWant]) -> BTreeMap<PodKey, BTreeMap<u16, OpenedPort>> {
        let mut first: BTreeMap<(&PodKey, u16), &Seniority> = BTreeMap::new();
        for want in wants {
            let entry = first.entry((&want.pod, want.port)).or_insert(&want.gateway);
            if want.gateway < **entry {
                *entry = &want.gateway;
            }
        }
        let mut order: Vec<_> = first
            .into_iter()
            .filter_map(|((pod, port), gateway)| {
                let wish = self.gateway_policy().wish(port)?;
                Some((wish != port, gateway, port, pod, wish))
            })
            .collect();
        order.sort();

        // What somebody wishes is not "free" for a loser, or one collision would cause the next.
        let wished: BTreeSet<u16> = order.iter().map(|(.., wish)| *wish).collect();
        let mut used = BTreeSet::new();
        let mut opened: BTreeMap<PodKey, BTreeMap<u16, OpenedPort>> = BTreeMap::new();
        for (_, gateway, port, pod, wish) in order {
            let found = if used.contains(&wish) {
                (wish..=u16::MAX).find(|p| !used.contains(p) && !wished.contains(p) && !self.is_busy(*p))
            } else {
                Some(wish)
            };
            let Some(found) = found else { continue };
            used.insert(found);
            let place = OpenedPort { opened: found, wished: wish, gateway: gateway.clone() };
            opened.entry(pod.clone()).or_default().insert(port, place);
        }
        opened
    }
}

#[cfg(test)]
#[path = "gateway_ports_tests.rs"]
mod tests;
