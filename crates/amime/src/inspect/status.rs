//! What control planes tell of their proxies (`/debug/syncz`), read and put in a table, for `amime status`.

use super::output;
use super::source;
use super::table::{Table, printable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One proxy, as a control plane lists it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct Proxy {
    /// `productpage-v1-x.default`.
    pub(crate) proxy: String,
    /// Istio's node id: `sidecar~10.1.1.1~productpage-v1-x.default~default.svc.cluster.local`.
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) revision: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) control_plane: String,
    /// RFC 3339, so that the later one compares as greater.
    #[serde(default)]
    pub(crate) connected_since: String,
    /// By `CDS`, `LDS` ….
    #[serde(default)]
    pub(crate) types: BTreeMap<String, Sync>,
    /// Rules that wait for something that is missing, one line each.
    #[serde(default)]
    pub(crate) pending: Vec<String>,
    /// Of all that the control plane reads: control planes that agree have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inputs: Option<String>,
    /// Whatever else the page tells, for `-o json`.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// How far one type of resources has come at a proxy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Sync {
    /// `SYNCED`, `STALE`, `REJECTED`, `NOT SENT`.
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acked_version: Option<String>,
    /// Since it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age_seconds: Option<f64>,
    /// Why the proxy rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What it rejected, by name, and the object that this was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
}

impl Sync {
    /// The proxy has what it was sent, or was sent nothing.
    fn is_well(&self) -> bool {
        !matches!(self.state.as_str(), "STALE" | "REJECTED")
    }
}

impl Proxy {
    /// No type is stale or rejected.
    pub(crate) fn is_well(&self) -> bool {
        self.types.values().all(Sync::is_well)
    }

    /// By the first part of the node id; Istio calls gateways routers.
    fn kind(&self) -> &str {
        match self.id.split('~').next() {
            Some("router") => "gateway",
            Some("") | None => "-",
            Some(kind) => kind,
        }
    }
}

/// Of a proxy that moved from one control plane to another, where it is now; in the order of their names.
pub(crate) fn merge(lists: Vec<Vec<Proxy>>) -> Vec<Proxy> {
    let mut latest: BTreeMap<String, Proxy> = BTreeMap::new();
    for proxy in lists.into_iter().flatten() {
        match latest.get(&proxy.proxy) {
            Some(known) if known.connected_since > proxy.connected_since => {}
            _ => {
                latest.insert(proxy.proxy.clone(), proxy);
            }
        }
    }
    latest.into_values().collect()
}

/// Only the one that is meant.
pub(crate) fn only(proxies: Vec<Proxy>, wanted: &str) -> anyhow::Result<Proxy> {
    let names: Vec<String> = proxies.iter().map(|p| p.proxy.clone()).collect();
    let name = source::find(&names, wanted)?;
    proxies.into_iter().find(|p| p.proxy == name).ok_or_else(|| anyhow::anyhow!("{name} has gone"))
}

/// The types that have a column whether or not a proxy has them.
const USUAL: [&str; 4] = ["CDS", "LDS", "EDS", "RDS"];

pub(crate) fn print(proxies: &[Proxy]) -> anyhow::Result<()> {
    let rest: BTreeSet<&'static str> =
        ["SDS", "VHDS", "ECDS"].into_iter().filter(|t| proxies.iter().any(|p| p.types.contains_key(*t))).collect();
    let types: Vec<&'static str> = USUAL.into_iter().chain(rest).collect();
    let head =
        ["NAME", "TYPE"].into_iter().chain(types.iter().copied()).chain(["CONTROL PLANE", "REVISION", "VERSION"]);
    let mut table = Table::new(head);
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    for proxy in proxies {
        let absent = |name: &str| if USUAL.contains(&name) { "NOT SENT" } else { "-" };
        let states = types.iter().map(|name| proxy.types.get(*name).map_or_else(|| absent(name).to_owned(), cell));
        let begin = [proxy.proxy.clone(), proxy.kind().to_owned()];
        let end = [dash(&proxy.control_plane), dash(&proxy.revision), dash(&proxy.version)];
        table.push(begin.into_iter().chain(states).chain(end));
    }
    output::table(&table, "no proxies are connected")?;
    output::print(&rejections(proxies))?;
    output::print(&pending(proxies))?;
    output::print(&disagreement(proxies))
}

