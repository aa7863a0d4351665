//! Istio's metadata exchange: each proxy of the mesh tells the next one who it is, in two headers of the request, and
//! is answered in the same headers of the response. Taken out before anybody else sees them.
//!
//! The value is base64 of a `google.protobuf.Struct` of names, which is written and read here by hand.

use super::ProxyIdentity;
use super::labels::{Number, Workload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

const METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
const ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");

/// More is nobody's metadata.
const LONGEST: usize = 4 * 1024;
/// What a longer name is cut to: what a peer says is kept for each peer and told to whoever reads metrics.
const LONGEST_NAME: usize = 256;
/// So many peers are remembered by what they said.
const REMEMBERED: usize = 512;

/// What the proxy itself says, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct OwnHeaders {
    id: HeaderValue,
    metadata: HeaderValue,
}

impl OwnHeaders {
    /// None for a proxy that does not know its workload.
    pub(crate) fn of(identity: &ProxyIdentity) -> Option<Self> {
        if identity.workload.is_empty() {
            return None;
        }
        Some(Self {
            id: HeaderValue::from_str(&identity.node_id).ok()?,
            metadata: HeaderValue::from_str(&STANDARD.encode(metadata(identity))).ok()?,
        })
    }

    /// Says it, in the place of whatever somebody else said.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(METADATA, self.metadata.clone());
        headers.insert(ID, self.id.clone());
    }
}

/// Takes what a peer says out of its headers. The second: whether it said anything.
pub(crate) fn take(headers: &mut HeaderMap) -> (Option<HeaderValue>, bool) {
    let metadata = headers.remove(METADATA);
    let id = headers.remove(ID);
    let told = metadata.is_some() || id.is_some();
    (metadata, told)
}

/// A peer by what it said.
#[derive(Debug)]
pub(crate) struct Peer {
    said: Box<[u8]>,
    pub(crate) workload: Workload,
    pub(crate) number: Cell<Number>,
}

/// The peers that a worker remembers: each sentence is read once.
#[derive(Debug, Default)]
pub(crate) struct Peers(RefCell<HashMap<Box<[u8]>, Rc<Peer>>>);

impl Peers {
    /// Who said it; None where it is no metadata. `last` is who said something there before.
    pub(crate) fn who(&self, said: &HeaderValue, last: &RefCell<Option<Rc<Peer>>>) -> Option<Rc<Peer>> {
        let said = said.as_bytes();
        if let Some(peer) = last.borrow().as_ref().filter(|peer| *peer.said == *said) {
            return Some(Rc::clone(peer));
        }
        if said.len() > LONGEST {
            return None;
        }
        let mut known = self.0.borrow_mut();
        let peer = match known.get(said) {
            Some(peer) => Rc::clone(peer),
            None => {
                let workload = read(&STANDARD.decode(said).ok()?)?;
                let peer = Rc::new(Peer { said: said.into(), workload, number: Cell::default() });
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(said.into(), Rc::clone(&peer));
                peer
            }
        };
        *last.borrow_mut() = Some(Rc::clone(&peer));
        Some(peer)
    }
}

const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";

/// The Struct that Istio's proxies exchange. Its fields are in the order of their names.
fn metadata(identity: &ProxyIdentity) -> Vec<u8> {
    let labels = fields(&[
        ("app", Value::Text(identity.label(&["app"]))),
        (CANONICAL_NAME, Value::Text(identity.canonical_service())),
        (CANONICAL_REVISION, Value::Text(identity.canonical_revision())),
        ("version", Value::Text(identity.label(&["version"]))),
    ]);
    let pod = if identity.pod.is_empty() {
        identity.node_id.split('~').nth(2).and_then(|name| name.rsplit_once('.')).map_or("", |(pod, _)| pod)
    } else {
        &identity.pod
    };
    fields(&[
        ("CLUSTER_ID", Value::Text(identity.cluster())),
        ("LABELS", Value::Fields(&labels)),
        ("NAME", Value::Text(pod)),
        ("NAMESPACE", Value::Text(&identity.namespace)),
        ("OWNER", Value::Text(&identity.owner)),
        ("WORKLOAD_NAME", Value::Text(&identity.workload)),
    ])
}

enum Value<'a> {
    Text(&'a str),
    /// An encoded Struct.
    Fields(&'a [u8]),
}

/// A Struct of the fields that are not empty.
fn fields(all: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in all {
        let (number, bytes) = match value {
            Value::Text(text) => (3, text.as_bytes()),
            Value::Fields(fields) => (5, *fields),
        };
        if bytes.is_empty() {
            continue;
        }
        let mut inner = Vec::new();
        bytes_field(&mut inner, number, bytes);
        let mut entry = Vec::new();
        bytes_field(&mut entry, 1, name.as_bytes());
        bytes_field(&mut entry, 2, &inner);
        bytes_field(&mut out, 1, &entry);
    }
    out
}

/// Of protobuf's wire format: a field of bytes.
fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// No longer than a name may be.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_NAME)].to_owned()
}

