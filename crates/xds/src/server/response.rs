//! A response as the server's state machine gives it, and its bytes.

use super::encoded::{Encoded, put};
use bytes::{Bytes, BytesMut};
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
    /// A hash of all that the client is to have of the type; what it waits for is not sent yet.
    pub version: Arc<str>,
    pub resources: Vec<(Arc<str>, Arc<Encoded>)>,
    /// Delta only.
    pub removed: Vec<Arc<str>>,
}

/// Smaller chunks are copied together: a frame of HTTP/2 for each would cost more than the copy.
const CHUNK: usize = 16 * 1024;

impl Response {
    /// The protobuf message, a piece at a time: a thousand streams that begin at once must not each hold a copy of
    /// what they share. Large resources are not copied at all.
    pub fn into_message(self) -> Message {
        let (type_url, nonce) = (4 << 3 | 2, 5 << 3 | 2);
        let mut head = BytesMut::new();
        put(&mut head, type_url, self.type_url.as_bytes());
        put(&mut head, nonce, self.nonce.as_bytes());
        match self.protocol {
            Protocol::Delta => {
                for name in &self.removed {
                    put(&mut head, 6 << 3 | 2, name.as_bytes());
                }
            }
            Protocol::Sotw => put(&mut head, 1 << 3 | 2, self.version.as_bytes()),
        }
        let protocol = self.protocol;
        let length = head.len() + self.resources.iter().map(|(_, r)| r.length(protocol)).sum::<usize>();
        Message { length, head, resources: self.resources.into_iter(), current: None, protocol, large: None }
    }
}

/// An encoded response that is put together as it is written.
#[derive(Debug)]
pub struct Message {
    length: usize,
    head: BytesMut,
    resources: std::vec::IntoIter<(Arc<str>, Arc<Encoded>)>,
    /// The resource that is being written, and its next piece.
    current: Option<(Arc<Encoded>, usize)>,
    protocol: Protocol,
    /// What comes after `head`, uncopied.
    large: Option<Bytes>,
}

impl Message {
    /// Bytes of the whole.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The next piece of a resource.
    fn piece(&mut self) -> Option<Bytes> {
        loop {
            if let Some((resource, index)) = &mut self.current {
                let piece = resource.piece(self.protocol, *index);
                *index += 1;
                if piece.is_some() {
                    return piece;
                }
            }
            self.current = Some((self.resources.next()?.1, 0));
        }
    }
}

impl Iterator for Message {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.large.is_none() {
            while let Some(piece) = self.piece() {
                if piece.len() >= CHUNK {
                    self.large = Some(piece);
                    break;
                }
                self.head.extend_from_slice(&piece);
                if self.head.len() >= CHUNK {
                    break;
                }
            }
        }
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head).freeze());
        }
        self.large.take()
    }
}