/// `SYNCED (5m)`.
fn cell(sync: &Sync) -> String {
    match sync.age_seconds {
        Some(age) => format!("{} ({})", sync.state, describe_age(age)),
        None => sync.state.clone(),
    }
}

fn describe_age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What was rejected, by whom, of which object and why.
fn rejections(proxies: &[Proxy]) -> String {
    let mut text = String::new();
    let rejected = proxies.iter().flat_map(|p| p.types.iter().map(move |(name, sync)| (p, name, sync)));
    for (proxy, name, sync) in rejected.filter(|(.., sync)| sync.state == "REJECTED") {
        if text.is_empty() {
            let bad = output::BAD;
            text.push_str(&format!("\n{bad}Rejected:{bad:#}\n"));
        }
        let age = sync.age_seconds.map(|age| format!(" {} ago", describe_age(age))).unwrap_or_default();
        let resource = sync.resource.as_ref().map(|resource| format!(" {resource}")).unwrap_or_default();
        let object = sync.object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
        let error = sync.error.as_deref().unwrap_or("no reason was given");
        text.push_str(&line(format!("{} {name}{resource}{age}: {object}{error}", proxy.proxy)));
    }
    text
}

/// Each rule once, with the proxies that wait.
fn pending(proxies: &[Proxy]) -> String {
    let mut waiting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for proxy in proxies {
        for rule in &proxy.pending {
            waiting.entry(rule).or_default().push(&proxy.proxy);
        }
    }
    if waiting.is_empty() {
        return String::new();
    }
    let doubtful = output::DOUBTFUL;
    let mut text = format!("\n{doubtful}Pending:{doubtful:#}\n");
    for (rule, whose) in waiting {
        let whose = match whose.as_slice() {
            all if all.len() == proxies.len() && all.len() > 1 => "all proxies".to_owned(),
            [one] => (*one).to_owned(),
            many => format!("{} proxies", many.len()),
        };
        text.push_str(&line(format!("{rule} ({whose})")));
    }
    text
}

/// Control planes of one mesh read the same; where they do not, proxies get what theirs reads.
fn disagreement(proxies: &[Proxy]) -> String {
    let inputs: BTreeMap<&str, &str> =
        proxies.iter().filter_map(|p| Some((p.control_plane.as_str(), p.inputs.as_deref()?))).collect();
    if inputs.values().collect::<BTreeSet<_>>().len() < 2 {
        return String::new();
    }
    let doubtful = output::DOUBTFUL;
    let mut text = format!("\n{doubtful}Control planes do not read the same:{doubtful:#}\n");
    text.extend(inputs.iter().map(|(control, inputs)| line(format!("{control} inputs {inputs}"))));
    text
}

/// One line below a heading, of what others have said.
fn line(text: String) -> String {
    format!("  {}\n", printable(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_say_moves_no_cursor() {
        let said = "a\u{1b}[2Jb\nc";
        let proxy = |control: &str| {
            let rejected = Sync { state: "REJECTED".into(), error: Some(said.into()), ..Sync::default() };
            Proxy {
                proxy: said.into(),
                id: String::new(),
                revision: String::new(),
                version: String::new(),
                control_plane: format!("{control}{said}"),
                connected_since: String::new(),
                types: [("CDS".to_owned(), rejected)].into(),
                pending: vec![said.into()],
                inputs: Some(control.into()),
                rest: Map::new(),
            }
        };
        let proxies = [proxy("1"), proxy("2")];
        for text in [rejections(&proxies), pending(&proxies), disagreement(&proxies)] {
            let shown = anstream::adapter::strip_str(&text).to_string();
            assert!(shown.contains("a\\u{1b}[2Jb\\nc"), "{shown}");
            assert!(!text.contains("[2Jb\n"), "{text}");
        }
    }
}
