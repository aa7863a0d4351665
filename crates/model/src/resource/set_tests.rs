//! Names once over all files.

use super::*;
use crate::resource::load;

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n")
}

#[test]
fn the_earlier_of_two_stays_and_both_places_are_named() {
    let two = format!("{}---\n{}", service("b"), service("a"));
    let files = [load("z.yaml", &service("a")), load("m.yaml", &two)];
    let (set, diagnostics) = ResourceSet::of_files(&files);
    assert_eq!(set.len(), 2);
    let id = ResourceId::new(Kind::Service, "default", "a");
    assert_eq!(set.get(&id).unwrap().place("").unwrap().to_string(), "m.yaml:5:1");
    let [duplicate] = &diagnostics[..] else { panic!("{diagnostics:?}") };
    assert_eq!(duplicate.place.as_ref().unwrap().to_string(), "z.yaml:3:18");
    assert_eq!(duplicate.message, "Service default/a is given twice, first at m.yaml:5:1; the earlier one stays");
    let names: Vec<_> = set.of_kind(Kind::Service).map(|object| object.id.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(set.of_kind(Kind::Pod).count(), 0);
}

#[test]
fn unknown_kinds_are_named_once() {
    let unknown = |kind: &str, name: &str| {
        format!("apiVersion: telemetry.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n---\n")
    };
    let text = unknown("Telemetry", "a") + &unknown("Telemetry", "b");
    let misspelt = load("a.yaml", "apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: x}\n");
    let found = unknown_kinds(&[load("b.yaml", &text), misspelt]);
    let messages: Vec<_> = found.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "networking.istio.io/v1 VirtualServce is not read, and left alone",
            "telemetry.istio.io/v1 Telemetry is not read, and left alone (and 1 more)",
        ]
    );
    assert_eq!(found[0].suggestion.as_deref(), Some("kind: VirtualService"));
}
