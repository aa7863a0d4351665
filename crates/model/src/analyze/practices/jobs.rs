//! AM-S4: Jobs that never complete, for nothing ends the sidecar of their pods.
//!
//! A sidecar that is an init container (a native one) ends with the pod's own containers. Such sidecars are taken for given
//! only where the pod or the control plane's settings say so.

use super::injected::{asks_for_sidecar, has_sidecar, is_made_by_another};
use super::installation::ControlPlane;
use super::shell::{Ends, SHELLS, ends, script_of};
use crate::analyze::pods::PodView;
use crate::analyze::world::{World, about};
use crate::diagnostic::{Diagnostic, codes};
use crate::resource::Spec;
use serde::Deserialize;

pub(super) fn find(world: &World<'_>, planes: &[ControlPlane<'_>], found: &mut Vec<Diagnostic>) {
    let are_native = planes.iter().any(|plane| plane.native_sidecars);
    for pod in world.pods.all().iter().filter(|pod| is_of_job(pod) && !is_made_by_another(world, pod)) {
        if !has_sidecar(world, pod) || is_native(pod).unwrap_or(are_native) {
            continue;
        }
        let Some((index, problem)) = problem(world, pod) else { continue };
        let field = format!("{}.containers[{index}].command", pod.path);
        let asked = if asks_for_sidecar(pod) { ", which it asks for itself" } else { "" };
        let message = format!("the sidecar of {}{asked} never ends, so that it never completes: {problem}", pod.name());
        let finding = about(codes::JOB_NEVER_ENDS, pod.object, &field, message);
        found.push(finding.with_suggestion("sidecar.istio.io/inject: \"false\""));
    }
}

fn is_of_job(pod: &PodView<'_>) -> bool {
    match &pod.object.spec {
        Spec::Job(_) | Spec::CronJob(_) => true,
        Spec::Pod(written) => {
            let has_ended = matches!(written.status.phase.as_str(), "Succeeded" | "Failed");
            !has_ended && pod.object.meta.owners.iter().any(|owner| owner.kind == "Job")
        }
        _ => false,
    }
}

/// Whether the pod itself says of its sidecar that it is native.
fn is_native(pod: &PodView<'_>) -> Option<bool> {
    let is_proxy = |containers: &[crate::resource::workload::Container]| {
        containers.iter().any(|container| container.name == "istio-proxy" && container.image != "auto")
    };
    if is_proxy(&pod.spec.init_containers) {
        return Some(true);
    }
    if is_proxy(&pod.spec.containers) {
        return Some(false);
    }
    pod.annotations.get("sidecar.istio.io/nativeSidecar").map(|value| value != "false")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Env {
    name: String,
    value: String,
}

/// A container with what it runs, which the mesh itself does not look at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Running {
    name: String,
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<Env>,
}

/// Which container, and why what it runs does not end the sidecar; none where it does, or nobody can tell.
fn problem(world: &World<'_>, pod: &PodView<'_>) -> Option<(usize, &'static str)> {
    let path: Vec<&str> = pod.path.split('.').chain(["containers"]).collect();
    let containers: Vec<Running> = pod.object.read(&path);
    let own = containers.iter().enumerate().filter(|(_, container)| container.name != "istio-proxy");
    let mut worst = (0, NOBODY);
    for (index, container) in own {
        match judge(container) {
            Told::Ends => return None,
            Told::Not if runs_script_of_input(world, pod, container) => return None,
            Told::Not => {}
            Told::But(problem) => worst = (index, problem),
        }
    }
    Some(worst)
}

const NOBODY: &str = "no container of it calls quitquitquit";
const NOT_ALWAYS: &str =
    "its script does not reach quitquitquit on every way, as where a command before it fails (`;` or a trap would)";
const BY_GET: &str = "its script asks for quitquitquit by GET, which is answered 405: -X POST ends it";

enum Told {
    /// Also where nobody can tell.
    Ends,
    But(&'static str),
    Not,
}

fn judge(container: &Running) -> Told {
    let words: Vec<String> = container.command.iter().chain(&container.args).cloned().collect();
    // What the wrapper `scuttle` is told by.
    let wrapped =
        container.env.iter().any(|env| env.name == "ISTIO_QUIT_API" || env.name == "QUIT_WITHOUT_ENVOY_TIMEOUT");
    let names = words.iter().any(|word| word.contains("quitquitquit"));
    let Some((script, stops)) = script_of(&words) else {
        return if names || wrapped { Told::Ends } else { Told::Not };
    };
    match ends(script, stops) {
        _ if wrapped => Told::Ends,
        Some(Ends::Always) => Told::Ends,
        Some(Ends::Sometimes) => Told::But(NOT_ALWAYS),
        Some(Ends::Never) if names && !script.contains("POST") && !script.contains("exec ") => Told::But(BY_GET),
        Some(Ends::Never) if names => Told::But(NOT_ALWAYS),
        Some(Ends::Never) => Told::Not,
        None if names => Told::Ends,
        None => Told::Not,
    }
}

/// Whether a script of a ConfigMap beside the pod, which the container may run, ends it.
fn runs_script_of_input(world: &World<'_>, pod: &PodView<'_>, container: &Running) -> bool {
    let runs_file = container.command.iter().chain(&container.args).any(|word| {
        let is_shell = word.rsplit('/').next().is_some_and(|name| SHELLS.contains(&name));
        word.contains('/') && !is_shell
    });
    let here =
        |(object, _): &(&std::sync::Arc<crate::resource::Object>, _)| object.id.namespace == pod.object.id.namespace;
    runs_file
        && world.config_maps().filter(here).any(|(_, map)| map.data.values().any(|text| text.contains("quitquitquit")))
}
