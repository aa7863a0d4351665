//! All routes of a host as a table (`--all`).

use crate::inspect::routes::{describe_action, describe_match};
use crate::inspect::table::Table;
use amime_model::config::{Origin, VirtualHost};
use amime_model::snapshot::Snapshot;

/// In the order in which they are tried; what stands below a match for everything is reached by nothing.
pub(crate) fn table(host: &VirtualHost, snapshot: Option<&Snapshot>) -> Table {
    let mut table = Table::new(["MATCH", "DESTINATION", "RULE", "PLACE"]);
    for route in &host.routes {
        let origin = route.origin.as_ref().or(host.origin.as_ref());
        let rule = origin.map(Origin::to_string).unwrap_or_default();
        let place = origin.and_then(|origin| snapshot?.place(origin)).map(|place| place.to_string());
        table.push([describe_match(&route.matches), describe_action(&route.action), rule, place.unwrap_or_default()]);
    }
    table
}
