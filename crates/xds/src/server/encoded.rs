//! One resource in its encoded form, and what it names of others.

use super::Protocol;
use crate::{ResourceType, encode};
use amime_model::config::ClusterEndpoints;
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh64::Xxh64;

/// One encoded resource, shared by every stream that carries it.
#[derive(Debug)]
pub struct Encoded {
    /// A hash of the contents: equal contents have equal versions, after a restart too.
    pub version: Arc<str>,
    /// As an element of a delta response; what follows `any_at` is an element of a state-of-the-world one.
    element: Bytes,
    any_at: usize,
    /// Where the body begins, with its key and length: those of a virtual host are an element of a route
    /// configuration too.
    body_at: usize,
    /// What the body goes on with: the virtual hosts of a route configuration, of which there is no other copy.
    tail: Vec<Bytes>,
    pub(super) refs: Refs,
}

/// What a resource names of others.
#[derive(Debug, Default)]
pub(super) struct Refs {
    /// Of a listener, route configuration or virtual host.
    pub clusters: Vec<Arc<str>>,
    /// Of a listener.
    pub routes: Vec<Arc<str>>,
    /// Of a cluster.
    pub endpoints: Option<Arc<str>>,
    /// Of a cluster.
    pub secrets: Vec<Arc<str>>,
    /// How long after its replacement requests may still need the clusters that it names.
    pub linger: Duration,
    /// A hash of a virtual host's domains: while it stays, no other virtual host is concerned by a change.
    pub domains: u64,
    /// A route configuration without its virtual hosts: the client refuses those whose clusters it lacks.
    pub validates: bool,
}

/// Field 2 with a length: `resources` of both responses, and `resource` in an element of a delta response. So the
/// tail of a delta element is a state-of-the-world element.
const FIELD_2: u8 = 2 << 3 | 2;
/// `version` of a delta element.
const FIELD_1: u8 = 1 << 3 | 2;
/// `name` of a delta element.
const FIELD_3: u8 = 3 << 3 | 2;

/// A field with a length.
pub(super) fn put(out: &mut BytesMut, key: u8, contents: &[u8]) {
    out.put_u8(key);
    encode_varint(contents.len() as u64, out);
    out.put_slice(contents);
}

fn len(contents: usize) -> usize {
    1 + encoded_len_varint(contents as u64) + contents
}

impl Encoded {
    pub(super) fn new(kind: ResourceType, name: &str, body: &[u8], refs: Refs) -> Self {
        Self::with_tail(kind, name, body, Vec::new(), refs)
    }

    /// The body is `body` and then all of `tail`.
    pub(super) fn with_tail(kind: ResourceType, name: &str, body: &[u8], tail: Vec<Bytes>, refs: Refs) -> Self {
        let tail_length: usize = tail.iter().map(Bytes::len).sum();
        let mut hash = Xxh64::new(0);
        hash.update(body);
        tail.iter().for_each(|chunk| hash.update(chunk));
        let version: Arc<str> = format!("{:016x}", hash.digest()).into();
        let url = kind.type_url().as_bytes();
        let whole_body = body.len() + tail_length;
        let any = len(url.len()) + len(whole_body);
        let resource = len(name.len()) + len(version.len()) + len(any);
        let mut element = BytesMut::with_capacity(len(resource) - tail_length);
        element.put_u8(FIELD_2);
        encode_varint(resource as u64, &mut element);
        put(&mut element, FIELD_3, name.as_bytes());
        put(&mut element, FIELD_1, version.as_bytes());
        let any_at = element.len();
        element.put_u8(FIELD_2);
        encode_varint(any as u64, &mut element);
        put(&mut element, FIELD_1, url);
        let body_at = element.len();
        element.put_u8(FIELD_2);
        encode_varint(whole_body as u64, &mut element);
        element.put_slice(body);
        Self { version, element: element.freeze(), any_at, body_at, tail, refs }
    }

    /// The pieces of an element of a response, and how long they are together.
    pub(super) fn piece(&self, protocol: Protocol, index: usize) -> Option<Bytes> {
        match (index, protocol) {
            (0, Protocol::Delta) => Some(self.element.clone()),
            (0, Protocol::Sotw) => Some(self.element.slice(self.any_at..)),
            _ => self.tail.get(index - 1).cloned(),
        }
    }

    pub(super) fn length(&self, protocol: Protocol) -> usize {
        let skipped = if protocol == Protocol::Sotw { self.any_at } else { 0 };
        self.element.len() - skipped + self.tail.iter().map(Bytes::len).sum::<usize>()
    }

    /// As a virtual host within a route configuration: `virtual_hosts` is field 2 there, as the body is in an `Any`.
    pub(super) fn as_virtual_host(&self) -> Bytes {
        self.element.slice(self.body_at..)
    }

    /// The value of the `Any`.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = self.element.slice(self.body_at + 1..);
        // It was written by `with_tail`, so it can be read.
        let _ = decode_varint(&mut body);
        std::iter::once(&body).chain(&self.tail).flatten().copied().collect()
    }

    pub(super) fn has_bytes_of(&self, other: &Self) -> bool {
        self.element == other.element && self.tail == other.tail
    }

    /// An assignment without endpoints: how endpoints are withdrawn.
    pub(super) fn no_endpoints(cluster: &str) -> Self {
        let empty = ClusterEndpoints { cluster: cluster.into(), ..Default::default() };
        Self::new(ResourceType::Endpoints, cluster, &encode::endpoints(&empty), Refs::default())
    }
}

/// What tests look at.
#[cfg(test)]
impl Encoded {
    /// The clusters and routes that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.refs.clusters.iter().chain(&self.refs.routes)
    }
}
