//! Text to objects: each document of a file becomes an object, or is named as what it is. `control` and the
//! tools call it for each file.

use super::decode::{Findings, decode};
use super::object::Source;
use super::*;
use crate::diagnostic::{Diagnostic, Place, Severity, codes};
use crate::yaml::{self, Document, Node, Path, View};
use serde::Deserialize;
use std::sync::Arc;

/// What a file holds.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// As the user named it.
    pub file: Arc<str>,
    /// The text, for showing lines of it.
    pub text: Arc<str>,
    /// In the order of the file.
    pub objects: Vec<Arc<Object>>,
    /// Documents of kinds that Amime does not read.
    pub unknown: Vec<UnknownKind>,
    /// Those of them that the tools look at, without a typed content.
    pub for_tools: Vec<Arc<Object>>,
    /// Findings that belong to no object: what is not YAML, has no kind or no name. Those of an object are in it.
    pub diagnostics: Vec<Diagnostic>,
    /// Documents that could not be read at all, or of which it cannot be told what object they are. Where there are
    /// any, objects that the file had before may be among them, so they should stay.
    pub unparsable: usize,
}

/// An object of a kind that Amime does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind {
    /// `telemetry.istio.io/v1`.
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub place: Place,
    /// A kind or version that is read and may have been meant.
    pub suggestion: Option<String>,
}

/// Reads a file. `file` is what diagnostics call it.
pub fn load(file: &str, text: &str) -> Loaded {
    let file: Arc<str> = file.into();
    let parsed = yaml::parse(&file, text);
    let mut loader = Loader {
        loaded: Loaded {
            file,
            text: parsed.text,
            objects: Vec::new(),
            unknown: Vec::new(),
            for_tools: Vec::new(),
            unparsable: parsed.errors.len(),
            diagnostics: parsed.errors,
        },
    };
    for document in &parsed.documents {
        loader.document(document);
    }
    loader.loaded
}

/// Reads a file that may not even be text.
pub fn load_bytes(file: &str, bytes: &[u8]) -> Loaded {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return load(file, text),
        Err(error) => error,
    };
    let file: Arc<str> = file.into();
    // Up to where it is text, to tell the place.
    let text: Arc<str> = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into();
    let place = yaml::place_of_offset(&file, &text, text.len());
    let message = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16; YAML for Kubernetes is UTF-8",
        _ => "the file is not UTF-8 text",
    };
    let diagnostic = Diagnostic::error(codes::SYNTAX, message).with_place(Some(place));
    Loaded {
        file,
        text,
        objects: Vec::new(),
        unknown: Vec::new(),
        for_tools: Vec::new(),
        diagnostics: vec![diagnostic],
        unparsable: 1,
    }
}

impl Loaded {
    /// All findings: of the file and of its objects, in the order of the file.
    pub fn all_diagnostics(&self) -> Vec<Diagnostic> {
        let of_objects = self.objects.iter().flat_map(|object| object.errors.iter().chain(&object.notes));
        let mut all: Vec<Diagnostic> = self.diagnostics.iter().chain(of_objects).cloned().collect();
        all.sort_by(|one, other| one.place.cmp(&other.place));
        all
    }
}

/// `metadata` as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    namespace: String,
    generate_name: String,
    labels: Map,
    annotations: Map,
    creation_timestamp: Option<Timestamp>,
    owner_references: Vec<OwnerReference>,
}

/// Is the rule about what a spec lacks, while a part of it could not be read?
fn lacks(rule: &Diagnostic, earlier: &Diagnostic) -> bool {
    let part = earlier.field.strip_prefix("spec.").is_some_and(|name| !name.contains(['.', '[']));
    rule.field == "spec" && part && earlier.severity == Severity::Error
}

/// How many `kind: List` may be in one another.
const LIST_DEPTH: usize = 100;

struct Loader {
    loaded: Loaded,
}

impl Loader {
    fn document(&mut self, document: &Arc<Document>) {
        let root = document.root();
        let mut problems: Vec<Diagnostic> = document.problems().to_vec();
        self.object(document, root, "", None, &mut problems, LIST_DEPTH);
        // What belongs to no object.
        self.loaded.diagnostics.extend(problems);
    }

