//! What `up` says beside live lines: findings, policies that are not enforced, how a replaced workload reaches the
//! mesh. Pure text; `run` prints it.

use amime_model::diagnostic::Diagnostic;
use amime_model::snapshot::{Pod, Snapshot};
use amime_model::workload::AddressPlan;
use anstyle::{AnsiColor, Color, Style};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

const ERROR: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const WARNING: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));

/// The policies that are read and have no effect yet: said at the start and after each change, for somebody may
/// rely on them.
pub(super) fn not_enforced(findings: &[&Diagnostic]) -> String {
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{WARNING}{}{WARNING:#}", finding.message)).collect();
    lines.join("\n")
}

/// For each workload that a process of the user's replaces, how that process reaches the mesh.
pub(super) fn replacements(snapshot: &Snapshot) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut texts = Vec::new();
    for pod in snapshot.pods() {
        let Some(placement) = pod.placement().filter(|placement| !placement.replaced.is_empty()) else { continue };
        let workload = format!("{}/{}", pod.namespace, pod.workload.workload);
        // By one of its pods it is all of them.
        if seen.insert(workload.clone()) {
            let ports: Vec<_> = placement.replaced.iter().map(|(port, address)| (*port, *address)).collect();
            let proxy = SocketAddr::new(placement.app_ip, AddressPlan::NAME_PROXY_PORT);
            texts.push(replaced(&workload, &ports, proxy));
        }
    }
    texts
}

/// How a process that takes a workload's place reaches the mesh.
fn replaced(workload: &str, process: &[(u16, SocketAddr)], proxy: SocketAddr) -> String {
    let ports: Vec<String> = process.iter().map(|(port, address)| format!("port {port} at {address}")).collect();
    let (ip, port) = (proxy.ip(), proxy.port());
    let mut text = format!("{workload} is your own process ({}). It reaches the mesh by a proxy:\n", ports.join(", "));
    // curl reads the lower-case name alone, many others the upper-case one.
    let _ = writeln!(text, "  export http_proxy=http://{proxy} HTTP_PROXY=http://{proxy}");
    let _ = writeln!(text, "  export https_proxy=http://{proxy} HTTPS_PROXY=http://{proxy} no_proxy= NO_PROXY=");
    let _ = writeln!(text, "  export all_proxy=socks5h://{proxy} ALL_PROXY=socks5h://{proxy}");
    // Java takes no proxy for some addresses unless it is told that there are none.
    let _ = write!(
        text,
        "  java -Dhttp.proxyHost={ip} -Dhttp.proxyPort={port} -Dhttps.proxyHost={ip} -Dhttps.proxyPort={port} \
         -Dhttp.nonProxyHosts="
    );
    text
}

/// Where the limit of open files will not do: listening sockets of sidecars and stand-ins, and room for connections.
pub(crate) fn too_few_files(snapshot: &Snapshot, limit: u64) -> Option<String> {
    const ROOM: u64 = 256;
    let sockets =
        |pod: &std::sync::Arc<Pod>| pod.placement().map_or(0, |placement| 2 + 2 * placement.ports.len() as u64);
    let needed: u64 = snapshot.pods().map(sockets).sum::<u64>() + ROOM;
    (needed > limit).then(|| {
        format!(
            "{WARNING}warning{WARNING:#}: this mesh needs about {needed} open files, and {limit} are allowed: some pods \
             will not start (ulimit -Hn)"
        )
    })
}

/// Something to know, while all goes on.
pub(crate) fn warning(text: &str) -> String {
    format!("{WARNING}warning{WARNING:#}: {text}")
}

/// A failure of one part, while the rest goes on.
pub(crate) fn error(error: &anyhow::Error) -> String {
    format!("{ERROR}error{ERROR:#}: {error:#}")
}
