//! The lines that say how the proxies are started which `control --stand-ins` leaves to somebody else: one for each
//! gateway pod, and for each pod of a `--sidecar` workload. `stand_ins` prints them; scripts read them.

use crate::up::proxies::WorkloadName;
use amime_model::snapshot::{Pod, Snapshot};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

/// What has been said, so that it is said once.
pub(super) struct Commands {
    control: SocketAddr,
    sidecars: BTreeSet<WorkloadName>,
    told: BTreeSet<String>,
}

impl Commands {
    /// `control` is where the proxies connect.
    pub(super) fn new(control: SocketAddr, sidecars: BTreeSet<WorkloadName>) -> Self {
        Self { control, sidecars, told: BTreeSet::new() }
    }

    /// The lines that are new in this snapshot.
    pub(super) fn of(&mut self, snapshot: &Snapshot) -> Vec<String> {
        let lines: BTreeSet<String> = snapshot.pods().filter_map(|pod| self.line(pod)).collect();
        let new = lines.difference(&self.told).cloned().collect();
        self.told = lines;
        new
    }

    fn line(&self, pod: &Pod) -> Option<String> {
        let placement = pod.placement()?;
        let workload = (pod.namespace.clone(), pod.workload.workload.clone());
        let kind = match placement.bind.is_empty() {
            false => "gateway",
            true if self.sidecars.contains(&workload) => "sidecar",
            true => return None,
        };
        let (namespace, name, ip) = (&pod.namespace, &pod.name, placement.pod_ip);
        let mut line = format!(
            "{kind} {namespace}/{name} {ip}: amime proxy {kind} --control {} --pod-name {} --namespace {} --ip {ip}",
            self.control,
            word(name),
            word(namespace),
        );
        let labels = pod.labels.iter().map(|(key, value)| ("label", format!("{key}={value}")));
        let workload = ("metadata", format!("WORKLOAD_NAME={}", pod.workload.workload));
        for (flag, value) in labels.chain([workload]) {
            // Writing into a String cannot fail.
            let _ = write!(line, " --{flag} {}", word(&value));
        }
        // Any free ports, so that all of them run side by side.
        line.push_str(" --interception proxy-protocol --admin-port 0 --agent-port 0 --health-port 0 --stats-port 0");
        Some(line)
    }
}

/// One word of a shell's command line. Manifests say what is in it.
fn word(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:/=@%+".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_as_they_are() {
        assert_eq!(word("app.kubernetes.io/name=web-v1"), "app.kubernetes.io/name=web-v1");
        for text in ["", "a=$(touch x)", "it's; ls", "a b\n\"c\" `d` \\"] {
            let script = format!("printf %s {}", word(text));
            let shell = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8(shell.stdout).expect("text"), text);
        }
    }
}
