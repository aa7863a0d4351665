//! What all forms say in the same words.

use super::print::Asked;
use super::sides::Spec;
use amime_model::diff::{Change, Difference, Observed, ServiceChange, ServiceWhat, SettingChange};
use amime_model::explain::Question;
use std::collections::BTreeSet;
use std::path::Path;

/// So many are named of a longer list.
const NAMED: usize = 3;

/// `requests to shop/reviews with header end-user=jason`.
pub(super) fn requests(change: &Change) -> String {
    let when: Vec<_> = change.when.iter().map(String::as_str).collect();
    match when.as_slice() {
        [] => format!("requests to {}", change.name),
        when => format!("requests to {} with {}", change.name, listed(when, " or ")),
    }
}

/// Who sends them, and how many of them it is about.
pub(super) fn details(change: &Change, observed: Option<&Observed>) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(observed) = observed {
        details.push(format!(
            "{} of the requests seen, {}",
            change.observed,
            share(change.observed, observed.requests)
        ));
    }
    if let Some(moved) = change.moved_percent.filter(|moved| *moved < 100.0) {
        details.push(format!("{moved} % of them move"));
    }
    details.push(format!("from {}", clients(&change.clients)));
    details
}

pub(super) fn clients(clients: &BTreeSet<String>) -> String {
    // What comes from outside comes by a gateway.
    let outside = clients.contains("internet");
    let shown: Vec<_> =
        clients.iter().filter(|client| !(outside && client.starts_with("gateway "))).map(String::as_str).collect();
    let shown: Vec<_> =
        shown.iter().map(|client| if *client == "internet" { "the internet" } else { client }).collect();
    listed(&shown, ", ")
}

fn listed(all: &[&str], separator: &str) -> String {
    match all.len().checked_sub(NAMED) {
        Some(more) if more > 1 => format!("{} and {more} more", all[..NAMED].join(separator)),
        _ => all.join(separator),
    }
}

pub(super) fn service(change: &ServiceChange) -> String {
    let name = &change.name;
    match &change.what {
        ServiceWhat::Added => format!("{name}: a new service"),
        ServiceWhat::Removed => format!("{name}: the service is gone"),
        ServiceWhat::Visible { added, removed } => {
            let mut parts = Vec::new();
            if !added.is_empty() {
                parts.push(format!("visible to {} ({})", namespaces(added, "more "), names(added)));
            }
            if !removed.is_empty() {
                parts.push(format!("no longer visible to {} ({})", namespaces(removed, ""), names(removed)));
            }
            format!("{name}: {}", parts.join("; "))
        }
        ServiceWhat::Endpoints { port, before, after } => format!("{name} port {port}: endpoints {before} → {after}"),
    }
}

fn names(all: &BTreeSet<String>) -> String {
    listed(&all.iter().map(String::as_str).collect::<Vec<_>>(), ", ")
}

/// `two more namespaces`.
fn namespaces(all: &BTreeSet<String>, more: &str) -> String {
    const NUMBERS: [&str; 9] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let count = all.len();
    let number = NUMBERS.get(count.wrapping_sub(1)).map_or_else(|| count.to_string(), |word| (*word).to_owned());
    format!("{number} {more}namespace{}", if count == 1 { "" } else { "s" })
}

pub(super) fn setting(change: &SettingChange) -> String {
    let destinations: Vec<_> = change.destination.iter().map(String::as_str).collect();
    let SettingChange { name, setting, before, after, .. } = change;
    format!("{name} ({}): {setting} {before} → {after}", listed(&destinations, ", "))
}

/// What there is to say of requests that were seen.
pub(super) fn seen(observed: &Observed) -> String {
    let Observed { requests, changed, unanswered } = observed;
    let unknown = match unanswered {
        0 => String::new(),
        count => format!("; of {count} neither side knows the name or the sender"),
    };
    format!("{} of the {requests} requests seen change ({changed}){unknown}", share(*changed, *requests))
}

fn share(part: u64, all: u64) -> String {
    let percent = part as f64 * 100.0 / all.max(1) as f64;
    format!("{} %", (percent * 100.0).round() / 100.0)
}

/// What no answer knows of.
pub(super) fn not_evaluated(difference: &Difference) -> Option<&'static str> {
    difference.has_policies.then_some(
        "PeerAuthentication, RequestAuthentication and AuthorizationPolicy are not evaluated: what they deny is not told.",
    )
}

/// A command line that tells the way of the request after the change.
pub(super) fn command(asked: &Asked<'_>, question: &Question) -> String {
    let mut words = vec!["amime".to_owned(), "explain".to_owned()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), quoted(value)]);
    match asked.spec {
        Spec::Path(path) => option("-f", &path.to_string_lossy()),
        Spec::Revision { paths, .. } if paths.is_empty() => option("-f", "."),
        Spec::Revision { paths, .. } => {
            paths.iter().for_each(|path: &std::path::PathBuf| option("-f", &path.to_string_lossy()))
        }
    }
    if let Some(path) = asked.mesh_config {
        option("--mesh-config", &Path::new(path).to_string_lossy());
    }
    if let Some(from) = question.from.as_deref().filter(|from| *from != "internet") {
        option("--from", from);
    }
    if let Some(at) = &question.at {
        option("--from", &format!("gateway {at}"));
    }
    if let Some(method) = &question.method {
        option("-X", method);
    }
    if let Some(authority) = &question.authority {
        option("-H", &format!("host: {authority}"));
    }
    for (name, values) in &question.headers {
        values.values().iter().for_each(|value| option("-H", &format!("{name}: {value}")));
    }
    if let Some(address) = &question.address {
        option("--address", address);
    }
    words.push(quoted(&question.url));
    words.join(" ")
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
