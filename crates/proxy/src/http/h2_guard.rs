//! Between a client's socket and hyper's HTTP/2 codec: what the codec lets pass and should not.
//!
//! The codec drops pseudo headers in trailers without a word, where a request may only be malformed (RFC 9113, 8.1),
//! and answers as many control frames as a client likes to send. The frames are followed by their headers alone;
//! of HPACK only the lengths and the references into its static table are read, for trailers only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// PING, SETTINGS, PRIORITY and RST_STREAM frames that a client may send in `WINDOW`, answers to ours not counted,
/// over one for each HEADERS and each DATA with something in it: clients that measure the round trip ping with data.
const CONTROL_FRAMES_MAX: u32 = 10_000;
const WINDOW: Duration = Duration::from_secs(10);

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const CONTINUATION: u8 = 0x9;

const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY_FLAG: u8 = 0x20;

/// A client's socket, looked at as it is read.
pub(crate) struct H2Guard<S> {
    stream: S,
    frames: Frames,
}

impl<S> H2Guard<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, frames: Frames::new(Instant::now()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for H2Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if let Err(what) = this.frames.look(read) {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for H2Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }
}

/// Where in the stream of frames the bytes are.
struct Frames {
    /// Bytes that are passed over: the preface, and payloads that nobody looks at.
    skip: usize,
    header: [u8; FRAME_HEADER],
    header_len: usize,
    /// The payload of a trailers frame, while it is put together.
    trailers: Option<Trailers>,
    /// The highest stream that has had its request's headers.
    opened: u32,
    /// The header block that is going on belongs to trailers.
    in_trailers: bool,
    control: u32,
    since: Instant,
}

struct Trailers {
    left: usize,
    flags: u8,
    kind: u8,
    payload: Vec<u8>,
    /// Of the frames of this block before, the padding taken off.
    block: Vec<u8>,
}

impl Frames {
    fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            header: [0; FRAME_HEADER],
            header_len: 0,
            trailers: None,
            opened: 0,
            in_trailers: false,
            control: 0,
            since: now,
        }
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = &bytes[n..];
            } else if let Some(trailers) = self.trailers.as_mut().filter(|trailers| trailers.left > 0) {
                let n = trailers.left.min(bytes.len());
                trailers.payload.extend_from_slice(&bytes[..n]);
                trailers.left -= n;
                bytes = &bytes[n..];
                if trailers.left == 0 {
                    self.trailers_frame()?;
                }
            } else {
                let n = (FRAME_HEADER - self.header_len).min(bytes.len());
                self.header[self.header_len..self.header_len + n].copy_from_slice(&bytes[..n]);
                self.header_len += n;
                bytes = &bytes[n..];
                if self.header_len == FRAME_HEADER {
                    self.header_len = 0;
                    self.frame()?;
                }
            }
        }
        Ok(())
    }

    /// A frame begins.
    fn frame(&mut self) -> Result<(), &'static str> {
        let [a, b, c, kind, flags, d, e, f, g] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
        match kind {
            SETTINGS | PING if flags & ACK != 0 => {}
            PRIORITY | RST_STREAM | SETTINGS | PING => self.control_frame()?,
            HEADERS => self.control = self.control.saturating_sub(1),
            DATA if length > 0 => self.control = self.control.saturating_sub(1),
            _ => {}
        }
        let trailers = match kind {
            HEADERS => {
                self.in_trailers = stream <= self.opened;
                self.opened = self.opened.max(stream);
                self.in_trailers
            }
            CONTINUATION => self.in_trailers,
            _ => false,
        };
        if !trailers {
            self.skip = length;
            return Ok(());
        }
        let block = self.trailers.take().filter(|_| kind == CONTINUATION).map(|t| t.block).unwrap_or_default();
        // The codec limits frames, and how many belong together, soon after.
        self.trailers = Some(Trailers { left: length, flags, kind, payload: Vec::new(), block });
        if length == 0 { self.trailers_frame() } else { Ok(()) }
    }

    fn control_frame(&mut self) -> Result<(), &'static str> {
        self.control += 1;
        if self.control > CONTROL_FRAMES_MAX {
            if self.since.elapsed() < WINDOW {
                return Err("http2.too_many_control_frames");
            }
            (self.control, self.since) = (1, Instant::now());
        }
        Ok(())
    }

    /// A frame of trailers is whole.
    fn trailers_frame(&mut self) -> Result<(), &'static str> {
        let Some(trailers) = &mut self.trailers else { return Ok(()) };
        let mut payload = &trailers.payload[..];
        if trailers.kind == HEADERS {
            let mut padding = 0;
            if trailers.flags & PADDED != 0 {
                let Some((length, rest)) = payload.split_first() else { return Ok(()) };
                (padding, payload) = (usize::from(*length), rest);
            }
            if trailers.flags & PRIORITY_FLAG != 0 {
                payload = payload.get(5..).unwrap_or_default();
            }
            payload = &payload[..payload.len().saturating_sub(padding)];
        }
        trailers.block.extend_from_slice(payload);
        if trailers.flags & END_HEADERS == 0 {
            return Ok(());
        }
        let pseudo = names_pseudo(&trailers.block);
        self.trailers = None;
        if pseudo { Err("http2.pseudo_header_in_trailers") } else { Ok(()) }
    }
}

/// Whether a header block (RFC 7541, 6) names a pseudo header, by the static table or as text. One that an earlier
/// block put into the dynamic table is not seen; the codec drops it.
fn names_pseudo(mut block: &[u8]) -> bool {
    // Entries 1 to 14 of the static table are the pseudo headers.
    let is_pseudo = |index: usize| (1..=14).contains(&index);
    while let Some(first) = block.first().copied() {
        let (prefix, has_value) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => {
                // The table's size changes.
                let Some((_, rest)) = integer(block, 5) else { return false };
                block = rest;
                continue;
            }
            _ => (4, true),
        };
        let Some((index, rest)) = integer(block, prefix) else { return false };
        block = rest;
        if is_pseudo(index) {
            return true;
        }
        if has_value && index == 0 {
            let Some((name, rest)) = string(block) else { return false };
            if name {
                return true;
            }
            block = rest;
        }
        if has_value {
            let Some((_, rest)) = string(block) else { return false };
            block = rest;
        }
    }
    false
}

/// An integer with a prefix of so many bits (RFC 7541, 5.1), and what follows it.
fn integer(bytes: &[u8], prefix: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let most = (1usize << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value < most {
        return Some((value, rest));
    }
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

/// Whether a string (RFC 7541, 5.2) begins with a colon, and what follows it.
fn string(bytes: &[u8]) -> Option<(bool, &[u8])> {
    /// The Huffman code of a colon: seven bits.
    const COLON: u8 = 0x5c;
    let huffman = bytes.first()? & 0x80 != 0;
    let (length, rest) = integer(bytes, 7)?;
    let (text, rest) = rest.split_at_checked(length)?;
    let first = text.first().copied().unwrap_or_default();
    Some((if huffman { first >> 1 == COLON } else { first == b':' }, rest))
}

#[cfg(test)]
#[path = "h2_guard_tests.rs"]
mod tests;