    fn refuse(&mut self, code: &'static str, severity: Severity, node: Node<'_>, message: &str, expected: &str) {
        let mut diagnostic = Diagnostic::error(code, message).with_place(Some(node.place())).with_expected(expected);
        diagnostic.severity = severity;
        self.loaded.diagnostics.push(diagnostic);
        // It was meant to be an object, and may be one that was there before.
        self.loaded.unparsable += usize::from(severity == Severity::Error);
    }

    /// Reads one object, or each of a list. `prefix` is the path to it from the document's root; `listed` the
    /// kind that the list around it implies.
    fn object(
        &mut self,
        document: &Arc<Document>,
        node: Node<'_>,
        prefix: &str,
        listed: Option<(&str, &str)>,
        problems: &mut Vec<Diagnostic>,
        depth: usize,
    ) {
        let View::Mapping(_) = node.view() else {
            return self.refuse(
                codes::NOT_AN_OBJECT,
                Severity::Error,
                node,
                "this is no Kubernetes object",
                "a mapping with apiVersion, kind and metadata",
            );
        };
        let field = |name| node.get(name).map(Node::text).filter(|text| !text.is_empty());
        let (api_version, kind) = match (field("apiVersion"), field("kind"), listed) {
            (Some(api_version), Some(kind), _) => (api_version, kind),
            (None, None, Some(listed)) => listed,
            (None, None, None) => {
                return self.refuse(
                    codes::NOT_AN_OBJECT,
                    Severity::Info,
                    node,
                    "this is no Kubernetes object, and left alone",
                    "apiVersion and kind",
                );
            }
            (None, ..) => {
                return self.refuse(
                    codes::NOT_AN_OBJECT,
                    Severity::Error,
                    node,
                    "`apiVersion` is missing",
                    "apiVersion",
                );
            }
            (_, None, _) => {
                return self.refuse(codes::NOT_AN_OBJECT, Severity::Error, node, "`kind` is missing", "kind");
            }
        };
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        if let Some(item_kind) = kind.strip_suffix("List")
            && let Some(View::Sequence(items)) = node.get("items").map(Node::view)
        {
            let listed = (!item_kind.is_empty()).then_some((api_version, item_kind));
            // Aliases can nest deeper than the text does.
            let Some(depth) = depth.checked_sub(1) else {
                let message = "lists in lists, too deep to be read";
                return self.refuse(codes::NOT_AN_OBJECT, Severity::Error, node, message, "a list of objects");
            };
            for (index, item) in items.enumerate() {
                self.object(document, item, &format!("{prefix}items[{index}]."), listed, problems, depth);
            }
            return;
        }
        match Kind::of(group, kind).filter(|kind| kind.versions().contains(&version)) {
            Some(kind) => self.known(document, node, kind, prefix, problems),
            None => {
                let suggestion = meant(group, kind);
                self.loaded.unparsable += usize::from(suggestion.is_some());
                let name = node.get("metadata").and_then(|metadata| metadata.get("name")).map_or("", Node::text);
                if let Some(kind) = Kind::of_tools(group, kind) {
                    self.for_tools(document, node, kind);
                }
                self.loaded.unknown.push(UnknownKind {
                    api_version: api_version.to_owned(),
                    kind: kind.to_owned(),
                    name: name.to_owned(),
                    place: node.place(),
                    suggestion,
                });
            }
        }
    }

    /// Keeps an object that the mesh leaves alone; what is wrong with it is no finding.
    fn for_tools(&mut self, document: &Arc<Document>, node: Node<'_>, kind: Kind) {
        let Metadata { name, namespace, labels, annotations, creation_timestamp, owner_references, .. } =
            self.metadata(node, &Findings::new(false));
        let id = ResourceId::new(kind, namespace_of(kind, namespace), name);
        let meta = ObjectMeta { labels, annotations, creation_timestamp, owners: owner_references };
        let source = Some(Source::new(document.clone(), node.id()));
        let object = Object { id, meta, spec: Spec::Untyped, source, errors: Vec::new(), notes: Vec::new() };
        self.loaded.for_tools.push(Arc::new(object));
    }

