//! A response as the server's state machine gives it, and its bytes.

use super::resources::Encoded;
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;
use std::sync::Arc;

/// Which of ADS's two protocols a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Delta,
    /// State of the world.
    Sotw,
}

/// What to send now.
#[derive(Debug, Clone)]
pub struct Response {
    pub protocol: Protocol,
    pub type_url: Arc<str>,
    pub nonce: String,
    pub resources: Vec<(Arc<str>, Arc<Encoded>)>,
    /// Delta only.
    pub removed: Vec<Arc<str>>,
}

/// Smaller chunks are copied together: a frame of HTTP/2 for each would cost more than the copy.
const CHUNK: usize = 16 * 1024;

impl Response {
    /// The protobuf message in chunks; large resources are shared, not copied.
    pub fn chunks(&self) -> Vec<Bytes> {
        let (type_url, nonce) = (4 << 3 | 2, 5 << 3 | 2);
        let mut chunks = Vec::new();
        let mut own = BytesMut::new();
        put(&mut own, type_url, self.type_url.as_bytes());
        put(&mut own, nonce, self.nonce.as_bytes());
        match self.protocol {
            Protocol::Delta => {
                for name in &self.removed {
                    put(&mut own, 6 << 3 | 2, name.as_bytes());
                }
            }
            // The version: no client of ours or Envoy's reads it, but it must not be empty.
            Protocol::Sotw => put(&mut own, 1 << 3 | 2, self.nonce.as_bytes()),
        }
        for (_, resource) in &self.resources {
            let element = match self.protocol {
                Protocol::Delta => resource.delta_element(),
                Protocol::Sotw => resource.sotw_element(),
            };
            if element.len() < CHUNK {
                own.extend_from_slice(&element);
                if own.len() >= CHUNK {
                    chunks.push(own.split().freeze());
                }
            } else {
                if !own.is_empty() {
                    chunks.push(own.split().freeze());
                }
                chunks.push(element);
            }
        }
        if !own.is_empty() {
            chunks.push(own.freeze());
        }
        chunks
    }
}

fn put(out: &mut BytesMut, key: u8, contents: &[u8]) {
    out.put_u8(key);
    encode_varint(contents.len() as u64, out);
    out.put_slice(contents);
}
