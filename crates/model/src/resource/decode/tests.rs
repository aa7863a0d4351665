//! What decoding reports, and that it always gives a whole value.

use super::*;
use crate::resource::virtual_service::{RedirectPort, VirtualService};
use crate::resource::{IntOrString, Secret, Service, ServiceEntry};
use std::time::Duration;

fn read<T: DeserializeOwned + Default>(text: &str, istio: bool) -> (T, Vec<String>) {
    let parsed = crate::yaml::parse(&"f".into(), text);
    assert_eq!(parsed.errors, []);
    let findings = Findings::new(istio);
    let value = decode(parsed.documents[0].root(), &Path::ROOT.key("spec"), &findings);
    let line = |found: Diagnostic| {
        let place = found.place.map_or("?".to_owned(), |place| format!("{}:{}", place.line, place.column));
        let hint = found.suggestion.map_or(String::new(), |suggestion| format!(" -> {suggestion}"));
        format!("{:?} {place} {}: {}{hint}", found.severity, found.field, found.message)
    };
    (value, findings.into_vec().into_iter().map(line).collect())
}

fn istio<T: DeserializeOwned + Default>(text: &str) -> (T, Vec<String>) {
    read(text, true)
}

#[test]
fn a_broken_leaf_harms_only_itself() {
    let text = "\
hosts: reviews
http:
- timeout: 5
  retries: {attempts: many, perTryTimeout: 2 sec}
  match:
  - uri: {prefix: 10}
    headers: {x-user: {exact: jason}, x-on: {exact: yes}}
  route:
  - destination: {host: a, prot: {number: 80}}
    weight: 99999999999
- redirect: {derivePort: FROM_REQEST_PORT}
  fault: [delay]
";
    let (service, found) = istio::<VirtualService>(text);
    assert_eq!(
        found,
        [
            "Error 1:8 spec.hosts: the text \"reviews\" is not a sequence -> [reviews]",
            "Error 3:12 spec.http[0].timeout: the number 5 is not a duration such as 1.5s or 2m30s -> 5s",
            "Error 4:23 spec.http[0].retries.attempts: the text \"many\" is not a whole number from -2147483648 to 2147483647",
            "Error 4:44 spec.http[0].retries.perTryTimeout: the text \"2 sec\" is not a duration such as 1.5s or 2m30s -> 2s",
            "Error 6:19 spec.http[0].match[0].uri.prefix: the number 10 is not text -> \"10\"",
            "Error 7:53 spec.http[0].match[0].headers.x-on.exact: the boolean yes is not text -> \"yes\"",
            "Error 9:28 spec.http[0].route[0].destination.prot: unknown field `prot` -> port",
            "Error 10:13 spec.http[0].route[0].weight: the number 99999999999 is not a whole number from -2147483648 to 2147483647",
            "Error 11:26 spec.http[1].redirect.derivePort: the text \"FROM_REQEST_PORT\" is not one of FROM_PROTOCOL_DEFAULT, FROM_REQUEST_PORT -> FROM_REQUEST_PORT",
            "Error 12:10 spec.http[1].fault: a sequence is not a mapping",
        ]
    );
    assert_eq!(service.http.len(), 2);
    assert_eq!(service.http[0].matches[0].headers["x-user"].exact.as_deref(), Some("jason"));
    assert_eq!(service.http[0].route[0].destination.as_ref().unwrap().host, "a");
    assert_eq!(service.http[1].redirect.as_ref().unwrap().derive_port, Some(RedirectPort::FromProtocolDefault));
}

#[test]
fn as_protobuf_json_is_read() {
    let text = "http: [{mirror_percent: \"50\", cors_policy: {maxAge: 1h}, redirect: {derivePort: 1, redirectCode: 301.0}, \
                route: [{weight: 1e1, headers:}]}]\nexport_to: []\n";
    let (service, found) = istio::<VirtualService>(text);
    let rule = &service.http[0];
    assert_eq!(rule.mirror_percent, Some(50));
    assert_eq!(*rule.cors_policy.as_ref().unwrap().max_age.unwrap(), Duration::from_secs(3600));
    assert_eq!(rule.redirect.as_ref().unwrap().derive_port, Some(RedirectPort::FromRequestPort));
    assert_eq!(rule.redirect.as_ref().unwrap().redirect_code, 301);
    assert_eq!(rule.route[0].weight, 10);
    let severities: Vec<_> = found.iter().map(|line| line.split(':').next().unwrap_or("")).collect();
    assert_eq!(severities, ["Warning 1", "Warning 1", "Warning 2"], "{found:#?}");
    assert!(found[0].ends_with("-> 50"), "{found:?}");
    let (_, twice) = istio::<VirtualService>("exportTo: [a]\nexport_to: [b]\n");
    assert_eq!(twice.last().unwrap(), "Error 2:1 spec.export_to: given twice, in two spellings");
}

#[test]
fn nothing_written_is_absent() {
    let (service, found) = istio::<VirtualService>("http:\n- timeout:\n  match:\n  name: ~\n  retries: null\nhosts:\n");
    assert_eq!(found, [""; 0]);
    assert_eq!(service.http[0], Default::default());
    let (entry, found) = istio::<ServiceEntry>("hosts:\n- a.b\n-\n");
    assert_eq!(entry.hosts, ["a.b", ""]);
    assert_eq!(found, ["Error 3:2 spec.hosts[1]: an item with nothing in it"]);
}

#[test]
fn kubernetes_kinds_have_fields_of_their_own() {
    let text = "spec:\n  clusterIP: None\n  ipFamilies: [IPv4]\n  selector: {app: 5, on: x}\n  ports:\n  - {port: \"80\", targetPort: http}\n  \
                - {port: 81, targetPort: 8081}\n";
    let (service, found) = read::<Service>(text, false);
    assert_eq!(
        found,
        [
            "Error 4:19 spec.spec.selector.app: the number 5 is not text -> \"5\"",
            "Warning 4:22 spec.spec.selector.true: Kubernetes reads the key `on` as `true` -> \"on\"",
            "Error 6:12 spec.spec.ports[0].port: the text \"80\" is not a whole number from -2147483648 to 2147483647",
        ]
    );
    assert_eq!(service.spec.cluster_ip, "None");
    assert_eq!(service.spec.ports[0].target_port, Some(IntOrString::String("http".to_owned())));
    assert_eq!(service.spec.ports[1].target_port, Some(IntOrString::Int(8081)));
    assert_eq!(service.spec.selector["true"], "x");
}

#[test]
fn secrets_are_decoded() {
    let (secret, found) = read::<Secret>("data:\n  a: aGVsbG8=\n  b: '%%%'\n  c: |\n    aGVs\n    bG8=\n", false);
    assert_eq!(secret.data["a"].0, b"hello");
    assert_eq!(secret.data["c"].0, b"hello");
    assert_eq!(found, ["Error 3:6 spec.data.b: the text \"%%%\" is not base64"]);
    assert_eq!(format!("{:?}", secret.data["a"]), "Bytes(5 bytes)");
}
