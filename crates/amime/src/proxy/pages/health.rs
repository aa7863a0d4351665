//! `/healthz/ready`: 200 once the first configuration is accepted, until the proxy drains. It stays 200 while no
//! control plane is there, for the proxy goes on with what it has; the body then says since when.

use super::{Shared, age, timestamp};
use crate::serve::{Answer, Page, find, problem, text};
use amime_xds::transport::ConnectionState;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const PAGES: &[Page] = &[Page::read("/healthz/ready", "whether the proxy is ready")];

/// The health port's only page.
pub(super) async fn page(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    match find(PAGES, &request) {
        Ok(_) => answer(&shared),
        Err(answer) => *answer,
    }
}

/// What any port answers at that path.
pub(super) fn answer(shared: &Shared) -> Answer {
    match not_ready(shared) {
        Some(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {why}")),
        None => text(StatusCode::OK, ready(shared)),
    }
}

/// Why the proxy is not ready; None where it is.
pub(super) fn not_ready(shared: &Shared) -> Option<String> {
    if shared.proxy.is_draining() {
        return Some("draining".to_owned());
    }
    if *shared.proxy.ready().borrow() {
        return None;
    }
    let control = shared.control.borrow();
    Some(match &*control {
        ConnectionState::Connected { address, .. } => format!("no configuration was accepted yet from {address}"),
        ConnectionState::Away { since, why } => {
            format!("no configuration was accepted yet; no control plane for {}: {why}", age(*since))
        }
    })
}

fn ready(shared: &Shared) -> String {
    let control = shared.control.borrow();
    let ConnectionState::Away { since, why } = &*control else { return "ready\n".to_owned() };
    let (word, at) = match shared.saved_at.filter(|_| !shared.met.load(Ordering::Relaxed)) {
        Some(at) => ("saved", Some(at)),
        None => ("accepted", shared.proxy.accepted().borrow().as_ref().map(|accepted| accepted.at)),
    };
    let config = at.map_or_else(String::new, |at| format!(", {word} {} ({} ago)", timestamp(at), age(at)));
    format!(
        "ready\nno control plane since {} ({}): {why}\nserving the last configuration{config}\n",
        timestamp(*since),
        age(*since)
    )
}
