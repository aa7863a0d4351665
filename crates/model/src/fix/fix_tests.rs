//! Each kind of finding that is mended, and what is left alone.

use super::fix;
use crate::analyze::{Input, analyze};
use crate::diagnostic::Diagnostic;
use crate::resource::{MeshConfig, ResourceSet, load, unknown_kinds};

/// All findings but the practices.
fn found(text: &str) -> Vec<Diagnostic> {
    let loaded = load("m.yaml", text);
    let (resources, _) = ResourceSet::of_files([&loaded]);
    let mut found = loaded.all_diagnostics();
    found.extend(unknown_kinds([&loaded]));
    let mesh = MeshConfig::default();
    let for_tools = &loaded.for_tools;
    let input = Input { resources: &resources, for_tools, mesh: &mesh, networks: None, practices: false, now: 0 };
    found.extend(analyze(&input));
    found
}

/// The text once nothing more is mended, where anything is; what was mended is found no more.
fn mended(text: &str) -> Option<String> {
    let mut now = None;
    loop {
        let before = now.as_deref().unwrap_or(text);
        let Some(fixed) = fix(&"m.yaml".into(), before, &found(before)) else { return now };
        let left = found(&fixed.text);
        for gone in &fixed.findings {
            let is_it = |other: &Diagnostic| (other.code, &other.message) == (gone.code, &gone.message);
            assert!(!left.iter().any(is_it), "{gone:?} is still there:\n{}", fixed.text);
        }
        now = Some(fixed.text);
    }
}

/// A VirtualService with this in its one rule.
fn rule(rule: &str) -> String {
    format!(
        "# Ours.\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: web, namespace: shop}} # here\nspec:\n  \
         hosts:\n  - web\n  http:\n  -   name: main # the only one\n      {rule}\n\n      route:\n      - destination: {{host: web}}\n"
    )
}

fn destination_rule(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web, namespace: shop}}\nspec:\n  host: web\n{spec}"
    )
}

#[track_caller]
fn becomes(before: &str, after: &str) {
    assert_eq!(mended(before).as_deref(), Some(after), "{before}");
    // Windows' line ends stay.
    let windows = |text: &str| text.replace('\n', "\r\n");
    assert_eq!(mended(&windows(before)), Some(windows(after)));
}

#[test]
fn words_that_were_misspelt_are_mended() {
    // A field: as a key, in flow style, in quotes.
    becomes(&rule("timeot: 5s # not long"), &rule("timeout: 5s # not long"));
    becomes(&rule("retries: {atempts: 3}"), &rule("retries: {attempts: 3}"));
    becomes(&rule("\"timeot\": 5s"), &rule("\"timeout\": 5s"));
    // One within another.
    becomes(&rule("retris: {atempts: 3}"), &rule("retries: {attempts: 3}"));
    // A value of a few.
    let policy = |mode: &str| destination_rule(&format!("  trafficPolicy:\n    loadBalancer: {{simple: {mode}}}\n"));
    becomes(&policy("ROUND_ROBBIN"), &policy("ROUND_ROBIN"));
    becomes(&policy("'least_request'"), &policy("'LEAST_REQUEST'"));
    // An annotation.
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: shop\n  annotations:\n    {name}: '.' # ours\n\
             spec:\n  ports:\n  - {{port: 80, name: http}}\n"
        )
    };
    becomes(&service("networking.istio.io/exportTo2"), &service("networking.istio.io/exportTo"));
}

#[test]
fn kinds_and_versions_are_mended() {
    let gateway = |version: &str, kind: &str| {
        format!(
            "apiVersion: {version} # its version\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\nspec: {{host: a}}\n"
        )
    };
    let good = gateway("networking.istio.io/v1", "DestinationRule");
    becomes(&gateway("networking.istio.io/v2", "DestinationRule"), &good);
    becomes(&gateway("networking.istio.io/v1", "DestinatonRule"), &good);
    becomes(&gateway("networkin.istio.io/v1", "DestinationRule"), &good);
    let two = |kind: &str| good.replace("DestinationRule", kind) + "---\n" + &good.replace("DestinationRule", kind);
    assert_eq!(mended(&two("DestinatonRule")), Some(two("DestinationRule")));
    assert_eq!(mended(&gateway("apps/v1beta1", "Deployment")), None);
}

