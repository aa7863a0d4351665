//! gRPC's messages in an HTTP/2 body, read without a codec of tonic's: that keeps a buffer of its largest message
//! for as long as the stream lives, which a thousand sidecars in one process would each do.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use prost::Message;
use std::pin::Pin;
use tonic::{Code, Status};

/// Room for this much more is made at once: a message's length is but its sender's word.
const ROOM: usize = 64 << 10;

/// Compressed or not, and the length.
const HEADER: usize = 5;

/// gRPC's five bytes before a message that is not compressed.
pub(super) fn header(length: usize) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER);
    put_header(&mut header, length);
    header.freeze()
}

fn put_header(out: &mut BytesMut, length: usize) {
    out.put_u8(0);
    // Protobuf itself ends at 2 GiB.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// A message with its header.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEADER + length);
    put_header(&mut out, length);
    message.encode_raw(&mut out);
    out.freeze()
}

/// The messages of a body.
#[derive(Debug)]
pub(super) struct Frames<B> {
    body: B,
    /// A longer message is refused, in bytes.
    limit: usize,
    buffer: BytesMut,
    trailers: Option<HeaderMap>,
}

impl<B> Frames<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// `limit` is the length of the longest message, in bytes.
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self { body, limit, buffer: BytesMut::new(), trailers: None }
    }

    /// The next message, read as `M`; None at the end of a stream that ended well. Safe to cancel.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return M::decode(message).map(Some).map_err(|e| Status::invalid_argument(e.to_string()));
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => return Err(Status::unavailable(error.to_string())),
                None => return self.end().map(|()| None),
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let [compressed, length @ ..] = match self.buffer.first_chunk::<HEADER>() {
            Some(header) => *header,
            None => return Ok(None),
        };
        let length = u32::from_be_bytes(length) as usize;
        if compressed != 0 {
            return Err(Status::unimplemented("compressed messages are not read"));
        }
        if length > self.limit {
            let limit = self.limit;
            return Err(Status::resource_exhausted(format!("a message of {length} bytes; the limit is {limit}")));
        }
        let whole = HEADER + length;
        if self.buffer.len() < whole {
            let missing = whole - self.buffer.len();
            self.buffer.reserve(missing.min(self.buffer.len().max(ROOM)));
            return Ok(None);
        }
        let mut message = self.buffer.split_to(whole);
        message.advance(HEADER);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message.freeze()))
    }

    fn end(&mut self) -> Result<(), Status> {
        if !self.buffer.is_empty() {
            return Err(Status::unavailable("the stream ended within a message"));
        }
        match self.trailers.as_ref().and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
