//! Fields without effect are found wherever they can stand.

use crate::resource::load;

fn notes(text: &str) -> Vec<String> {
    let loaded = load("f.yaml", text);
    let object = &loaded.objects[0];
    assert_eq!(object.errors, []);
    let place = |note: &crate::diagnostic::Diagnostic| note.place.as_ref().map(|place| (place.line, place.column));
    object.notes.iter().map(|note| format!("{} {} at {:?}", note.code, note.field, place(note))).collect()
}

#[test]
fn every_place_of_a_traffic_policy() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a
  trafficPolicy:
    tls: {mode: DISABLE}
    portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]
  subsets:
  - name: v1
    trafficPolicy:
      load_balancer: {backendUtilization: {}}
  - name: v2
";
    let notes = notes(text);
    let effect: Vec<_> = notes.iter().filter(|note| note.starts_with("AM-R4")).collect();
    assert_eq!(
        effect,
        [
            "AM-R4 spec.trafficPolicy.portLevelSettings[0].tls.mode at Some((8, 58))",
            "AM-R4 spec.subsets[0].trafficPolicy.load_balancer.backendUtilization at Some((12, 23))",
        ]
    );
}

#[test]
fn policies_are_named_as_not_enforced() {
    let text =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\nspec: {}\n";
    assert_eq!(notes(text), ["AM-R3  at Some((1, 1))"]);
}
