//! Between a client's socket and hyper's HTTP/1 codec: only whole heads of requests that `wire` lets pass reach
//! the codec. Where a connection is to end (refusal, drain, idle), the codec sees the end of the stream
//! between two requests, finishes what it has and gives the socket back.

use super::connection::ConnState;
use super::wire::{Refusal, Scan, Wire};
use crate::connect::upstream_io::poll_write_together;
use crate::listen::stream::ClientStream;
use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest read at once.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// Where bytes are looked at on their way to the codec: one buffer a worker, for no read outlives a poll.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

pub(crate) struct Http1Io {
    stream: ClientStream,
    state: Rc<ConnState>,
    wire: Wire,
    /// Read, but not yet for the codec to see.
    kept: Vec<u8>,
    /// So many of `kept` are good.
    good: usize,
    /// A refusal was found; whether between two requests.
    refused: Option<bool>,
    /// Heads that the codec was given.
    heads: u32,
    /// Requests whose answers have been written to the socket.
    written: u32,
}

impl Http1Io {
    pub(crate) fn new(stream: ClientStream, state: Rc<ConnState>, wire: Wire) -> Self {
        Self { stream, state, wire, kept: Vec::new(), good: 0, refused: None, heads: 0, written: 0 }
    }

    /// The socket, with what was read and not used in front.
    pub(crate) fn into_stream(self, codec_had: Bytes) -> ClientStream {
        let mut stream = self.stream;
        let mut unused = codec_had.to_vec();
        unused.extend_from_slice(&self.kept);
        if !unused.is_empty() {
            stream.unread(unused.into());
        }
        stream
    }

    /// Method and target of the request that was refused, where its head is good but for what is missing.
    pub(crate) fn refused_line(&self) -> Option<(String, String)> {
        if self.state.refusal.get() != Some(Refusal::NO_HOST) {
            return None;
        }
        let head = self.kept.strip_prefix(b"\r\n").unwrap_or(&self.kept);
        let line = std::str::from_utf8(&head[..memchr::memchr(b'\r', head)?]).ok()?;
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    }

    /// What was refused is in a request that the codec has, so that the request's own answer told of it.
    pub(crate) fn refused_within(&self) -> bool {
        self.refused == Some(false)
    }

    /// Every request that the codec has was answered, and the answer is out: the end of the stream, seen now,
    /// breaks nothing off.
    fn between(&self) -> bool {
        self.wire.at_boundary() && self.heads == self.written
    }

    /// Gives good bytes to the codec. False where there are none.
    fn give(&mut self, cursor: &mut ReadBufCursor<'_>) -> bool {
        let n = self.good.min(cursor.remaining());
        if n > 0 {
            cursor.put_slice(&self.kept[..n]);
            self.kept.drain(..n);
            self.good -= n;
        }
        n > 0
    }

    /// What can be done with the bytes kept.
    fn look(&mut self) -> io::Result<Verdict> {
        if let Some(between) = self.refused {
            return if between { Ok(Verdict::End) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
        if self.kept.is_empty() {
            return Ok(Verdict::More);
        }
        let boundary = self.wire.at_boundary();
        match self.wire.scan(&self.kept) {
            Scan::Pass(n) => {
                self.good = n;
                self.passed(boundary);
                Ok(Verdict::Good)
            }
            Scan::More => {
                self.head_begun();
                Ok(Verdict::More)
            }
            Scan::Refuse(refusal) => {
                self.refuse(refusal, boundary);
                self.look()
            }
        }
    }

    fn head_begun(&self) {
        if self.state.head_since.get().is_none() {
            self.state.head_since.set(Some(Instant::now()));
            self.state.wake_watchdog();
        }
    }

    fn refuse(&mut self, refusal: Refusal, between: bool) {
        self.state.refusal.set(Some(refusal));
        // In the middle of a request its own answer is the last.
        self.state.close.set(!between);
        self.refused = Some(between);
    }

    /// A head, or part of a body, went through.
    fn passed(&mut self, was_head: bool) {
        if was_head {
            self.heads += 1;
            self.state.head_since.set(None);
            if self.wire.wants_upgrade {
                self.state.held.set(true);
            }
        }
    }
}

enum Verdict {
    Good,
    More,
    End,
}

impl hyper::rt::Read for Http1Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.give(&mut cursor) {
                return Poll::Ready(Ok(()));
            }
            let between = this.between();
            if between && (this.state.close.get() || this.state.refusal.get().is_some()) {
                return Poll::Ready(Ok(()));
            }
            if this.state.held.get() {
                // What follows a request for an upgrade is HTTP only if the upgrade is refused.
                this.state.set_reader(cx.waker());
                return Poll::Pending;
            }
            match this.look()? {
                Verdict::Good => continue,
                Verdict::End if between => return Poll::Ready(Ok(())),
                Verdict::End => {
                    // The answer to an earlier request is still on its way.
                    this.state.set_reader(cx.waker());
                    return Poll::Pending;
                }
                Verdict::More => {}
            }
            this.state.set_reader(cx.waker());
            let n = ready!(BUFFER.with_borrow_mut(|scratch| this.fill(cx, scratch, &mut cursor)))?;
            match n {
                Filled::Given => return Poll::Ready(Ok(())),
                Filled::Kept => {}
                Filled::End => return Poll::Ready(Ok(())),
            }
        }
    }
}

enum Filled {
    /// Good bytes went straight to the codec.
    Given,
    Kept,
    End,
}

impl Http1Io {
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<Filled>> {
        let most = scratch.len().min(cursor.remaining().max(1024));
        let mut buf = ReadBuf::new(&mut scratch[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let bytes = buf.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(Filled::End));
        }
        self.state.touch();
        if self.kept.is_empty() && bytes.len() <= cursor.remaining() {
            let boundary = self.wire.at_boundary();
            match self.wire.scan(bytes) {
                Scan::Pass(n) => {
                    cursor.put_slice(&bytes[..n]);
                    self.kept.extend_from_slice(&bytes[n..]);
                    self.passed(boundary);
                    return Poll::Ready(Ok(Filled::Given));
                }
                Scan::More => {}
                Scan::Refuse(refusal) => self.refuse(refusal, boundary),
            }
        }
        self.kept.extend_from_slice(bytes);
        Poll::Ready(Ok(Filled::Kept))
    }
}

impl hyper::rt::Write for Http1Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.state.touch();
        Poll::Ready(Ok(n))
    }

    /// The codec calls it when it has written all it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = this.state.ended.get();
        if this.written != ended {
            this.written = ended;
            if this.state.close.get() || this.state.refusal.get().is_some() {
                this.state.wake_reader();
            }
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(poll_write_together(Pin::new(&mut this.stream), cx, bufs))?;
        this.state.touch();
        Poll::Ready(Ok(n))
    }
}