    fn known(
        &mut self,
        document: &Arc<Document>,
        node: Node<'_>,
        kind: Kind,
        prefix: &str,
        problems: &mut Vec<Diagnostic>,
    ) {
        let findings = Findings::new(kind.is_istio());
        let metadata = self.metadata(node, &findings);
        if metadata.name.is_empty() {
            let at = node.get("metadata").unwrap_or(node);
            let (message, expected) = match metadata.generate_name.as_str() {
                "" => (format!("this {kind} has no name"), "metadata.name"),
                _ => (
                    format!("this {kind} has a generateName instead of a name"),
                    "metadata.name, as kubectl apply asks",
                ),
            };
            return self.refuse(codes::NOT_AN_OBJECT, Severity::Error, at, &message, expected);
        }
        let id = ResourceId::new(kind, namespace_of(kind, metadata.namespace), metadata.name);
        let meta = ObjectMeta {
            labels: metadata.labels,
            annotations: metadata.annotations,
            creation_timestamp: metadata.creation_timestamp,
            owners: metadata.owner_references,
        };
        if kind.is_istio() {
            unknown_at_root(node, &findings);
        }
        let spec = spec(kind, node, &findings);
        let mut found = findings.into_vec();
        found.extend(take_own(problems, prefix));
        let source = Source::new(document.clone(), node.id());
        let mut object = Object { id, meta, spec, source: Some(source), errors: Vec::new(), notes: Vec::new() };
        let mut broken_rules = super::validate::validate(&object);
        // What could not be read has its zero value, and was named already.
        broken_rules.retain(|rule| !found.iter().any(|earlier| earlier.contains(&rule.field) || lacks(rule, earlier)));
        found.extend(broken_rules);
        found.extend(super::support::without_effect(&object));
        for mut diagnostic in found {
            diagnostic.resource = Some(object.id.clone());
            match diagnostic.severity {
                Severity::Error => object.errors.push(diagnostic),
                Severity::Warning | Severity::Info => object.notes.push(diagnostic),
            }
        }
        self.loaded.objects.push(Arc::new(object));
    }

    /// Kubernetes' own message: fields that a mesh does not use are no finding.
    fn metadata(&self, node: Node<'_>, findings: &Findings) -> Metadata {
        let Some(metadata) = node.get("metadata") else { return Metadata::default() };
        let own = Findings::new(false);
        let decoded = decode(metadata, &Path::ROOT.key("metadata"), &own);
        own.into_vec().into_iter().for_each(|diagnostic| findings.push(diagnostic));
        decoded
    }
}

/// The namespace that an object is in: `default` where it names none and needs one.
fn namespace_of(kind: Kind, written: String) -> String {
    match (kind.is_namespaced(), written) {
        (false, _) => String::new(),
        (true, written) if written.is_empty() => "default".to_owned(),
        (true, written) => written,
    }
}

/// The problems of the document that are within the object at `prefix`, by paths from that object.
fn take_own(problems: &mut Vec<Diagnostic>, prefix: &str) -> Vec<Diagnostic> {
    let (own, others) = std::mem::take(problems).into_iter().partition(|problem| problem.field.starts_with(prefix));
    *problems = others;
    let own: Vec<Diagnostic> = own;
    own.into_iter()
        .map(|mut problem| {
            problem.field.drain(..prefix.len());
            problem
        })
        .collect()
}

fn unknown_at_root(node: Node<'_>, findings: &Findings) {
    let View::Mapping(entries) = node.view() else { return };
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    for (key, _) in entries.filter(|(key, _)| !known.contains(&key.text())) {
        let mut diagnostic = Diagnostic::error(codes::SCHEMA, format!("unknown field `{}`", key.text()))
            .with_place(Some(key.place()))
            .with_field(Path::ROOT.key(key.text()).to_string());
        match super::spelling::closest(key.text(), known) {
            Some(meant) => diagnostic.suggestion = Some(meant.to_owned()),
            None => diagnostic.expected = Some("the fields of the object stand under `spec`".to_owned()),
        }
        findings.push(diagnostic);
    }
}