/// Who a Struct tells of; None where it is none.
fn read(bytes: &[u8]) -> Option<Workload> {
    let mut workload = Workload::default();
    each(bytes, &mut |name, value| {
        let text = match value {
            Value::Text(text) => cut(text),
            Value::Fields(labels) if name == "LABELS" => {
                return each(labels, &mut |name, value| {
                    if let Value::Text(text) = value {
                        match name {
                            "app" => workload.app = cut(text),
                            "version" => workload.version = cut(text),
                            CANONICAL_NAME => workload.canonical_service = cut(text),
                            CANONICAL_REVISION => workload.canonical_revision = cut(text),
                            _ => {}
                        }
                    }
                    Some(())
                });
            }
            Value::Fields(_) => return Some(()),
        };
        match name {
            "CLUSTER_ID" => workload.cluster = text,
            "NAMESPACE" => workload.namespace = text,
            "WORKLOAD_NAME" => workload.workload = text,
            _ => {}
        }
        Some(())
    })?;
    Some(workload)
}

/// Each field of a Struct that is a text or a Struct.
fn each(bytes: &[u8], field: &mut dyn FnMut(&str, Value<'_>) -> Option<()>) -> Option<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, entry) = next(&mut rest)?;
        let (1, Some(mut entry)) = (number, entry) else { continue };
        let (mut name, mut value) = ("", None);
        while !entry.is_empty() {
            match next(&mut entry)? {
                (1, Some(text)) => name = std::str::from_utf8(text).ok()?,
                (2, Some(mut inner)) => {
                    while !inner.is_empty() {
                        match next(&mut inner)? {
                            (3, Some(text)) => value = Some(Value::Text(std::str::from_utf8(text).ok()?)),
                            (5, Some(fields)) => value = Some(Value::Fields(fields)),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if let Some(value) = value {
            field(name, value)?;
        }
    }
    Some(())
}

/// The next field: its number, and its bytes where it is a field of bytes.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => {
            *rest = rest.get(8..)?;
            None
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (value, after) = rest.split_at_checked(length)?;
            *rest = after;
            Some(value)
        }
        5 => {
            *rest = rest.get(4..)?;
            None
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reviews() -> ProxyIdentity {
        ProxyIdentity {
            node_id: "sidecar~10.1.1.1~reviews-v1-x.shop~shop.svc.cluster.local".into(),
            workload: "reviews-v1".into(),
            namespace: "shop".into(),
            labels: [("app", "reviews"), ("version", "v1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..ProxyIdentity::default()
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        let own = OwnHeaders::of(&reviews()).unwrap();
        let mut headers = HeaderMap::new();
        own.put(&mut headers);
        assert_eq!(headers[ID], "sidecar~10.1.1.1~reviews-v1-x.shop~shop.svc.cluster.local");
        let (said, told) = take(&mut headers);
        assert!(told && headers.is_empty());
        let (peers, last) = (Peers::default(), RefCell::default());
        let peer = peers.who(&said.unwrap(), &last).unwrap();
        assert_eq!(peer.workload, Workload::own(&reviews()));
    }

    #[test]
    fn the_bytes_are_a_struct() {
        let bytes = metadata(&reviews());
        // Of its first field: an entry of 26 bytes, its key, and a value that is a text.
        let mut first = vec![0x0a, 26, 0x0a, 10];
        first.extend_from_slice(b"CLUSTER_ID");
        first.extend_from_slice(&[0x12, 12, 0x1a, 10]);
        first.extend_from_slice(b"Kubernetes");
        assert!(bytes.starts_with(&first), "{bytes:?}");
        assert!(bytes.windows(16).any(|part| part == b"NAME\x12\x0e\x1a\x0creviews-"), "the pod by the node's id");
    }

    #[test]
    fn nobody_who_does_not_know_itself_says_anything() {
        assert!(OwnHeaders::of(&ProxyIdentity::default()).is_none());
        let peers = Peers::default();
        assert!(peers.who(&HeaderValue::from_static("*"), &RefCell::default()).is_none());
    }

    #[test]
    fn what_strangers_say_is_bounded() {
        let said = |identity: &ProxyIdentity| HeaderValue::from_str(&STANDARD.encode(metadata(identity))).unwrap();
        let (peers, last) = (Peers::default(), RefCell::default());
        // 255 bytes, and a character of three.
        let long = format!("{}\u{3042}{}", "w".repeat(255), "x".repeat(300));
        let version = ("version".to_owned(), long.clone());
        let hostile = ProxyIdentity { workload: long, labels: [version].into(), ..ProxyIdentity::default() };
        let peer = peers.who(&said(&hostile), &last).unwrap();
        assert_eq!(peer.workload.workload, "w".repeat(255));
        assert_eq!(peer.workload.version, "w".repeat(255));
        let whole = ProxyIdentity { workload: "w".repeat(LONGEST), ..ProxyIdentity::default() };
        assert!(peers.who(&said(&whole), &last).is_none());
        for i in 0..3 * REMEMBERED {
            let other = ProxyIdentity { workload: format!("w{i}"), ..ProxyIdentity::default() };
            assert!(peers.who(&said(&other), &last).is_some());
        }
        assert!(peers.0.borrow().len() <= REMEMBERED);
    }

    proptest! {
        #[test]
        fn nonsense_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