#[test]
fn types_that_a_cluster_would_refuse_are_mended() {
    // Text that reads as a number or as true, in labels and in matches.
    becomes(
        &rule("match: [{sourceLabels: {version: 1, on_call: yes}, headers: {x-a: {exact: 0.50}}}]"),
        &rule("match: [{sourceLabels: {version: \"1\", on_call: \"yes\"}, headers: {x-a: {exact: \"0.50\"}}}]"),
    );
    // A number, or true, in quotes.
    becomes(&rule("redirect: {redirectCode: \"301\"}"), &rule("redirect: {redirectCode: 301}"));
    let policy = |value: &str| {
        destination_rule(&format!(
            "  trafficPolicy:\n    tls:\n      mode: SIMPLE\n      insecureSkipVerify: {value}\n"
        ))
    };
    becomes(&policy("'true'"), &policy("true"));
    // One where a list is expected.
    becomes(
        &rule("gateways: [mesh]")
            .replace("  hosts:\n  - web\n", "  hosts: web\n")
            .replace("      gateways: [mesh]\n", ""),
        &rule("gateways: [mesh]")
            .replace("  hosts:\n  - web\n", "  hosts: [web]\n")
            .replace("      gateways: [mesh]\n", ""),
    );
    // A duration with a unit in words; the spelling of the API.
    becomes(&rule("timeout: 2 sec"), &rule("timeout: 2s"));
    becomes(&rule("retries: {per_try_timeout: 2s, attempts: 3}"), &rule("retries: {perTryTimeout: 2s, attempts: 3}"));
}

#[test]
fn entries_that_stand_twice_and_say_the_same_go() {
    let spec = |second: &str| {
        destination_rule(&format!(
            "  # Old and new.\n  subsets:\n  - name: v1\n    labels: {{version: v1}}\n  exportTo: ['.']\n{second}  trafficPolicy:\n    tls: {{mode: DISABLE}}\n"
        ))
    };
    becomes(&spec("  subsets:\n  - name: v1\n    labels:\n      version: v1\n"), &spec(""));
    becomes(&spec("  exportTo: [.]\n"), &spec(""));
    becomes(&destination_rule("  host: web"), &destination_rule(""));
    for left in ["  exportTo: ['*']\n", "  exportTo: ['.'] # as above\n", "  {exportTo: [.],\n  exportTo: [.]}\n"] {
        assert_eq!(mended(&spec(left)), None, "{left}");
    }
}

#[test]
fn what_is_not_certain_is_left() {
    for left in [
        // Seconds, or milliseconds?
        rule("timeout: 5"),
        // Both spellings are there.
        rule("timeout: 5s\n      timeot: 5s"),
        // Nothing that it is near to; one that would not be of its type.
        rule("colour: blue"),
        rule("mirorr: [{host: web}]"),
        // One host, or two?
        rule("name2: x").replace("  - web\n", " a,b\n").replace("hosts:\n ", "hosts:").replace("      name2: x\n", ""),
        // Another name in the cluster.
        rule("match: [{sourceLabels: {on: x}}]"),
        // What is named by an alias stands in two places.
        rule("timeout: &t 2 sec\n      retries: {attempts: 1, perTryTimeout: *t}"),
        rule("retries: &r {atempts: 3}") + "  - retries: *r\n    route: [{destination: {host: web}}]\n",
        // A block of text, and one over two lines.
        rule("timeout: |-\n        2 sec"),
        rule("timeout: \"2\n        sec\""),
        // Beside a document that is no YAML.
        rule("timeot: 5s") + "---\na: [\n",
        // Labels that templates left.
        String::from("{{- if .Values.a }}\n") + &rule("timeot: 5s") + "{{- end }}\n",
    ] {
        assert_eq!(mended(&left), None, "{left}");
    }
}

#[test]
fn one_that_cannot_be_mended_keeps_no_other() {
    let before = rule("timeot: 5s\n      mirorr: [{host: web}]\n      retries: {atempts: 1}");
    assert_eq!(mended(&before), Some(before.replace("timeot", "timeout").replace("atempts", "attempts")));
}

#[test]
fn json_stays_json() {
    let json = |field: &str, weight: &str, label: &str| {
        format!(
            "{{\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"VirtualService\",\n \"metadata\": {{\"name\": \"web\", \
             \"labels\": {{\"a\": {label}}}}},\n \"spec\": {{\"hosts\": [\"web\"], \"http\": [{{\"{field}\": \"5s\", \"route\": \
             [{{\"weight\": {weight}, \"destination\": {{\"host\": \"web\"}}}}]}}]}}}}\n"
        )
    };
    assert_eq!(mended(&json("timeot", "\"100\"", "1")), Some(json("timeout", "100", "\"1\"")));
}

#[test]
fn a_byte_order_mark_and_the_last_line_without_an_end_do_no_harm() {
    let before = rule("timeot: 5s");
    let before = before.trim_end();
    assert_eq!(mended(&format!("\u{feff}{before}")), Some(before.replace("timeot", "timeout")));
}

#[test]
fn a_slip_anywhere_becomes_what_was_there_or_stays() {
    let text = include_str!("../../tests/effect/routes.yaml");
    let mut mended = 0;
    let file = "m.yaml".into();
    for document in &crate::yaml::parse(&file, text).documents {
        for range in document.nodes().filter_map(|node| node.written()).filter(|range| range.len() > 4) {
            let at = range.start + range.len() / 2;
            let slip = format!("{}{}", &text[..at], &text[at + 1..]);
            let Some(fixed) = fix(&file, &slip, &load("m.yaml", &slip).all_diagnostics()) else { continue };
            assert_eq!(fixed.text, text, "{}", &text[range]);
            mended += 1;
        }
    }
    assert!(mended > 50, "{mended}");
}
