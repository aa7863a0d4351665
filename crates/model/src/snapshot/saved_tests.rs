//! What was held goes on after it was written down and read again.

use super::*;
use crate::resource::{MeshConfig, ResourceSet};
use crate::snapshot::Snapshot;

const GOOD: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{port: 9080, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{timeout: 0.5s, route: [{destination: {host: reviews, subset: v2}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: parent, namespace: shop}
spec: {hosts: [a.example.com], gateways: [g], http: [{delegate: {name: child, namespace: shop}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: child, namespace: shop}
spec: {http: [{route: [{destination: {host: reviews}}]}]}
";

fn build(text: &str, held: &Held) -> crate::snapshot::Built {
    let (resources, duplicates) = ResourceSet::of_files([&load("mesh.yaml", text)]);
    assert!(duplicates.is_empty());
    Snapshot::build(&resources, &MeshConfig::default(), held)
}

fn again(held: &Held) -> Held {
    let mut archive = Archive::default();
    let saved = held.save(&mut archive);
    let text = serde_json::to_string(&(archive.texts(), saved)).expect("text");
    let (texts, saved): (Vec<SavedObject>, SavedHeld) = serde_json::from_str(&text).expect("as it was written");
    Held::restore(&saved, &texts.iter().map(SavedObject::read).collect::<Vec<_>>())
}

#[test]
fn last_good_versions_survive() {
    let held = build(GOOD, &Held::default()).held;
    let restored = again(&held);
    for broken in [
        GOOD.replace("timeout: 0.5s", "timeout: soon"),
        GOOD.replace(", {name: v2, labels: {version: v2}}", ""),
        GOOD.replace("metadata: {name: child,", "metadata: {name: other,"),
    ] {
        let (one, other) = (build(&broken, &held), build(&broken, &restored));
        let in_force = |built: &crate::snapshot::Built| {
            built.snapshot.in_force().map(|object| (object.id.clone(), object.spec.clone())).collect::<Vec<_>>()
        };
        assert_eq!(in_force(&one), in_force(&other));
        assert_eq!(one.diagnostics.len(), other.diagnostics.len());
        let forgotten = build(&broken, &Held::default());
        assert_ne!(in_force(&one), in_force(&forgotten), "nothing was held in this case");
    }
    // And again from there.
    assert_eq!(again(&restored).save(&mut Archive::default()), held.save(&mut Archive::default()));
}

#[test]
fn what_cannot_be_read_takes_only_itself_along() {
    let held = build(GOOD, &Held::default()).held;
    let mut archive = Archive::default();
    let saved = held.save(&mut archive);
    let mut objects: Vec<_> = archive.texts().iter().map(SavedObject::read).collect();
    for object in objects.iter_mut().filter(|o| o.as_ref().is_some_and(|o| &*o.id.name == "child")) {
        *object = None;
    }
    let restored = Held::restore(&saved, &objects);
    assert_eq!(restored.sound.len(), held.sound.len() - 1);
    // The parent needs the child; the rest stands.
    assert_eq!(restored.whole.len(), held.whole.len() - 2);
}
