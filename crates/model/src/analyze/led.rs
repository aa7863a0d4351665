//! Where the rules of a VirtualService lead, and at which gateways. `effect` and `practices` ask.

use crate::resource::virtual_service::Destination;
use crate::snapshot::{Health, ResolvedVirtualService, l4_destinations};
use crate::translate::Carries;

/// Where a rule leads.
pub(super) struct Led<'s> {
    pub(super) destination: &'s Destination,
    pub(super) kind: Carries,
    /// Gateways and port of each of the rule's matches; none: it is in force everywhere.
    matches: Vec<(&'s [String], u32)>,
}

impl Led<'_> {
    /// Whether the rule is in force at a gateway or in the mesh; port 0: at any.
    pub(super) fn at(&self, gateway: &str, port: u32) -> bool {
        let fits = |(gateways, of_port): &(&[String], u32)| {
            (gateways.is_empty() || gateways.iter().any(|name| name == gateway))
                && (port == 0 || *of_port == 0 || *of_port == port)
        };
        self.matches.is_empty() || self.matches.iter().any(fits)
    }
}

/// The destinations of a VirtualService's routes. What is mirrored is missed by no client.
pub(super) fn led(vs: &ResolvedVirtualService) -> Vec<Led<'_>> {
    let mut all = Vec::new();
    for rule in vs.http.iter().filter(|rule| rule.health == Health::Sound) {
        let matches: Vec<_> = rule.route.matches.iter().map(|m| (m.gateways.as_slice(), m.port)).collect();
        for destination in rule.route.route.iter().filter_map(|route| route.destination.as_ref()) {
            all.push(Led { destination, kind: Carries::Http, matches: matches.clone() });
        }
        if matches.is_empty() {
            // It takes all: what follows is never reached.
            break;
        }
    }
    for rule in vs.tcp.iter().filter(|rule| rule.health == Health::Sound) {
        let matches: Vec<_> = rule.route.matches.iter().map(|m| (m.gateways.as_slice(), m.port)).collect();
        for destination in l4_destinations(&rule.route.route) {
            all.push(Led { destination, kind: Carries::Tcp, matches: matches.clone() });
        }
    }
    for rule in vs.tls.iter().filter(|rule| rule.health == Health::Sound) {
        let matches: Vec<_> = rule.route.matches.iter().map(|m| (m.gateways.as_slice(), m.port)).collect();
        for destination in l4_destinations(&rule.route.route) {
            all.push(Led { destination, kind: Carries::PassedTls, matches: matches.clone() });
        }
    }
    all
}