/// The typed content: `spec` of Istio's kinds and of workloads, the whole object of the others.
fn spec(kind: Kind, node: Node<'_>, findings: &Findings) -> Spec {
    fn under_spec<T: serde::de::DeserializeOwned + Default>(node: Node<'_>, findings: &Findings) -> Arc<T> {
        let spec = node.get("spec");
        Arc::new(spec.map(|spec| decode(spec, &Path::ROOT.key("spec"), findings)).unwrap_or_default())
    }
    fn whole<T: serde::de::DeserializeOwned + Default>(node: Node<'_>, findings: &Findings) -> Arc<T> {
        Arc::new(decode(node, &Path::ROOT, findings))
    }
    match kind {
        Kind::VirtualService => Spec::VirtualService(under_spec(node, findings)),
        Kind::DestinationRule => Spec::DestinationRule(under_spec(node, findings)),
        Kind::Gateway => Spec::Gateway(under_spec(node, findings)),
        Kind::ServiceEntry => Spec::ServiceEntry(under_spec(node, findings)),
        Kind::WorkloadEntry => Spec::WorkloadEntry(under_spec(node, findings)),
        Kind::WorkloadGroup => Spec::WorkloadGroup(under_spec(node, findings)),
        Kind::Sidecar => Spec::Sidecar(under_spec(node, findings)),
        Kind::ProxyConfig => Spec::ProxyConfig(under_spec(node, findings)),
        Kind::AuthorizationPolicy => Spec::AuthorizationPolicy(under_spec(node, findings)),
        Kind::PeerAuthentication => Spec::PeerAuthentication(under_spec(node, findings)),
        Kind::RequestAuthentication => Spec::RequestAuthentication(under_spec(node, findings)),
        Kind::Namespace => Spec::Namespace(whole(node, findings)),
        Kind::Node => Spec::Node(whole(node, findings)),
        Kind::Service => Spec::Service(whole(node, findings)),
        Kind::Pod => Spec::Pod(whole(node, findings)),
        Kind::Endpoints => Spec::Endpoints(whole(node, findings)),
        Kind::EndpointSlice => Spec::EndpointSlice(whole(node, findings)),
        Kind::ServiceAccount => Spec::ServiceAccount(whole(node, findings)),
        Kind::Secret => Spec::Secret(whole(node, findings)),
        Kind::ConfigMap => Spec::ConfigMap(whole(node, findings)),
        Kind::Deployment => Spec::Deployment(under_spec(node, findings)),
        Kind::StatefulSet => Spec::StatefulSet(under_spec(node, findings)),
        Kind::DaemonSet => Spec::DaemonSet(under_spec(node, findings)),
        Kind::ReplicaSet => Spec::ReplicaSet(under_spec(node, findings)),
        Kind::Job => Spec::Job(under_spec(node, findings)),
        Kind::CronJob => Spec::CronJob(under_spec(node, findings)),
        Kind::EnvoyFilter
        | Kind::WasmPlugin
        | Kind::Telemetry
        | Kind::IstioOperator
        | Kind::MeshNetworks
        | Kind::ChartValues
        | Kind::KubernetesGateway
        | Kind::HTTPRoute
        | Kind::GRPCRoute
        | Kind::MutatingWebhookConfiguration
        | Kind::ValidatingWebhookConfiguration
        | Kind::CustomResourceDefinition
        | Kind::Ingress
        | Kind::PodDisruptionBudget
        | Kind::HorizontalPodAutoscaler => Spec::Untyped,
    }
}

/// What is read and may have been meant by a kind that is not.
fn meant(group: &str, kind: &str) -> Option<String> {
    let api_version = |known: Kind| match known.group() {
        "" => format!("apiVersion: {}", known.versions()[0]),
        group => format!("apiVersion: {group}/{}", known.versions()[0]),
    };
    if let Some(known) = Kind::of(group, kind) {
        return Some(api_version(known));
    }
    let same_name = Kind::ALL.iter().find(|known| known.as_str() == kind);
    // A Knative Service or a Gateway of the Gateway API is not misspelt.
    let groups = || Kind::ALL.iter().map(|known| known.group()).filter(|known| !known.is_empty());
    let is_ours = group.is_empty() || super::spelling::closest(group, groups()).is_some();
    let foreign = same_name.is_some() && !is_ours;
    if foreign {
        return None;
    }
    if let Some(known) = same_name {
        return Some(api_version(*known));
    }
    let of_group = Kind::ALL.iter().filter(|known| known.group() == group).map(|known| known.as_str());
    super::spelling::closest(kind, of_group).map(|known| format!("kind: {known}"))
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
